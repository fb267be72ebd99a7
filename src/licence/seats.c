/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/seats.h"

#include <stdlib.h>

static bool counts(const SeatProbe *probe, uint64_t now_ms) {
    return !probe->exempt &&
           (probe->connected || (probe->gone_ms && now_ms < probe->gone_ms + SEATS_KEPT_MS));
}

static int by_claim(const void *a, const void *b) {
    const SeatProbe *x = a;
    const SeatProbe *y = b;
    if (x->pinned != y->pinned)
        return x->pinned ? -1 : 1;
    if (x->enrolled != y->enrolled)
        return x->enrolled < y->enrolled ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

uint64_t seats_assign(SeatProbe *probes, size_t n, uint32_t seats, uint64_t now_ms) {
    uint64_t next_ms = UINT64_MAX;
    uint32_t before = 0;
    if (n)
        qsort(probes, n, sizeof(*probes), by_claim);
    for (size_t i = 0; i < n; i++) {
        SeatProbe *probe = &probes[i];
        const bool claims = counts(probe, now_ms);
        probe->seated = claims && before < seats;
        probe->ahead = claims && !probe->seated ? before - seats : 0;
        before += claims;
        if (claims && !probe->connected && probe->gone_ms + SEATS_KEPT_MS < next_ms)
            next_ms = probe->gone_ms + SEATS_KEPT_MS;
    }
    return next_ms;
}
