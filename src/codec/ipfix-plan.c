/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/ipfix-plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "codec/ipfix-value.h"
#include "codec/ipfix-wire.h"
#include "flow/field.h"

typedef enum OpCode {
    OP_RUN,      /* take `bytes` off the cursor: what the ops after it read */
    OP_VAR_TEXT, /* a text with its length before it */
    OP_VAR_SKIP, /* the same, unknown or useless */
    OP_8_TO_8,   /* bits on the wire to bits of the member */
    OP_16_TO_16,
    OP_32_TO_32,
    OP_64_TO_64,
    OP_8_TO_64,
    OP_16_TO_64,
    OP_32_TO_64,
    OP_NUMBER, /* any other pair of widths */
    OP_IPV4,
    OP_IPV6,
    OP_MAPPED, /* an address of either family in 16 bytes */
    OP_MAC,
    OP_TEXT, /* of fixed length, NULs at its end left off */
    OP_SECONDS,
    OP_NTP,       /* 64 bits since 1900, half of them fraction (section 6.1.9) */
    OP_BEFORE_US, /* microseconds before the export time */
    OP_DURATION,
    OP_UPTIME,    /* milliseconds since the exporter started */
    OP_BOOT,      /* when that was */
    OP_TYPE_CODE, /* ICMP type * 256 + code */
} OpCode;

typedef struct IpfixOp {
    uint8_t code;
    uint8_t size; /* of the member */
    uint16_t bytes;
    uint16_t from; /* in the run */
    uint16_t to;   /* in the record */
} IpfixOp;

/* Where an element goes. The lowest rank wins among those of one member. */
typedef struct Source {
    uint32_t pen;
    uint16_t element;
    uint8_t code;
    uint8_t rank;
    uint8_t size;
    uint16_t to;
} Source;

/* --- what is known --- */

#define MEMBER(m) .to = offsetof(FlowRecord, m), .size = sizeof(((FlowRecord *)NULL)->m)
#define OPTION(m) .to = offsetof(IpfixOptions, m), .size = sizeof(((IpfixOptions *)NULL)->m)

/* Equivalents of the rows' own elements, as exporters use them. */
static const Source equivalents[] = {
    {.element = 85, .rank = 1, .code = OP_NUMBER, MEMBER(octets)},   /* octetTotalCount */
    {.element = 86, .rank = 1, .code = OP_NUMBER, MEMBER(packets)},  /* packetTotalCount */
    {.element = 231, .rank = 2, .code = OP_NUMBER, MEMBER(octets)},  /* initiatorOctets */
    {.element = 298, .rank = 2, .code = OP_NUMBER, MEMBER(packets)}, /* initiatorPackets */
    {.element = 23, .rank = 3, .code = OP_NUMBER, MEMBER(octets)},   /* postOctetDeltaCount */
    {.element = 24, .rank = 3, .code = OP_NUMBER, MEMBER(packets)},  /* postPacketDeltaCount */
    {.pen = 29305, .element = 85, .rank = 1, .code = OP_NUMBER, MEMBER(rev_octets)},
    {.pen = 29305, .element = 86, .rank = 1, .code = OP_NUMBER, MEMBER(rev_packets)},
    {.element = 232, .rank = 2, .code = OP_NUMBER, MEMBER(rev_octets)},   /* responderOctets */
    {.element = 299, .rank = 2, .code = OP_NUMBER, MEMBER(rev_packets)},  /* responderPackets */
    {.element = 243, .rank = 1, .code = OP_NUMBER, MEMBER(vlan)},         /* dot1qVlanId */
    {.element = 32, .rank = 1, .code = OP_TYPE_CODE, MEMBER(icmp_type)},  /* icmpTypeCodeIPv4 */
    {.element = 139, .rank = 1, .code = OP_TYPE_CODE, MEMBER(icmp_type)}, /* icmpTypeCodeIPv6 */
    {.element = 150, .rank = 1, .code = OP_SECONDS, MEMBER(first_ms)},
    {.element = 151, .rank = 1, .code = OP_SECONDS, MEMBER(last_ms)},
    {.element = 154, .rank = 2, .code = OP_NTP, MEMBER(first_ms)}, /* microseconds */
    {.element = 155, .rank = 2, .code = OP_NTP, MEMBER(last_ms)},
    {.element = 156, .rank = 3, .code = OP_NTP, MEMBER(first_ms)}, /* nanoseconds */
    {.element = 157, .rank = 3, .code = OP_NTP, MEMBER(last_ms)},
    {.element = 158, .rank = 4, .code = OP_BEFORE_US, MEMBER(first_ms)},
    {.element = 159, .rank = 4, .code = OP_BEFORE_US, MEMBER(last_ms)},
    {.element = IPFIX_FLOW_DURATION_MS, .rank = 5, .code = OP_DURATION, MEMBER(last_ms)},
    {.element = 22, .rank = 6, .code = OP_UPTIME, MEMBER(first_ms)}, /* flowStartSysUpTime */
    {.element = 21, .rank = 6, .code = OP_UPTIME, MEMBER(last_ms)},  /* flowEndSysUpTime */
    {.element = IPFIX_SYSTEM_INIT_MS, .code = OP_BOOT, .to = sizeof(FlowRecord), .size = 8},
};

