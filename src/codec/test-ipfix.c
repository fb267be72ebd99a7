/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "codec/ipfix.h"
#include "codec/sample.h"

enum { EXPORT_S = 1700000000, DOMAIN = 7 };

/* --- both ways --- */

static bool text_equal(const FlowText *a, const FlowText *b) {
    return a->size == b->size && (a->size == 0 || memcmp(a->text, b->text, a->size) == 0);
}

static void assert_same(const FlowRecord *a, const FlowRecord *b) {
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        const void *x = flow_field_at(a, field);
        const void *y = flow_field_at(b, field);
        bool same =
            field->kind == FLOW_KIND_TEXT ? text_equal(x, y) : memcmp(x, y, field->size) == 0;
        if (!same)
            fail_msg("%s differs", field->name);
    }
}

static int by_flow_id(const void *a, const void *b) {
    uint64_t x = ((const FlowRecord *)a)->flow_id;
    uint64_t y = ((const FlowRecord *)b)->flow_id;
    return x < y ? -1 : x > y;
}

/* the records through as many messages as it takes; their order inside a message is free */
static void round_trip(const FlowRecord *records, size_t n, size_t at_once) {
    cleanup(ipfix_decoder_freep) IpfixDecoder *decoder = NULL;
    cleanup(flow_batch_freep) FlowBatch *out = NULL;
    assert_int_equal(ipfix_decoder_new(&decoder), 0);
    assert_int_equal(flow_batch_new(&out, 16), 0);
    IpfixCounts counts = {0};
    uint64_t packets = 0;
    uint64_t octets = 0;
    for (size_t i = 0; i < n; i++) {
        packets += records[i].packets + records[i].rev_packets;
        octets += records[i].octets + records[i].rev_octets;
    }
    size_t at = 0;
    for (size_t taken = 0; at < n; at += taken) {
        Buffer message = {0};
        size_t left = n - at < at_once ? n - at : at_once;
        taken = 0;
        assert_int_equal(ipfix_encode(&message, records + at, left, &taken, DOMAIN, (uint32_t)at,
                                      EXPORT_S * 1000ull),
                         0);
        assert_in_range(taken, 1, left);
        assert_in_range(message.size, 16, IPFIX_MESSAGE_MAX);
        assert_int_equal(ipfix_decode(decoder, message.bytes, message.size, out, &counts), 0);
        assert_int_equal(out->n, at + taken);
        qsort(out->records + at, taken, sizeof(*out->records), by_flow_id);
        for (size_t i = at; i < at + taken; i++)
            assert_same(&records[i], &out->records[i]);
        buffer_deinit(&message);
    }
    assert_int_equal(counts.flows, n);
    assert_true(counts.packets == packets);
    assert_true(counts.octets == octets);
}

static void test_random_records_survive(void **state) {
    (void)state;
    enum { N = 3000 };
    static FlowRecord records[N];
    for (uint64_t seed = 1; seed <= 6; seed++) {
        Sample sample = {.state = seed};
        for (size_t i = 0; i < N; i++) {
            records[i] = sample_random(&sample);
            records[i].flow_id = i + 1;
        }
        static const size_t at_once[] = {1, 2, 7, 50, 350, N};
        round_trip(records, seed < 3 ? 200 : N, at_once[seed - 1]);
    }
}

static void test_realistic_records_survive(void **state) {
    (void)state;
    enum { N = 8000 };
    static FlowRecord records[N];
    for (int kind = SAMPLE_V9; kind <= SAMPLE_ALL; kind++) {
        Sample sample = {.state = 99, .now_ms = EXPORT_S * 1000ull};
        for (size_t i = 0; i < N; i++) {
            records[i] = sample_realistic(&sample, (SampleKind)kind);
            records[i].flow_id = i + 1;
        }
        round_trip(records, N, N);
    }
}

