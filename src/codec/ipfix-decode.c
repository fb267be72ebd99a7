/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/ipfix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/hash.h"
#include "codec/ipfix-plan.h"
#include "codec/ipfix-wire.h"
#include "flow/record.h"

enum {
    SLOTS = 2 * IPFIX_TEMPLATES_MAX, /* of an open-addressed table that never fills */
    BOOTS = 16,                      /* domains whose start is known */
};

typedef struct Slot {
    uint32_t domain;
    uint16_t id; /* 0: free */
    bool options;
    uint64_t message;    /* the last one that carried the definition */
    uint8_t *definition; /* as on the wire: the same again need not be compiled again */
    size_t definition_bytes;
    IpfixPlan plan; /* no ops: withdrawn */
} Slot;

/* when the exporter of a domain started */
typedef struct Boot {
    uint32_t domain;
    uint64_t ms;
} Boot;

struct IpfixDecoder {
    Slot *slots;
    Boot boots[BOOTS]; /* the latest first */
    size_t n;
    bool alone;
    uint64_t message;                        /* the number of the one being read */
    IpfixElement elements[IPFIX_FIELDS_MAX]; /* of the template being read */
};

/* What is known while a message is read. */
typedef struct Message {
    IpfixDecoder *decoder;
    FlowBatch *out;
    IpfixCounts *counts;
    uint32_t domain;
    const uint8_t *bytes;
    size_t size;
    IpfixReading reading;
    bool withdrawn[2]; /* all templates, all options templates: at most once a message */
    int answer;
} Message;

const char *ipfix_malformed_name(IpfixMalformed reason) {
    static const char *const names[_IPFIX_MALFORMED_N] = {
        [IPFIX_MALFORMED_HEADER] = "header",     [IPFIX_MALFORMED_VERSION] = "version",
        [IPFIX_MALFORMED_LENGTH] = "length",     [IPFIX_MALFORMED_SET] = "set",
        [IPFIX_MALFORMED_TEMPLATE] = "template", [IPFIX_MALFORMED_LIMIT] = "template_limit",
        [IPFIX_MALFORMED_RECORD] = "record",
    };
    return reason < _IPFIX_MALFORMED_N ? names[reason] : NULL;
}

/* --- templates --- */

int ipfix_decoder_new(IpfixDecoder **decoderp) {
    cleanup(ipfix_decoder_freep) IpfixDecoder *decoder = calloc(1, sizeof(*decoder));
    if (!decoder)
        return error_origin(-ENOMEM);
    decoder->slots = calloc(SLOTS, sizeof(*decoder->slots));
    if (!decoder->slots)
        return error_origin(-ENOMEM);
    *decoderp = decoder;
    decoder = NULL;
    return 0;
}

static void slot_clear(Slot *slot) {
    free(slot->definition);
    ipfix_plan_deinit(&slot->plan);
    *slot = (Slot){0};
}

void ipfix_decoder_forget(IpfixDecoder *decoder) {
    for (size_t i = 0; decoder->n && i < SLOTS; i++)
        slot_clear(&decoder->slots[i]);
    decoder->n = 0;
}

IpfixDecoder *ipfix_decoder_free(IpfixDecoder *decoder) {
    if (!decoder)
        return NULL;
    if (decoder->slots)
        ipfix_decoder_forget(decoder);
    free(decoder->slots);
    free(decoder);
    return NULL;
}

void ipfix_decoder_alone(IpfixDecoder *decoder, bool alone) {
    decoder->alone = alone;
}

/* the slot of a template, or the free one where it would go */
static Slot *slot_find(const IpfixDecoder *decoder, uint32_t domain, uint16_t id) {
    uint64_t h = hash_u64(((uint64_t)domain << 16) | id, 0);
    for (size_t i = h % SLOTS;; i = (i + 1) % SLOTS) {
        Slot *slot = &decoder->slots[i];
        if (slot->id == 0 || (slot->id == id && slot->domain == domain))
            return slot;
    }
}

static void malformed(Message *m, IpfixMalformed reason) {
    m->counts->malformed[reason]++;
    m->answer = IPFIX_E_MALFORMED;
}

/* sections 8.1: one template, or with the id of the set all of its kind in the domain */
static void withdraw(Message *m, uint16_t id, bool options) {
    m->counts->templates++;
    if (id >= IPFIX_SET_DATA) {
        Slot *slot = slot_find(m->decoder, m->domain, id);
        ipfix_plan_deinit(&slot->plan);
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        Slot *slot = &m->decoder->slots[i];
        if (slot->id && slot->domain == m->domain && slot->options == options)
            ipfix_plan_deinit(&slot->plan);
    }
}

