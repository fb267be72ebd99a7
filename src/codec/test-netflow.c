/* SPDX-License-Identifier: Apache-2.0 */

/* messages for collectors of others: what is in them, what fits, and what the times are */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cursor.h"
#include "codec/ipfix.h"
#include "codec/netflow.h"
#include "codec/sample.h"

enum { START_MS = 1700000000, N = 2000, DATAGRAM = 1400 };

static const NetflowRoom roomy = {.bytes = DATAGRAM, .records = SIZE_MAX};

static FlowRecord record_of(uint32_t n) {
    return (FlowRecord){.first_ms = START_MS * 1000ull + n,
                        .last_ms = START_MS * 1000ull + n + 5,
                        .src_ip = net_address_v4((const uint8_t[]){10, 0, 0, 1}),
                        .dst_ip = net_address_v4((const uint8_t[]){10, 1, 0, 1}),
                        .src_port = (uint16_t)n,
                        .dst_port = 443,
                        .protocol = 6,
                        .octets = 100,
                        .packets = 2,
                        .rev_octets = 50,
                        .rev_packets = 1};
}

enum { FIRST = 1000 }; /* template */

static void init(NetflowStream *stream, NetflowVersion version, uint32_t domain, bool told) {
    const NetflowShape shape = {
        .version = version, .domain = domain, .first_template = FIRST, .told = told};
    netflow_stream_init(stream, &shape);
}

/* one whole message to the end of a buffer, filled by one call */
static int encode(NetflowStream *stream, Buffer *to, const FlowRecord *records, size_t n,
                  const NetflowRoom *room, uint64_t export_ms, NetflowTaken *taken) {
    NetflowMessage message = {0};
    int r = netflow_add(stream, &message, records, n, room, export_ms, taken);
    if (r == 0)
        r = netflow_end(stream, &message, export_ms);
    if (r == 0)
        buffer_put(to, message.bytes.bytes, message.bytes.size);
    netflow_message_deinit(&message);
    return r;
}

static uint32_t u32_at(const Buffer *message, size_t at) {
    Cursor c = cursor_make(message->bytes + at, message->size - at);
    return cursor_u32(&c);
}

static uint16_t u16_at(const Buffer *message, size_t at) {
    return (uint16_t)(u32_at(message, at) >> 16);
}

/* fields that an IPFIX collector is told, as they were */
static void same_record(const FlowRecord *a, const FlowRecord *b) {
    assert_int_equal(a->first_ms, b->first_ms);
    assert_int_equal(a->last_ms, b->last_ms);
    assert_true(net_address_equal(&a->src_ip, &b->src_ip));
    assert_true(net_address_equal(&a->dst_ip, &b->dst_ip));
    if (!flow_record_is_icmp(a)) {
        assert_int_equal(a->src_port, b->src_port);
        assert_int_equal(a->dst_port, b->dst_port);
    }
    assert_int_equal(a->packets, b->packets);
    assert_int_equal(a->octets, b->octets);
    assert_int_equal(a->rev_packets, b->rev_packets);
    assert_int_equal(a->rev_octets, b->rev_octets);
    assert_int_equal(a->tcp_flags, b->tcp_flags);
    assert_int_equal(a->rev_tcp_flags, b->rev_tcp_flags);
    assert_int_equal(a->vlan, b->vlan);
    assert_int_equal(a->flow_id, b->flow_id);
    assert_int_equal(a->sampling > 1 ? a->sampling : 0, b->sampling);
    assert_int_equal(a->tunnel_id, b->tunnel_id);
    assert_int_equal(a->rev_tunnel_id, b->rev_tunnel_id);
    assert_int_equal(a->tunnel_vlan, b->tunnel_vlan);
    assert_int_equal(a->inner_vlan, b->inner_vlan);
    assert_int_equal(a->tunnel_type.size, b->tunnel_type.size);
    assert_true(net_address_equal(&a->tunnel_src_ip, &b->tunnel_src_ip));
    assert_true(net_address_equal(&a->tunnel_dst_ip, &b->tunnel_dst_ip));
    assert_int_equal(a->server_name.size, b->server_name.size);
    if (a->server_name.size)
        assert_memory_equal(a->server_name.text, b->server_name.text, a->server_name.size);
}

