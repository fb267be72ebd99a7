/* SPDX-License-Identifier: Apache-2.0 */

#include "base/option.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/option-set.h"

#define SHOWN 80 /* characters of a refused text that a reason repeats */

bool option_takes_value(const Option *option) {
    return option->use == OPTION_ACTIVE ? option->type != OPTION_FLAG : option->takes_value;
}

static bool same(const char *name, const char *text, size_t size) {
    return name && strlen(name) == size && memcmp(name, text, size) == 0;
}

const Option *option_find(const OptionProgram *program, const char *name, size_t size) {
    for (size_t i = 0; i < program->n_options; i++) {
        const Option *option = &program->options[i];
        if (same(option->name, name, size) || same(option->alias, name, size))
            return option;
    }
    return NULL;
}

const Option *option_find_letter(const OptionProgram *program, char letter) {
    for (size_t i = 0; i < program->n_options; i++)
        if (program->options[i].letter == letter)
            return &program->options[i];
    return NULL;
}

/* ------------------------------------------------------------------ reasons */

static const char *place_text(const OptionPlace *place, char *text, size_t size) {
    if (place->source == SOURCE_FILE)
        (void)snprintf(text, size, "%s:%zu", place->name, place->line);
    else if (place->source == SOURCE_ENVIRONMENT)
        (void)snprintf(text, size, "environment variable %s", place->name);
    else
        (void)snprintf(text, size, "%s",
                       place->source == SOURCE_COMMAND ? "command line" : "default");
    return text;
}

const char *option_number(const Option *option, uint64_t v, char *text, size_t size) {
    unsigned power = 0; /* of 1024 */
    while (option->type == OPTION_U64 && v && v % 1024 == 0 && power < 4) {
        v /= 1024;
        power++;
    }
    (void)snprintf(text, size, "%" PRIu64 "%.1s", v, &"\0KMGT"[power]);
    return text;
}

static void accepted_numbers(const Option *option, Reason *reason) {
    uint64_t top = option->type == OPTION_U32 ? UINT32_MAX : UINT64_MAX;
    uint64_t max = option->max ? option->max : top;
    reason_append(reason, "accepted is ");
    char least[32];
    char most[32];
    (void)option_number(option, option->min, least, sizeof(least));
    if (max == top)
        reason_append(reason, "a whole number from %s", least);
    else
        reason_append(reason, "%s to %s", least, option_number(option, max, most, sizeof(most)));
    if (option->unit)
        reason_append(reason, " %s", option->unit);
    if (option->type == OPTION_U64)
        reason_append(reason, ", K, M, G or T may follow");
}

static void accepted(const Option *option, Reason *reason) {
    reason_append(reason, "; ");
    switch (option->type) {
    case OPTION_FLAG:
        reason_append(reason, "accepted is no value, or yes or no");
        break;
    case OPTION_U32:
    case OPTION_U64:
        accepted_numbers(option, reason);
        break;
    case OPTION_WORD:
        reason_append(reason, "accepted is one of");
        for (size_t i = 0; option->words[i]; i++)
            reason_append(reason, "%s %s", i ? "," : "", option->words[i]);
        break;
    case OPTION_TEXT:
    case OPTION_LIST:
        reason_append(reason, "accepted is %s%s", option->metavar ? option->metavar : "a text",
                      option->type == OPTION_LIST ? ", several separated by commas" : "");
        break;
    }
}

static int refuse(const Option *option, const OptionPlace *place, const char *value,
                  Reason *reason) {
    char where[256];
    (void)place_text(place, where, sizeof(where));
    if (value && *value)
        reason_set(reason, "--%s does not take '%.*s' (%s)", option->name, SHOWN, value, where);
    else
        reason_set(reason, "--%s needs a value (%s)", option->name, where);
    accepted(option, reason);
    return OPTION_E_USAGE;
}

