/* SPDX-License-Identifier: Apache-2.0 */

/* -T: every name there is, lists by name, what is refused and how; values come out as they were */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "codec/ipfix.h"
#include "codec/netflow.h"
#include "codec/sample.h"

static int parse(NetflowFields *fields, const char *text, NetflowVersion version, Buffer *absent,
                 Reason *reason) {
    buffer_clear(absent);
    return netflow_fields_parse(fields, text, version, false, absent, reason);
}

/* each row of fields.def by its three names, alone and all of them together */
static void test_every_field(void **state) {
    (void)state;
    Buffer absent = {0};
    Buffer all = {0};
    Reason reason;
    NetflowFields fields;
    size_t n = 0;
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        const char *names[] = {field->nprobe_name, field->name};
        if (!field->element)
            continue;
        for (size_t k = 0; k < 2; k++) {
            if (!names[k][0])
                continue;
            assert_int_equal(parse(&fields, names[k], NETFLOW_IPFIX, &absent, &reason), 0);
            assert_int_equal(fields.n, 1);
            assert_int_equal(absent.size, 0);
        }
        buffer_printf(&all, " %%%s", field->name);
        n++;
    }
    assert_int_equal(parse(&fields, buffer_text(&all), NETFLOW_IPFIX, &absent, &reason), 0);
    assert_int_equal(fields.n, n);
    assert_true(fields.both);
    buffer_deinit(&all);
    buffer_deinit(&absent);
}

/* the usual fields are found by name as well: none may get lost in the table */
static void test_usual(void **state) {
    (void)state;
    NetflowFields fields;
    netflow_fields_usual(&fields, NETFLOW_9, 0);
    assert_int_equal(fields.n, 14);
    netflow_fields_usual(&fields, NETFLOW_9, NETFLOW_VARIANTS - 1);
    assert_int_equal(fields.n, 20);
    netflow_fields_usual(&fields, NETFLOW_IPFIX, 0);
    assert_int_equal(fields.n, 25);
    netflow_fields_usual(&fields, NETFLOW_IPFIX, NETFLOW_VARIANTS - 1);
    assert_int_equal(fields.n, 25 - 2 + 3 + 8 + 2);
    for (size_t i = 0; i < fields.n; i++)
        assert_true(fields.columns[i].ipfix.number);
}

static void test_lists(void **state) {
    (void)state;
    Buffer absent = {0};
    Reason reason;
    NetflowFields fields;
    const NetflowVersion versions[] = {NETFLOW_9, NETFLOW_IPFIX};
    for (size_t v = 0; v < 2; v++) {
        assert_int_equal(parse(&fields, "@NTOPNG@", versions[v], &absent, &reason), 0);
        assert_true(fields.n > 25);
        assert_true(fields.both);
        assert_int_equal(absent.size, 0); /* nobody wrote these names down */
        const size_t list = fields.n;
        assert_int_equal(parse(&fields, "\"@NTOPNG@ %IN_BYTES %UPSTREAM_TUNNEL_ID\"", versions[v],
                               &absent, &reason),
                         0);
        assert_int_equal(fields.n, list + 1);
    }
    /* both families' names are one field; spaces, commas and none between */
    assert_int_equal(parse(&fields, "%IPV4_SRC_ADDR%IPV6_SRC_ADDR,in_bytes  SRC_TO_DST_PKTS",
                           NETFLOW_9, &absent, &reason),
                     0);
    assert_int_equal(fields.n, 3);
    assert_false(fields.both);
    assert_int_equal(
        parse(&fields, "%octetDeltaCount %sourceIPv6Address", NETFLOW_IPFIX, &absent, &reason), 0);
    assert_int_equal(fields.n, 2);
    assert_int_equal(parse(&fields,
                           "%flowStartSysUpTime %ipVersion %postOctetDeltaCount "
                           "%destinationTransportPort %flowDirection %tcpControlBits",
                           NETFLOW_9, &absent, &reason),
                     0);
    assert_int_equal(fields.n, 6);
    assert_true(fields.both);
    const uint16_t types[] = {22, 60, 23, 11, 61, 6};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(fields.columns[i].v9.number, types[i]);
    buffer_deinit(&absent);
}

/* those of nProbe that nothing measures are named and left out; others are refused, with near ones
 */