static void test_many_shapes_share_templates(void **state) {
    (void)state;
    /* each record sets another combination of fields, far more than there may be groups */
    enum { N = 1024 };
    static FlowRecord records[N];
    for (size_t i = 0; i < N; i++) {
        FlowRecord *r = &records[i];
        *r = (FlowRecord){.flow_id = i + 1, .protocol = 6};
        r->vlan = i & 1;
        r->tos = (i >> 1) & 1;
        r->rev_tos = (i >> 2) & 1;
        r->l2_octets = (i >> 3) & 1;
        r->app_id = (i >> 4) & 1;
        r->app_risk = (i >> 5) & 1;
        r->input_if = (i >> 6) & 1;
        if ((i >> 7) & 1)
            r->src_ip = sample_address((i >> 8) & 1, 1);
        if ((i >> 9) & 1)
            r->dst_ip = sample_address((i >> 8) & 1, 2);
        if (i % 3 == 0)
            r->server_name = sample_text("a.example");
    }
    round_trip(records, N, N);
}

static void test_long_texts_are_cut(void **state) {
    (void)state;
    static char text[70000];
    memset(text, 'x', sizeof(text));
    FlowRecord record = {.server_name = {text, sizeof(text)}, .app_name = {text, sizeof(text)}};
    Buffer message = {0};
    size_t taken = 0;
    assert_int_equal(ipfix_encode(&message, &record, 1, &taken, 0, 0, 0), 0);
    assert_int_equal(taken, 1);
    cleanup(ipfix_decoder_freep) IpfixDecoder *decoder = NULL;
    cleanup(flow_batch_freep) FlowBatch *out = NULL;
    assert_int_equal(ipfix_decoder_new(&decoder), 0);
    assert_int_equal(flow_batch_new(&out, 1), 0);
    IpfixCounts counts = {0};
    assert_int_equal(ipfix_decode(decoder, message.bytes, message.size, out, &counts), 0);
    assert_int_equal(out->records[0].server_name.size, IPFIX_TEXT_MAX);
    buffer_deinit(&message);
}

/* --- messages by hand --- */

typedef struct Reader {
    IpfixDecoder *decoder;
    FlowBatch *out;
    IpfixCounts counts;
    Buffer message;
} Reader;

static int set_up(void **state) {
    Reader *reader = calloc(1, sizeof(*reader));
    if (!reader || ipfix_decoder_new(&reader->decoder) || flow_batch_new(&reader->out, 4))
        return -1;
    *state = reader;
    return 0;
}

static int tear_down(void **state) {
    Reader *reader = *state;
    ipfix_decoder_free(reader->decoder);
    flow_batch_free(reader->out);
    buffer_deinit(&reader->message);
    free(reader);
    return 0;
}

static void start(Reader *reader) {
    buffer_clear(&reader->message);
    buffer_put_u16(&reader->message, 10);
    buffer_put_u16(&reader->message, 0);
    buffer_put_u32(&reader->message, EXPORT_S);
    buffer_put_u32(&reader->message, 0);
    buffer_put_u32(&reader->message, DOMAIN);
}

/* a set of 16-bit words, ended by -1 */
static void set_of(Reader *reader, uint16_t id, const int *words) {
    size_t n = 0;
    while (words[n] >= 0)
        n++;
    buffer_put_u16(&reader->message, id);
    buffer_put_u16(&reader->message, (uint16_t)(4 + 2 * n));
    for (size_t i = 0; i < n; i++)
        buffer_put_u16(&reader->message, (uint16_t)words[i]);
}
#define SET(reader, id, ...) set_of(reader, id, (const int[]){__VA_ARGS__, -1})

static int finish(Reader *reader) {
    buffer_patch_u16(&reader->message, 2, (uint16_t)reader->message.size);
    /* an exact copy, so that a sanitizer sees a read past the end */
    uint8_t *copy = malloc(reader->message.size);
    assert_non_null(copy);
    memcpy(copy, reader->message.bytes, reader->message.size);
    int r = ipfix_decode(reader->decoder, copy, reader->message.size, reader->out, &reader->counts);
    free(copy);
    return r;
}

