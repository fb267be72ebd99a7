/* SPDX-License-Identifier: Apache-2.0 */

#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct {
    const char *program;
    LogLevel level;
    bool journal;
} state = {.program = "weir", .level = LOG_LEVEL_NOTICE};

void log_open(const char *program, LogLevel level) {
    state.program = program;
    state.level = level;
    state.journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_write(LogLevel level, const char *format, ...) {
    static const struct {
        const char *word;
        int priority; /* syslog's, see sd-daemon(3) */
    } levels[] = {
        [LOG_LEVEL_ERROR] = {"error", 3},   [LOG_LEVEL_WARNING] = {"warning", 4},
        [LOG_LEVEL_NOTICE] = {"notice", 5}, [LOG_LEVEL_INFO] = {"info", 6},
        [LOG_LEVEL_DEBUG] = {"debug", 7},
    };
    if (level > state.level)
        return;

    char line[2048];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    for (char *c = line; *c; c++) /* what a peer said must not forge a line or steer a terminal */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';

    if (state.journal) {
        (void)fprintf(stderr, "<%d>%s\n", levels[level].priority, line);
        return;
    }
    char when[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (localtime_r(&now, &tm))
        (void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
    (void)fprintf(stderr, "%s %s %s: %s\n", when, state.program, levels[level].word, line);
}
