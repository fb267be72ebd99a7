/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: frames of one link type after each other: link type (1 byte: 0 Ethernet, else raw IP),
 * time step (2 bytes, in units of 100 us), length (2), bytes. They go through a small meter without
 * nDPI; every record must hold what its packets allow.
 */

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "probe/counters.h"
#include "probe/meter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum(FlowText text) {
    uint64_t total = 0;
    uint64_t number = 0;
    for (uint32_t i = 0; i < text.size; i++) {
        if (text.text[i] != ',') {
            number = number * 10 + (uint64_t)(text.text[i] - '0');
            continue;
        }
        total += number;
        number = 0;
    }
    return total + number;
}

static void take(void *userdata, const FlowRecord *r) {
    uint64_t *packets = userdata;
    *packets += r->packets + r->rev_packets;
    if (r->packet_sizes.size && sum(r->packet_sizes) != r->packets + r->rev_packets)
        abort();
    if (r->lost > r->packets || r->retransmitted + r->out_of_order > r->packets ||
        r->duplicate_acks > r->packets || r->zero_windows > r->packets ||
        r->rev_retransmitted + r->rev_out_of_order > r->rev_packets || r->ttl_min > r->ttl_max)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static MetricValue counters[_COUNTER_N];
    uint64_t packets = 0;
    const MeterConfig config = {.max_flows = 16,
                                .idle_s = 15,
                                .active_s = 60,
                                .seed = 1,
                                .counters = counters,
                                .record = take,
                                .userdata = &packets};
    Meter *meter = NULL;
    if (meter_new(&meter, &config) < 0)
        return 0;
    Cursor c = cursor_make(data, size);
    uint64_t time_ns = UINT64_C(1700000000000000000);
    while (cursor_left(&c) > 5) {
        Frame frame = {.link_type = cursor_u8(&c) ? FRAME_LINK_RAW : FRAME_LINK_ETHERNET};
        time_ns += cursor_u16(&c) * UINT64_C(100000);
        size_t n = cursor_u16(&c);
        n = n < cursor_left(&c) ? n : cursor_left(&c);
        frame.time_ns = time_ns;
        frame.wire_bytes = frame.captured_bytes = (uint32_t)n;
        frame.bytes = cursor_take(&c, n);
        meter_frames(meter, &frame, 1);
    }
    meter_flush(meter);
    meter_free(meter);
    return 0;
}
