#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery World
 *
 * The simulator's truth: what was appended, by whom, and what the spool did with it. See
 * channel/delivery-sim.h.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/delivery.h"

enum { SIM_PROBES = 3, SIM_STEP_MS = 10, SIM_LINK = 64, SIM_CONTROLS = 64, SIM_KEYS = 8 };

typedef struct SimPlan {
    uint64_t seed;
    uint64_t batches; /* of all probes */
    double faults;    /* scale of every fault's probability */
    bool limited;     /* the spool has a limit */
    bool rollbacks;   /* the store may go back to a backup */
    bool small_credit;
    bool restarts; /* probes start again so often that more epochs wait than a hello can name */
    bool keys;     /* a probe that starts again may have another key */
    bool power;    /* a probe that starts again has lost what was written last, sent or not */
} SimPlan;

typedef enum TruthState { TRUTH_WAITS, TRUTH_STORED, TRUTH_GAP } TruthState;

/** Truth - one batch as it was appended, and what became of it in the hub's store */
typedef struct Truth {
    BatchCounts totals; /* of the epoch, with this one */
    uint64_t bytes_to;  /* likewise, bytes */
    uint32_t bytes;
    uint8_t state;
    bool dropped;  /* by the spool's limit, or torn */
    bool released; /* by the sender */
    bool lost;     /* with the power */
    bool rolled;   /* was stored once, before the store went back */
    bool beyond;   /* so long ago that the sender does not remember its epoch */
} Truth;

/** TruthRow - a cursor as the store keeps it, by the key under which it came */
typedef struct TruthRow {
    PeerKey key;
    uint64_t cursor, backup;
} TruthRow;

typedef struct TruthEpoch {
    EpochId id;
    size_t start; /* index of sequence 1 */
    uint64_t n;
    uint64_t kept; /* of the spool; less than n after a loss of power */
    uint64_t released;
    uint64_t cursor, backup; /* of the store, of all keys */
    TruthRow rows[SIM_KEYS];
    size_t n_rows;
    /* the window, counted independently of the sender */
    uint64_t sent, received, stored;
} TruthEpoch;

typedef struct Message {
    PeerKey key;
    bool hello;
    DeliveryHello *hello_body;
    DeliveryBatch batch;
} Message;

typedef struct Link {
    Message messages[SIM_LINK];
    size_t head, n;
} Link;

typedef struct Control {
    uint64_t due_ms;
    DeliveryState state;
} Control;

typedef struct SimProbe {
    PeerKey key;
    DeliverySender *sender;
    Truth *truth;
    size_t n_truth, capacity;
    TruthEpoch *epochs;
    size_t n_epochs;
    size_t oldest; /* first truth that may still be in the spool */
    uint64_t spooled_bytes;
    uint64_t n_loads;
    bool begun; /* this run has an epoch */
    bool up;    /* session */
    uint64_t up_at_ms;
    uint64_t hello_seen, nonce_seen;
    uint32_t credit_seen;
    Link link, old;
    Control controls[SIM_CONTROLS];
    size_t n_controls;
} SimProbe;

typedef struct Taken {
    size_t probe;
    PeerKey key;
    DeliveryBatch batch;
    BatchCounts counts;
} Taken;

typedef struct Sim {
    SimPlan plan;
    uint64_t random;
    uint64_t now_ms;
    bool quiet; /* no more faults */
    uint64_t appended;
    SimProbe probes[SIM_PROBES];
    DeliveryReceiver *receiver; /* NULL while the hub is down */
    uint64_t hub_at_ms;
    uint64_t stall_until_ms;
    Taken *pending; /* taken, not committed */
    size_t n_pending, pending_capacity;
    uint64_t n_faults, n_stored, n_gaps, n_discarded;
    size_t most_epochs; /* that a probe had to deliver at a time */
    char failure[256];
} Sim;

#define SIM_FAIL(sim, ...)                                                                         \
    do {                                                                                           \
        if (!(sim)->failure[0])                                                                    \
            (void)snprintf((sim)->failure, sizeof((sim)->failure), __VA_ARGS__);                   \
    } while (0)

