/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NetFlow v9 (RFC 3954) and IPFIX (RFC 7011): messages of sets.
 *
 *       0                   1                   2                   3
 *       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *      +-------------------------------+-------------------------------+
 *      |          version = 9          |             count             |
 *      |                   uptime in milliseconds                      |
 *      |                 export time, seconds since 1970               |
 *      |                 sequence number, of datagrams                 |
 *      |                           source id                           |
 *      +-------------------------------+-------------------------------+
 *      |          version = 10         |            length             |
 *      |                 export time, seconds since 1970               |
 *      |               sequence number, of data records                |
 *      |                     observation domain id                     |
 *      +-------------------------------+-------------------------------+
 *      |            set id             |            length             |
 *
 * The count of v9 is not relied on: exporters count sets, records or templates.
 */

#include <stdlib.h>

#include "base/error.h"
#include "codec/ipfix-wire.h"
#include "collect/message.h"
#include "flow/field.h"

/* what is not here v9 has as IPFIX has it */
enum {
    FRAME_TYPE_ETHERNET = 1, /* dataLinkFrameType; 0: not said */
    V9_SET_TEMPLATE = 0,
    V9_SET_OPTIONS = 1,
};

typedef struct Sets {
    Message message;
    bool ipfix;
    uint32_t records;  /* data records read, for the sequence */
    CollectFate doubt; /* a set could not be read: how many records it had is not known */
} Sets;

static void sets_doubt(Sets *sets, CollectFate fate) {
    sets->doubt = collect_worse(sets->doubt, fate);
}

/* --- options --- */

static uint64_t interface_sampler(uint32_t index) {
    return UINT64_C(1) << 63 | index;
}

/* bytes of an applicationId as a number */
static uint64_t app_key(const FlowText *id) {
    uint64_t v = id->size;
    for (size_t i = 0; i < id->size && i < 7; i++)
        v = v << 8 | (uint8_t)id->text[i];
    return v;
}

static void learn(Message *message, const CollectRecord *record) {
    Domain *domain = message->domain;
    Collector *collector = message->collector;
    if (record->boot_ms)
        state_learn_boot(collector, domain, record->boot_ms);
    if (record->flow.sampling) {
        const bool of_interface = !collect_seen(record, COLLECT_SELECTOR) &&
                                  collect_seen(record, COLLECT_INPUT_IF) && record->flow.input_if;
        state_learn_sampler(collector, domain,
                            of_interface ? interface_sampler(record->flow.input_if)
                                         : record->selector,
                            record->flow.sampling);
    }
    const FlowText *interface = record->if_name.size ? &record->if_name : &record->if_description;
    if (interface->size && collect_seen(record, COLLECT_INPUT_IF))
        state_learn_name(collector, domain, COLLECT_NAME_INTERFACE, record->flow.input_if,
                         interface);
    if (record->vrf_name.size && collect_seen(record, COLLECT_VRF_IN))
        state_learn_name(collector, domain, COLLECT_NAME_VRF, record->flow.vrf_in,
                         &record->vrf_name);
    if (record->app_text.size && record->app_id.size)
        state_learn_name(collector, domain, COLLECT_NAME_APPLICATION, app_key(&record->app_id),
                         &record->app_text);
}

/* a name that the domain has learnt, into a field that the record does not say itself */
static void put_name(CollectRecord *record, const Domain *domain, CollectNameKind kind,
                     uint64_t key, CollectFieldId id, FlowText *to) {
    *to = state_name(domain, kind, key);
    if (!to->size && state_whole(domain))
        *to = state_name(state_whole(domain), kind, key);
    if (to->size)
        collect_see(record, id);
}

static uint32_t rate_in(const Domain *domain, const CollectRecord *record) {
    uint32_t rate = state_rate(domain, record->selector);
    if (!rate)
        rate = state_rate(domain, interface_sampler(record->flow.input_if));
    if (!rate && !collect_seen(record, COLLECT_SELECTOR) && domain->n_samplers == 1)
        rate = domain->samplers[0].rate;
    return rate;
}

