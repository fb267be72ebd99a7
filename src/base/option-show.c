/* SPDX-License-Identifier: Apache-2.0 */

/* --help for a person, --describe for the man page, the reference and the sample files. */

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/json.h"
#include "base/option-set.h"
#include "base/option.h"

#define INDENT 30
#define WIDTH  100

static const char *const type_names[] = {"flag", "text", "list", "u32", "u64", "word"};
static const char *const use_names[] = {"active", "ignored", "replaced"};

/* ---------------------------------------------------------------------- help */

static const char *metavar(const Option *option) {
    if (option->metavar)
        return option->metavar;
    return option->type == OPTION_WORD ? "WORD" : option->type == OPTION_TEXT ? "TEXT" : "N";
}

/* words from column `at` on, wrapped to the indented column */
static void wrap(FILE *out, size_t at, const char *text) {
    while (*text) {
        size_t size = strcspn(text, " ");
        if (at + 1 + size > WIDTH && at > INDENT) {
            (void)fprintf(out, "\n%*s", INDENT, "");
            at = INDENT;
        } else if (at > INDENT) {
            (void)fputc(' ', out);
            at++;
        }
        (void)fprintf(out, "%.*s", (int)size, text);
        at += size;
        text += size + strspn(text + size, " ");
    }
    (void)fputc('\n', out);
}

/* a range that is not just what the type holds */
static bool has_range(const Option *option) {
    uint64_t top = option->type == OPTION_U32 ? UINT32_MAX : UINT64_MAX;
    return option->max && (option->min || option->max < top);
}

static void describe_values(const Option *option, Buffer *text) {
    const char *separator = " (";
    if (option->type == OPTION_WORD) {
        buffer_put_text(text, separator);
        for (size_t i = 0; option->words[i]; i++)
            buffer_printf(text, "%s%s", i ? ", " : "", option->words[i]);
        separator = "; ";
    }
    if (has_range(option)) {
        char least[32];
        char most[32];
        buffer_printf(text, "%s%s to %s", separator,
                      option_number(option, option->min, least, sizeof(least)),
                      option_number(option, option->max, most, sizeof(most)));
        separator = "; ";
    }
    if (option->unit && !option->unset) {
        buffer_printf(text, "%s%s", separator, option->unit);
        separator = "; ";
    }
    if (option->unset) {
        buffer_printf(text, "%sdefault %s", separator, option->unset);
        if (option->unit)
            buffer_printf(text, " %s", option->unit);
        separator = "; ";
    }
    if (option->type == OPTION_LIST) {
        buffer_printf(text, "%srepeatable", separator);
        separator = "; ";
    }
    if (option->alias) {
        buffer_printf(text, "%salso --%s", separator, option->alias);
        separator = "; ";
    }
    if (separator[0] == ';')
        buffer_put_text(text, ")");
}

static void help_option(FILE *out, const Option *option) {
    Buffer label = {0};
    Buffer text = {0};
    buffer_printf(&label, option->letter ? "  -%c, --%s" : "    %c --%s",
                  option->letter ? option->letter : ' ', option->name);
    if (option_takes_value(option))
        buffer_printf(&label, " %s", metavar(option));
    buffer_put_text(&text, option->help);
    describe_values(option, &text);

    (void)fputs(buffer_text(&label), out);
    if (label.size + 2 > INDENT)
        (void)fprintf(out, "\n%*s", INDENT, "");
    else
        (void)fprintf(out, "%*s", (int)(INDENT - label.size), "");
    wrap(out, INDENT, buffer_text(&text));
    buffer_deinit(&label);
    buffer_deinit(&text);
}

static bool group_seen(const OptionProgram *program, size_t upto) {
    for (size_t i = 0; i < upto; i++)
        if (program->options[i].use == OPTION_ACTIVE &&
            strcmp(program->options[i].group, program->options[upto].group) == 0)
            return true;
    return false;
}

