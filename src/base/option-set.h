#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Option Set (private to option*.c)
 *
 * What has been read so far, and the one way a value gets in: option_put(). The places it may
 * come from only find the row and the text.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/option.h"
#include "base/reason.h"

/* weakest first */
typedef enum OptionSource {
    SOURCE_DEFAULT,
    SOURCE_ENVIRONMENT,
    SOURCE_FILE,
    SOURCE_COMMAND,
} OptionSource;

/* where a value stands, to be named in a reason */
typedef struct OptionPlace {
    OptionSource source;
    const char *name; /* of the file or variable */
    size_t line;
} OptionPlace;

struct OptionSet {
    const OptionProgram *program;
    void *config;
    Arena *arena;
    OptionSource *sources; /* one for each row: the strongest place it was given in */
    const char **notices;
    size_t n_notices;
};

bool option_takes_value(const Option *option);

/** option_find() - by long name or alias of the given length, NULL when unknown */
const Option *option_find(const OptionProgram *program, const char *name, size_t size);
const Option *option_find_letter(const OptionProgram *program, char letter);

/** option_put() - check the text and store it; a value of NULL means none was given */
int option_put(OptionSet *set, const Option *option, const OptionPlace *place, const char *value,
               Reason *reason);

int option_put_default(OptionSet *set, const Option *option, Reason *reason);

/** option_unknown() - the reason for a long name that is no row's, with the nearest one that is */
int option_unknown(const OptionSet *set, const char *name, size_t size, const OptionPlace *place,
                   Reason *reason);

int option_notice(OptionSet *set, const char *line);

/** option_number() - as text; 1073741824 is 1G where the option takes suffixes */
const char *option_number(const Option *option, uint64_t v, char *text, size_t size);

/** option_variable() - WEIR_PROBE_EXIT_TIMEOUT of weir-probe's exit-timeout */
char *option_variable(Arena *arena, const OptionProgram *program, const char *name);

/* the places; the text each refers to must live as long as the set */
int option_read_environment(OptionSet *set, Reason *reason);
int option_read_file(OptionSet *set, const char *path, Reason *reason);
