/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: a byte that says how (0 TCP, 1 UDP, else a bare hello of TLS, QUIC or DTLS), then pieces:
 * offset (2 bytes), length (2), bytes. Pieces go through the reader of client hellos as packets of
 * one flow; a fingerprint that comes out must be one.
 */

#include <stdlib.h>

#include "base/cursor.h"
#include "probe/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *ja4) {
    if (ja4[10] != '_' || ja4[23] != '_')
        abort();
}

static void bare(uint8_t how, const uint8_t *bytes, size_t size) {
    static const Ja4Transport transports[] = {JA4_TLS, JA4_QUIC, JA4_DTLS};
    char text[JA4_BYTES];
    if (ja4_make(transports[how % 3], bytes, size, text))
        check(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static HelloReader *reader;
    if (!reader && hello_reader_new(&reader, 2) < 0)
        return 0;
    Cursor c = cursor_make(data, size);
    uint8_t how = cursor_u8(&c);
    if (how > 1) {
        bare(how, c.at, cursor_left(&c));
        return 0;
    }
    HelloState state = {0};
    while (cursor_left(&c) > 4) {
        Packet packet = {.protocol = how ? IP_UDP : IP_TCP};
        uint16_t offset = cursor_u16(&c);
        packet.tcp_seq = offset & 0x7fff;
        packet.src_port = offset >> 15;
        size_t n = cursor_u16(&c);
        n = n < cursor_left(&c) ? n : cursor_left(&c);
        packet.payload_bytes = (uint32_t)n;
        packet.payload = cursor_take(&c, n);
        (void)hello_packet(reader, &state, &packet);
    }
    if (state.has_ja4)
        check(state.ja4);
    hello_end(reader, &state);
    return 0;
}