static void test_unknown_elements_are_skipped(void **state) {
    Reader *reader = *state;
    start(reader);
    /* unknown fixed, unknown enterprise and variable, then octets in 3 bytes and a port */
    SET(reader, 2, 256, 5, 9999, 3, 0x8000 | 5, 65535, 1, 1234, 1, 3, 7, 2, 0x8000 | 77, 4, 0, 9);
    buffer_put_u16(&reader->message, 256);
    buffer_put_u16(&reader->message, 4 + 2 * (3 + 3 + 3 + 2 + 4) + 3);
    for (int i = 0; i < 2; i++)
        buffer_put(&reader->message, "???\x02??\x01\x02\x03\x00\x50????", 15);
    buffer_put(&reader->message, "\0\0\0", 3); /* padding */
    assert_int_equal(finish(reader), 0);
    assert_int_equal(reader->out->n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(reader->out->records[i].octets, 0x010203);
        assert_int_equal(reader->out->records[i].src_port, 80);
        assert_int_equal(reader->out->records[i].packets, 0);
    }
    assert_int_equal(reader->counts.flows, 2);
    assert_int_equal(reader->counts.octets, 2 * 0x010203);
    assert_int_equal(reader->counts.templates, 1);
}

static void test_equivalents(void **state) {
    Reader *reader = *state;
    start(reader);
    /* octetTotalCount gives way to octetDeltaCount wherever it stands; the others count alone */
    SET(reader, 2, 256, 6, 85, 2, 1, 2, 298, 2, 299, 2, 32, 2, 243, 2);
    SET(reader, 256, 1000, 11, 22, 33, 0x0803, 5);
    assert_int_equal(finish(reader), 0);
    const FlowRecord *r = &reader->out->records[0];
    assert_int_equal(r->octets, 11);
    assert_int_equal(r->packets, 22);
    assert_int_equal(r->rev_packets, 33);
    assert_int_equal(r->icmp_type, 8);
    assert_int_equal(r->icmp_code, 3);
    assert_int_equal(r->vlan, 5);
}

static void test_times(void **state) {
    Reader *reader = *state;
    start(reader);
    SET(reader, 2, 256, 2, 150, 4, 151, 4); /* seconds */
    SET(reader, 256, 0x6553, 0xf100, 0x6553, 0xf101);
    SET(reader, 2, 257, 2, 154, 8, 155, 8); /* NTP */
    SET(reader, 257, 0xe8fe, 0x6f80, 0x8000, 0, 0, 0, 0, 0);
    SET(reader, 2, 258, 2, 158, 4, 159, 4); /* microseconds before the export */
    SET(reader, 258, 0x001e, 0x8480, 0, 1000);
    SET(reader, 2, 259, 2, 161, 4, 152, 8); /* a duration that stands before its start */
    SET(reader, 259, 0, 250, 0, 0, 0, 1000);
    assert_int_equal(finish(reader), 0);
    const FlowRecord *r = reader->out->records;
    assert_int_equal(reader->out->n, 4);
    assert_true(r[0].first_ms == 1700000000000 && r[0].last_ms == 1700000001000);
    assert_true(r[1].first_ms == 1700000000500 && r[1].last_ms == 0);
    assert_true(r[2].first_ms == 1699999998000 && r[2].last_ms == 1699999999999);
    assert_true(r[3].first_ms == 1000 && r[3].last_ms == 1250);
}

static void test_uptimes(void **state) {
    Reader *reader = *state;
    start(reader);
    SET(reader, 2, 256, 2, 22, 4, 21, 4);
    SET(reader, 256, 0, 1000, 0, 2000); /* nobody has said when it started */
    assert_int_equal(finish(reader), 0);
    assert_true(reader->out->records[0].first_ms == 0 && reader->out->records[0].last_ms == 0);

    start(reader); /* 1699999990000 */
    SET(reader, 3, 300, 2, 1, 149, 4, 160, 8);
    SET(reader, 300, 0, DOMAIN, 0, 0x018b, 0xcfe5, 0x40f0);
    assert_int_equal(finish(reader), 0);
    start(reader);
    SET(reader, 256, 0, 1000, 0, 2000);
    SET(reader, 2, 257, 3, 21, 4, 22, 4, 160, 8); /* the record's own word counts more */
    SET(reader, 257, 0, 2000, 0, 1000, 0, 0x018b, 0xcfe5, 0x40f1);
    SET(reader, 256, 0, 1, 0, 2);
    assert_int_equal(finish(reader), 0);
    const FlowRecord *r = reader->out->records;
    assert_true(r[1].first_ms == 1699999991000 && r[1].last_ms == 1699999992000);
    assert_true(r[2].first_ms == 1699999991001 && r[2].last_ms == 1699999992001);
    assert_true(r[3].first_ms == 1699999990001);

    start(reader); /* up for 50 days: the counter has begun anew */
    SET(reader, 257, 0, 2000, 0, 1000, 0, 0x018a, 0xd000, 0);
    assert_int_equal(finish(reader), 0);
    r = reader->out->records;
    assert_true(r[4].first_ms == 0x018ad0000000 + 1000 + (1ull << 32));
}

