/* SPDX-License-Identifier: Apache-2.0 */

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "base/option.h"
#include "hub/hub.h"

enum { EXIT_RUN = 1, EXIT_USAGE = 2, DESCRIPTORS = 65536, TRIM_BYTES = 16 << 20 };

/* one clear line, and the exit code that goes with the answer */
static int fail(int r, int usage, const Reason *reason) {
    char text[256];
    (void)fprintf(stderr, "weir-hub: %s\n",
                  *reason->text ? reason->text : error_describe(r, text, sizeof(text)));
    return r == usage ? EXIT_USAGE : EXIT_RUN;
}

/* every probe and browser takes descriptors, and a shell gives only 1024 unless it is asked */
static void take_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* batches come and go: to give their memory back each time and be given it again, emptied, costs a
 * sixth of what receiving them does */
static void keep_memory(void) {
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

int main(int argc, char **argv) {
    HubConfig config;
    cleanup(option_set_freep) OptionSet *options = NULL;
    Reason reason = {0};
    int r = option_read(&options, &hub_program, &config, argc, argv, stdout, &reason);
    if (r == OPTION_E_DONE)
        return 0;
    if (r)
        return fail(r, OPTION_E_USAGE, &reason);
    log_open("weir-hub",
             config.verbose < LOG_LEVEL_DEBUG ? (LogLevel)config.verbose : LOG_LEVEL_DEBUG);
    if (config.check_license)
        return licensing_check(config.license, config.data_dir, stdout) ? 0 : EXIT_RUN;
    if (config.print_public_key || config.print_sample_config) {
        r = hub_print(&config, stdout, &reason);
        return r ? fail(r, HUB_E_USAGE, &reason) : 0;
    }

    /* blocked before any thread is made, so that this one alone waits for them */
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGHUP); /* the terminal was closed */
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);

    const char *const *notices = NULL;
    const size_t n = option_notices(options, &notices);
    for (size_t i = 0; i < n; i++)
        log_notice("%s", notices[i]);

    take_descriptors();
    keep_memory();
    cleanup(hub_closep) Hub *hub = NULL;
    r = hub_open(&hub, &config, &reason);
    if (r)
        return fail(r, HUB_E_USAGE, &reason);
    const struct timespec second = {.tv_sec = 1};
    while (sigtimedwait(&signals, NULL, &second) < 0) {
        const char *lost = hub_lost(hub);
        if (lost) {
            /* at once, as if killed: what is told as stored from here on would be nowhere */
            log_error("%s%s%s was removed or replaced; the hub ends, the probes keep what it has "
                      "not stored. Put it back, or start the hub without it",
                      config.data_dir, *lost == '.' ? "" : "/", *lost == '.' ? "" : lost);
            _Exit(EXIT_RUN);
        }
    }
    log_notice("stopping: storing what was received");
    return 0;
}