/* what is said again and again, into our own decoder */
static void announce_to(NetflowStream *stream, IpfixDecoder *decoder, FlowBatch *out,
                        IpfixCounts *counts) {
    const NetflowFacts facts = {.name = "here", .interface = "eth0", .unsent_flows = 0};
    NetflowMessage message = {0};
    unsigned step = 0;
    size_t n = 0;
    while (netflow_announce(stream, &facts, &message, DATAGRAM, START_MS * 1000ull, &step)) {
        assert_in_range(message.bytes.size, 16, DATAGRAM);
        assert_int_equal(
            ipfix_decode(decoder, message.bytes.bytes, message.bytes.size, out, counts), 0);
        n++;
    }
    assert_in_range(n, 1, 5);
    netflow_message_deinit(&message);
}

/* random in every field, through our own decoder, templates remembered over messages */
static void test_ipfix_there_and_back(void **state) {
    (void)state;
    static FlowRecord records[N];
    Sample sample = {.state = 7, .now_ms = START_MS * 1000ull};
    for (size_t i = 0; i < N; i++) {
        records[i] = sample_realistic(&sample, SAMPLE_ALL);
        records[i].sampling = i % 5 == 4 ? 100 : 0;
        if (i % 7 == 3) {
            records[i].tunnel_type = (FlowText){"vxlan", 5};
            records[i].tunnel_id = (uint32_t)i;
            records[i].rev_tunnel_id = 7;
            records[i].tunnel_src_ip = sample_address(i % 2, 77);
            records[i].tunnel_dst_ip = sample_address(i % 2, (uint32_t)i);
            records[i].tunnel_vlan = 12;
            records[i].inner_vlan = 13;
        }
    }
    NetflowStream stream;
    init(&stream, NETFLOW_IPFIX, 3, false);
    IpfixDecoder *decoder = NULL;
    FlowBatch *out = NULL;
    IpfixCounts counts = {0};
    assert_int_equal(ipfix_decoder_new(&decoder), 0);
    assert_int_equal(flow_batch_new(&out, N), 0);
    Buffer message = {0};
    NetflowTaken taken;
    for (size_t at = 0, turn = 0; at < N; at += taken.flows, turn++) {
        const NetflowRoom room = {.bytes = DATAGRAM, .records = SIZE_MAX};
        if (turn % 20 == 0)
            announce_to(&stream, decoder, out, &counts);
        buffer_clear(&message);
        const uint32_t sequence = stream.sequence;
        assert_int_equal(
            encode(&stream, &message, records + at, N - at, &room, sample.now_ms, &taken), 0);
        assert_in_range(message.size, 1, DATAGRAM);
        assert_int_equal(u32_at(&message, 8), sequence);
        assert_int_equal(u32_at(&message, 12), 3);
        assert_int_equal(sequence, at + counts.options);
        assert_int_equal(ipfix_decode(decoder, message.bytes, message.size, out, &counts), 0);
    }
    assert_int_equal(out->n, N);
    for (size_t i = 0; i < N; i++)
        same_record(&records[i], &out->records[i]);
    buffer_deinit(&message);
    ipfix_decoder_free(decoder);
    flow_batch_free(out);
}

/* a flow is two records: both or neither */
static void test_room_for_records(void **state) {
    (void)state;
    FlowRecord records[10];
    for (uint32_t i = 0; i < 10; i++)
        records[i] = record_of(i);
    const NetflowVersion versions[] = {NETFLOW_5, NETFLOW_9};
    for (size_t v = 0; v < 2; v++) {
        NetflowStream stream;
        NetflowTaken taken;
        Buffer message = {0};
        init(&stream, versions[v], 0, false);
        NetflowRoom room = {.bytes = DATAGRAM, .records = 7};
        assert_int_equal(encode(&stream, &message, records, 10, &room, START_MS * 1000ull, &taken),
                         0);
        assert_int_equal(taken.flows, 3);
        assert_int_equal(taken.records, 6);
        room.records = 1;
        buffer_clear(&message);
        assert_int_equal(encode(&stream, &message, records, 10, &room, START_MS * 1000ull, &taken),
                         0);
        assert_int_equal(taken.flows, 0);
        assert_int_equal(message.size, 0);
        room.records = 0;
        assert_int_equal(encode(&stream, &message, records, 10, &room, START_MS * 1000ull, &taken),
                         0);
        assert_int_equal(taken.flows + message.size, 0);
        buffer_deinit(&message);
    }
}

