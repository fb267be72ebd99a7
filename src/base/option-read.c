/* SPDX-License-Identifier: Apache-2.0 */

/* The places that options come from: command line, config file, environment. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/option-set.h"
#include "base/option.h"

#define FILE_MAX_BYTES (1 << 20)

/* ------------------------------------------------------------- command line */

typedef struct Given {
    const Option *option;
    const char *value;
} Given;

typedef struct CommandLine {
    OptionSet *set;
    int argc;
    char **argv;
    int next;
    const char *file; /* the lone argument */
    Given *given;     /* never more than there are characters in argv */
    size_t n_given;
    FILE *out;
    Reason *reason;
} CommandLine;

static const OptionPlace on_command_line = {.source = SOURCE_COMMAND};

static void print_version(const OptionProgram *program, FILE *out) {
    (void)fprintf(out, "%s %s\n", program->name, WEIR_VERSION);
    if (program->version_more)
        program->version_more(out);
}

static int built_in(const CommandLine *line, const char *name) {
    const OptionProgram *program = line->set->program;
    if (strcmp(name, "help") == 0)
        option_print_help(program, line->out);
    else if (strcmp(name, "describe") == 0)
        option_print_describe(program, line->out);
    else if (strcmp(name, "version") == 0)
        print_version(program, line->out);
    else
        return 0;
    return OPTION_E_DONE;
}

/* the argument after an option; one that looks like a long option is a value forgotten */
static const char *following(CommandLine *line) {
    if (line->next >= line->argc || strncmp(line->argv[line->next], "--", 2) == 0)
        return NULL;
    return line->argv[line->next++];
}

static void give(CommandLine *line, const Option *option, const char *value) {
    line->given[line->n_given++] = (Given){.option = option, .value = value};
}

static int read_long(CommandLine *line, const char *name) {
    size_t size = strcspn(name, "=");
    const Option *option = option_find(line->set->program, name, size);
    if (!option) {
        int r = built_in(line, name);
        return r ? r : option_unknown(line->set, name, size, &on_command_line, line->reason);
    }
    if (name[size] == '=')
        give(line, option, name + size + 1);
    else
        give(line, option, option_takes_value(option) ? following(line) : NULL);
    return 0;
}

/* -v, -vq, -ieth0, -i=eth0, -i eth0 */
static int read_letters(CommandLine *line, const char *letters) {
    for (const char *p = letters; *p; p++) {
        const Option *option = option_find_letter(line->set->program, *p);
        if (!option && *p == 'h')
            return built_in(line, "help");
        if (!option) {
            reason_set(line->reason, "unknown option -%.1s (command line); %s --help lists them", p,
                       line->set->program->name);
            return OPTION_E_USAGE;
        }
        if (p[1] == '=') {
            give(line, option, p + 2);
            return 0;
        }
        if (!option_takes_value(option)) {
            give(line, option, NULL);
            continue;
        }
        give(line, option, p[1] ? p + 1 : following(line));
        return 0;
    }
    return 0;
}

static int read_plain(CommandLine *line, const char *text) {
    if (line->file) {
        reason_set(line->reason,
                   "'%.80s' is one argument too many: only one config file (%.80s) may be named",
                   text, line->file);
        return OPTION_E_USAGE;
    }
    line->file = text;
    return 0;
}

static int read_command_line(CommandLine *line) {
    bool options = true;
    while (line->next < line->argc) {
        const char *text = line->argv[line->next++];
        int r = 0;
        if (options && strcmp(text, "--") == 0)
            options = false;
        else if (options && strncmp(text, "--", 2) == 0)
            r = read_long(line, text + 2);
        else if (options && text[0] == '-' && text[1])
            r = read_letters(line, text + 1);
        else
            r = read_plain(line, text);
        if (r)
            return r;
    }
    return 0;
}

/* -------------------------------------------------------------- environment */