/* of its own domain, or of that which speaks for all */
static uint32_t rate_of(const Domain *domain, const CollectRecord *record) {
    const Domain *whole = state_whole(domain);
    uint32_t rate = domain->n_samplers ? rate_in(domain, record) : 0;
    if (!rate && whole && whole != domain && whole->n_samplers)
        rate = rate_in(whole, record);
    return rate;
}

static void put_names(CollectRecord *record, const Domain *domain) {
    put_name(record, domain, COLLECT_NAME_INTERFACE, record->flow.input_if, COLLECT_INPUT_IF_NAME,
             &record->input_if_name);
    put_name(record, domain, COLLECT_NAME_INTERFACE, record->flow.output_if, COLLECT_OUTPUT_IF_NAME,
             &record->output_if_name);
    if (collect_seen(record, COLLECT_VRF_IN))
        put_name(record, domain, COLLECT_NAME_VRF, record->flow.vrf_in, COLLECT_VRF_IN_NAME,
                 &record->vrf_in_name);
    if (collect_seen(record, COLLECT_VRF_OUT))
        put_name(record, domain, COLLECT_NAME_VRF, record->flow.vrf_out, COLLECT_VRF_OUT_NAME,
                 &record->vrf_out_name);
    if (record->app_id.size && !record->app_name.size && !record->flow.app_name.size)
        put_name(record, domain, COLLECT_NAME_APPLICATION, app_key(&record->app_id),
                 COLLECT_APP_NAME, &record->app_name);
}

/* an application's name beside the flow, where elements of the name itself are not */
static void put_app_text(CollectRecord *record) {
    FlowText *name = &record->app_name;
    *name = record->app_text;
    while (name->size > 0 && name->text[name->size - 1] == 0)
        name->size--;
    if (name->size)
        collect_see(record, COLLECT_APP_NAME);
}

/* what a domain has told beside templates: most have told nothing */
typedef struct Told {
    bool rates, names;
} Told;

static Told told_by(const Domain *domain) {
    const Domain *whole = state_whole(domain);
    return (Told){.rates = domain->n_samplers || (whole && whole->n_samplers),
                  .names = domain->names || (whole && whole->names)};
}

static void put_rate(CollectRecord *record, const Domain *domain, Told told) {
    if (!collect_seen(record, COLLECT_SAMPLING))
        record->flow.sampling = 0;
    record->sampling_from = record->flow.sampling ? COLLECT_RATE_RECORD : COLLECT_RATE_NONE;
    if (record->flow.sampling || !told.rates)
        return;
    record->flow.sampling = rate_of(domain, record);
    if (!record->flow.sampling)
        return;
    record->sampling_from = COLLECT_RATE_OPTIONS;
    collect_see(record, COLLECT_SAMPLING);
}

static void complete(Sets *sets, CollectRecord *record, const Template *t, Told told) {
    const Domain *domain = sets->message.domain;
    record->flow.observation_domain = domain->id;
    record->template_id = t->id;
    collect_see(record, COLLECT_OBSERVATION_DOMAIN);
    collect_see(record, COLLECT_TEMPLATE_ID);
    put_rate(record, domain, told);
    put_app_text(record);
    if (told.names)
        put_names(record, domain);
}

/* --- data --- */

/* a packet sampled into a record: where it counts no octets itself, those of its frame count */
static void frame_section(CollectRecord *record, const Plan *plan) {
    FlowRecord *flow = &record->flow;
    if (!record->frame.size || record->frame_type > FRAME_TYPE_ETHERNET)
        return;
    const uint32_t wire = flow->l2_octets && flow->l2_octets <= UINT32_MAX
                              ? (uint32_t)flow->l2_octets
                              : record->frame.size;
    if (!section_read(record, (const uint8_t *)record->frame.text, record->frame.size, wire,
                      plan->frame_is_ip ? FRAME_LINK_RAW : FRAME_LINK_ETHERNET))
        return;
    record->from_frame_section = true;
    collect_see(record, COLLECT_FROM_FRAME_SECTION);
    if (!collect_seen(record, COLLECT_OCTETS)) {
        flow->octets = wire;
        collect_see(record, COLLECT_OCTETS);
    }
    if (!collect_seen(record, COLLECT_PACKETS))
        flow->packets = 1;
}