/* what v5 cannot say is stepped over and counted */
static void test_unfit(void **state) {
    (void)state;
    FlowRecord records[3] = {record_of(1), record_of(2), record_of(3)};
    records[1].src_ip = records[1].dst_ip = net_address_v6((const uint8_t[16]){0x20, 1});
    NetflowStream stream;
    NetflowTaken taken;
    Buffer message = {0};
    init(&stream, NETFLOW_5, 0, false);
    assert_int_equal(encode(&stream, &message, records, 3, &roomy, START_MS * 1000ull, &taken), 0);
    assert_int_equal(taken.flows, 3);
    assert_int_equal(taken.unfit, 1);
    assert_int_equal(taken.records, 4);
    assert_int_equal(message.size, 24 + 4 * 48);
    buffer_clear(&message);
    assert_int_equal(encode(&stream, &message, records + 1, 1, &roomy, START_MS * 1000ull, &taken),
                     0);
    assert_int_equal(taken.flows, 1);
    assert_int_equal(taken.unfit, 1);
    assert_int_equal(message.size, 0);
    buffer_deinit(&message);
}

/* absolute times come out of the header and the record's relative one, in v5 to the millisecond */
static void test_v5_times(void **state) {
    (void)state;
    enum { DAY_MS = 86400000 };
    const uint64_t now_ms = START_MS * 1000ull + 777;
    FlowRecord records[] = {record_of(0), record_of(1), record_of(2), record_of(3)};
    records[1].first_ms -= 3ull * DAY_MS;  /* before the moment chosen first */
    records[2].first_ms += 60ull * DAY_MS; /* 32 bits do not reach so far */
    records[2].last_ms += 60ull * DAY_MS;
    NetflowStream stream;
    NetflowTaken taken;
    Buffer message = {0};
    init(&stream, NETFLOW_5, 0, false);
    for (size_t at = 0; at < 4; at += taken.flows) {
        buffer_clear(&message);
        assert_int_equal(encode(&stream, &message, records + at, 4 - at, &roomy, now_ms, &taken),
                         0);
        assert_true(taken.flows > 0);
        const uint64_t boot_ms =
            u32_at(&message, 8) * 1000ull + u32_at(&message, 12) / 1000000 - u32_at(&message, 4);
        for (size_t i = 0, row = 24; i < taken.flows; i++, row += 2 * 48) {
            assert_int_equal(boot_ms + u32_at(&message, row + 24), records[at + i].first_ms);
            assert_int_equal(boot_ms + u32_at(&message, row + 28), records[at + i].last_ms);
        }
    }
    buffer_deinit(&message);
}

static void test_v5_pieces(void **state) {
    (void)state;
    FlowRecord record = record_of(1);
    record.rev_packets = record.rev_octets = 0;
    record.octets = 3ull * UINT32_MAX + 12345;
    record.packets = record.octets / 1400;
    NetflowStream stream;
    NetflowTaken taken;
    Buffer message = {0};
    init(&stream, NETFLOW_5, 0, false);
    assert_int_equal(encode(&stream, &message, &record, 1, &roomy, START_MS * 1000ull, &taken), 0);
    assert_int_equal(taken.records, 4);
    uint64_t octets = 0;
    uint64_t packets = 0;
    for (size_t row = 24; row < message.size; row += 48) {
        packets += u32_at(&message, row + 16);
        octets += u32_at(&message, row + 20);
        assert_true(u32_at(&message, row + 16) > 0);
    }
    assert_int_equal(octets, record.octets);
    assert_int_equal(packets, record.packets);
    buffer_deinit(&message);
}

