/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/pulse.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "net/address.h"
#include "probe/dpi.h"

enum {
    MARKS_MAX = 65536,
    APPS = 1024, /* slots, powers of two */
    HOSTS = 16384,
    CONVERSATIONS = 16384,
    STEPS = 8, /* slots tried */
    TOP_APPS = 32,
    TOP_HOSTS = 20,
    TOP_CONVERSATIONS = 20,
};

/*
 * One table serves all three: a key of 40 bytes, two octet counters. A slot belongs to the second
 * whose number it carries, so nothing needs to be wiped.
 */
typedef struct PulseKey {
    uint8_t address[2][16];
    uint16_t vlan;
    uint16_t app;
    uint16_t master;
    uint8_t ip_version;
    uint8_t spare;
} PulseKey;

typedef struct PulseSlot {
    PulseKey key;
    uint64_t octets[2];
    uint64_t packets;
    uint32_t second;
    uint16_t category;
} PulseSlot;

static_assert(sizeof(PulseKey) == 40, "hashed and compared as bytes");

typedef struct PulseTable {
    PulseSlot *slots;
    uint32_t n;
} PulseTable;

struct Pulse {
    Dpi *dpi;
    uint64_t seed;
    uint32_t second;
    uint32_t marks_n;
    PulseMark marks[MARKS_MAX];
    PulseTable apps;
    PulseTable hosts;
    PulseTable conversations;
};

static int table_init(PulseTable *table, uint32_t n) {
    table->slots = calloc(n, sizeof(PulseSlot));
    table->n = n;
    return table->slots ? 0 : error_origin(-ENOMEM);
}

int pulse_new(Pulse **pulsep, Dpi *dpi, uint64_t seed) {
    cleanup(pulse_freep) Pulse *pulse = calloc(1, sizeof(*pulse));
    if (!pulse)
        return error_origin(-ENOMEM);
    pulse->dpi = dpi;
    pulse->seed = seed;
    pulse->second = 1;
    int r = table_init(&pulse->apps, APPS);
    if (r == 0)
        r = table_init(&pulse->hosts, HOSTS);
    if (r == 0)
        r = table_init(&pulse->conversations, CONVERSATIONS);
    if (r < 0)
        return error_trace(r);
    *pulsep = pulse;
    pulse = NULL;
    return 0;
}

Pulse *pulse_free(Pulse *pulse) {
    if (!pulse)
        return NULL;
    free(pulse->apps.slots);
    free(pulse->hosts.slots);
    free(pulse->conversations.slots);
    free(pulse);
    return NULL;
}

PulseMark *pulse_mark(Pulse *pulse, uint32_t *placep) {
    if (pulse->marks_n == MARKS_MAX)
        return NULL;
    *placep = pulse->marks_n++;
    return &pulse->marks[*placep];
}

PulseMark *pulse_marks(Pulse *pulse, size_t *np) {
    *np = pulse->marks_n;
    return pulse->marks;
}

/* the slot of this key, free ones taken; NULL when all that may be tried are others' */
static PulseSlot *table_slot(const Pulse *pulse, PulseTable *table, const PulseKey *key) {
    uint64_t hash = hash_bytes(key, sizeof(*key), pulse->seed);
    for (uint32_t step = 0; step < STEPS; step++) {
        PulseSlot *slot = &table->slots[(hash + step) & (table->n - 1)];
        if (slot->second != pulse->second) {
            *slot = (PulseSlot){.key = *key, .second = pulse->second};
            return slot;
        }
        if (memcmp(&slot->key, key, sizeof(*key)) == 0)
            return slot;
    }
    return NULL;
}

static void slot_add(PulseSlot *slot, uint64_t first, uint64_t second, uint64_t packets) {
    if (!slot)
        return;
    slot->octets[0] += first;
    slot->octets[1] += second;
    slot->packets += packets;
}

