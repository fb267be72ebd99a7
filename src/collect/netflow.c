/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NetFlow v1, v5 and v7: a header and records of one shape each, which is written down here as a
 * template.
 *
 *       0                   1                   2                   3
 *      +-------------------------------+-------------------------------+
 *      |       version = 1, 5, 7       |             count             |
 *      |                   uptime in milliseconds                      |
 *      |                      seconds since 1970                       |
 *      |                   and nanoseconds beyond                      |
 *      +---------------------- v5 and v7 ------------------------------+
 *      |                 sequence number, of flows                     |
 *      +---------------------------- v5 -------------------------------+
 *      |  engine type  |   engine id   |mode|  one of so many packets  |
 *      +---------------------------- v7 -------------------------------+
 *      |                           reserved                            |
 */

#include "base/error.h"
#include "collect/message.h"

#define PAD(bytes)                                                                                 \
    { .pen = PLAN_UNKNOWN, .length = (bytes) }
#define FIELD(number, bytes)                                                                       \
    { .element = (number), .length = (bytes) }

/* addresses, next hop, interfaces, packets, octets, first, last, ports: the first 36 bytes of all
 */
#define COMMON                                                                                     \
    FIELD(8, 4), FIELD(12, 4), FIELD(15, 4), FIELD(10, 2), FIELD(14, 2), FIELD(2, 4), FIELD(1, 4), \
        FIELD(22, 4), FIELD(21, 4), FIELD(7, 2), FIELD(11, 2)

static const PlanField fields_v1[] = {COMMON,      PAD(2),      FIELD(4, 1),
                                      FIELD(5, 1), FIELD(6, 1), PAD(11)};
static const PlanField fields_v5[] = {COMMON,       PAD(1),       FIELD(6, 1),  FIELD(4, 1),
                                      FIELD(5, 1),  FIELD(16, 2), FIELD(17, 2), FIELD(9, 1),
                                      FIELD(13, 1), PAD(2)};
static const PlanField fields_v7[] = {COMMON,       PAD(1),       FIELD(6, 1),  FIELD(4, 1),
                                      FIELD(5, 1),  FIELD(16, 2), FIELD(17, 2), FIELD(9, 1),
                                      FIELD(13, 1), PAD(6)};

enum { V5_SAMPLING_BITS = 0x3fff };

typedef struct Header {
    uint8_t version;
    uint16_t count;
    uint8_t engine_type, engine_id;
    uint16_t sampling;
} Header;

static int plan_once(Plan *plan, const PlanField *fields, size_t n) {
    return plan->ops ? 0 : plan_make(plan, fields, n, false);
}

static void complete_v5(CollectRecord *record, const Header *header) {
    record->engine_type = header->engine_type;
    record->engine_id = header->engine_id;
    collect_see(record, COLLECT_ENGINE_TYPE);
    collect_see(record, COLLECT_ENGINE_ID);
    record->flow.sampling = header->sampling;
    record->sampling_from = header->sampling ? COLLECT_RATE_HEADER : COLLECT_RATE_NONE;
    if (header->sampling)
        collect_see(record, COLLECT_SAMPLING);
    /* v5 has type and code in the port */
    const uint16_t type_code = record->flow.protocol == IP_ICMP ? record->flow.dst_port : 0;
    record->flow.icmp_type = (uint8_t)(type_code >> 8);
    record->flow.icmp_code = (uint8_t)type_code;
    if (record->flow.protocol == IP_ICMP) {
        collect_see(record, COLLECT_ICMP_TYPE);
        collect_see(record, COLLECT_ICMP_CODE);
    }
}

/* as many records as are there, whatever the count says */
static uint16_t read_records(Message *message, const Plan *plan, Cursor c, const Header *header) {
    for (uint16_t done = 0; done < header->count;) {
        size_t n = (size_t)(header->count - done);
        CollectRecord *records = message_records(message, plan, &n);
        n = plan_read(plan, &c, records, n, &message->when.clock);
        if (n == 0) {
            message_malformed(message, COLLECT_MALFORMED_RECORD);
            return done;
        }
        done = (uint16_t)(done + n);
        for (size_t i = 0; i < n; i++) {
            if (header->version == 5)
                complete_v5(&records[i], header);
            message_emit(message, &records[i], &message->when);
        }
    }
    return header->count;
}

static Header read_header(Message *message, Cursor *c) {
    Header header = {.version = (uint8_t)cursor_u16(c), .count = cursor_u16(c)};
    message->when.clock.uptime_ms = cursor_u32(c);
    message->when.clock.has_uptime = true;
    message->when.clock.export_ms = (uint64_t)cursor_u32(c) * 1000;
    message->when.clock.export_ms += cursor_u32(c) / 1000000;
    return header;
}

static int take(Message *message, int counter, Plan *plan, const PlanField *fields, size_t n) {
    Cursor c = cursor_make(message->bytes, message->size);
    Header header = read_header(message, &c);
    uint32_t sequence = 0;
    if (header.version != 1)
        sequence = cursor_u32(&c);
    if (header.version == 5) {
        header.engine_type = cursor_u8(&c);
        header.engine_id = cursor_u8(&c);
        header.sampling = cursor_u16(&c) & V5_SAMPLING_BITS;
    } else if (header.version == 7) {
        (void)cursor_u32(&c);
    }
    if (c.failed) {
        message_malformed(message, COLLECT_MALFORMED_HEADER);
        return 0;
    }
    /* engines number their flows each by itself */
    const uint32_t engine = (uint32_t)(header.engine_type << 8 | header.engine_id);
    if (!message_domain(message, header.version, engine, 0))
        return 0;
    int r = plan_once(plan, fields, n);
    if (r)
        return error_trace(r);
    collect_count(message->collector, counter, 1);
    if (header.version != 1)
        account_message(message->collector, message->domain, message->source, sequence,
                        header.count);
    const uint16_t read = read_records(message, plan, c, &header);
    if (header.version == 1)
        account_units(message->domain, message->fate, 1);
    else {
        account_units(message->domain, COLLECT_DECODED, read);
        account_units(message->domain, COLLECT_MALFORMED, (uint32_t)(header.count - read));
    }
    return 0;
}

#define N(rows) (sizeof(rows) / sizeof((rows)[0]))

int collect_netflow1(Message *message) {
    return take(message, COLLECT_COUNT_V1, &message->collector->plan_v1, fields_v1, N(fields_v1));
}

int collect_netflow5(Message *message) {
    return take(message, COLLECT_COUNT_V5, &message->collector->plan_v5, fields_v5, N(fields_v5));
}

int collect_netflow7(Message *message) {
    return take(message, COLLECT_COUNT_V7, &message->collector->plan_v7, fields_v7, N(fields_v7));
}