static void take_record(Sets *sets, const Template *t, CollectRecord *record,
                        const MessageClock *when, Told told) {
    Message *message = &sets->message;
    if (t->options) {
        collect_count(message->collector, COLLECT_COUNT_OPTIONS, 1);
        message->domain->options++;
        learn(message, record);
        return;
    }
    if (t->plan.has_frame)
        frame_section(record, &t->plan);
    complete(sets, record, t, told);
    message_emit(message, record, when);
}

static uint64_t boot_of(const Domain *domain) {
    const Domain *whole = state_whole(domain);
    return domain->boot_ms || !whole ? domain->boot_ms : whole->boot_ms;
}

static void read_data(Sets *sets, const Template *t, Cursor c, const MessageClock *when) {
    Message *message = &sets->message;
    const Plan *plan = &t->plan;
    PlanClock clock = when->clock;
    clock.boot_ms = boot_of(message->domain);
    const Told told = told_by(message->domain); /* flows tell nothing */
    /* less than a record is padding */
    while (cursor_left(&c) >= plan->record_bytes) {
        /* an option may change how the next record is to be read */
        size_t n = t->options ? 1 : cursor_left(&c) / plan->record_bytes;
        CollectRecord *records = message_records(message, plan, &n);
        n = plan_read(plan, &c, records, n, &clock);
        sets->records += (uint32_t)n;
        for (size_t i = 0; i < n; i++)
            take_record(sets, t, &records[i], when, told);
        clock.boot_ms = boot_of(message->domain);
        if (c.failed) {
            message_malformed(message, COLLECT_MALFORMED_RECORD);
            sets_doubt(sets, COLLECT_MALFORMED);
            return;
        }
    }
}

static void read_data_set(Sets *sets, Cursor c, uint16_t id) {
    Message *message = &sets->message;
    const Template *t = state_template(message->domain, id);
    if (t) {
        read_data(sets, t, c, &message->when);
        return;
    }
    const bool held =
        state_hold(message->collector, message->domain, id, &message->when, c.at, cursor_left(&c));
    sets_doubt(sets, held ? COLLECT_HELD : COLLECT_NO_TEMPLATE);
    if (!held)
        message->fate = collect_worse(message->fate, COLLECT_NO_TEMPLATE);
}

/* the data that waited for it */
static void read_held(Sets *sets, uint16_t id) {
    Message *message = &sets->message;
    const Template *t = state_template(message->domain, id);
    uint32_t records = sets->records; /* others were numbered by messages of their own */
    const CollectFate doubt = sets->doubt;
    CollectFate fate = message->fate;
    for (Held *held = t ? state_release(message->collector, message->domain, id) : NULL, *next;
         held; held = next) {
        next = held->next;
        collect_count(message->collector, COLLECT_COUNT_HELD_LATE, 1);
        sets->records = 0;
        message->fate = COLLECT_DECODED;
        read_data(sets, t, cursor_make(held->bytes, held->size), &held->when);
        const bool own = held->message == message->collector->message;
        if (own) {
            records += sets->records;
            fate = collect_worse(fate, message->fate);
        } else
            account_late(message->domain, held, sets->records, message->fate);
        free(held);
    }
    sets->records = records;
    sets->doubt = doubt;
    message->fate = fate;
}

/* --- templates --- */

/* v9 has no PEN: nProbe and weir put ntop's elements here, which nobody else uses */
enum { V9_NTOP = 57472, V9_NTOP_END = 58800 };

static PlanField read_field(Cursor *c, bool ipfix, bool scope) {
    PlanField f = {.element = cursor_u16(c), .length = cursor_u16(c)};
    if (ipfix && f.element & IPFIX_ENTERPRISE_BIT) {
        f.element &= (uint16_t)~IPFIX_ENTERPRISE_BIT;
        f.pen = cursor_u32(c);
    } else if (!ipfix && scope) {
        f.pen = PLAN_V9_SCOPE;
    } else if (!ipfix && f.element >= V9_NTOP && f.element < V9_NTOP_END) {
        f.element = (uint16_t)(f.element - V9_NTOP);
        f.pen = FLOW_PEN_NTOP;
    }
    return f;
}

