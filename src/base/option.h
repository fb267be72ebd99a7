#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Options
 *
 * An option is one row of a constant table. The row drives the command line, the config file
 * (`-i=eno1`, `--option=value`, `--flag`, `--flag=`, quotes optional, `#` comments), environment
 * variables (WEIR_PROBE_EXIT_TIMEOUT), --help, --describe (JSON, from which the man page and the
 * reference are made), range errors and the sample configuration.
 *
 * Order of strength: command line, then config file, then environment, then the row's default.
 * A stronger place replaces a list, within one place it grows. Anything else that takes a value is
 * refused when one place gives it twice: of two, one would go unheard.
 * Text values point into memory owned by the OptionSet, which the config must not outlive.
 *
 * Every program has --help (-h unless a row takes the letter), --version and --describe as well.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/reason.h"

typedef enum OptionType {
    OPTION_FLAG, /* bool */
    OPTION_TEXT, /* const char *, NULL when not given and no default */
    OPTION_LIST, /* OptionList: repeatable, commas separate */
    OPTION_U32,  /* uint32_t */
    OPTION_U64,  /* uint64_t; K, M, G suffixes are powers of 1024 */
    OPTION_WORD, /* int: index into .words */
} OptionType;

typedef enum OptionUse {
    OPTION_ACTIVE,
    OPTION_IGNORED,  /* documented by nProbe or ntopng, not needed here: accepted, one notice */
    OPTION_REPLACED, /* refused; .note names what to use instead */
} OptionUse;

typedef struct OptionList {
    const char **values;
    size_t n;
} OptionList;

typedef struct Option {
    const char *name;  /* long name without dashes */
    char letter;       /* 0: none */
    const char *alias; /* a second long name, or NULL */
    OptionType type;
    OptionUse use;
    bool takes_value;         /* of an ignored option; the others follow from type */
    size_t at;                /* offsetof in the program's config struct */
    const char *unset;        /* default as text, or NULL */
    uint64_t min, max;        /* of numbers, inclusive; max 0: as much as the type holds */
    const char *unit;         /* "s", "bytes", "packets": shown in help and in range errors */
    const char *metavar;      /* "FILE", "ENDPOINT" */
    const char *const *words; /* of OPTION_WORD, NULL-terminated */
    const char *group;        /* heading in help and reference */
    const char *help;         /* one sentence, ends with a full stop */
    const char *note; /* of ignored options the reason, of replaced ones "use --json FILE" */
} Option;

typedef struct OptionProgram {
    const char *name;    /* "weir-probe" */
    const char *summary; /* one line */
    const char *usage;   /* lines of example commands */
    const Option *options;
    size_t n_options;
    size_t config_bytes;             /* sizeof the config struct */
    void (*version_more)(FILE *out); /* lines that --version prints after its own; NULL: none */
} OptionProgram;

typedef struct OptionSet OptionSet;

enum {
    _OPTION_E_SUCCESS,
    OPTION_E_USAGE, /* refused: the reason names the option, the place, and what is accepted */
    OPTION_E_DONE,  /* --help, --version or --describe was asked for and printed to `out` */
};

/**
 * option_read() - fill config (of program->config_bytes, zeroed here) from all four places. A
 * lone non-option argument is a config file. Notices (ignored options) are kept in the set.
 */
int option_read(OptionSet **setp, const OptionProgram *program, void *config, int argc, char **argv,
                FILE *out, Reason *reason);
OptionSet *option_set_free(OptionSet *set);

/* one line for each ignored option that was given, and for each environment variable with the
 * program's prefix that names no option; the daemon logs them */
size_t option_notices(const OptionSet *set, const char *const **linesp);

/* was it given at all (anywhere but by default)? By its long name. */
bool option_given(const OptionSet *set, const char *name);

void option_print_help(const OptionProgram *program, FILE *out);
void option_print_describe(const OptionProgram *program, FILE *out);

DEFINE_CLEANUP(OptionSet *, option_set_free)