char *option_variable(Arena *arena, const OptionProgram *program, const char *name) {
    char *text = arena_printf(arena, "%s_%s", program->name, name);
    for (char *p = text; p && *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return text;
}

static const Option *option_of_variable(OptionSet *set, const char *variable, size_t size) {
    for (size_t i = 0; i < set->program->n_options; i++) {
        const Option *option = &set->program->options[i];
        const char *name = option_variable(set->arena, set->program, option->name);
        if (name && strlen(name) == size && memcmp(name, variable, size) == 0)
            return option;
    }
    return NULL;
}

int option_read_environment(OptionSet *set, Reason *reason) {
    const char *prefix = option_variable(set->arena, set->program, "");
    if (!prefix)
        return error_origin(-ENOMEM);
    for (char **p = environ; p && *p; p++) {
        const char *equals = strchr(*p, '=');
        if (!equals || !equals[1] || strncmp(*p, prefix, strlen(prefix)) != 0)
            continue; /* set to nothing means not set */
        size_t size = (size_t)(equals - *p);
        const char *variable = arena_strndup(set->arena, *p, size);
        if (!variable)
            return error_origin(-ENOMEM);
        const Option *option = option_of_variable(set, *p, size);
        OptionPlace place = {.source = SOURCE_ENVIRONMENT, .name = variable};
        int r = option ? option_put(set, option, &place, equals + 1, reason)
                       : option_notice(set, arena_printf(set->arena,
                                                         "environment variable %.80s names no "
                                                         "option: ignored",
                                                         variable));
        if (r)
            return r;
    }
    return 0;
}

/* -------------------------------------------------------------- config file */

/* Cuts the value at its closing quote or at a comment, in place. NULL: no closing quote. */
static char *bare_value(char *text) {
    while (isspace((unsigned char)*text))
        text++;
    if (*text == '"' || *text == '\'') {
        char *end = strchr(text + 1, *text);
        if (!end)
            return NULL;
        const char *rest = end + 1 + strspn(end + 1, " \t");
        if (*rest && *rest != '#')
            return NULL;
        *end = '\0';
        return text + 1;
    }
    for (char *p = text; *p; p++) {
        if (*p == '#' && (p == text || isspace((unsigned char)p[-1]))) {
            *p = '\0';
            break;
        }
    }
    size_t size = strlen(text);
    while (size && isspace((unsigned char)text[size - 1]))
        text[--size] = '\0';
    return text;
}

static int refuse_line(const OptionPlace *place, const char *line, Reason *reason) {
    reason_set(reason,
               "%s:%zu: '%.60s' is not understood; accepted is -x=value, --option=value or --flag, "
               "# begins a comment",
               place->name, place->line, line);
    return OPTION_E_USAGE;
}

static int read_line(OptionSet *set, const OptionPlace *place, char *line, Reason *reason) {
    while (isspace((unsigned char)*line))
        line++;
    if (!*line || *line == '#')
        return 0;

    bool is_long = line[0] == '-' && line[1] == '-';
    char *name = line + (is_long ? 2 : 1);
    if (line[0] != '-' || !isalnum((unsigned char)*name))
        return refuse_line(place, line, reason);
    size_t size = is_long ? strcspn(name, "= \t") : 1;
    const Option *option =
        is_long ? option_find(set->program, name, size) : option_find_letter(set->program, *name);
    if (!option && is_long)
        return option_unknown(set, name, size, place, reason);
    if (!option) {
        reason_set(reason, "unknown option -%c (%s:%zu); %s --help lists them", *name, place->name,
                   place->line, set->program->name);
        return OPTION_E_USAGE;
    }

    char *rest = name + size + strspn(name + size, " \t");
    char *value = bare_value(*rest == '=' ? rest + 1 : rest);
    if (!value)
        return refuse_line(place, line, reason);
    return option_put(set, option, place, value, reason);
}

static int read_lines(OptionSet *set, const char *path, char *text, size_t size, Reason *reason) {
    static const char mark[] = "\xef\xbb\xbf"; /* some editors begin UTF-8 with it */
    OptionPlace place = {.source = SOURCE_FILE, .name = path};
    char *end = text + size;
    if (strncmp(text, mark, strlen(mark)) == 0)
        text += strlen(mark);
    while (text < end) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        char *stop = newline ? newline : end;
        place.line++;
        *stop = '\0'; /* behind the last line stands the buffer's own NUL */
        if (memchr(text, '\0', (size_t)(stop - text))) {
            reason_set(reason, "%s:%zu: not a text file, and so not a configuration file", path,
                       place.line);
            return OPTION_E_USAGE;
        }
        if (stop > text && stop[-1] == '\r')
            stop[-1] = '\0';
        int r = read_line(set, &place, text, reason);
        if (r)
            return r;
        text = stop + 1;
    }
    return 0;
}

int option_read_file(OptionSet *set, const char *path, Reason *reason) {
    Buffer buffer = {0};
    int r = file_read_any(&buffer, path, FILE_MAX_BYTES, reason);
    if (r == FILE_E_REFUSED)
        r = OPTION_E_USAGE;
    else if (r == 0) {
        (void)buffer_text(&buffer);
        r = buffer.failed ? error_origin(-ENOMEM)
                          : read_lines(set, path, (char *)buffer.bytes, buffer.size, reason);
    }
    buffer_deinit(&buffer);
    return error_trace(r);
}

/* ---------------------------------------------------------------------- all */

static int read_all(CommandLine *line) {
    OptionSet *set = line->set;
    const OptionProgram *program = set->program;
    int r = read_command_line(line);
    for (size_t i = 0; !r && i < program->n_options; i++)
        r = option_put_default(set, &program->options[i], line->reason);
    if (!r)
        r = option_read_environment(set, line->reason);
    if (!r && line->file)
        r = option_read_file(set, line->file, line->reason);
    for (size_t i = 0; !r && i < line->n_given; i++)
        r = option_put(set, line->given[i].option, &on_command_line, line->given[i].value,
                       line->reason);
    return r;
}

int option_read(OptionSet **setp, const OptionProgram *program, void *config, int argc, char **argv,
                FILE *out, Reason *reason) {
    cleanup(option_set_freep) OptionSet *set = calloc(1, sizeof(*set));
    if (!set)
        return error_origin(-ENOMEM);
    set->program = program;
    set->config = config;
    memset(config, 0, program->config_bytes);
    int r = arena_new(&set->arena, 4096);
    if (r)
        return error_trace(r);
    set->sources = calloc(program->n_options + 1, sizeof(*set->sources));
    size_t characters = 1;
    for (int i = 1; i < argc; i++)
        characters += strlen(argv[i]);
    cleanup(freep) Given *given = calloc(characters, sizeof(*given));
    if (!set->sources || !given)
        return error_origin(-ENOMEM);

    CommandLine line = {.set = set,
                        .argc = argc,
                        .argv = argv,
                        .next = 1,
                        .given = given,
                        .out = out,
                        .reason = reason};
    r = read_all(&line);
    if (r)
        return error_trace(r);
    *setp = set;
    set = NULL;
    return 0;
}