static int slot_define(Message *m, Slot *slot, const uint8_t *definition, size_t definition_bytes,
                       size_t n, bool options) {
    uint8_t *kept = malloc(definition_bytes);
    if (!kept)
        return error_origin(-ENOMEM);
    memcpy(kept, definition, definition_bytes);
    IpfixPlan plan = {0};
    int r = ipfix_plan_make(&plan, m->decoder->elements, n, options);
    if (r) {
        free(kept);
        return error_trace(r);
    }
    if (slot->id == 0)
        m->decoder->n++;
    free(slot->definition);
    ipfix_plan_deinit(&slot->plan);
    slot->definition = kept;
    slot->definition_bytes = definition_bytes;
    slot->plan = plan;
    slot->options = options;
    return 0;
}

static IpfixElement read_element(Cursor *c) {
    IpfixElement e = {.element = cursor_u16(c), .length = cursor_u16(c)};
    if (e.element & IPFIX_ENTERPRISE_BIT) {
        e.element &= (uint16_t)~IPFIX_ENTERPRISE_BIT;
        e.pen = cursor_u32(c);
    }
    return e;
}

static void read_withdrawal(Message *m, Cursor *c, uint16_t id, bool options) {
    bool all = id == (options ? IPFIX_SET_OPTIONS : IPFIX_SET_TEMPLATE);
    if ((!all && id < IPFIX_SET_DATA) || (all && m->withdrawn[options])) {
        malformed(m, IPFIX_MALFORMED_TEMPLATE);
        c->failed = true;
        return;
    }
    m->withdrawn[options] |= all;
    withdraw(m, id, options);
}

/* the fields into decoder->elements; false when they are no template */
static bool read_elements(Message *m, Cursor *c, size_t n) {
    size_t record_bytes = 0;
    for (size_t i = 0; i < n && !c->failed; i++) {
        IpfixElement e = read_element(c);
        if (i < IPFIX_FIELDS_MAX)
            m->decoder->elements[i] = e;
        record_bytes += e.length == IPFIX_VARIABLE ? 1 : e.length;
    }
    return !c->failed && record_bytes > 0 && record_bytes <= UINT16_MAX;
}

static int keep_template(Message *m, uint16_t id, const uint8_t *definition,
                         size_t definition_bytes, size_t n, bool options) {
    Slot *slot = slot_find(m->decoder, m->domain, id);
    if (n > IPFIX_FIELDS_MAX || (slot->id == 0 && m->decoder->n == IPFIX_TEMPLATES_MAX)) {
        malformed(m, IPFIX_MALFORMED_LIMIT);
        return 0;
    }
    if (!slot->plan.ops || slot->options != options || slot->definition_bytes != definition_bytes ||
        memcmp(slot->definition, definition, definition_bytes) != 0) {
        int r = slot_define(m, slot, definition, definition_bytes, n, options);
        if (r)
            return error_trace(r);
    }
    slot->id = id;
    slot->domain = m->domain;
    slot->message = m->decoder->message;
    return 0;
}

/* one definition; a fault ends its set, for where the next one begins is not known */
static int read_template(Message *m, Cursor *c, bool options) {
    uint16_t id = cursor_u16(c);
    uint16_t n = cursor_u16(c);
    if (n == 0) {
        read_withdrawal(m, c, id, options);
        return 0;
    }
    uint16_t scopes = options ? cursor_u16(c) : 0;
    const uint8_t *definition = c->at;
    if (!read_elements(m, c, n) || id < IPFIX_SET_DATA || scopes > n || (options && scopes == 0)) {
        malformed(m, IPFIX_MALFORMED_TEMPLATE);
        c->failed = true;
        return 0;
    }
    m->counts->templates++;
    return error_trace(keep_template(m, id, definition, (size_t)(c->at - definition), n, options));
}

static int read_templates(Message *m, Cursor c, bool options) {
    /* less than a template header is padding */
    while (cursor_left(&c) >= 4) {
        int r = read_template(m, &c, options);
        if (r)
            return error_trace(r);
    }
    return 0;
}

/* --- data --- */

static uint64_t boot_of(const IpfixDecoder *decoder, uint32_t domain) {
    for (size_t i = 0; i < BOOTS; i++)
        if (decoder->boots[i].ms && decoder->boots[i].domain == domain)
            return decoder->boots[i].ms;
    return 0;
}

static void boot_learn(IpfixDecoder *decoder, uint32_t domain, uint64_t ms) {
    size_t i = 0;
    while (i < BOOTS - 1 && decoder->boots[i].ms && decoder->boots[i].domain != domain)
        i++;
    memmove(decoder->boots + 1, decoder->boots, i * sizeof(*decoder->boots));
    decoder->boots[0] = (Boot){.domain = domain, .ms = ms};
}