/* ---------------------------------------------------------------------------------- chance */

static uint64_t sim_random(Sim *sim) {
    uint64_t z = (sim->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t sim_below(Sim *sim, uint64_t n) {
    return sim_random(sim) % n;
}

/* one in n steps, at the plan's scale; never once it is quiet */
static bool sim_strikes(Sim *sim, double n) {
    if (sim->quiet)
        return false;
    bool strikes = (double)(sim_random(sim) >> 11) * 0x1p-53 < sim->plan.faults / n;
    sim->n_faults += strikes;
    return strikes;
}

static EpochId sim_epoch_id(Sim *sim) {
    EpochId id;
    for (size_t i = 0; i < sizeof(id.bytes); i += 8) {
        uint64_t r = sim_random(sim);
        memcpy(&id.bytes[i], &r, 8);
    }
    return id;
}

static void *sim_grow(void *memory, size_t n, size_t *capacity, size_t size) {
    if (n < *capacity)
        return memory;
    *capacity = *capacity ? *capacity * 2 : 1024;
    memory = realloc(memory, *capacity * size);
    if (!memory)
        abort();
    return memory;
}

/* -------------------------------------------------------------------------------- the probe */

static TruthEpoch *sim_find_epoch(SimProbe *probe, const EpochId *id) {
    for (size_t i = probe->n_epochs; i-- > 0;)
        if (epoch_equal(&probe->epochs[i].id, id))
            return &probe->epochs[i];
    return NULL;
}

static void sim_release(void *userdata, const EpochId *id, uint64_t last,
                        const BatchCounts *totals) {
    SimProbe *probe = userdata;
    TruthEpoch *epoch = sim_find_epoch(probe, id);
    if (!batch_counts_equal(*totals, probe->truth[epoch->start + last - 1].totals))
        abort();
    for (; epoch->released < last; epoch->released++) {
        Truth *truth = &probe->truth[epoch->start + epoch->released];
        truth->released = true;
        probe->spooled_bytes -= truth->dropped || truth->lost ? 0 : truth->bytes;
    }
}

static int sim_load(void *userdata, const EpochId *id, uint64_t sequence, DeliveryBatch *batch) {
    SimProbe *probe = userdata;
    const TruthEpoch *epoch = sim_find_epoch(probe, id);
    if (!epoch || !sequence || sequence > epoch->kept)
        return DELIVERY_E_UNKNOWN;
    if (++probe->n_loads % 64 == 0)
        return DELIVERY_E_LATER;
    const Truth *truth = &probe->truth[epoch->start + sequence - 1];
    BatchCounts before = sequence > 1 ? truth[-1].totals : (BatchCounts){0};
    *batch = (DeliveryBatch){.epoch = *id, .first = sequence, .gap = truth->dropped};
    while (truth->dropped && sequence < epoch->kept && truth[1].dropped) {
        truth++;
        sequence++;
    }
    batch->last = sequence;
    batch->totals = truth->totals;
    if (!batch->gap) {
        batch->bytes = truth->bytes;
        batch->counts = batch_counts_subtract(truth->totals, before);
    }
    return 0;
}

static void sim_open_epoch(SimProbe *probe, const EpochId *id) {
    probe->epochs = realloc(probe->epochs, (probe->n_epochs + 1) * sizeof(*probe->epochs));
    if (!probe->epochs)
        abort();
    probe->epochs[probe->n_epochs++] = (TruthEpoch){.id = *id, .start = probe->n_truth};
}

/** sim_restore_epoch() - the cursor is as old as it likes, unless the bytes behind it are gone */
static void sim_restore_epoch(Sim *sim, SimProbe *probe, const TruthEpoch *epoch) {
    const Truth *base = &probe->truth[epoch->start] - 1;
    uint64_t stored = epoch->released < epoch->kept ? epoch->released : epoch->kept;
    if (stored && sim_below(sim, 2) && !sim->plan.rollbacks)
        stored -= sim_below(sim, stored < 100 ? stored + 1 : 100);
    if (!epoch->kept)
        return;
    DeliveryFormer former = {
        .epoch = epoch->id,
        .stored = stored,
        .stored_totals = stored ? base[stored].totals : (BatchCounts){0},
        .last = epoch->kept,
        .last_totals = base[epoch->kept].totals,
        .bytes = base[epoch->kept].bytes_to - (stored ? base[stored].bytes_to : 0),
    };
    if (delivery_sender_restore(probe->sender, &former))
        SIM_FAIL(sim, "restore failed");
}

/** sim_lose_power() - what was written last is gone, though some of it may have been sent */
static void sim_lose_power(Sim *sim, SimProbe *probe) {
    if (!probe->begun)
        return;
    TruthEpoch *epoch = &probe->epochs[probe->n_epochs - 1];
    for (uint64_t n = sim_below(sim, 60); n && epoch->kept > epoch->released; n--) {
        Truth *truth = &probe->truth[epoch->start + --epoch->kept];
        truth->lost = true;
        probe->spooled_bytes -= truth->dropped ? 0 : truth->bytes;
    }
}

static void sim_start_probe(Sim *sim, SimProbe *probe) {
    const DeliveryOwner owner = {.userdata = probe, .load = sim_load, .release = sim_release};
    probe->sender = delivery_sender_free(probe->sender);
    if (delivery_sender_new(&probe->sender, &owner))
        abort();
    if (sim->plan.keys) /* its key was deleted; the spool was not */
        memset(probe->key.z85 + 1, 'a' + (int)sim_below(sim, SIM_KEYS), 39);
    if (sim->plan.power && sim_below(sim, 2))
        sim_lose_power(sim, probe);
    for (size_t i = 0; i < probe->n_epochs; i++)
        sim_restore_epoch(sim, probe, &probe->epochs[i]);
    probe->begun = false;
}

static void sim_drop(SimProbe *probe, size_t i) {
    size_t k = probe->n_epochs;
    while (probe->epochs[--k].start > i)
        ;
    const TruthEpoch *epoch = &probe->epochs[k];
    Truth *truth = &probe->truth[i];
    truth->dropped = true;
    probe->spooled_bytes -= truth->bytes;
    delivery_sender_drop(probe->sender, &epoch->id, i - epoch->start + 1, &truth->totals,
                         truth->bytes);
}

static void sim_append(Sim *sim, SimProbe *probe) {
    if (!probe->begun || delivery_sender_wants_epoch(probe->sender)) {
        EpochId fresh = sim_epoch_id(sim);
        sim_open_epoch(probe, &fresh);
        probe->begun = true;
    }
    TruthEpoch *epoch = &probe->epochs[probe->n_epochs - 1];
    probe->truth = sim_grow(probe->truth, probe->n_truth, &probe->capacity, sizeof(Truth));
    const Truth *before = epoch->n ? &probe->truth[probe->n_truth - 1] : &(Truth){0};
    uint64_t r = sim_random(sim);
    BatchCounts counts = {1 + r % 2000, 1 + (r >> 11) % 20000, 1 + (r >> 24) % 20000000};
    uint32_t bytes = (r >> 60) == 0 ? BATCH_PAYLOAD_MAX_BYTES : 200 + (uint32_t)((r >> 48) % 4096);
    DeliveryBatch batch = {.epoch = epoch->id,
                           .first = epoch->n + 1,
                           .last = epoch->n + 1,
                           .bytes = bytes,
                           .counts = counts,
                           .totals = batch_counts_add(before->totals, counts)};
    probe->truth[probe->n_truth++] =
        (Truth){.totals = batch.totals, .bytes_to = before->bytes_to + bytes, .bytes = bytes};
    epoch->kept = ++epoch->n;
    sim->appended++;
    probe->spooled_bytes += bytes;
    if (delivery_sender_append(probe->sender, &batch, sim->now_ms))
        SIM_FAIL(sim, "append failed");
    uint64_t limit = sim->plan.limited ? 4u << 20 : UINT64_MAX;
    while (probe->spooled_bytes > limit) {
        const Truth *truth = &probe->truth[probe->oldest++];
        if (!truth->released && !truth->dropped && !truth->lost)
            sim_drop(probe, probe->oldest - 1);
    }
}