static void help_others(const OptionProgram *program, OptionUse use, const char *heading,
                        FILE *out) {
    bool any = false;
    for (size_t i = 0; i < program->n_options; i++) {
        const Option *option = &program->options[i];
        if (option->use != use)
            continue;
        if (!any)
            (void)fprintf(out, "\n%s:\n", heading);
        any = true;
        int at = option->letter ? fprintf(out, "  -%c, --%s", option->letter, option->name)
                                : fprintf(out, "      --%s", option->name);
        (void)fprintf(out, "%*s", at + 2 > INDENT ? 2 : INDENT - at, "");
        wrap(out, INDENT, option->note ? option->note : "not needed here");
    }
}

static void help_usage(const OptionProgram *program, FILE *out) {
    (void)fprintf(out, "%s: %s\n\n", program->name, program->summary);
    for (const char *line = program->usage; *line;) {
        size_t size = strcspn(line, "\n");
        (void)fprintf(out, "  %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

void option_print_help(const OptionProgram *program, FILE *out) {
    help_usage(program, out);
    for (size_t i = 0; i < program->n_options; i++) {
        const Option *first = &program->options[i];
        if (first->use != OPTION_ACTIVE || group_seen(program, i))
            continue;
        (void)fprintf(out, "\n%s:\n", first->group);
        for (size_t k = i; k < program->n_options; k++) {
            const Option *option = &program->options[k];
            if (option->use == OPTION_ACTIVE && strcmp(option->group, first->group) == 0)
                help_option(out, option);
        }
    }
    help_others(program, OPTION_IGNORED, "Accepted and ignored", out);
    help_others(program, OPTION_REPLACED, "Replaced", out);
    (void)fprintf(out,
                  "\nOther:\n"
                  "  %s --help                  Print this.\n"
                  "      --version               Print the version.\n"
                  "      --describe              Print the options as JSON.\n",
                  option_find_letter(program, 'h') ? "   " : "-h,");
}

/* ------------------------------------------------------------------ describe */

static void describe_option(const OptionProgram *program, const Option *option, Arena *arena,
                            Json *json) {
    char letter[2] = {option->letter, '\0'};
    json_object_begin(json, NULL);
    json_text(json, "name", option->name);
    json_text(json, "letter", option->letter ? letter : NULL);
    json_text(json, "alias", option->alias);
    json_text(json, "variable", option_variable(arena, program, option->name));
    json_text(json, "type", type_names[option->type]);
    json_text(json, "use", use_names[option->use]);
    json_text(json, "metavar", option_takes_value(option) ? metavar(option) : NULL);
    json_text(json, "default", option->unset);
    json_text(json, "unit", option->unit);
    if (has_range(option)) {
        json_u64(json, "min", option->min);
        json_u64(json, "max", option->max);
    }
    if (option->type == OPTION_WORD) {
        json_array_begin(json, "words");
        for (size_t i = 0; option->words[i]; i++)
            json_text(json, NULL, option->words[i]);
        json_array_end(json);
    }
    json_text(json, "group", option->group);
    json_text(json, "help", option->help);
    json_text(json, "note", option->note);
    json_object_end(json);
}

void option_print_describe(const OptionProgram *program, FILE *out) {
    cleanup(arena_freep) Arena *arena = NULL;
    if (arena_new(&arena, 4096))
        return;
    Buffer buffer = {0};
    Json json = json_make(&buffer);
    json_object_begin(&json, NULL);
    json_text(&json, "name", program->name);
    json_text(&json, "version", WEIR_VERSION);
    json_text(&json, "summary", program->summary);
    json_text(&json, "usage", program->usage);
    json_array_begin(&json, "options");
    for (size_t i = 0; i < program->n_options; i++)
        describe_option(program, &program->options[i], arena, &json);
    json_array_end(&json);
    json_object_end(&json);
    (void)fprintf(out, "%s\n", buffer_text(&buffer));
    buffer_deinit(&buffer);
}
