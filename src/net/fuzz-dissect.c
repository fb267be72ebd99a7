/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: link type (2 bytes), wire length (2), kernel tag type (2), then the frame. A frame is
 * dissected as whole and the pointers it gives are walked, so that a sanitizer sees a bad one.
 */

#include <stdlib.h>
#include <string.h>

#include "net/dissect_internal.h"
#include "net/fragment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; bytes && i < n; i++)
        sink ^= bytes[i];
}

/* both are zeroed as a whole before they are filled, so their padding is the same as well */
static bool same_packet(const Packet *a, const Packet *b) {
    return memcmp((const void *)a, (const void *)b, sizeof(*a)) == 0;
}

/* the straight way says what the long one does */
static void check_straight(const Frame *frame, DissectMode mode) {
    Packet straight;
    Packet walked;
    memset(&straight, 0, sizeof(straight));
    memset(&walked, 0, sizeof(walked));
    const int r = dissect_frame(frame, mode, &straight);
    if (r != dissect_walk(frame, mode, &walked))
        abort();
    if (r == 0 && !same_packet(&straight, &walked))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static FragmentCache *cache;
    if (!cache && fragment_cache_new(&cache, 64, 16, 1) < 0)
        return 0;
    if (size < 6)
        return 0;
    Frame frame = {
        .bytes = data + 6,
        .time_ns = 1,
        .captured_bytes = (uint32_t)size - 6,
        .wire_bytes = (uint32_t)(data[2] << 8 | data[3]),
        .link_type = (uint16_t)(data[0] << 8 | data[1]),
        .tag_type = (uint16_t)(data[4] << 8 | data[5]),
    };
    Packet packet;
    Packet outside;
    int r = dissect_frame(&frame, DISSECT_INNERMOST, &packet);
    check_straight(&frame, DISSECT_INNERMOST);
    check_straight(&frame, DISSECT_OUTERMOST);
    /* tunnels make no frame unreadable, and none readable */
    if ((r == 0) != (dissect_frame(&frame, DISSECT_OUTERMOST, &outside) == 0))
        abort();
    if (r)
        return 0;
    if (packet.ip_bytes > outside.ip_bytes || packet.path.depth > TUNNEL_DEPTH_MAX)
        abort();
    char chain[TUNNEL_TEXT_MAX];
    (void)tunnel_chain(packet.path.types, packet.path.depth, chain);
    touch(packet.ip, packet.ip_captured_bytes);
    touch(packet.payload, packet.payload_bytes);
    touch(packet.macs, packet.macs ? 12 : 0);
    if (packet.ip_captured_bytes > packet.ip_bytes)
        abort();
    if (packet.n_datagrams)
        (void)fragment_resolve(cache, &packet);
    bool known = false;
    while (fragment_take(cache, &packet, &known))
        touch(packet.macs, packet.macs ? 12 : 0);
    return 0;
}
