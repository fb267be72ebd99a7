#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An epoch as the sender sees it: a part of channel/delivery_sender.c with no decisions in it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "channel/delivery.h"

typedef struct Entry {
    uint64_t first, last; /* differ only in gaps */
    uint64_t appended_ms; /* 0: of a former run, or loaded later */
    BatchCounts counts;
    BatchCounts totals;
    uint32_t bytes;
    uint32_t charged; /* bytes it holds of the window */
    bool gone;
    bool sent;        /* by this run */
    bool sent_as_gap; /* the hub did not have it and was told of the gap */
} Entry;

typedef struct SenderEpoch {
    EpochId id;
    bool closed;
    bool former;   /* of another run */
    bool diverged; /* the hub has other batches of it, behind `common` */
    bool moved;    /* what was behind that is in another epoch now */
    bool announced;
    uint64_t last; /* appended */
    BatchCounts last_totals;
    uint64_t loaded; /* the end of the ring */
    BatchCounts loaded_totals;
    uint64_t next; /* to send */
    uint64_t received;
    uint64_t base; /* last sequence that was freed, and the totals there */
    BatchCounts base_totals;
    uint64_t confirmed; /* what the hub said last that it has stored; behind base: it went back */
    uint64_t common;    /* last place where the hub's totals were those here */
    BatchCounts common_totals;
    uint64_t bytes; /* pending */
    uint64_t in_flight;
    Entry *ring;
    size_t head, n, capacity;
} SenderEpoch;

/* a list of epochs, oldest first */
typedef struct EpochList {
    SenderEpoch *at;
    size_t n, capacity;
} EpochList;

Entry *epoch_entry(const SenderEpoch *epoch, size_t i);
int epoch_push(SenderEpoch *epoch, const Entry *entry);

/** epoch_find() - index of the first entry that ends at or behind the sequence */
size_t epoch_find(const SenderEpoch *epoch, uint64_t sequence);

/** epoch_uncharge() - the entry no longer counts as on its way */
void epoch_uncharge(SenderEpoch *epoch, Entry *entry);

/** epoch_go_back() - send again from where the hub says it stands */
void epoch_go_back(SenderEpoch *epoch, uint64_t received);
void epoch_move_window(SenderEpoch *epoch, uint64_t received);

/** epoch_item() - its next message: one batch, or all that is missing at this place. Loaded. */
void epoch_item(const SenderEpoch *epoch, DeliveryItem *item);

int epoch_list_insert(EpochList *list, size_t i, const SenderEpoch *epoch);
SenderEpoch *epoch_list_find(const EpochList *list, const EpochId *id);
void epoch_list_free(EpochList *list);
