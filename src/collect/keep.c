/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is kept over a restart, big endian:
 *
 *       "weir collector" NUL, version = 1
 *       items, each begun by one byte:
 *         1 exporter: family, 16 bytes of address
 *         2 domain of it: version, id (4), last heard of (8), started (8)
 *         3 sampler of that: id (8), rate (4)
 *         4 template of it: options or not, last told (8), length (2), its record (RFC 3954
 *           sections 5.2 and 6.1, RFC 7011 sections 3.4.1 and 3.4.2)
 *         5 name of it: kind, key (8), length, text
 *       0, and CRC-32C of all before (4)
 */

#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "collect/message.h"

enum {
    ITEM_END,
    ITEM_EXPORTER,
    ITEM_DOMAIN,
    ITEM_SAMPLER,
    ITEM_TEMPLATE,
    ITEM_NAME,
    KEPT_VERSION = 1,
};

static const char magic[] = "weir collector";

/* --- writing --- */

static void keep_template(const Template *t, Buffer *to) {
    buffer_put_u8(to, ITEM_TEMPLATE);
    buffer_put_u8(to, t->options);
    buffer_put_u64(to, t->told_ms);
    buffer_put_u16(to, (uint16_t)t->definition_bytes);
    buffer_put(to, t->definition, t->definition_bytes);
}

static void keep_name(const Name *name, Buffer *to) {
    buffer_put_u8(to, ITEM_NAME);
    buffer_put_u8(to, name->kind);
    buffer_put_u64(to, name->key);
    buffer_put_u8(to, name->size);
    buffer_put(to, name->text, name->size);
}

static void keep_domain(const Domain *d, Buffer *to) {
    buffer_put_u8(to, ITEM_DOMAIN);
    buffer_put_u8(to, d->version);
    buffer_put_u32(to, d->id);
    buffer_put_u64(to, d->last_ms);
    buffer_put_u64(to, d->boot_ms);
    for (unsigned i = 0; i < d->n_samplers; i++) {
        buffer_put_u8(to, ITEM_SAMPLER);
        buffer_put_u64(to, d->samplers[i].id);
        buffer_put_u32(to, d->samplers[i].rate);
    }
    for (size_t i = 0; i < DOMAIN_BUCKETS; i++)
        for (const Template *t = d->templates[i]; t; t = t->next)
            keep_template(t, to);
    for (size_t i = 0; d->names && i < NAME_BUCKETS; i++)
        for (const Name *name = d->names[i]; name; name = name->next)
            keep_name(name, to);
}

static void keep_exporter(const Exporter *e, Buffer *to) {
    bool begun = false;
    for (const Domain *d = e->domains; d; d = d->next) {
        if (!d->n_templates && !d->n_samplers && !d->names && !d->boot_ms)
            continue;
        if (!begun) {
            buffer_put_u8(to, ITEM_EXPORTER);
            buffer_put_u8(to, e->address.family);
            buffer_put(to, e->address.bytes, sizeof(e->address.bytes));
        }
        begun = true;
        keep_domain(d, to);
    }
}

void collect_keep_begin(Buffer *to) {
    buffer_clear(to);
    buffer_put(to, magic, sizeof(magic));
    buffer_put_u8(to, KEPT_VERSION);
}

void collect_keep(const Collector *collector, Buffer *to) {
    for (size_t i = 0; i < STATE_BUCKETS; i++)
        for (const Exporter *e = collector->exporters[i]; e; e = e->next)
            if (!e->stream)
                keep_exporter(e, to);
}

void collect_keep_end(Buffer *to) {
    buffer_put_u8(to, ITEM_END);
    if (!to->failed)
        buffer_put_u32(to, crc32c(0, to->bytes, to->size));
}

uint64_t collect_changes(const Collector *collector) {
    return collector->changes;
}

/* --- reading --- */

typedef struct Recall {
    Message message; /* whose exporter and domain the items are of; NULL: of none that is taken */
    CollectSource source;
    uint64_t now_ms;
    bool (*mine)(void *userdata, const NetAddress *exporter);
    void *userdata;
} Recall;

static bool is_old(const Recall *recall, uint64_t told_ms) {
    return told_ms + COLLECT_KEPT_MS < recall->now_ms;
}

