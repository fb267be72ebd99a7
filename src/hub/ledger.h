#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ledger
 *
 * Does what a probe says it has handed to its spool arrive? What the probe says in a pulse is
 * compared with what this hub has stored and counted as missing by then:
 *
 *     waited at the beginning + appended = stored + missing + waiting + not yet announced
 *
 * All count from a beginning, for the probe's figures restart with the probe and the hub's with the
 * hub. It is the last sum that stood for two pulses in the first LEDGER_SETTLE_MS, when both have
 * told each other what they hold; until there is one nothing is said. A pulse that crosses a commit
 * is off by it, so only a difference that stays for LEDGER_PATIENCE_MS counts.
 *
 * Only for a probe of one hub: of several, none knows what the others have stored.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    LEDGER_SETTLE_MS = 10000,
    LEDGER_PATIENCE_MS = 10000,
};

/** LedgerCounts - flows, at one pulse */
typedef struct LedgerCounts {
    /* the probe's */
    uint64_t metered;        /* since its start */
    uint64_t export_dropped; /* of these, before the spool */
    uint64_t appended;       /* of these, into the spool */
    uint64_t waiting;        /* in the spool, of former runs too */
    uint64_t let_go;         /* by a full spool, since its start */
    /* this hub's */
    uint64_t stored;
    uint64_t missing; /* undecodable ones included */
    uint64_t undecodable;
} LedgerCounts;

typedef struct Ledger {
    uint64_t begun_ms; /* first pulse; 0: none */
    uint64_t since_ms; /* what is compared counts from here; 0: no sum stood yet */
    uint64_t off_ms;   /* since when it does not add up; 0: it does */
    uint64_t pulse_ms;
    bool settled;
    LedgerCounts first; /* at since_ms */
    LedgerCounts last;
} Ledger;

typedef enum LedgerState {
    LEDGER_UNKNOWN,  /* nothing was said */
    LEDGER_SETTLING, /* too early to say */
    LEDGER_BALANCED,
    LEDGER_DIFFERS,
    LEDGER_SEVERAL_HUBS, /* ledger_state() never gives it */
    _LEDGER_STATE_N,
} LedgerState;

extern const char *const ledger_state_names[_LEDGER_STATE_N];

/** LedgerSums - flows since since_ms; metered = export_dropped + entering + appended */
typedef struct LedgerSums {
    uint64_t metered;
    uint64_t export_dropped;
    uint64_t entering; /* on their way to the spool */
    uint64_t waited;   /* in the spool at the beginning */
    uint64_t stored;
    uint64_t missing; /* without the undecodable */
    uint64_t undecodable;
    uint64_t unannounced; /* let go by the spool, and not yet counted as missing here */
    uint64_t waiting;
    int64_t unexplained; /* > 0: not accounted for; < 0: counted twice */
} LedgerSums;

/** ledger_pulse() - begins anew when the probe's figures have */
void ledger_pulse(Ledger *ledger, const LedgerCounts *counts, uint64_t now_ms);

/** ledger_session() - it was away: what was off then may be explained now */
void ledger_session(Ledger *ledger);

LedgerState ledger_state(const Ledger *ledger);
LedgerSums ledger_sums(const Ledger *ledger);
