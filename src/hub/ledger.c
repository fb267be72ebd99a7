/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/ledger.h"

const char *const ledger_state_names[_LEDGER_STATE_N] = {
    [LEDGER_UNKNOWN] = "unknown",           [LEDGER_SETTLING] = "settling",
    [LEDGER_BALANCED] = "balanced",         [LEDGER_DIFFERS] = "differs",
    [LEDGER_SEVERAL_HUBS] = "several_hubs",
};

static uint64_t less(uint64_t whole, uint64_t part) {
    return whole > part ? whole - part : 0;
}

/* what is appended and not accounted for; means something only beside another of the same run */
static uint64_t open_of(const LedgerCounts *counts) {
    return counts->appended - counts->waiting - counts->stored - counts->missing;
}

static bool is_another_run(const LedgerCounts *before, const LedgerCounts *now) {
    return now->appended < before->appended || now->metered < before->metered ||
           now->let_go < before->let_go || now->stored < before->stored;
}

void ledger_pulse(Ledger *ledger, const LedgerCounts *counts, uint64_t now_ms) {
    const bool first = !ledger->begun_ms || is_another_run(&ledger->last, counts);
    if (first)
        *ledger = (Ledger){.begun_ms = now_ms};
    if (!first && !ledger->settled && open_of(&ledger->last) == open_of(counts)) {
        ledger->first = *counts;
        ledger->since_ms = now_ms;
    }
    ledger->settled =
        ledger->settled || (ledger->since_ms && less(now_ms, ledger->begun_ms) >= LEDGER_SETTLE_MS);
    ledger->last = *counts;
    ledger->pulse_ms = now_ms;
    if (!ledger->settled || ledger_sums(ledger).unexplained == 0)
        ledger->off_ms = 0;
    else if (!ledger->off_ms)
        ledger->off_ms = now_ms;
}

void ledger_session(Ledger *ledger) {
    ledger->off_ms = 0;
}

LedgerState ledger_state(const Ledger *ledger) {
    if (!ledger->begun_ms)
        return LEDGER_UNKNOWN;
    if (!ledger->settled)
        return LEDGER_SETTLING;
    return ledger->off_ms && ledger->pulse_ms - ledger->off_ms > LEDGER_PATIENCE_MS
               ? LEDGER_DIFFERS
               : LEDGER_BALANCED;
}

LedgerSums ledger_sums(const Ledger *ledger) {
    LedgerSums sums = {0};
    if (!ledger->since_ms)
        return sums;
    const LedgerCounts *first = &ledger->first;
    const LedgerCounts *last = &ledger->last;
    const uint64_t open = open_of(last) - open_of(first);
    const uint64_t missing = last->missing - first->missing;
    const uint64_t let_go = last->let_go - first->let_go;
    sums.export_dropped = last->export_dropped - first->export_dropped;
    sums.entering = less(less(last->metered, last->export_dropped), last->appended);
    sums.metered = last->appended - first->appended + sums.export_dropped + sums.entering;
    sums.waited = first->waiting;
    sums.stored = last->stored - first->stored;
    sums.undecodable = last->undecodable - first->undecodable;
    sums.missing = less(missing, sums.undecodable);
    sums.waiting = last->waiting;
    sums.unexplained = open <= INT64_MAX ? (int64_t)open : -(int64_t)(UINT64_MAX - open) - 1;
    if (sums.unexplained > 0) {
        /* a gap is stored some seconds after the spool has let go; when the hub had it after all,
         * let_go is too much, and there is nothing to explain by it */
        const uint64_t ahead = less(let_go, sums.missing);
        sums.unannounced = ahead < open ? ahead : open;
        sums.unexplained = (int64_t)(open - sums.unannounced);
    }
    return sums;
}