static const Source options_sources[] = {
    {.element = IPFIX_EXPORTING_PROCESS_ID, .code = OP_NUMBER, OPTION(process_id)},
    {.element = IPFIX_NOT_SENT_FLOWS, .code = OP_NUMBER, OPTION(lost_flows)},
    {.element = IPFIX_NOT_SENT_PACKETS, .code = OP_NUMBER, OPTION(lost_packets)},
    {.element = IPFIX_NOT_SENT_OCTETS, .code = OP_NUMBER, OPTION(lost_octets)},
    {.element = IPFIX_SYSTEM_INIT_MS, .code = OP_NUMBER, OPTION(boot_ms)},
};

static OpCode code_of(const FlowField *field, bool v6) {
    switch (field->kind) {
    case FLOW_KIND_ADDRESS:
        return !field->element_v6 ? OP_MAPPED : v6 ? OP_IPV6 : OP_IPV4;
    case FLOW_KIND_MAC:
        return OP_MAC;
    case FLOW_KIND_TEXT:
        return OP_TEXT;
    default:
        return OP_NUMBER;
    }
}

static bool source_in(const Source *rows, size_t n, const IpfixElement *e, Source *source) {
    for (size_t i = 0; i < n; i++)
        if (rows[i].element == e->element && rows[i].pen == e->pen) {
            *source = rows[i];
            return true;
        }
    return false;
}

/* Templates are few and kept, so looking through the rows is quick enough. */
static bool source_find(const IpfixElement *e, bool options, Source *source) {
    if (options)
        return source_in(options_sources, sizeof(options_sources) / sizeof(options_sources[0]), e,
                         source);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        if (field->pen != e->pen || e->element == 0)
            continue;
        bool v6 = field->element_v6 == e->element;
        if (field->element != e->element && !v6)
            continue;
        *source = (Source){.code = (uint8_t)code_of(field, v6),
                           .size = (uint8_t)field->size,
                           .to = (uint16_t)field->offset};
        return true;
    }
    return source_in(equivalents, sizeof(equivalents) / sizeof(equivalents[0]), e, source);
}

/* the op for an element of this length, OP_RUN when it cannot be read */
static OpCode code_for(const Source *source, uint16_t length) {
    static const struct {
        uint8_t code, length;
    } exact[] = {{OP_IPV4, 4},    {OP_IPV6, 16}, {OP_MAPPED, 16},   {OP_MAC, 6},
                 {OP_SECONDS, 4}, {OP_NTP, 8},   {OP_BEFORE_US, 4}, {OP_TYPE_CODE, 2}};
    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
        if (source->code == exact[i].code)
            return length == exact[i].length ? source->code : OP_RUN;
    if (source->code == OP_TEXT)
        return OP_TEXT;
    if (length == 0 || length > 8)
        return OP_RUN;
    if (source->code != OP_NUMBER)
        return source->code;

    static const struct {
        uint8_t length, size, code;
    } quick[] = {{1, 1, OP_8_TO_8},  {2, 2, OP_16_TO_16}, {4, 4, OP_32_TO_32}, {8, 8, OP_64_TO_64},
                 {1, 8, OP_8_TO_64}, {2, 8, OP_16_TO_64}, {4, 8, OP_32_TO_64}};
    for (size_t i = 0; i < sizeof(quick) / sizeof(quick[0]); i++)
        if (quick[i].length == length && quick[i].size == source->size)
            return quick[i].code;
    return OP_NUMBER;
}

/* --- making a plan --- */