static void test_two_families_in_one_record(void **state) {
    Reader *reader = *state;
    start(reader);
    SET(reader, 2, 256, 2, 8, 4, 27, 16);
    SET(reader, 256, 0x0a00, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    SET(reader, 256, 0, 0, 0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    assert_int_equal(finish(reader), 0);
    char text[NET_ADDRESS_TEXT_MAX];
    assert_string_equal(net_address_format(&reader->out->records[0].src_ip, text), "10.0.0.1");
    assert_string_equal(net_address_format(&reader->out->records[1].src_ip, text), "2001:db8::1");
}

static void test_wrong_lengths_are_not_read(void **state) {
    Reader *reader = *state;
    start(reader);
    /* an address of 2 bytes, a MAC of 4, octets of variable length, ifIndex too big for us */
    SET(reader, 2, 256, 5, 8, 2, 56, 4, 1, 65535, 10, 8, 119, 65535);
    SET(reader, 256, 0xffff, 1, 2, 0x02ff, 0xff00, 0, 0, 1, 0, 0x0000);
    assert_int_equal(reader->message.size, 16 + 28 + 4 + 20);
    (void)finish(reader);
    const FlowRecord *r = &reader->out->records[0];
    assert_int_equal(r->src_ip.family, 0);
    assert_int_equal(r->octets, 0);
    assert_int_equal(r->src_mac.bytes[3], 0);
    assert_int_equal(r->app_name.size, 0);
}

static void test_texts_of_fixed_length(void **state) {
    Reader *reader = *state;
    start(reader);
    SET(reader, 2, 256, 1, 0x8000 | 119, 6, 0, 35632);
    SET(reader, 256, 'T' << 8 | 'L', 'S' << 8, 0);
    assert_int_equal(finish(reader), 0);
    assert_int_equal(reader->out->records[0].app_name.size, 3);
    assert_memory_equal(reader->out->records[0].app_name.text, "TLS", 3);
}

static void test_templates_are_kept_changed_and_withdrawn(void **state) {
    Reader *reader = *state;
    start(reader);
    SET(reader, 2, 256, 1, 7, 2);
    assert_int_equal(finish(reader), 0);
    start(reader);
    SET(reader, 256, 1111);
    assert_int_equal(finish(reader), 0);
    assert_int_equal(reader->out->records[0].src_port, 1111);

    start(reader);
    SET(reader, 2, 256, 1, 11, 2);
    SET(reader, 256, 2222);
    assert_int_equal(finish(reader), 0);
    assert_int_equal(reader->out->records[1].dst_port, 2222);

    start(reader);
    SET(reader, 2, 256, 0);
    SET(reader, 256, 3333);
    assert_int_equal(finish(reader), IPFIX_E_NO_TEMPLATE);
    assert_int_equal(reader->counts.no_template_sets, 1);

    start(reader);
    SET(reader, 2, 256, 1, 7, 2, 257, 1, 11, 2, 2, 0); /* two, then all of them withdrawn */
    SET(reader, 256, 4444);
    SET(reader, 257, 4444);
    assert_int_equal(finish(reader), IPFIX_E_NO_TEMPLATE);
    assert_int_equal(reader->counts.no_template_sets, 3);
    assert_int_equal(reader->out->n, 2);
}

static void test_domains_do_not_share_templates(void **state) {
    Reader *reader = *state;
    start(reader);
    SET(reader, 2, 256, 1, 7, 2);
    assert_int_equal(finish(reader), 0);
    start(reader);
    reader->message.bytes[15] = DOMAIN + 1;
    SET(reader, 256, 1111);
    assert_int_equal(finish(reader), IPFIX_E_NO_TEMPLATE);
}

static void test_alone_a_message_brings_its_templates(void **state) {
    Reader *reader = *state;
    ipfix_decoder_alone(reader->decoder, true);
    start(reader);
    SET(reader, 2, 256, 1, 7, 2);
    SET(reader, 256, 1111);
    assert_int_equal(finish(reader), 0);
    start(reader);
    SET(reader, 256, 1111);
    assert_int_equal(finish(reader), IPFIX_E_NO_TEMPLATE);
    assert_int_equal(reader->out->n, 1);
    for (int i = 0; i < 2 * IPFIX_TEMPLATES_MAX; i++) { /* those of others never get in the way */
        start(reader);
        SET(reader, 2, 256 + i, 1, 7, 2);
        SET(reader, (uint16_t)(256 + i), 1);
        assert_int_equal(finish(reader), 0);
    }
}

static void test_template_limit(void **state) {
    Reader *reader = *state;
    for (int i = 0; i < IPFIX_TEMPLATES_MAX; i++) {
        start(reader);
        SET(reader, 2, 256 + i, 1, 7, 2);
        assert_int_equal(finish(reader), 0);
    }
    start(reader);
    SET(reader, 2, 60000, 1, 7, 2);
    SET(reader, 256, 1111);
    assert_int_equal(finish(reader), IPFIX_E_MALFORMED);
    assert_int_equal(reader->counts.malformed[IPFIX_MALFORMED_LIMIT], 1);
    assert_int_equal(reader->out->n, 1);
}

static void test_gaps(void **state) {
    Reader *reader = *state;
    IpfixGap gap = {.process_id = 4711, .flows = 3, .packets = 50, .octets = 1ull << 40};
    assert_int_equal(ipfix_encode_gap(&reader->message, &gap, DOMAIN, 0, 0), 0);
    assert_int_equal(finish(reader), 0);
    assert_int_equal(reader->counts.gaps, 1);
    assert_int_equal(reader->counts.options, 1);
    assert_int_equal(reader->counts.lost_flows, 3);
    assert_int_equal(reader->counts.lost_packets, 50);
    assert_true(reader->counts.lost_octets == 1ull << 40);
    assert_int_equal(reader->out->n, 0);

    /* options that say something else are read and left */
    start(reader);
    SET(reader, 3, 300, 2, 1, 149, 4, 34, 4);
    SET(reader, 300, 0, 1, 0, 100);
    assert_int_equal(finish(reader), 0);
    assert_int_equal(reader->counts.options, 2);
    assert_int_equal(reader->counts.gaps, 1);
}

static void test_malformed_is_counted_by_reason(void **state) {
    Reader *reader = *state;
    uint64_t *malformed = reader->counts.malformed;
    start(reader);
    assert_int_equal(
        ipfix_decode(reader->decoder, reader->message.bytes, 15, reader->out, &reader->counts),
        IPFIX_E_MALFORMED);
    assert_int_equal(malformed[IPFIX_MALFORMED_HEADER], 1);
    assert_int_equal(
        ipfix_decode(reader->decoder, reader->message.bytes, 16, reader->out, &reader->counts),
        IPFIX_E_MALFORMED);
    assert_int_equal(malformed[IPFIX_MALFORMED_LENGTH], 1);
    reader->message.bytes[1] = 9;
    assert_int_equal(finish(reader), IPFIX_E_MALFORMED);
    assert_int_equal(malformed[IPFIX_MALFORMED_VERSION], 1);

    /* what is sound beside what is not is taken */
    start(reader);
    SET(reader, 2, 256, 1, 7, 2);
    SET(reader, 5, 0);               /* no such set */
    SET(reader, 2, 255, 1, 7, 2);    /* no such id */
    SET(reader, 2, 257, 1, 7, 0);    /* records of no length */
    SET(reader, 2, 258, 2, 7, 2);    /* cut short */
    SET(reader, 3, 259, 1, 0, 7, 2); /* options without scope */
    SET(reader, 2, 260, 1, 119 | 0x8000, 65535, 0, 35632);
    SET(reader, 260, 0x0900); /* a text longer than the set */
    SET(reader, 256, 1111);
    buffer_put(&reader->message, "\1\0\0\3", 4); /* a set shorter than its header */
    assert_int_equal(finish(reader), IPFIX_E_MALFORMED);
    assert_int_equal(malformed[IPFIX_MALFORMED_TEMPLATE], 4);
    assert_int_equal(malformed[IPFIX_MALFORMED_RECORD], 1);
    assert_int_equal(malformed[IPFIX_MALFORMED_SET], 2);
    assert_int_equal(reader->out->n, 1);
    assert_string_equal(ipfix_malformed_name(IPFIX_MALFORMED_LIMIT), "template_limit");
}

/* --- damage --- */

static Buffer some_message(uint64_t seed, size_t n) {
    static FlowRecord records[64];
    Sample sample = {.state = seed};
    for (size_t i = 0; i < n; i++)
        records[i] = sample_random(&sample);
    Buffer message = {0};
    size_t taken = 0;
    assert_int_equal(ipfix_encode(&message, records, n, &taken, DOMAIN, 0, 0), 0);
    return message;
}

static void test_every_truncation(void **state) {
    Reader *reader = *state;
    Buffer whole = some_message(5, 12);
    for (size_t size = 0; size < whole.size; size++) {
        buffer_clear(&reader->message);
        flow_batch_clear(reader->out);
        buffer_put(&reader->message, whole.bytes, size);
        uint8_t *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        if (size)
            memcpy(copy, whole.bytes, size);
        assert_int_equal(ipfix_decode(reader->decoder, copy, size, reader->out, &reader->counts),
                         IPFIX_E_MALFORMED);
        free(copy);
        /* and with a header that agrees, where the cut may fall between sets */
        if (size >= 16) {
            int r = finish(reader);
            assert_true(r == 0 || r == IPFIX_E_MALFORMED);
            assert_in_range(reader->out->n, 0, 12);
        }
    }
    buffer_deinit(&whole);
}

static void test_flipped_bytes(void **state) {
    Reader *reader = *state;
    Sample sample = {.state = 77};
    for (uint64_t seed = 0; seed < 40; seed++) {
        Buffer whole = some_message(seed, 6);
        for (int i = 0; i < 200; i++) {
            buffer_clear(&reader->message);
            flow_batch_clear(reader->out);
            buffer_put(&reader->message, whole.bytes, whole.size);
            for (unsigned k = 0; k < 1 + sample_below(&sample, 4); k++)
                reader->message.bytes[16 + sample_below(&sample, (unsigned)whole.size - 16)] ^=
                    (uint8_t)(1 << sample_below(&sample, 8));
            int r = finish(reader);
            assert_in_range(r, 0, IPFIX_E_NO_TEMPLATE);
        }
        buffer_deinit(&whole);
    }
}

int main(void) {
#define READER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_records_survive),
        cmocka_unit_test(test_realistic_records_survive),
        cmocka_unit_test(test_many_shapes_share_templates),
        cmocka_unit_test(test_long_texts_are_cut),
        READER_TEST(test_unknown_elements_are_skipped),
        READER_TEST(test_equivalents),
        READER_TEST(test_times),
        READER_TEST(test_uptimes),
        READER_TEST(test_two_families_in_one_record),
        READER_TEST(test_wrong_lengths_are_not_read),
        READER_TEST(test_texts_of_fixed_length),
        READER_TEST(test_templates_are_kept_changed_and_withdrawn),
        READER_TEST(test_domains_do_not_share_templates),
        READER_TEST(test_alone_a_message_brings_its_templates),
        READER_TEST(test_template_limit),
        READER_TEST(test_gaps),
        READER_TEST(test_malformed_is_counted_by_reason),
        READER_TEST(test_every_truncation),
        READER_TEST(test_flipped_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