static void test_refused(void **state) {
    (void)state;
    const struct {
        const char *text, *says;
        NetflowVersion version;
    } cases[] = {
        {"%IN_BYTE", "no field %IN_BYTE; near it: %IN_BYTES", NETFLOW_9},
        {"%IPV4_SRC_ADR", "near it: %IPV4_SRC_ADDR", NETFLOW_9},
        {"%NOTHING_OF_THE_KIND", "docs/collectors.md", NETFLOW_9},
        {"@PROBE@", "@NTOPNG@ is the one list", NETFLOW_9},
        {"@NTOPNG", "@NTOPNG@ is the one list", NETFLOW_9},
        {"", "names no field", NETFLOW_9},
        {"% %", "no field %", NETFLOW_9},
        {"%RTP_MOS", "names no field", NETFLOW_9},
        {"%tunnel_type", "take -V 10", NETFLOW_9},
        {"%received_ms", "no field %received_ms", NETFLOW_IPFIX},
    };
    Buffer absent = {0};
    NetflowFields fields;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Reason reason = {""};
        assert_int_equal(parse(&fields, cases[i].text, cases[i].version, &absent, &reason),
                         NETFLOW_E_USAGE);
        if (!strstr(reason.text, cases[i].says))
            fail_msg("%s: %s", cases[i].text, reason.text);
    }
    Reason reason = {""};
    assert_int_equal(parse(&fields, "%IN_BYTES %RTP_MOS %SIP_UAC", NETFLOW_9, &absent, &reason), 0);
    assert_int_equal(fields.n, 1);
    assert_string_equal(buffer_text(&absent), "%RTP_MOS, %SIP_UAC");
    buffer_deinit(&absent);
}

/* those whose own name is one of nProbe's for something else, and what no record carries as it is
 */
static bool is_special(FlowFieldId id) {
    return id == FLOW_TCP_FLAGS || id == FLOW_ICMP_TYPE || id == FLOW_ICMP_CODE;
}

static bool same_value(const FlowField *field, const FlowRecord *a, const FlowRecord *b) {
    const void *x = flow_field_at(a, field);
    const void *y = flow_field_at(b, field);
    const FlowText *s = x;
    const FlowText *t = y;
    if (field->kind == FLOW_KIND_TEXT)
        return s->size == t->size && (s->size == 0 || memcmp(s->text, t->text, s->size) == 0);
    return memcmp(x, y, field->size) == 0;
}

/* all fields of weir by -T, random in each, through our own decoder */
static void test_values(void **state) {
    (void)state;
    enum { N = 300 };
    Buffer absent = {0};
    Buffer all = {0};
    Reason reason;
    NetflowFields fields;
    NetflowStream stream;
    NetflowMessage message = {0};
    IpfixDecoder *decoder = NULL;
    FlowBatch *out = NULL;
    IpfixCounts counts = {0};
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (flow_fields[i].element && !is_special((FlowFieldId)i))
            buffer_printf(&all, " %s", flow_fields[i].name);
    assert_int_equal(parse(&fields, buffer_text(&all), NETFLOW_IPFIX, &absent, &reason), 0);
    netflow_stream_init(
        &stream,
        &(NetflowShape){.version = NETFLOW_IPFIX, .first_template = 300, .fields = &fields});
    assert_int_equal(ipfix_decoder_new(&decoder), 0);
    assert_int_equal(flow_batch_new(&out, N), 0);
    Sample sample = {.state = 3, .now_ms = 1700000000000};
    for (size_t k = 0; k < N; k++) {
        FlowRecord record = sample_random(&sample);
        const bool v6 = k % 3 == 0;
        record.src_ip = sample_address(v6, (uint32_t)k);
        record.dst_ip = sample_address(v6, (uint32_t)k + 1);
        const NetflowRoom room = {.bytes = 60000, .records = SIZE_MAX};
        NetflowTaken taken;
        assert_int_equal(netflow_add(&stream, &message, &record, 1, &room, sample.now_ms, &taken),
                         0);
        assert_int_equal(taken.records, 1);
        assert_int_equal(netflow_end(&stream, &message, sample.now_ms), 0);
        assert_int_equal(
            ipfix_decode(decoder, message.bytes.bytes, message.bytes.size, out, &counts), 0);
        assert_int_equal(out->n, k + 1);
        netflow_clear(&message);
        for (size_t i = 0; i < _FLOW_FIELD_N; i++)
            if (flow_fields[i].element && !is_special((FlowFieldId)i) &&
                !same_value(&flow_fields[i], &record, &out->records[k]))
                fail_msg("record %zu: %s", k, flow_fields[i].name);
    }
    netflow_message_deinit(&message);
    ipfix_decoder_free(decoder);
    flow_batch_free(out);
    buffer_deinit(&all);
    buffer_deinit(&absent);
}