void pulse_add(Pulse *pulse, const PulseFlow *flow) {
    const FlowKey *key = flow->key;
    unsigned i = flow->initiator;
    const uint64_t *octets = flow->octets;
    uint64_t packets = flow->packets;

    PulseKey app = {.app = flow->app, .master = flow->master};
    PulseSlot *slot = table_slot(pulse, &pulse->apps, &app);
    slot_add(slot, octets[i], octets[!i], packets);
    if (slot)
        slot->category = flow->category;

    for (unsigned side = 0; side < 2; side++) {
        PulseKey host = {.vlan = key->vlan, .ip_version = key->ip_version};
        memcpy(host.address[0], key->address[side], 16);
        slot = table_slot(pulse, &pulse->hosts, &host);
        slot_add(slot, octets[side], octets[!side], packets);
    }

    PulseKey pair = {
        .vlan = key->vlan, .ip_version = key->ip_version, .app = flow->app, .master = flow->master};
    memcpy(pair.address[0], key->address[i], 16);
    memcpy(pair.address[1], key->address[!i], 16);
    slot = table_slot(pulse, &pulse->conversations, &pair);
    slot_add(slot, octets[i], octets[!i], packets);
}

static void table_merge(Pulse *pulse, PulseTable *table, const Pulse *from,
                        const PulseTable *other) {
    for (uint32_t i = 0; i < other->n; i++) {
        const PulseSlot *one = &other->slots[i];
        if (one->second != from->second)
            continue;
        PulseSlot *slot = table_slot(pulse, table, &one->key);
        if (!slot)
            continue;
        slot->octets[0] += one->octets[0];
        slot->octets[1] += one->octets[1];
        slot->packets += one->packets;
        slot->category = one->category;
    }
}

static void forget(Pulse *pulse) {
    pulse->marks_n = 0;
    pulse->second++;
}

void pulse_merge(Pulse *pulse, Pulse *from) {
    table_merge(pulse, &pulse->apps, from, &from->apps);
    table_merge(pulse, &pulse->hosts, from, &from->hosts);
    table_merge(pulse, &pulse->conversations, from, &from->conversations);
    forget(from);
}

/* --- writing ------------------------------------------------------------------------------ */

static uint64_t slot_weight(const PulseSlot *slot) {
    return slot->octets[0] + slot->octets[1];
}

/* the heaviest of this second, heaviest first, by insertion into a short list */
static size_t table_top(const Pulse *pulse, const PulseTable *table, const PulseSlot **top,
                        size_t max) {
    size_t n = 0;
    for (uint32_t i = 0; i < table->n; i++) {
        const PulseSlot *slot = &table->slots[i];
        if (slot->second != pulse->second)
            continue;
        if (n == max && slot_weight(slot) <= slot_weight(top[n - 1]))
            continue;
        size_t at = n < max ? n++ : n - 1;
        for (; at > 0 && slot_weight(top[at - 1]) < slot_weight(slot); at--)
            top[at] = top[at - 1];
        top[at] = slot;
    }
    return n;
}

static void write_app_name(const Pulse *pulse, const PulseSlot *slot, const char *name,
                           const char *unknown, Json *json) {
    char text[128];
    size_t n = 0;
    if (pulse->dpi && (slot->key.app || slot->key.master))
        n = dpi_app_name(pulse->dpi, slot->key.master, slot->key.app, text, sizeof(text));
    if (n)
        json_textn(json, name, text, n);
    else if (unknown)
        json_text(json, name, unknown);
}

static void write_address(const PulseSlot *slot, unsigned side, const char *name, Json *json) {
    char text[NET_ADDRESS_TEXT_MAX];
    NetAddress address = slot->key.ip_version == 4 ? net_address_v4(slot->key.address[side])
                                                   : net_address_v6(slot->key.address[side]);
    json_text(json, name, net_address_format(&address, text));
}

