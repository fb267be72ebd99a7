/* SPDX-License-Identifier: Apache-2.0 */

/* Any text as -T; what it says is a template whose records our own decoder reads. */

#include <stdlib.h>
#include <string.h>

#include "codec/ipfix.h"
#include "codec/netflow.h"
#include "codec/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const NetflowFields *fields, NetflowVersion version) {
    static NetflowStream stream;
    const NetflowShape shape = {.version = version, .first_template = 256, .fields = fields};
    const NetflowRoom room = {.bytes = 60000, .records = SIZE_MAX};
    NetflowMessage message = {0};
    NetflowTaken taken;
    Sample sample = {.state = fields->n, .now_ms = 1700000000000};
    FlowRecord record = sample_random(&sample);
    record.src_ip = sample_address(fields->n % 2, 1);
    record.dst_ip = sample_address(fields->n % 2, 2);
    record.packets = record.rev_packets = 1;
    netflow_stream_init(&stream, &shape);
    if (netflow_add(&stream, &message, &record, 1, &room, sample.now_ms, &taken) ||
        taken.records != (fields->both ? 1 : 2) || netflow_end(&stream, &message, sample.now_ms))
        abort();
    if (version == NETFLOW_IPFIX) {
        IpfixDecoder *decoder = NULL;
        FlowBatch *out = NULL;
        IpfixCounts counts = {0};
        if (ipfix_decoder_new(&decoder) || flow_batch_new(&out, 2) ||
            ipfix_decode(decoder, message.bytes.bytes, message.bytes.size, out, &counts) ||
            out->n != taken.records)
            abort();
        ipfix_decoder_free(decoder);
        flow_batch_free(out);
    }
    netflow_message_deinit(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    for (int i = 0; i < 4; i++) {
        const NetflowVersion version = i % 2 ? NETFLOW_9 : NETFLOW_IPFIX;
        NetflowFields fields;
        Buffer absent = {0};
        Reason reason = {""};
        const int r = netflow_fields_parse(&fields, text, version, i / 2, &absent, &reason);
        if (r < 0 || (r > 0 && !reason.text[0]) || (r == 0 && !fields.n))
            abort();
        if (r == 0)
            encode(&fields, version);
        buffer_deinit(&absent);
    }
    free(text);
    return 0;
}
