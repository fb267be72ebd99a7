/* SPDX-License-Identifier: Apache-2.0 */

/* Measures what encoding for collectors of others costs: ns of CPU a flow, a million flows each. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/netflow.h"
#include "codec/sample.h"

enum { RECORDS = 1000, ROUNDS = 1000, TIMES = 5, DATAGRAM_BYTES = 1400 };

typedef struct Case {
    const char *name;
    NetflowVersion version;
    SampleKind kind;
    const char *fields;
} Case;

typedef struct Result {
    double ns; /* a flow */
    double bytes;
    uint64_t flows, messages, records;
} Result;

static uint64_t cpu_ns(void) {
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void must(int r) {
    if (r) {
        (void)fprintf(stderr, "failed: %d\n", r);
        exit(1);
    }
}

static void end(NetflowStream *stream, NetflowMessage *message, Result *result) {
    result->records += message->records;
    result->flows += message->counts.flows;
    must(netflow_end(stream, message, 1700000000000));
    result->bytes += (double)message->bytes.size;
    result->messages++;
    netflow_clear(message);
}

static Result measure(const Case *one, const FlowRecord *records) {
    static NetflowStream stream;
    static NetflowFields fields;
    Result result = {0};
    NetflowMessage message = {0};
    NetflowShape shape = {.version = one->version, .first_template = 256};
    const NetflowRoom room = {.bytes = DATAGRAM_BYTES, .records = SIZE_MAX};
    if (one->fields) {
        Buffer absent = {0};
        Reason reason;
        must(netflow_fields_parse(&fields, one->fields, one->version, false, &absent, &reason));
        buffer_deinit(&absent);
        shape.fields = &fields;
    }
    netflow_stream_init(&stream, &shape);
    const uint64_t start = cpu_ns();
    for (int round = 0; round < ROUNDS; round++)
        for (size_t at = 0; at < RECORDS;) {
            NetflowTaken taken;
            must(netflow_add(&stream, &message, records + at, RECORDS - at, &room, 1700000000000,
                             &taken));
            at += taken.flows;
            if (taken.full)
                end(&stream, &message, &result);
        }
    end(&stream, &message, &result);
    result.ns = (double)(cpu_ns() - start) / (double)result.flows;
    netflow_message_deinit(&message);
    return result;
}

int main(void) {
    static FlowRecord records[RECORDS];
    static const Case cases[] = {
        {"v5", NETFLOW_5, SAMPLE_BIFLOW, NULL},
        {"v9", NETFLOW_9, SAMPLE_V9, NULL},
        {"v9, both directions", NETFLOW_9, SAMPLE_BIFLOW, NULL},
        {"IPFIX", NETFLOW_IPFIX, SAMPLE_BIFLOW, NULL},
        {"IPFIX, with names", NETFLOW_IPFIX, SAMPLE_ALL, NULL},
        {"v9 -T @NTOPNG@", NETFLOW_9, SAMPLE_ALL, "@NTOPNG@"},
        {"IPFIX -T @NTOPNG@", NETFLOW_IPFIX, SAMPLE_ALL, "@NTOPNG@"},
    };
    (void)printf("%-20s %8s %10s %10s %8s\n", "", "ns/flow", "ns/record", "bytes/flow", "flows");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sample sample = {.state = 42, .now_ms = 1700000000000};
        for (size_t k = 0; k < RECORDS; k++)
            records[k] = sample_realistic(&sample, cases[i].kind);
        Result best = measure(&cases[i], records);
        for (int k = 1; k < TIMES; k++) {
            const Result r = measure(&cases[i], records);
            if (r.ns < best.ns)
                best = r;
        }
        (void)printf("%-20s %8.1f %10.1f %10.1f %8llu\n", cases[i].name, best.ns,
                     best.ns * (double)best.flows / (double)best.records,
                     best.bytes / (double)best.flows, (unsigned long long)best.flows);
    }
    return 0;
}
