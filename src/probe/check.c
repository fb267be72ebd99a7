/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe/check_inside.h"
#include "probe/run.h"

static const struct {
    const char *what; /* for who reads this; the lines name it more closely */
    void (*run)(Check *check);
} checks[] = {
    {"key string", check_key},
    {"folder and key pair", check_folder},
    {"input", check_input},
    {"offloads", check_offloads},
    {"data and events ports", check_ports},
    {"session and admission", check_session},
    {"clock", check_clock},
    {"spool", check_spool},
    {"licence", check_licence},
    {"collectors", check_collectors},
};

static void say(const char *word, const char *format, va_list args) {
    (void)printf("%-4s ", word);
    (void)vprintf(format, args);
    (void)putchar('\n');
    (void)fflush(stdout); /* a hub that does not answer takes seconds: show what is known */
}

#define SAY(check, count, word, format)                                                            \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        say(word, format, args);                                                                   \
        va_end(args);                                                                              \
        (check)->count++;                                                                          \
    } while (0)

void check_ok(Check *check, const char *format, ...) {
    SAY(check, n_ok, "ok", format);
}

void check_note(Check *check, const char *format, ...) {
    SAY(check, n_notes, "note", format);
}

void check_fail(Check *check, const char *format, ...) {
    SAY(check, n_fails, "FAIL", format);
}

int check_run(const ProbeConfig *config) {
    Check check = {.config = config};
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        checks[i].run(&check);
    free(check.hubs);
    key_pair_wipe(&check.keys);
    if (check.n_fails)
        (void)printf("%u of %u checks failed\n", check.n_fails,
                     check.n_ok + check.n_notes + check.n_fails);
    else
        (void)printf("nothing failed: %u ok, %u notes\n", check.n_ok, check.n_notes);
    return check.usage ? RUN_USAGE : check.n_fails ? RUN_FAILED : RUN_DONE;
}