static void write_apps(const Pulse *pulse, Json *json) {
    const PulseSlot *top[TOP_APPS];
    size_t n = table_top(pulse, &pulse->apps, top, TOP_APPS);
    json_array_begin(json, "apps");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        write_app_name(pulse, top[i], "name", "Unknown", json);
        const char *category = pulse->dpi ? dpi_category_name(pulse->dpi, top[i]->category) : NULL;
        if (category)
            json_text(json, "category", category);
        json_u64(json, "octets", slot_weight(top[i]));
        json_u64(json, "packets", top[i]->packets);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_hosts(const Pulse *pulse, Json *json) {
    const PulseSlot *top[TOP_HOSTS];
    size_t n = table_top(pulse, &pulse->hosts, top, TOP_HOSTS);
    json_array_begin(json, "hosts");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        write_address(top[i], 0, "ip", json);
        if (top[i]->key.vlan)
            json_u64(json, "vlan", top[i]->key.vlan);
        json_u64(json, "octets_in", top[i]->octets[1]);
        json_u64(json, "octets_out", top[i]->octets[0]);
        json_u64(json, "packets", top[i]->packets);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_conversations(const Pulse *pulse, Json *json) {
    const PulseSlot *top[TOP_CONVERSATIONS];
    size_t n = table_top(pulse, &pulse->conversations, top, TOP_CONVERSATIONS);
    json_array_begin(json, "conversations");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        write_address(top[i], 0, "src_ip", json);
        write_address(top[i], 1, "dst_ip", json);
        if (top[i]->key.vlan)
            json_u64(json, "vlan", top[i]->key.vlan);
        write_app_name(pulse, top[i], "app_name", NULL, json);
        json_u64(json, "octets", top[i]->octets[0]);
        json_u64(json, "rev_octets", top[i]->octets[1]);
        json_u64(json, "packets", top[i]->packets);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_spool(const PulseTotals *totals, Json *json) {
    const SpoolStatus *spool = &totals->spool;
    json_object_begin(json, "spool");
    json_u64(json, "hubs", totals->hubs);
    json_text(json, "disk", spool_disk_word(spool->disk));
    json_u64(json, "flows", spool->held.flows);
    json_u64(json, "batches", spool->batches);
    json_u64(json, "bytes", spool->bytes);
    json_u64(json, "limit_bytes", spool->limit_bytes);
    json_u64(json, "oldest_ms", spool->oldest_ms);
    json_f64(json, "hours_left", spool->hours_left);
    json_u64(json, "flows_appended", spool->appended.flows);
    json_u64(json, "flows_dropped", spool->dropped.flows);
    json_u64(json, "batches_torn", spool->torn_batches);
    json_object_end(json);
}

static void write_collectors(const DoorsStatus *status, Json *json) {
    json_object_begin(json, "collectors");
    json_u64(json, "messages_sent", status->sum.sent_messages);
    json_u64(json, "records_sent", status->sum.sent_records);
    json_u64(json, "messages_failed", status->sum.failed_messages);
    json_u64(json, "records_failed", status->sum.failed_records);
    json_u64(json, "flows_unfit", status->unfit_flows);
    json_u64(json, "flows_withheld", status->withheld_flows);
    json_u64(json, "limit_records", status->limited ? DOORS_LIMIT_RECORDS : 0);
    json_u64(json, "records_left", status->left_records);
    json_object_end(json);
}

void pulse_write(Pulse *pulse, const PulseTotals *totals, Json *json) {
    json_object_begin(json, NULL);
    json_u64(json, "v", 1);
    json_u64(json, "time_ms", totals->time_ms);
    json_u64(json, "interval_ms", totals->interval_ms);
    json_u64(json, "packets", totals->packets);
    json_u64(json, "octets", totals->octets);
    json_u64(json, "drops", totals->drops);
    json_u64(json, "flows_active", totals->flows_active);
    json_u64(json, "flows_exported", totals->flows_exported);
    json_u64(json, "flows_waiting", totals->flows_waiting);
    json_u64(json, "flows_metered", totals->flows_metered);
    json_u64(json, "flows_export_dropped", totals->flows_export_dropped);
    write_spool(totals, json);
    json_array_begin(json, "causes");
    for (size_t i = 0; i < totals->n_causes; i++)
        json_text(json, NULL, cause_rows[totals->causes[i]].id);
    json_array_end(json);
    if (totals->configuration)
        configuration_report_write(json, "configuration", totals->configuration);
    if (totals->collectors)
        write_collectors(totals->collectors, json);
    if (totals->exporters)
        totals->exporters(totals->exporters_userdata, totals->time_ms, json);
    write_apps(pulse, json);
    write_hosts(pulse, json);
    write_conversations(pulse, json);
    json_object_end(json);
    forget(pulse);
}
