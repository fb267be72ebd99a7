#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * JA4
 *
 * The fingerprint of a TLS client by its ClientHello, as FoxIO has published it: transport,
 * version, server name or not, how many cipher suites and extensions, the first ALPN value; then
 * the sorted suites, and the sorted extensions with the signature algorithms as they stand, both
 * hashed. GREASE (RFC 8701) is left out everywhere.
 *
 *     t13d1516h2_8daaf6152771_e5627efa2ab1
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JA4_BYTES = 36 };

typedef enum Ja4Transport {
    JA4_TLS = 't',
    JA4_QUIC = 'q',
    JA4_DTLS = 'd',
} Ja4Transport;

/**
 * ja4_make() - of the body of a ClientHello (RFC 8446 section 4.1.2; of DTLS RFC 9147 section 5.3),
 * behind the handshake header. False: it is malformed, and text means nothing. Not NUL-terminated.
 */
bool ja4_make(Ja4Transport transport, const uint8_t *hello, size_t size, char text[JA4_BYTES]);