typedef struct Maker {
    IpfixPlan *plan;
    IpfixOp *run;          /* the run that is growing, or NULL */
    uint8_t rank_of[1024]; /* by offset of the member: 1 + the rank taken so far */
} Maker;

_Static_assert(sizeof(FlowRecord) < sizeof(((Maker *)NULL)->rank_of), "an entry for each member");

static IpfixOp *maker_add(Maker *maker, IpfixOp op) {
    IpfixOp *at = &maker->plan->ops[maker->plan->n_ops++];
    *at = op;
    return at;
}

/* first pass: which rank wins each member */
static void maker_rank(Maker *maker, const IpfixElement *e) {
    Source source = {0};
    if (!source_find(e, maker->plan->options, &source))
        return;
    uint8_t *rank = &maker->rank_of[source.to];
    if (*rank == 0 || source.rank + 1 < *rank)
        *rank = (uint8_t)(source.rank + 1);
}

/* second pass */
static void maker_field(Maker *maker, const IpfixElement *e) {
    IpfixPlan *plan = maker->plan;
    Source source = {0};
    bool wanted =
        source_find(e, plan->options, &source) && maker->rank_of[source.to] == source.rank + 1;
    if (e->length == IPFIX_VARIABLE) {
        bool text = wanted && source.code == OP_TEXT;
        plan->has_texts |= text;
        plan->record_bytes++;
        maker->run = NULL;
        (void)maker_add(maker,
                        (IpfixOp){.code = text ? OP_VAR_TEXT : OP_VAR_SKIP, .to = source.to});
        return;
    }

    if (!maker->run)
        maker->run = maker_add(maker, (IpfixOp){.code = OP_RUN});
    uint16_t from = maker->run->bytes;
    maker->run->bytes = (uint16_t)(from + e->length);
    plan->record_bytes += e->length;
    OpCode code = wanted ? code_for(&source, e->length) : OP_RUN;
    if (code == OP_RUN)
        return;
    plan->has_texts |= code == OP_TEXT;
    plan->has_duration |= code == OP_DURATION;
    plan->first_uptime |= code == OP_UPTIME && source.to == offsetof(FlowRecord, first_ms);
    plan->last_uptime |= code == OP_UPTIME && source.to == offsetof(FlowRecord, last_ms);
    (void)maker_add(maker, (IpfixOp){.code = (uint8_t)code,
                                     .size = source.size,
                                     .bytes = e->length,
                                     .from = from,
                                     .to = source.to});
}

int ipfix_plan_make(IpfixPlan *plan, const IpfixElement *elements, size_t n, bool options) {
    IpfixPlan made = {.options = options};
    Maker maker = {.plan = &made};
    made.ops = calloc(2 * n + 1, sizeof(*made.ops)); /* a run before each op at worst */
    if (!made.ops)
        return error_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++)
        maker_rank(&maker, &elements[i]);
    for (size_t i = 0; i < n; i++)
        maker_field(&maker, &elements[i]);
    IpfixOp *ops = reallocarray(made.ops, made.n_ops, sizeof(*ops));
    if (ops)
        made.ops = ops;
    made.has_gap = options && maker.rank_of[offsetof(IpfixOptions, lost_flows)] != 0;
    *plan = made;
    return 0;
}

void ipfix_plan_deinit(IpfixPlan *plan) {
    free(plan->ops);
    *plan = (IpfixPlan){0};
}

/* --- reading --- */

/* Where a record names addresses of both families, the one that is not zero counts. */
static void store_address(NetAddress *to, uint8_t family, const uint8_t *bytes, size_t size) {
    static const uint8_t zero[16];
    if (to->family && memcmp(bytes, zero, size) == 0)
        return;
    *to = (NetAddress){.family = family};
    memcpy(to->bytes, bytes, size);
}

static FlowText text_at(const IpfixReading *reading, const uint8_t *p, size_t size) {
    if (size == 0)
        return (FlowText){0};
    return (FlowText){.text = reading->texts + (p - reading->from), .size = (uint32_t)size};
}

static void store_mapped(NetAddress *to, const uint8_t *p) {
    static const uint8_t zero[16];
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(p, prefix, sizeof(prefix)) == 0)
        *to = net_address_v4(p + 12);
    else if (memcmp(p, zero, sizeof(zero)) != 0)
        *to = net_address_v6(p);
}

