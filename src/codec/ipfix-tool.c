/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For system tests: `ipfix-tool write KIND N FILE` writes N sample records as an RFC 5655 file
 * (with a gap record at its end) and prints them as JSON lines; `ipfix-tool read` takes messages
 * from stdin, each with a number of its exporter and its length before it (32 and 16 bits), and
 * prints what is in them, its counts last.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "codec/ipfix.h"
#include "codec/sample.h"
#include "flow/field.h"

enum { EXPORTERS_MAX = 64, START_S = 1700000000 };

static int print_record(const FlowRecord *record, Buffer *line) {
    buffer_clear(line);
    Json json = json_make(line);
    flow_record_write_json(record, &json);
    return puts(buffer_text(line)) < 0;
}

static int write_file(SampleKind kind, size_t n, const char *path) {
    Sample sample = {.state = 2026, .now_ms = START_S * 1000ull};
    FlowRecord *records = calloc(n, sizeof(*records));
    FILE *file = fopen(path, "wb");
    Buffer message = {0};
    Buffer line = {0};
    int failed = !records || !file;
    for (size_t i = 0; !failed && i < n; i++) {
        records[i] = sample_realistic(&sample, kind);
        failed = print_record(&records[i], &line);
    }
    for (size_t at = 0, taken = 0; !failed && at < n; at += taken) {
        failed = ipfix_encode(&message, records + at, n - at, &taken, 1, (uint32_t)at,
                              sample.now_ms) != 0;
    }
    IpfixGap gap = {.process_id = 1, .flows = 12, .packets = 345, .octets = 67890};
    if (!failed)
        failed = ipfix_encode_gap(&message, &gap, 1, (uint32_t)n, sample.now_ms) != 0 ||
                 fwrite(message.bytes, 1, message.size, file) != message.size;
    if (file && fclose(file))
        failed = 1;
    free(records);
    buffer_deinit(&message);
    buffer_deinit(&line);
    return failed;
}

static void print_counts(const IpfixCounts *counts, Buffer *line) {
    buffer_clear(line);
    Json json = json_make(line);
    json_object_begin(&json, NULL);
    json_u64(&json, "messages", counts->messages);
    json_u64(&json, "flows", counts->flows);
    json_u64(&json, "templates", counts->templates);
    json_u64(&json, "options", counts->options);
    json_u64(&json, "gaps", counts->gaps);
    json_u64(&json, "lost_flows", counts->lost_flows);
    json_u64(&json, "no_template_sets", counts->no_template_sets);
    json_object_begin(&json, "malformed");
    for (int i = 0; i < _IPFIX_MALFORMED_N; i++)
        json_u64(&json, ipfix_malformed_name((IpfixMalformed)i), counts->malformed[i]);
    json_object_end(&json);
    json_object_end(&json);
    (void)puts(buffer_text(line));
}

static int read_messages(void) {
    static IpfixDecoder *decoders[EXPORTERS_MAX];
    static uint8_t bytes[UINT16_MAX];
    cleanup(flow_batch_freep) FlowBatch *out = NULL;
    Buffer line = {0};
    IpfixCounts counts = {0};
    uint8_t head[6];
    int failed = flow_batch_new(&out, 64) != 0;
    while (!failed && fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
        size_t size = (size_t)head[4] << 8 | head[5];
        IpfixDecoder **decoder = &decoders[head[3] % EXPORTERS_MAX];
        if (fread(bytes, 1, size, stdin) != size || (!*decoder && ipfix_decoder_new(decoder)))
            failed = 1;
        else if (ipfix_decode(*decoder, bytes, size, out, &counts) < 0)
            failed = 1;
        for (size_t i = 0; !failed && i < out->n; i++)
            failed = print_record(&out->records[i], &line);
        flow_batch_clear(out);
    }
    print_counts(&counts, &line);
    buffer_deinit(&line);
    for (size_t i = 0; i < EXPORTERS_MAX; i++)
        ipfix_decoder_free(decoders[i]);
    return failed;
}

int main(int argc, char **argv) {
    static const char *const kinds[] = {"v9", "biflow", "all"};
    if (argc == 2 && strcmp(argv[1], "read") == 0)
        return read_messages();
    if (argc == 5 && strcmp(argv[1], "write") == 0)
        for (int kind = 0; kind < 3; kind++)
            if (strcmp(argv[2], kinds[kind]) == 0)
                return write_file((SampleKind)kind, strtoul(argv[3], NULL, 10), argv[4]);
    (void)fprintf(stderr, "usage: ipfix-tool read | write v9|biflow|all N FILE\n");
    return 2;
}