/* Levenshtein's distance, of names cut to what a row needs */
static size_t distance(const char *a, size_t n_a, const char *b) {
    size_t n_b = strlen(b);
    size_t row[64];
    if (n_b >= sizeof(row) / sizeof(row[0]) || n_a >= sizeof(row) / sizeof(row[0]))
        return SIZE_MAX;
    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n_b];
}

int option_unknown(const OptionSet *set, const char *name, size_t size, const OptionPlace *place,
                   Reason *reason) {
    const OptionProgram *program = set->program;
    const char *nearest = NULL;
    size_t best = size / 3 + 2; /* farther off is no help */
    for (size_t i = 0; i < program->n_options; i++) {
        const char *names[] = {program->options[i].name, program->options[i].alias};
        for (size_t k = 0; k < 2; k++) {
            size_t d = names[k] ? distance(name, size, names[k]) : SIZE_MAX;
            if (d < best) {
                best = d;
                nearest = names[k];
            }
        }
    }
    char where[256];
    reason_set(reason, "unknown option --%.*s (%s); ", size < SHOWN ? (int)size : SHOWN, name,
               place_text(place, where, sizeof(where)));
    if (nearest)
        reason_append(reason, "did you mean --%s?", nearest);
    else
        reason_append(reason, "%s --help lists them", program->name);
    return OPTION_E_USAGE;
}

int option_notice(OptionSet *set, const char *line) {
    if (!line)
        return error_origin(-ENOMEM);
    const char **more = realloc(set->notices, (set->n_notices + 1) * sizeof(*more));
    if (!more)
        return error_origin(-ENOMEM);
    set->notices = more;
    set->notices[set->n_notices++] = line;
    return 0;
}

/* ------------------------------------------------------------------- values */

static bool parse_flag(const char *text, bool *vp) {
    static const char *const words[] = {"no", "yes", "0", "1", "false", "true", "off", "on"};
    if (!text || !*text) {
        *vp = true;
        return true;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *vp = i & 1;
            return true;
        }
    }
    return false;
}

static bool parse_number(const Option *option, const char *text, uint64_t *vp) {
    if (!isdigit((unsigned char)*text))
        return false; /* strtoull would take blanks and a minus */
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno)
        return false;
    if (option->type == OPTION_U64 && *end) {
        static const char suffixes[] = "KMGT";
        const char *suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (!suffix)
            return false;
        unsigned bits = 10 * (unsigned)(suffix - suffixes + 1);
        if (v > UINT64_MAX >> bits)
            return false;
        v <<= bits;
        end++;
    }
    uint64_t top = option->type == OPTION_U32 ? UINT32_MAX : UINT64_MAX;
    *vp = v;
    return !*end && v >= option->min && v <= (option->max ? option->max : top);
}

static bool parse_word(const Option *option, const char *text, int *vp) {
    for (int i = 0; option->words[i]; i++) {
        if (strcasecmp(option->words[i], text) == 0) {
            *vp = i;
            return true;
        }
    }
    return false;
}

static int list_add(OptionSet *set, OptionList *list, const char *text, size_t size) {
    /* a power of two is a full array */
    if ((list->n & (list->n - 1)) == 0) {
        size_t room = list->n ? 2 * list->n : 1;
        const char **more = arena_alloc(set->arena, room * sizeof(*more));
        if (!more)
            return error_origin(-ENOMEM);
        if (list->n)
            memcpy(more, list->values, list->n * sizeof(*more));
        list->values = more;
    }
    const char *copy = arena_strndup(set->arena, text, size);
    if (!copy)
        return error_origin(-ENOMEM);
    list->values[list->n++] = copy;
    return 0;
}

/* blanks around commas and empty pieces mean nothing; all empty is refused by the caller */
static int list_split(OptionSet *set, OptionList *list, const char *text) {
    while (*text) {
        text += strspn(text, ", \t");
        size_t size = strcspn(text, ",");
        size_t kept = size;
        while (kept && isspace((unsigned char)text[kept - 1]))
            kept--;
        if (kept) {
            int r = list_add(set, list, text, kept);
            if (r)
                return r;
        }
        text += size;
    }
    return 0;
}