static void read_options_record(Message *m, const IpfixPlan *plan, Cursor *c) {
    IpfixOptions options = {0};
    if (!ipfix_plan_read(plan, c, &options, &m->reading)) {
        malformed(m, IPFIX_MALFORMED_RECORD);
        return;
    }
    m->counts->options++;
    if (options.boot_ms) {
        boot_learn(m->decoder, m->domain, options.boot_ms);
        m->reading.boot_ms = options.boot_ms;
    }
    if (plan->has_gap) {
        m->counts->gaps++;
        m->counts->lost_flows += options.lost_flows;
        m->counts->lost_packets += options.lost_packets;
        m->counts->lost_octets += options.lost_octets;
    }
}

/* texts outlive the message: one copy of all of it, the first time a set has any */
static int keep_texts(Message *m) {
    if (m->reading.texts)
        return 0;
    char *texts = arena_alloc(m->out->texts, m->size);
    if (!texts)
        return error_origin(-ENOMEM);
    memcpy(texts, m->bytes, m->size);
    m->reading.texts = texts;
    return 0;
}

static int read_data(Message *m, Cursor c, uint16_t id) {
    const Slot *slot = slot_find(m->decoder, m->domain, id);
    if (!slot->plan.ops || (m->decoder->alone && slot->message != m->decoder->message)) {
        m->counts->no_template_sets++;
        if (!m->answer)
            m->answer = IPFIX_E_NO_TEMPLATE;
        return 0;
    }
    const IpfixPlan *plan = &slot->plan;
    if (plan->has_texts) {
        int r = keep_texts(m);
        if (r)
            return error_trace(r);
    }
    m->reading.own_boot_ms = 0;
    /* less than a record is padding */
    while (cursor_left(&c) >= plan->record_bytes) {
        if (plan->options) {
            read_options_record(m, plan, &c);
            continue;
        }
        FlowRecord *record = flow_batch_add(m->out);
        if (!record)
            return error_origin(-ENOMEM);
        if (!ipfix_plan_read(plan, &c, record, &m->reading)) {
            m->out->n--;
            malformed(m, IPFIX_MALFORMED_RECORD);
        }
    }
    return 0;
}

static int read_set(Message *m, Cursor *c) {
    uint16_t id = cursor_u16(c);
    uint16_t length = cursor_u16(c);
    Cursor set = length < IPFIX_SET_HEADER_BYTES
                     ? (Cursor){.failed = true}
                     : cursor_sub(c, length - (size_t)IPFIX_SET_HEADER_BYTES);
    if (set.failed) {
        malformed(m, IPFIX_MALFORMED_SET);
        c->failed = true;
        return 0;
    }
    if (id == IPFIX_SET_TEMPLATE || id == IPFIX_SET_OPTIONS)
        return read_templates(m, set, id == IPFIX_SET_OPTIONS);
    if (id >= IPFIX_SET_DATA)
        return read_data(m, set, id);
    malformed(m, IPFIX_MALFORMED_SET);
    return 0;
}

static int decode(IpfixDecoder *decoder, const uint8_t *bytes, size_t size, FlowBatch *out,
                  IpfixCounts *counts, const char *texts) {
    Message m = {.decoder = decoder, .out = out, .counts = counts, .bytes = bytes, .size = size};
    Cursor c = cursor_make(bytes, size);
    uint16_t version = cursor_u16(&c);
    uint16_t length = cursor_u16(&c);
    uint32_t export_s = cursor_u32(&c);
    (void)cursor_u32(&c); /* sequence */
    m.domain = cursor_u32(&c);
    if (c.failed)
        malformed(&m, IPFIX_MALFORMED_HEADER);
    else if (version != IPFIX_VERSION)
        malformed(&m, IPFIX_MALFORMED_VERSION);
    else if (length != size)
        malformed(&m, IPFIX_MALFORMED_LENGTH);
    if (m.answer)
        return m.answer;

    counts->messages++;
    decoder->message++;
    /* templates of other messages are then kept only to save work */
    if (decoder->alone && decoder->n > IPFIX_TEMPLATES_MAX / 2)
        ipfix_decoder_forget(decoder);
    m.reading =
        (IpfixReading){.export_ms = (uint64_t)export_s * 1000, .from = bytes, .texts = texts};
    m.reading.boot_ms = boot_of(decoder, m.domain);
    size_t before = out->n;
    while (cursor_left(&c) > 0) {
        int r = read_set(&m, &c);
        if (r)
            return error_trace(r);
    }
    counts->flows += out->n - before;
    for (size_t i = before; i < out->n; i++) {
        counts->packets += out->records[i].packets + out->records[i].rev_packets;
        counts->octets += out->records[i].octets + out->records[i].rev_octets;
    }
    return m.answer;
}

int ipfix_decode(IpfixDecoder *decoder, const uint8_t *bytes, size_t size, FlowBatch *out,
                 IpfixCounts *counts) {
    return decode(decoder, bytes, size, out, counts, NULL);
}

int ipfix_decode_in_place(IpfixDecoder *decoder, const uint8_t *bytes, size_t size, FlowBatch *out,
                          IpfixCounts *counts) {
    return decode(decoder, bytes, size, out, counts, (const char *)bytes);
}
