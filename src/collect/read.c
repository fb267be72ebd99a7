/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/cursor.h"
#include "codec/ipfix-value.h"
#include "collect/plan-inside.h"

/* A record may name addresses of both families. Of two IP layers the inner one, named last, counts;
 * else that of the family the record names, else the one that is not zero. */
static void store_address(NetAddress *to, uint8_t family, const uint8_t *bytes, size_t size,
                          const CollectRecord *record, bool two_layers) {
    static const uint8_t zero[16];
    if (to->family) {
        const bool is_zero = memcmp(bytes, zero, size) == 0;
        const uint8_t named = two_layers ? 0 : record->ip_version;
        if (named == 4 || named == 6 ? to->family == named && family != named : is_zero)
            return;
    }
    *to = (NetAddress){.family = family};
    memcpy(to->bytes, bytes, size);
}

static void store_mapped(NetAddress *to, const uint8_t *p) {
    static const uint8_t prefix[12] = {[10] = 0xff, 0xff};
    static const uint8_t none[16];
    if (memcmp(p, prefix, sizeof(prefix)) == 0)
        *to = net_address_v4(p + sizeof(prefix));
    else if (memcmp(p, none, sizeof(none)) != 0)
        *to = net_address_v6(p);
}

static void store_label(CollectList *to, const uint8_t *p) {
    if (to->n < COLLECT_LIST_MAX)
        to->values[to->n++] = (uint32_t)(p[0] << 12 | p[1] << 4 | p[2] >> 4);
}

/* a probability of sampling as a rate */
static uint64_t one_of(const uint8_t *p, size_t size) {
    double probability = 0;
    if (size == sizeof(probability)) {
        const uint64_t bits = ipfix_load_64(p);
        memcpy(&probability, &bits, sizeof(bits));
    } else {
        float small = 0;
        const uint32_t bits = ipfix_load_32(p);
        memcpy(&small, &bits, sizeof(bits));
        probability = (double)small;
    }
    return probability > 1.0 / UINT32_MAX && probability <= 1 ? (uint64_t)(1 / probability + 0.5)
                                                              : 0;
}

/* the rarer ops */
static void read_special(const PlanOp *op, const uint8_t *p, size_t size, uint8_t *at,
                         CollectRecord *record, const PlanClock *clock) {
    switch ((PlanCode)op->code) {
    case PLAN_MAC:
        memcpy(at, p, sizeof(FlowMac));
        break;
    case PLAN_MAPPED:
        store_mapped((NetAddress *)(void *)at, p);
        break;
    case PLAN_TEXT:
        /* a text of the flow that stands in a field of fixed length has zeros behind it */
        while (op->to < sizeof(FlowRecord) && size && p[size - 1] == 0)
            size--;
        *(FlowText *)(void *)at = (FlowText){.text = (const char *)p, .size = (uint32_t)size};
        break;
    case PLAN_SECONDS:
        ipfix_store(at, 8, (uint64_t)ipfix_load_32(p) * 1000);
        break;
    case PLAN_NTP:
        ipfix_store(at, 8, ipfix_ntp_ms(ipfix_load_64(p)));
        break;
    case PLAN_BEFORE_US: {
        const uint64_t ms = ipfix_load_32(p) / 1000;
        ipfix_store(at, 8, clock->export_ms > ms ? clock->export_ms - ms : 0);
        break;
    }
    case PLAN_NUMBER_ELSE: {
        const uint64_t v = ipfix_load(p, size);
        if (v)
            ipfix_store(at, op->size, v);
        break;
    }
    case PLAN_DURATION_US:
        ipfix_store(at, 8, ipfix_load(p, size) / 1000);
        break;
    case PLAN_MS_TO_US: {
        const uint64_t ms = ipfix_load(p, size);
        ipfix_store(at, op->size, ms > UINT32_MAX / 1000 ? UINT32_MAX : ms * 1000);
        break;
    }
    case PLAN_PROBABILITY:
        ipfix_store(at, 8, one_of(p, size));
        break;
    case PLAN_TYPE_CODE:
        if (p[0] == 0 && p[1] == 0) /* as it is of the other family */
            break;
        record->flow.icmp_type = p[0];
        record->flow.icmp_code = p[1];
        break;
    case PLAN_LABEL:
        store_label((CollectList *)(void *)at, p);
        break;
    default:
        ipfix_store(at, op->size, ipfix_load(p, size));
    }
}

