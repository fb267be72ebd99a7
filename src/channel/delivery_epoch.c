/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/delivery_epoch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "channel/ring.h"

Entry *epoch_entry(const SenderEpoch *epoch, size_t i) {
    return &epoch->ring[(epoch->head + i) & (epoch->capacity - 1)];
}

int epoch_push(SenderEpoch *epoch, const Entry *entry) {
    int r = ring_grow(&epoch->ring, &epoch->head, epoch->n, &epoch->capacity, sizeof(*entry), 16);
    if (r)
        return error_trace(r);
    epoch->n++;
    *epoch_entry(epoch, epoch->n - 1) = *entry;
    return 0;
}

size_t epoch_find(const SenderEpoch *epoch, uint64_t sequence) {
    size_t low = 0;
    size_t high = epoch->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (epoch_entry(epoch, middle)->last < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int epoch_list_insert(EpochList *list, size_t i, const SenderEpoch *epoch) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        SenderEpoch *at = realloc(list->at, capacity * sizeof(*at));
        if (!at)
            return error_origin(-ENOMEM);
        list->at = at;
        list->capacity = capacity;
    }
    memmove(&list->at[i + 1], &list->at[i], (list->n - i) * sizeof(*list->at));
    list->at[i] = *epoch;
    list->n++;
    return 0;
}

SenderEpoch *epoch_list_find(const EpochList *list, const EpochId *id) {
    for (size_t i = list->n; i-- > 0;)
        if (epoch_equal(&list->at[i].id, id))
            return &list->at[i];
    return NULL;
}

void epoch_list_free(EpochList *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->at[i].ring);
    free(list->at);
}

void epoch_uncharge(SenderEpoch *epoch, Entry *entry) {
    epoch->in_flight -= entry->charged;
    entry->charged = 0;
}

void epoch_go_back(SenderEpoch *epoch, uint64_t received) {
    for (size_t i = epoch_find(epoch, epoch->received + 1); i < epoch->n; i++) {
        Entry *entry = epoch_entry(epoch, i);
        if (entry->first >= epoch->next)
            break;
        epoch_uncharge(epoch, entry);
    }
    epoch->received = received < epoch->last ? received : epoch->last;
    epoch->next = epoch->received + 1;
}

void epoch_move_window(SenderEpoch *epoch, uint64_t received) {
    if (received > epoch->last)
        received = epoch->last;
    if (received <= epoch->received)
        return;
    for (size_t i = epoch_find(epoch, epoch->received + 1); i < epoch->n; i++) {
        Entry *entry = epoch_entry(epoch, i);
        if (entry->last > received)
            break;
        epoch_uncharge(epoch, entry);
    }
    epoch->received = received;
    if (epoch->next <= received)
        epoch->next = received + 1;
}

void epoch_item(const SenderEpoch *epoch, DeliveryItem *item) {
    DeliveryBatch batch = {.epoch = epoch->id, .first = epoch->next, .gap = true};
    *item = (DeliveryItem){.kind = DELIVERY_ITEM_GAP};
    if (epoch->next <= epoch->base) { /* the hub's store went back behind what it had stored */
        batch.last = epoch->base;
        batch.totals = epoch->base_totals;
        item->batch = batch;
        return;
    }
    size_t i = epoch_find(epoch, epoch->next);
    const Entry *entry = epoch_entry(epoch, i);
    if (!entry->gone) {
        batch.gap = false;
        batch.bytes = entry->bytes;
        batch.counts = entry->counts;
        item->kind = DELIVERY_ITEM_BATCH;
    }
    while (entry->gone && i + 1 < epoch->n && epoch_entry(epoch, i + 1)->gone)
        entry = epoch_entry(epoch, ++i);
    batch.last = entry->last;
    batch.totals = entry->totals;
    item->batch = batch;
}