/* what the limit keeps back stays; what no message holds is stepped over */
static void test_v5_too_many_pieces(void **state) {
    (void)state;
    const struct {
        uint64_t octets;
        size_t allowed;
        NetflowTaken taken;
    } cases[] = {
        {3ull * UINT32_MAX + 12345, 3, {.flows = 0}},
        {3ull * UINT32_MAX + 12345, 4, {.flows = 1, .records = 4}},
        {27ull * UINT32_MAX + 12345, 28, {.flows = 1, .records = 28}},
        {28ull * UINT32_MAX + 12345, SIZE_MAX, {.flows = 1, .unfit = 1}},
        {28ull * UINT32_MAX + 12345, 3, {.flows = 1, .unfit = 1}},
        {UINT64_MAX, SIZE_MAX, {.flows = 1, .unfit = 1}}, /* at once, not after 4,000,000,000 */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        FlowRecord record = record_of(1);
        record.rev_packets = record.rev_octets = 0;
        record.octets = cases[i].octets;
        record.packets = record.octets / 1400;
        const NetflowRoom room = {.bytes = DATAGRAM, .records = cases[i].allowed};
        NetflowStream stream;
        NetflowTaken taken;
        Buffer message = {0};
        init(&stream, NETFLOW_5, 0, false);
        assert_int_equal(encode(&stream, &message, &record, 1, &room, START_MS * 1000ull, &taken),
                         0);
        assert_int_equal(taken.flows, cases[i].taken.flows);
        assert_int_equal(taken.unfit, cases[i].taken.unfit);
        assert_int_equal(taken.records, cases[i].taken.records);
        assert_true(message.capacity < 65536);
        buffer_deinit(&message);
    }
}

/* over TCP: all templates before the first message, with a sequence that fits; then none */
static void test_introduce(void **state) {
    (void)state;
    const FlowRecord record = record_of(1);
    const NetflowVersion versions[] = {NETFLOW_9, NETFLOW_IPFIX};
    for (size_t v = 0; v < 2; v++) {
        const bool v9 = versions[v] == NETFLOW_9;
        NetflowStream stream;
        NetflowTaken taken;
        Buffer message = {0};
        Buffer before = {0};
        init(&stream, versions[v], 0, true);
        stream.sequence = 70000;
        assert_int_equal(encode(&stream, &message, &record, 1, &roomy, START_MS * 1000ull, &taken),
                         0);
        netflow_introduce(&stream, message.bytes, &before);
        assert_false(before.failed);
        assert_int_equal(u32_at(&before, v9 ? 12 : 8), v9 ? 69999 : 70000);
        assert_int_equal(u16_at(&before, 2), v9 ? NETFLOW_TEMPLATES : before.size);
        assert_int_equal(u16_at(&message, v9 ? 20 : 16), FIRST); /* a data set at once */
        buffer_deinit(&message);
        buffer_deinit(&before);
    }
}

/* templates that take all the room go alone, and the records follow */
static void test_templates_alone(void **state) {
    (void)state;
    FlowRecord record = record_of(1);
    char name[700];
    memset(name, 'x', sizeof(name));
    record.server_name = (FlowText){name, sizeof(name)};
    NetflowStream stream;
    NetflowTaken taken;
    Buffer message = {0};
    init(&stream, NETFLOW_IPFIX, 0, false);
    NetflowRoom room = {.bytes = 950, .records = SIZE_MAX};
    assert_int_equal(encode(&stream, &message, &record, 1, &room, START_MS * 1000ull, &taken), 0);
    assert_int_equal(taken.flows, 0);
    assert_true(taken.full);
    assert_in_range(message.size, 100, 400);
    buffer_clear(&message);
    assert_int_equal(encode(&stream, &message, &record, 1, &room, START_MS * 1000ull, &taken), 0);
    assert_int_equal(taken.records, 1);
    /* and what never fits is left out */
    room.bytes = 600;
    buffer_clear(&message);
    assert_int_equal(encode(&stream, &message, &record, 1, &room, START_MS * 1000ull, &taken), 0);
    assert_int_equal(taken.unfit, 1);
    assert_int_equal(taken.left_out.octets, 150);
    assert_int_equal(message.size, 0);
    buffer_deinit(&message);
}

