/* SPDX-License-Identifier: Apache-2.0 */

#include "base/clock.h"
#include "base/log.h"
#include "probe/run_inside.h"

enum {
    DRAIN_STEP_MS = 200,
    DRAIN_TELL_MS = 1000,
    DRAIN_LIVE_MS = 6000, /* a hub commits every 5 s; what it has not by then is in the spool */
};

/* a live probe only stays for a hub that is just storing: the rest is safe in the spool */
static bool may_leave(Run *run, uint64_t waited_ms) {
    return run->live && deliver_spool(run->deliver) &&
           (waited_ms >= DRAIN_LIVE_MS || !deliver_reaching(run->deliver));
}

static int say_left(Run *run, uint64_t left, bool signalled) {
    const char *spool = deliver_spool(run->deliver);
    if (run->live && spool) {
        log_notice("%llu flows wait in %s for the next start", (unsigned long long)left, spool);
        return RUN_DONE;
    }
    Reason then = {""};
    if (spool)
        reason_set(&then, "; they wait in %s and go to the hub at the next start", spool);
    if (signalled)
        log_error("%llu flows left: told to stop before the hub had stored them%s",
                  (unsigned long long)left, then.text);
    else
        log_error("%llu flows left: the hub has not stored them within --exit-timeout %u s%s",
                  (unsigned long long)left, run->config->exit_timeout_s, then.text);
    return RUN_LEFT;
}

/* wait for the hubs, in steps, so that a second signal can end it */
int run_drain(Run *run) {
    uint64_t begin_ms = clock_monotonic_ms();
    uint64_t end_ms = begin_ms + (uint64_t)run->config->exit_timeout_s * 1000;
    uint64_t left = 0;
    bool called = run_stop_signal;
    /* of a file the end is no surprise, and what is in the spool is not waited for */
    bool told = !called || (run->live && deliver_spool(run->deliver));
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        if (!told && now_ms - begin_ms >= DRAIN_TELL_MS) {
            log_notice(
                "waiting up to %u s for the hub to store %llu flows; a second signal ends it",
                run->config->exit_timeout_s, (unsigned long long)left);
            told = true;
        }
        uint64_t step_ms = now_ms < end_ms ? end_ms - now_ms : 0;
        int r = deliver_drain(run->deliver,
                              (unsigned)(step_ms < DRAIN_STEP_MS ? step_ms : DRAIN_STEP_MS), &left);
        if (r <= 0)
            return run_said(r, NULL);
        bool hurry = run_stop_hurry || (run_stop_signal && !called);
        if (step_ms == 0 || hurry || may_leave(run, now_ms - begin_ms))
            return say_left(run, left, hurry);
    }
}
