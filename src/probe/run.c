/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/run.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "probe/run_inside.h"

enum {
    TURN_MS = 100, /* at most, without packets */
    SECOND_SIGNAL_MS = 500,
};

/* what a later one needs stands before it, and so goes after it at the end. That the hubs have
 * all comes before the collectors, which go on meanwhile; the last second is told when the last
 * flow has gone out */
static const RunPart *const parts[] = {
    &run_remote,  &run_input,   &run_outside, &run_hubs,     &run_confinement,
    &run_licence, &run_telling, &run_export,  &run_settings, &run_workers,
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

volatile sig_atomic_t run_stop_signal;
volatile sig_atomic_t run_stop_hurry;
static _Atomic uint64_t stop_first_ms;

/* timeout(1), sudo and terminals may send the same wish twice at once: that is no second one */
static void on_signal(int number) {
    uint64_t now_ms = clock_monotonic_ms();
    if (!run_stop_signal)
        stop_first_ms = now_ms;
    else if (now_ms - stop_first_ms >= SECOND_SIGNAL_MS)
        run_stop_hurry = 1;
    run_stop_signal = number;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL); /* a closed terminal must not cost the live flows */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a full disk like any other */
}

int run_said(int r, const Reason *reason) {
    char text[256];
    if (r > 0)
        log_error("%s", reason->text);
    else if (r < 0)
        log_error("%s", error_describe(r, text, sizeof(text)));
    return r ? RUN_FAILED : RUN_DONE;
}

static int open_parts(Run *run) {
    Reason reason = {""};
    int r = 0;
    const RunPart *part = NULL;
    for (size_t i = 0; r == 0 && i < PARTS; i++) {
        part = parts[i];
        r = part->open ? part->open(run, &reason) : 0;
    }
    if (r == CAPTURE_E_USAGE && part == &run_input) {
        (void)run_said(r, &reason);
        return RUN_USAGE;
    }
    for (size_t i = 0; r == 0 && i < PARTS; i++)
        r = parts[i]->start ? parts[i]->start(run, &reason) : 0;
    return run_said(r, &reason);
}

static void close_parts(Run *run) {
    for (size_t i = PARTS; i-- > 0;)
        if (parts[i]->close)
            parts[i]->close(run);
}

static void tick(Run *run) {
    for (size_t i = 0; i < PARTS; i++)
        if (parts[i]->tick)
            parts[i]->tick(run);
}

/* the last flows leave; what one part could not do does not keep the others back */
static int finish(Run *run) {
    int code = RUN_DONE;
    for (size_t i = PARTS; i-- > 0;) {
        const int part = parts[i]->finish ? parts[i]->finish(run) : RUN_DONE;
        if (code == RUN_DONE)
            code = part;
    }
    run_say_summary(run);
    const int written = run_write_counters(run);
    return code != RUN_DONE ? code : written;
}

/* until the input ends; RUN_DONE, or RUN_FAILED having said why */
static int run_frames(Run *run) {
    while (!run_stop_signal && !export_failed(run->export)) {
        Reason reason = {""};
        size_t n = 0;
        int r = workers_run(run->workers, TURN_MS, &n, &reason);
        if (r == CAPTURE_E_END)
            return RUN_DONE;
        if (r)
            return run_said(r, &reason);
        tick(run);
    }
    if (run_stop_signal)
        log_notice("stopping on %s",
                   run_stop_signal == SIGINT ? "interrupt" : "termination signal");
    return RUN_DONE;
}

int run_probe(const ProbeConfig *config) {
    Run *run = calloc(1, sizeof(*run));
    if (!run)
        return run_said(-ENOMEM, NULL);
    run->config = config;
    catch_signals();
    int code = open_parts(run);
    if (code == RUN_DONE) {
        const int read = run_frames(run);
        const int finished = finish(run);
        code = read != RUN_DONE ? read : finished;
    }
    close_parts(run);
    free(run);
    return code;
}