/* the rarer ops */
static void read_special(const IpfixOp *op, const uint8_t *p, uint8_t *at, void *record,
                         IpfixReading *reading) {
    switch ((OpCode)op->code) {
    case OP_MAC:
        memcpy(at, p, sizeof(FlowMac));
        break;
    case OP_MAPPED:
        store_mapped((NetAddress *)(void *)at, p);
        break;
    case OP_TEXT: {
        size_t size = op->bytes;
        while (size > 0 && p[size - 1] == 0)
            size--;
        *(FlowText *)(void *)at = text_at(reading, p, size);
        break;
    }
    case OP_SECONDS:
        ipfix_store(at, 8, (uint64_t)ipfix_load_32(p) * 1000);
        break;
    case OP_NTP:
        ipfix_store(at, 8, ipfix_ntp_ms(ipfix_load_64(p)));
        break;
    case OP_BEFORE_US: {
        uint64_t ms = ipfix_load_32(p) / 1000;
        ipfix_store(at, 8, reading->export_ms > ms ? reading->export_ms - ms : 0);
        break;
    }
    case OP_BOOT:
        reading->own_boot_ms = ipfix_load(p, op->bytes);
        break;
    case OP_TYPE_CODE:
        ((FlowRecord *)record)->icmp_type = p[0];
        ((FlowRecord *)record)->icmp_code = p[1];
        break;
    default:
        ipfix_store(at, op->size, ipfix_load(p, op->bytes));
    }
}

/* an uptime as a time; the counter begins anew every 49 days */
static uint64_t uptime_ms(uint64_t uptime, const IpfixReading *reading) {
    uint64_t boot_ms = reading->own_boot_ms ? reading->own_boot_ms : reading->boot_ms;
    if (!boot_ms)
        return 0;
    uint64_t t = boot_ms + uptime;
    if (t < reading->export_ms)
        t += (reading->export_ms - t + INT32_MAX) >> 32 << 32;
    return t;
}

/* uptimes and a duration stand in their members until all of the record has been read */
static void finish_times(const IpfixPlan *plan, FlowRecord *record, IpfixReading *reading) {
    if (plan->first_uptime)
        record->first_ms = uptime_ms(record->first_ms, reading);
    if (plan->last_uptime)
        record->last_ms = uptime_ms(record->last_ms, reading);
    if (plan->has_duration)
        record->last_ms += record->first_ms;
    reading->own_boot_ms = 0;
}

bool ipfix_plan_read(const IpfixPlan *plan, Cursor *c, void *to, IpfixReading *reading) {
    static const uint8_t nothing[1];
    const uint8_t *run = nothing; /* a plan begins with a run or a variable field */
    size_t size = 0;
    const IpfixOp *end = plan->ops + plan->n_ops;
    for (const IpfixOp *op = plan->ops; op < end; op++) {
        const uint8_t *p = run + op->from;
        uint8_t *at = (uint8_t *)to + op->to;
        switch ((OpCode)op->code) {
        case OP_RUN:
            run = cursor_take(c, op->bytes);
            if (!run)
                return false;
            break;
        case OP_VAR_TEXT:
        case OP_VAR_SKIP:
            p = ipfix_take_variable(c, &size);
            if (!p)
                return false;
            if (op->code == OP_VAR_TEXT)
                *(FlowText *)(void *)at = text_at(reading, p, size);
            break;
        case OP_8_TO_8:
            *at = *p;
            break;
        case OP_16_TO_16:
            *(uint16_t *)(void *)at = ipfix_load_16(p);
            break;
        case OP_32_TO_32:
            *(uint32_t *)(void *)at = ipfix_load_32(p);
            break;
        case OP_64_TO_64:
            *(uint64_t *)(void *)at = ipfix_load_64(p);
            break;
        case OP_8_TO_64:
            *(uint64_t *)(void *)at = *p;
            break;
        case OP_16_TO_64:
            *(uint64_t *)(void *)at = ipfix_load_16(p);
            break;
        case OP_32_TO_64:
            *(uint64_t *)(void *)at = ipfix_load_32(p);
            break;
        case OP_IPV4:
            store_address((NetAddress *)(void *)at, 4, p, 4);
            break;
        case OP_IPV6:
            store_address((NetAddress *)(void *)at, 6, p, 16);
            break;
        default:
            read_special(op, p, at, to, reading);
        }
    }
    if (plan->has_duration || plan->first_uptime || plan->last_uptime)
        finish_times(plan, to, reading);
    return true;
}