/* whether a message has these bytes one after another */
static bool holds(const NetflowMessage *message, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i + size <= message->bytes.size; i++)
        if (memcmp(message->bytes.bytes + i, bytes, size) == 0)
            return true;
    return false;
}

/* under nProbe's names ntop's elements in whole milliseconds, under weir's own ones microseconds */
static void test_latencies(void **state) {
    (void)state;
    static const char ntop[] = "%CLIENT_NW_LATENCY_MS %SERVER_NW_LATENCY_MS %APPL_LATENCY_MS";
    static const char both[] = "%CLIENT_NW_LATENCY_MS %SERVER_NW_LATENCY_MS %APPL_LATENCY_MS "
                               "%client_latency_us %server_latency_us %app_latency_us";
    static const uint8_t ipfix_template[] = {
        0x80, 123, 0, 4, 0, 0, 0x8b, 0x30, 0x80, 124, 0, 4, 0, 0, 0x8b, 0x30,
        0x80, 125, 0, 4, 0, 0, 0x8b, 0x30, 0x80, 14,  0, 4, 0, 0, 0x7e, 0xd9,
        0x80, 15,  0, 4, 0, 0, 0x7e, 0xd9, 0x80, 16,  0, 4, 0, 0, 0x7e, 0xd9};
    static const uint8_t v9_template[] = {0xe0, 0xfb, 0, 4, 0xe0, 0xfc, 0, 4, 0xe0, 0xfd, 0, 4};
    /* 1234 ms, 2 ms, 70 000 ms; 1 234 567, 2345 and 70 000 999 us */
    static const uint8_t values[] = {0, 0,    0x04, 0xd2, 0, 0, 0,    2,    0, 1,    0x11, 0x70,
                                     0, 0x12, 0xd6, 0x87, 0, 0, 0x09, 0x29, 4, 0x2c, 0x21, 0x67};
    const struct {
        const char *text;
        const uint8_t *template;
        size_t template_bytes, value_bytes;
        NetflowVersion version;
    } cases[] = {
        {both, ipfix_template, sizeof(ipfix_template), 24, NETFLOW_IPFIX},
        {ntop, v9_template, sizeof(v9_template), 12, NETFLOW_9},
    };
    FlowRecord record = {.src_ip = sample_address(false, 1),
                         .dst_ip = sample_address(false, 2),
                         .packets = 1,
                         .octets = 40,
                         .client_latency_us = 1234567,
                         .server_latency_us = 2345,
                         .app_latency_us = 70000999};
    for (size_t i = 0; i < 2; i++) {
        Buffer absent = {0};
        Reason reason;
        NetflowFields fields;
        NetflowStream stream;
        NetflowMessage message = {0};
        NetflowTaken taken;
        const NetflowRoom room = {.bytes = 1400, .records = SIZE_MAX};
        assert_int_equal(parse(&fields, cases[i].text, cases[i].version, &absent, &reason), 0);
        netflow_stream_init(
            &stream,
            &(NetflowShape){.version = cases[i].version, .first_template = 300, .fields = &fields});
        assert_int_equal(netflow_add(&stream, &message, &record, 1, &room, 1700000000000, &taken),
                         0);
        assert_int_equal(netflow_end(&stream, &message, 1700000000000), 0);
        assert_true(holds(&message, cases[i].template, cases[i].template_bytes));
        assert_true(holds(&message, values, cases[i].value_bytes));
        netflow_message_deinit(&message);
        buffer_deinit(&absent);
    }
    /* no row of weir's own says that it is what nProbe's name says */
    assert_null(flow_field_find("%CLIENT_NW_LATENCY_MS"));
    assert_null(flow_field_find("%APPL_LATENCY_MS"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field), cmocka_unit_test(test_usual),
        cmocka_unit_test(test_lists),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_values),      cmocka_unit_test(test_latencies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