/* 1: stored, 0: the text is not accepted, negative: error */
static int store(OptionSet *set, const Option *option, bool fresh, const char *value) {
    unsigned char *at = (unsigned char *)set->config + option->at;
    uint64_t number = 0;
    switch (option->type) {
    case OPTION_FLAG:
        return parse_flag(value, (bool *)at);
    case OPTION_U32:
        if (!parse_number(option, value, &number))
            return 0;
        *(uint32_t *)at = (uint32_t)number;
        return 1;
    case OPTION_U64:
        if (!parse_number(option, value, &number))
            return 0;
        *(uint64_t *)at = number;
        return 1;
    case OPTION_WORD:
        return parse_word(option, value, (int *)at);
    case OPTION_TEXT: {
        const char *copy = arena_strndup(set->arena, value, strlen(value));
        if (!copy)
            return error_origin(-ENOMEM);
        *(const char **)at = copy;
        return 1;
    }
    case OPTION_LIST: {
        OptionList *list = (OptionList *)at;
        if (fresh)
            *list = (OptionList){0};
        size_t before = list->n;
        int r = list_split(set, list, value);
        return r < 0 ? r : list->n > before;
    }
    }
    return error_origin(-EINVAL);
}

/** is_twice() - within one place; a list grows, and saying a flag again does no harm */
static bool is_twice(const Option *option, OptionSource before, const OptionPlace *place) {
    return before == place->source && before != SOURCE_DEFAULT && option->type != OPTION_LIST &&
           option->type != OPTION_FLAG;
}

static int refuse_twice(const Option *option, const OptionPlace *place, Reason *reason) {
    char where[256];
    reason_set(reason, "--%s is given more than once (%s); give the one that counts", option->name,
               place_text(place, where, sizeof(where)));
    return OPTION_E_USAGE;
}

int option_put(OptionSet *set, const Option *option, const OptionPlace *place, const char *value,
               Reason *reason) {
    char where[256];
    OptionSource *source = &set->sources[option - set->program->options];
    bool fresh = *source < place->source;

    if (option->use == OPTION_REPLACED) {
        reason_set(reason, "--%s is not an option of %s (%s): %s", option->name, set->program->name,
                   place_text(place, where, sizeof(where)), option->note);
        return OPTION_E_USAGE;
    }
    if (option->use == OPTION_IGNORED) {
        bool noticed = *source != SOURCE_DEFAULT;
        *source = place->source;
        if (noticed)
            return 0;
        return option_notice(set,
                             arena_printf(set->arena, "--%s (%s) is accepted and ignored: %s",
                                          option->name, place_text(place, where, sizeof(where)),
                                          option->note ? option->note : "not needed here"));
    }
    if (option_takes_value(option) && (!value || !*value))
        return refuse(option, place, NULL, reason);
    if (is_twice(option, *source, place))
        return refuse_twice(option, place, reason);
    int r = store(set, option, fresh, value);
    if (r < 0)
        return error_trace(r);
    if (r == 0)
        return refuse(option, place, value, reason);
    if (fresh)
        *source = place->source;
    return 0;
}

int option_put_default(OptionSet *set, const Option *option, Reason *reason) {
    if (option->use != OPTION_ACTIVE || !option->unset)
        return 0;
    OptionPlace place = {.source = SOURCE_DEFAULT};
    return option_put(set, option, &place, option->unset, reason);
}

OptionSet *option_set_free(OptionSet *set) {
    if (!set)
        return NULL;
    (void)arena_free(set->arena);
    free(set->notices);
    free(set->sources);
    free(set);
    return NULL;
}

size_t option_notices(const OptionSet *set, const char *const **linesp) {
    *linesp = set->notices;
    return set->n_notices;
}

bool option_given(const OptionSet *set, const char *name) {
    const Option *option = option_find(set->program, name, strlen(name));
    return option && set->sources[option - set->program->options] != SOURCE_DEFAULT;
}
