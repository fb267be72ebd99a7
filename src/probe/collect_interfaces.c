/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_interfaces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

enum { BUCKETS = 4096 };

typedef struct Key {
    NetAddress exporter;
    uint8_t zero[3];
    uint32_t sub_agent;
    uint32_t index;
} Key;

typedef struct Row {
    struct Row *next;    /* of the same bucket */
    struct Row *waiting; /* behind it in the queue */
    Key key;
    bool queued;
    uint32_t run;
    uint64_t samples, skipped;
    uint64_t in_packets, out_packets;
    CollectInterface last;
} Row;

struct CollectInterfaces {
    uint64_t seed;
    size_t n;
    Row *buckets[BUCKETS];
    Row *first, **end; /* of those to be reported */
};

int collect_interfaces_new(CollectInterfaces **tablep, uint64_t seed) {
    CollectInterfaces *table = calloc(1, sizeof(*table));
    if (!table)
        return error_origin(-ENOMEM);
    table->seed = seed;
    table->end = &table->first;
    *tablep = table;
    return 0;
}

CollectInterfaces *collect_interfaces_free(CollectInterfaces *table) {
    for (size_t i = 0; table && i < BUCKETS; i++)
        for (Row *row = table->buckets[i], *next = NULL; row; row = next) {
            next = row->next;
            free(row);
        }
    free(table);
    return NULL;
}

static Row *find(CollectInterfaces *table, const Key *key) {
    Row **bucket = &table->buckets[hash_bytes(key, sizeof(*key), table->seed) % BUCKETS];
    Row *row = *bucket;
    while (row && memcmp(&row->key, key, sizeof(*key)) != 0)
        row = row->next;
    if (row || table->n >= COLLECT_INTERFACES_MAX)
        return row;
    row = calloc(1, sizeof(*row));
    if (!row)
        return NULL;
    row->key = *key;
    row->next = *bucket;
    *bucket = row;
    table->n++;
    return row;
}

static uint64_t grown(const uint32_t now[3], const uint32_t then[3]) {
    uint64_t sum = 0;
    for (size_t i = 0; i < 3; i++)
        sum += (uint32_t)(now[i] - then[i]);
    return sum;
}

/* octets have 64 bits: less of them than before is another start */
static void carry_on(Row *row, const CollectInterface *now) {
    const CollectInterface *then = &row->last;
    if (now->in_octets < then->in_octets || now->out_octets < then->out_octets) {
        row->run++;
        row->in_packets = row->out_packets = 0;
        return;
    }
    row->in_packets += grown(now->in_packets, then->in_packets);
    row->out_packets += grown(now->out_packets, then->out_packets);
}

bool collect_interfaces_take(CollectInterfaces *table, const CollectInterface *sample) {
    Key key;
    memset(&key, 0, sizeof(key));
    key.exporter = sample->exporter;
    key.sub_agent = sample->sub_agent;
    key.index = sample->index;
    Row *row = find(table, &key);
    if (!row)
        return false;
    if (row->samples)
        carry_on(row, sample);
    else
        row->run = (uint32_t)(sample->received_ms / 1000); /* no former run of ours had it */
    row->last = *sample;
    row->samples++;
    if (row->queued) {
        row->skipped++;
        return true;
    }
    row->queued = true;
    row->waiting = NULL;
    *table->end = row;
    table->end = &row->waiting;
    return true;
}

static void write_row(const Row *row, Json *json) {
    const CollectInterface *last = &row->last;
    char text[NET_ADDRESS_TEXT_MAX];
    const uint64_t values[] = {
        row->key.sub_agent, row->key.index,   last->received_ms,  row->run,
        row->samples,       row->skipped,     last->speed_bits,   last->status,
        last->in_octets,    row->in_packets,  last->in_discards,  last->in_errors,
        last->out_octets,   row->out_packets, last->out_discards, last->out_errors,
    };
    json_array_begin(json, NULL);
    json_text(json, NULL, net_address_format(&row->key.exporter, text));
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        json_u64(json, NULL, values[i]);
    json_array_end(json);
}

void collect_interfaces_write(CollectInterfaces *table, Json *json, size_t bytes) {
    const size_t end = json->to->size + bytes;
    while (table->first && json->to->size < end) {
        Row *row = table->first;
        write_row(row, json);
        row->queued = false;
        table->first = row->waiting;
        if (!table->first)
            table->end = &table->first;
    }
}
