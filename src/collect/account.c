/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/account.h"

#include "collect/state.h"

enum {
    SEQUENCE_JUMP = 1 << 20, /* more than that is no loss, the exporter began anew */
    VERSION_IPFIX = 10,
};

const char *const collect_fate_names[_COLLECT_FATE_N] = {
    [COLLECT_DECODED] = "decoded",     [COLLECT_LOST] = "lost",
    [COLLECT_DROPPED] = "dropped",     [COLLECT_NO_TEMPLATE] = "no_template",
    [COLLECT_MALFORMED] = "malformed", [COLLECT_HELD] = "held",
};

static void add(CollectAccount *account, CollectFate fate, uint64_t n) {
    account->sent += n;
    account->units[fate] += n;
}

/* out of a place, as many as are there */
static uint64_t take(CollectAccount *account, CollectFate fate, uint64_t n) {
    const uint64_t taken = n < account->units[fate] ? n : account->units[fate];
    account->units[fate] -= taken;
    account->sent -= taken;
    return taken;
}

/* units between the number that was next and the one that came */
static void missed(Collector *collector, CollectAccount *account, const CollectSource *source,
                   uint32_t n) {
    if (account->doubt != COLLECT_DECODED) {
        add(account, account->doubt, n);
        return;
    }
    add(account, source->socket_drops != account->drops ? COLLECT_DROPPED : COLLECT_LOST, n);
    account->gap = account->sequence;
    account->gap_n = account->missing = n;
    collect_count(collector, COLLECT_COUNT_SEQUENCE_LOST, n);
}

/* n units fill a gap */
static void fill(Collector *collector, CollectAccount *account, uint32_t n) {
    if (n > account->missing)
        n = account->missing;
    const uint64_t lost = take(account, COLLECT_LOST, n);
    (void)take(account, COLLECT_DROPPED, n - lost);
    account->missing -= n;
    collect_count(collector, COLLECT_COUNT_SEQUENCE_LATE, n);
}

void account_message(Collector *collector, Domain *domain, const CollectSource *source,
                     uint32_t sequence, uint32_t n) {
    CollectAccount *account = &domain->account;
    const uint32_t ahead = sequence - account->sequence;
    const bool gap = account->has_sequence && ahead != 0;
    account->late = gap && account->missing && (uint32_t)(sequence - account->gap) < account->gap_n;
    if (account->late)
        fill(collector, account, n);
    else if (gap && ahead < SEQUENCE_JUMP)
        missed(collector, account, source, ahead);
    else if (gap) {
        account->resets++;
        account->missing = 0;
        collect_count(collector, COLLECT_COUNT_SEQUENCE_RESETS, 1);
    }
    account->has_sequence = true;
    account->drops = source->socket_drops;
    if (account->late)
        return;
    account->sequence = sequence + n;
    account->doubt = COLLECT_DECODED;
}

void account_units(Domain *domain, CollectFate fate, uint32_t n) {
    add(&domain->account, fate, n);
}

void account_records(Collector *collector, Domain *domain, uint32_t n, CollectFate doubt) {
    CollectAccount *account = &domain->account;
    add(account, COLLECT_DECODED, n);
    if (account->late) {
        fill(collector, account, n);
        return;
    }
    account->sequence += n;
    account->doubt = doubt == COLLECT_HELD && !domain->held ? COLLECT_DECODED : doubt;
}

void account_datagram(Domain *domain, CollectFate fate, Held *held) {
    add(&domain->account, held ? COLLECT_HELD : fate, 1);
    if (held) {
        held->counts = true;
        held->otherwise = (uint8_t)fate;
    }
}

/* records of IPFIX */
static void records_late(Domain *domain, uint32_t n, CollectFate fate) {
    CollectAccount *account = &domain->account;
    const uint64_t taken = take(account, COLLECT_HELD, n);
    add(account, COLLECT_DECODED, n);
    if (account->doubt == COLLECT_HELD) /* nothing came since: the next number is behind them */
        account->sequence += (uint32_t)(n - taken);
    account->residue = collect_worse(account->residue, fate);
    if (domain->held)
        return;
    if (account->doubt == COLLECT_HELD)
        account->doubt = account->residue;
    const CollectFate residue =
        account->residue == COLLECT_DECODED ? COLLECT_LOST : account->residue;
    add(account, residue, take(account, COLLECT_HELD, account->units[COLLECT_HELD]));
    account->residue = COLLECT_DECODED;
}

void account_late(Domain *domain, const Held *held, uint32_t n, CollectFate fate) {
    CollectAccount *account = &domain->account;
    if (domain->version == VERSION_IPFIX)
        records_late(domain, n, fate);
    else if (held->counts)
        add(account, collect_worse(fate, (CollectFate)held->otherwise),
            take(account, COLLECT_HELD, 1));
}
