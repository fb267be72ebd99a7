#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Log
 *
 * For the daemons only; libraries return. One line an event on stderr, with the priority prefix
 * that systemd understands when stderr is the journal, else with time and level. Any thread.
 */

typedef enum LogLevel {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE, /* what an operator wants to see in normal running */
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
} LogLevel;

void log_open(const char *program, LogLevel level);

__attribute__((format(printf, 2, 3))) void log_write(LogLevel level, const char *format, ...);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