/* a message is filled by several calls, and its header says what is in it in the end */
static void test_filled_in_steps(void **state) {
    (void)state;
    const NetflowVersion versions[] = {NETFLOW_5, NETFLOW_9, NETFLOW_IPFIX};
    for (size_t v = 0; v < 3; v++) {
        NetflowStream stream;
        NetflowTaken taken = {0};
        NetflowMessage message = {0};
        init(&stream, versions[v], 0, false);
        uint32_t n = 0;
        for (; !taken.full; n++) {
            const FlowRecord record = record_of(n);
            assert_int_equal(
                netflow_add(&stream, &message, &record, 1, &roomy, START_MS * 1000ull + n, &taken),
                0);
            assert_int_equal(taken.flows, !taken.full);
        }
        assert_int_equal(message.counts.flows, n - 1);
        assert_int_equal(netflow_end(&stream, &message, START_MS * 1000ull + 5000), 0);
        assert_in_range(message.bytes.size, 1300, DATAGRAM + (versions[v] == NETFLOW_5 ? 100 : 0));
        const unsigned count = u16_at(&message.bytes, 2);
        const size_t records = versions[v] == NETFLOW_IPFIX ? n - 1 : 2 * (n - 1);
        assert_int_equal(count, versions[v] == NETFLOW_5   ? records
                                : versions[v] == NETFLOW_9 ? records + 1
                                                           : message.bytes.size);
        assert_int_equal(u32_at(&message.bytes, versions[v] == NETFLOW_IPFIX ? 4 : 8),
                         START_MS + 5);
        netflow_message_deinit(&message);
    }
}

/* the sampler's record says what flows that name it need; a rate is told once */
static void test_sampling(void **state) {
    (void)state;
    NetflowStream stream;
    NetflowMessage message = {0};
    unsigned step = 0;
    const NetflowFacts facts = {.name = "p", .unsent_flows = 3, .dropped_packets = 9};
    init(&stream, NETFLOW_IPFIX, 0, false);
    assert_false(netflow_learn(&stream, 0));
    assert_false(netflow_learn(&stream, 1));
    assert_true(netflow_learn(&stream, 100));
    assert_false(netflow_learn(&stream, 100));
    assert_true(netflow_learn(&stream, 7));
    assert_true(netflow_announce(&stream, &facts, &message, DATAGRAM, START_MS * 1000ull, &step));
    assert_int_equal(message.templates, NETFLOW_OPTIONS);
    assert_int_equal(message.records, 2 + 1 + 1);
    /* the first data set: the samplers */
    const size_t at = 16 + (10 + 4 * 6) + (10 + 4 * 9) + (10 + 4 * 5) + (10 + 4 * 2);
    assert_int_equal(u16_at(&message.bytes, at), FIRST + NETFLOW_VARIANTS);
    const uint32_t expected[] = {1, 3, 1, 99, 1, 100, 2, 3, 1, 6, 1, 7};
    for (size_t i = 0, from = at + 4; i < 12; i++) {
        assert_int_equal(i % 6 == 1 ? u16_at(&message.bytes, from) : u32_at(&message.bytes, from),
                         expected[i]);
        from += i % 6 == 1 ? 2 : 4;
    }
    assert_int_equal(stream.sequence, 4);
    assert_false(netflow_announce(&stream, &facts, &message, DATAGRAM, START_MS * 1000ull, &step));
    netflow_message_deinit(&message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipfix_there_and_back),
        cmocka_unit_test(test_room_for_records),
        cmocka_unit_test(test_unfit),
        cmocka_unit_test(test_v5_times),
        cmocka_unit_test(test_v5_pieces),
        cmocka_unit_test(test_v5_too_many_pieces),
        cmocka_unit_test(test_introduce),
        cmocka_unit_test(test_templates_alone),
        cmocka_unit_test(test_filled_in_steps),
        cmocka_unit_test(test_sampling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