/* --- times --- */

/* An uptime as a time, by the header's own uptime where it has one. Counters that began anew in
 * between (every 49 days) are seen to by collect_mend_times(). */
static uint64_t uptime_ms(uint64_t uptime, uint64_t boot_ms, const PlanClock *clock) {
    if (!clock->has_uptime)
        return boot_ms ? boot_ms + uptime : 0;
    const uint64_t now_ms = clock->export_ms + uptime;
    return now_ms > clock->uptime_ms ? now_ms - clock->uptime_ms : 0;
}

/* uptimes and a duration stand in their members until all of the record has been read */
static void finish_times(const Plan *plan, CollectRecord *record, const PlanClock *clock) {
    FlowRecord *flow = &record->flow;
    const uint64_t boot_ms = record->boot_ms ? record->boot_ms : clock->boot_ms;
    const bool known = clock->has_uptime || boot_ms;
    record->of_uptime = known && (plan->first_uptime || plan->last_uptime);
    if (plan->first_uptime) {
        flow->first_ms = uptime_ms(flow->first_ms, boot_ms, clock);
        if (!known)
            collect_unsee(record, COLLECT_FIRST_MS);
    }
    if (plan->last_uptime) {
        flow->last_ms = uptime_ms(flow->last_ms, boot_ms, clock);
        if (!known)
            collect_unsee(record, COLLECT_LAST_MS);
    }
    if (!plan->has_duration)
        return;
    if (collect_seen(record, COLLECT_FIRST_MS) && !collect_seen(record, COLLECT_LAST_MS)) {
        flow->last_ms = flow->first_ms + record->duration_ms;
        collect_see(record, COLLECT_LAST_MS);
    } else if (collect_seen(record, COLLECT_LAST_MS) && !collect_seen(record, COLLECT_FIRST_MS) &&
               flow->last_ms > record->duration_ms) {
        flow->first_ms = flow->last_ms - record->duration_ms;
        collect_see(record, COLLECT_FIRST_MS);
    }
}

/* --- sampling --- */

/* selectorAlgorithm (RFC 5477 section 8.2.1) says which parameters are those of the sampling: of
 * systematic ones 305 and 306, of n out of N 309 and 310, of a probability 311. Where it does not,
 * that is their order, but for n out of N, which nobody says without meaning it */
enum { SELECTOR_COUNT = 1, SELECTOR_PROBABILITY = 4 };

static void finish_sampling(CollectRecord *record) {
    const uint64_t n_of = record->sample ? record->population / record->sample : 0;
    const uint64_t count = record->interval && collect_seen(record, COLLECT_SPACE)
                               ? (record->interval + record->space) / record->interval
                               : record->interval; /* one of so many, as Cisco has it */
    const bool counts = record->selector_algorithm == SELECTOR_COUNT && count;
    uint64_t rate = n_of && !counts ? n_of : count;
    if (record->one_of && (!rate || record->selector_algorithm == SELECTOR_PROBABILITY))
        rate = record->one_of;
    if (rate == 0 || rate > UINT32_MAX)
        return;
    record->flow.sampling = (uint32_t)rate;
    collect_see(record, COLLECT_SAMPLING);
}

static void keep_unknown(CollectRecord *record, const PlanField *field, const uint8_t *p,
                         size_t size) {
    if (record->n_unknown < COLLECT_UNKNOWN_MAX)
        record->unknown[record->n_unknown++] = (CollectUnknown){
            .pen = field->pen, .element = field->element, .size = (uint16_t)size, .bytes = p};
}

static void read_one(const PlanOp *op, const uint8_t *p, size_t size, CollectRecord *record,
                     const Plan *plan, const PlanClock *clock) {
    uint8_t *at = (uint8_t *)record + op->to;
    switch ((PlanCode)op->code) {
    case PLAN_IPV4:
    case PLAN_IPV4_ONLY:
        store_address((NetAddress *)(void *)at, 4, p, 4, record, plan->two_layers);
        break;
    case PLAN_IPV6:
    case PLAN_IPV6_ONLY:
        store_address((NetAddress *)(void *)at, 6, p, 16, record, plan->two_layers);
        break;
    case PLAN_KEEP:
        keep_unknown(record, &plan->unknown[op->to], p, size);
        break;
    default:
        read_special(op, p, size, at, record, clock);
    }
}

/* --- an element of many records at a time --- */