/* the fields into collector->fields; false, counted, when they are no template */
static bool read_fields(Sets *sets, Cursor *c, size_t n, size_t scopes, uint16_t id) {
    Message *message = &sets->message;
    size_t record_bytes = 0;
    for (size_t i = 0; i < n && !c->failed; i++) {
        const PlanField f = read_field(c, sets->ipfix, i < scopes);
        if (i < PLAN_FIELDS_MAX)
            message->collector->fields[i] = f;
        record_bytes += f.length == IPFIX_VARIABLE ? 1 : f.length;
    }
    if (c->failed || id < IPFIX_SET_DATA || record_bytes == 0 || record_bytes > UINT16_MAX) {
        message_malformed(message, COLLECT_MALFORMED_TEMPLATE);
        return false;
    }
    collect_count(message->collector, COLLECT_COUNT_TEMPLATES, 1);
    if (n > PLAN_FIELDS_MAX) {
        message_malformed(message, COLLECT_MALFORMED_LIMIT);
        return false;
    }
    return true;
}

/* section 8.1: one template, or with the id of the set all of its kind in the domain */
static void read_withdrawal(Sets *sets, uint16_t id, bool options) {
    Message *message = &sets->message;
    const uint16_t all = options ? IPFIX_SET_OPTIONS : IPFIX_SET_TEMPLATE;
    if (!sets->ipfix || (id < IPFIX_SET_DATA && id != all)) {
        message_malformed(message, COLLECT_MALFORMED_TEMPLATE);
        return;
    }
    collect_count(message->collector, COLLECT_COUNT_TEMPLATES, 1);
    if (id == all)
        state_withdraw_all(message->collector, message->domain, options);
    else
        state_withdraw(message->collector, message->domain, id);
}

/* how many fields, and how many of them are scopes; v9 counts options in bytes */
static bool read_sizes(const Sets *sets, Cursor *c, bool options, size_t *np, size_t *scopesp) {
    *np = cursor_u16(c);
    *scopesp = 0;
    if (!options)
        return true;
    if (sets->ipfix) {
        if (*np)
            *scopesp = cursor_u16(c);
        return *scopesp <= *np;
    }
    *scopesp = *np / 4;
    *np = *scopesp + cursor_u16(c) / 4;
    return true;
}

/* one definition; a fault ends its set, for where the next one begins is not known */
static int read_template(Sets *sets, Cursor *c, bool options) {
    Message *message = &sets->message;
    const uint8_t *begin = c->at;
    const uint16_t id = cursor_u16(c);
    size_t n = 0;
    size_t scopes = 0;
    if (!read_sizes(sets, c, options, &n, &scopes)) {
        message_malformed(message, COLLECT_MALFORMED_TEMPLATE);
        c->failed = true;
        return 0;
    }
    if (n == 0) {
        read_withdrawal(sets, id, options);
        return 0;
    }
    if (!read_fields(sets, c, n, scopes, id)) {
        c->failed = c->failed || id < IPFIX_SET_DATA;
        return 0;
    }
    const Definition definition = {.id = id,
                                   .options = options,
                                   .bytes = begin,
                                   .size = (size_t)(c->at - begin),
                                   .n = n,
                                   .told_ms = message->when.received_ms};
    int r = state_define(message->collector, message->domain, &definition);
    if (r == 0 && message->domain->held)
        read_held(sets, id);
    return error_trace(r);
}

static int read_templates(Sets *sets, Cursor c, bool options) {
    /* less than a template header is padding, and so are zeros (v9 pads to 32 bits and more) */
    while (cursor_left(&c) >= 4) {
        const uint8_t *p = cursor_peek(&c, 4);
        if (!sets->ipfix && (p[0] | p[1] | p[2] | p[3]) == 0)
            return 0;
        int r = read_template(sets, &c, options);
        if (r)
            return error_trace(r);
    }
    return 0;
}