static int recall_exporter(Recall *recall, Cursor *c) {
    NetAddress address = {.family = cursor_u8(c)};
    cursor_copy(c, address.bytes, sizeof(address.bytes));
    recall->message.exporter = NULL;
    recall->message.domain = NULL;
    recall->source.address = address;
    if (c->failed || (recall->mine && !recall->mine(recall->userdata, &address)))
        return 0;
    recall->message.exporter = state_exporter(recall->message.collector, &address, 0, 0);
    return recall->message.exporter ? 0 : error_origin(-ENOMEM);
}

static void recall_domain(Recall *recall, Cursor *c) {
    Message *message = &recall->message;
    const uint8_t version = cursor_u8(c);
    const uint32_t id = cursor_u32(c);
    const uint64_t last_ms = cursor_u64(c);
    const uint64_t boot_ms = cursor_u64(c);
    message->domain = NULL;
    if (c->failed || !message->exporter || is_old(recall, last_ms))
        return;
    message->domain = state_domain(message->collector, message->exporter, version, id, 0);
    if (!message->domain)
        return;
    message->domain->boot_ms = boot_ms;
    message->domain->last_ms = last_ms;
    if (message->exporter->last_ms < last_ms)
        message->exporter->last_ms = last_ms;
}

static void recall_sampler(Recall *recall, Cursor *c) {
    const uint64_t id = cursor_u64(c);
    const uint32_t rate = cursor_u32(c);
    if (!c->failed && recall->message.domain)
        state_learn_sampler(recall->message.collector, recall->message.domain, id, rate);
}

static int recall_template(Recall *recall, Cursor *c) {
    const bool options = cursor_u8(c);
    const uint64_t told_ms = cursor_u64(c);
    const uint16_t size = cursor_u16(c);
    const uint8_t *bytes = cursor_take(c, size);
    if (!bytes || !recall->message.domain || is_old(recall, told_ms))
        return 0;
    recall->message.when.received_ms = told_ms;
    return error_trace(collect_define(&recall->message, options, bytes, size));
}

static void recall_name(Recall *recall, Cursor *c) {
    const uint8_t kind = cursor_u8(c);
    const uint64_t key = cursor_u64(c);
    const uint8_t size = cursor_u8(c);
    const uint8_t *text = cursor_take(c, size);
    const FlowText name = {.text = (const char *)text, .size = size};
    if (text && recall->message.domain && kind < _COLLECT_NAME_N)
        state_learn_name(recall->message.collector, recall->message.domain, kind, key, &name);
}

/* the bytes were written by us: what they say is right, but how much of it there is may be not */
static int recall_items(Recall *recall, Cursor *c) {
    int r = 0;
    while (r == 0 && !c->failed) {
        switch (cursor_u8(c)) {
        case ITEM_END:
            return 0;
        case ITEM_EXPORTER:
            r = recall_exporter(recall, c);
            break;
        case ITEM_DOMAIN:
            recall_domain(recall, c);
            break;
        case ITEM_SAMPLER:
            recall_sampler(recall, c);
            break;
        case ITEM_TEMPLATE:
            r = recall_template(recall, c);
            break;
        case ITEM_NAME:
            recall_name(recall, c);
            break;
        default:
            c->failed = true;
        }
    }
    return error_trace(r);
}

static bool is_whole(const uint8_t *bytes, size_t size) {
    if (size < sizeof(magic) + 6 || memcmp(bytes, magic, sizeof(magic)) != 0 ||
        bytes[sizeof(magic)] != KEPT_VERSION)
        return false;
    Cursor c = cursor_make(bytes + size - 4, 4);
    return crc32c(0, bytes, size - 4) == cursor_u32(&c);
}

int collect_recall(Collector *collector, const uint8_t *bytes, size_t size, uint64_t now_ms,
                   bool (*mine)(void *userdata, const NetAddress *exporter), void *userdata) {
    if (!is_whole(bytes, size))
        return COLLECT_E_DAMAGED;
    Recall recall = {.now_ms = now_ms, .mine = mine, .userdata = userdata};
    recall.message = (Message){.collector = collector, .source = &recall.source};
    Cursor c = cursor_make(bytes + sizeof(magic) + 1, size - sizeof(magic) - 1 - 4);
    MetricValue *templates = &collector->config.counters[COLLECT_COUNT_TEMPLATES];
    const uint64_t read = metric_get(templates); /* those are counted that come */
    const int r = recall_items(&recall, &c);
    metric_set(templates, read);
    metric_set(&collector->config.counters[COLLECT_COUNT_EXPORTERS], collector->n_exporters);
    collector->latest = NULL;
    return error_trace(r);
}