/* to each record's member, from each record's place */
#define COLUMN(store)                                                                              \
    for (size_t i = 0; i < n; i++, p += stride, at += sizeof(CollectRecord))                       \
    store

static void read_column(const PlanOp *op, const uint8_t *p, size_t stride, CollectRecord *records,
                        size_t n, const Plan *plan, const PlanClock *clock) {
    uint8_t *at = (uint8_t *)records + op->to;
    switch ((PlanCode)op->code) {
    case PLAN_8_TO_8:
        COLUMN(*at = *p);
        break;
    case PLAN_16_TO_16:
        COLUMN(*(uint16_t *)(void *)at = ipfix_load_16(p));
        break;
    case PLAN_32_TO_32:
        COLUMN(*(uint32_t *)(void *)at = ipfix_load_32(p));
        break;
    case PLAN_64_TO_64:
        COLUMN(*(uint64_t *)(void *)at = ipfix_load_64(p));
        break;
    case PLAN_32_TO_64:
        COLUMN(*(uint64_t *)(void *)at = ipfix_load_32(p));
        break;
    case PLAN_8_TO_16:
        COLUMN(*(uint16_t *)(void *)at = *p);
        break;
    case PLAN_16_TO_32:
        COLUMN(*(uint32_t *)(void *)at = ipfix_load_16(p));
        break;
    case PLAN_IPV4_ONLY:
        COLUMN({
            *at = 4;
            memcpy(at + offsetof(NetAddress, bytes), p, 4);
        });
        break;
    case PLAN_IPV6_ONLY:
        COLUMN({
            *at = 6;
            memcpy(at + offsetof(NetAddress, bytes), p, 16);
        });
        break;
    default:
        for (size_t i = 0; i < n; i++, p += stride)
            read_one(op, p, op->bytes, &records[i], plan, clock);
    }
}

static size_t read_columns(const Plan *plan, Cursor *c, CollectRecord *records, size_t n,
                           const PlanClock *clock) {
    const size_t stride = plan->record_bytes;
    const size_t there = stride ? cursor_left(c) / stride : 0;
    n = n < there ? n : there;
    const uint8_t *run = cursor_take(c, n * stride);
    const uint8_t *next = run;
    const PlanOp *end = plan->ops + plan->n_ops;
    for (const PlanOp *op = plan->ops; run && op < end; op++) {
        if (op->code == PLAN_RUN) {
            run = next;
            next = run + op->bytes;
        } else {
            read_column(op, run + op->from, stride, records, n, plan, clock);
        }
    }
    return run ? n : 0;
}

/* --- a record at a time, for its lengths vary --- */

static bool read_record(const Plan *plan, Cursor *c, CollectRecord *record,
                        const PlanClock *clock) {
    static const uint8_t nothing[1];
    const uint8_t *run = nothing; /* a plan begins with a run of either kind */
    bool variable = false;
    size_t size = 0;
    const PlanOp *end = plan->ops + plan->n_ops;
    for (const PlanOp *op = plan->ops; op < end; op++) {
        if (op->code == PLAN_RUN || op->code == PLAN_VARIABLE_RUN) {
            variable = op->code == PLAN_VARIABLE_RUN;
            run = variable ? ipfix_take_variable(c, &size) : cursor_take(c, op->bytes);
            if (!run)
                return false;
        } else if (!variable) {
            read_column(op, run + op->from, 0, record, 1, plan, clock);
        } else if (plan_code_reads(op->code, size)) {
            read_one(op, run, size, record, plan, clock);
        }
    }
    return true;
}

static void finish(const Plan *plan, CollectRecord *record, const PlanClock *clock) {
    if (plan->first_uptime || plan->last_uptime || plan->has_duration)
        finish_times(plan, record, clock);
    if (plan->has_sampling)
        finish_sampling(record);
}

size_t plan_read(const Plan *plan, Cursor *c, CollectRecord *records, size_t n,
                 const PlanClock *clock) {
    size_t done = 0;
    if (plan->fixed)
        done = read_columns(plan, c, records, n, clock);
    else
        while (done < n && cursor_left(c) >= plan->record_bytes &&
               read_record(plan, c, &records[done], clock))
            done++;
    for (size_t i = 0; i < done; i++) {
        memcpy(records[i].seen, plan->seen, sizeof(plan->seen));
        finish(plan, &records[i], clock);
    }
    return done;
}