int collect_define(Message *message, bool options, const uint8_t *bytes, size_t size) {
    Sets sets = {.message = *message, .ipfix = message->domain->version == IPFIX_VERSION};
    return error_trace(read_templates(&sets, cursor_make(bytes, size), options));
}

/* --- messages --- */

static int read_set(Sets *sets, Cursor *c) {
    Message *message = &sets->message;
    const uint16_t id = cursor_u16(c);
    const uint16_t length = cursor_u16(c);
    Cursor set = length < IPFIX_SET_HEADER_BYTES
                     ? (Cursor){.failed = true}
                     : cursor_sub(c, length - (size_t)IPFIX_SET_HEADER_BYTES);
    if (set.failed) {
        message_malformed(message, COLLECT_MALFORMED_SET);
        sets_doubt(sets, COLLECT_MALFORMED);
        c->failed = true;
        return 0;
    }
    if (id >= IPFIX_SET_DATA) {
        read_data_set(sets, set, id);
        return 0;
    }
    const uint16_t templates = sets->ipfix ? IPFIX_SET_TEMPLATE : V9_SET_TEMPLATE;
    const uint16_t options = sets->ipfix ? IPFIX_SET_OPTIONS : V9_SET_OPTIONS;
    if (id == templates || id == options)
        return error_trace(read_templates(sets, set, id == options));
    message_malformed(message, COLLECT_MALFORMED_SET);
    return 0;
}

static int read_sets(Sets *sets, Cursor c) {
    while (cursor_left(&c) >= IPFIX_SET_HEADER_BYTES) {
        int r = read_set(sets, &c);
        if (r)
            return error_trace(r);
    }
    return 0;
}

int collect_netflow9(Message *message) {
    Cursor c = cursor_make(message->bytes, message->size);
    (void)cursor_u32(&c); /* version and count */
    message->when.clock.uptime_ms = cursor_u32(&c);
    message->when.clock.has_uptime = true;
    message->when.clock.export_ms = (uint64_t)cursor_u32(&c) * 1000;
    const uint32_t sequence = cursor_u32(&c);
    const uint32_t source_id = cursor_u32(&c);
    if (c.failed) {
        message_malformed(message, COLLECT_MALFORMED_HEADER);
        return 0;
    }
    if (!message_domain(message, 9, source_id, 0))
        return 0;
    collect_count(message->collector, COLLECT_COUNT_V9, 1);
    account_message(message->collector, message->domain, message->source, sequence, 1);
    Sets sets = {.message = *message};
    int r = read_sets(&sets, c);
    account_datagram(message->domain, sets.message.fate,
                     state_held_of(message->domain, message->collector->message));
    return error_trace(r);
}

int collect_ipfix(Message *message) {
    Cursor c = cursor_make(message->bytes, message->size);
    (void)cursor_u16(&c); /* version */
    const uint16_t length = cursor_u16(&c);
    message->when.clock.export_ms = (uint64_t)cursor_u32(&c) * 1000;
    const uint32_t sequence = cursor_u32(&c);
    const uint32_t domain_id = cursor_u32(&c);
    if (c.failed) {
        message_malformed(message, COLLECT_MALFORMED_HEADER);
        return 0;
    }
    /* what is there is read; what stands behind the message is none of it */
    if (length != message->size)
        message_malformed(message, COLLECT_MALFORMED_LENGTH);
    if (length >= (size_t)(c.at - message->bytes) && length < message->size)
        c.end = message->bytes + length;
    if (!message_domain(message, 10, domain_id, 0))
        return 0;
    collect_count(message->collector, COLLECT_COUNT_IPFIX, 1);
    account_message(message->collector, message->domain, message->source, sequence, 0);
    Sets sets = {.message = *message, .ipfix = true};
    int r = read_sets(&sets, c);
    account_records(message->collector, message->domain, sets.records, sets.doubt);
    return error_trace(r);
}
