#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Client Hellos
 *
 * Finds the ClientHello of a flow of TLS (RFC 8446), DTLS (RFC 9147) or QUIC (RFC 9001) in the
 * packets that nDPI is shown too, puts it together where it came in several packets, in any order,
 * and makes its JA4. A hello in one packet needs no memory; others wait in a fixed pool. One
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "net/dissect.h"
#include "probe/ja4.h"

typedef struct HelloReader HelloReader;

enum {
    HELLO_BYTES_MAX = 4096, /* of a hello; those of today have 2,000 at most */
};

/* what is kept of a flow while nDPI looks at it; zeroed at first */
typedef struct HelloState {
    uint32_t assembly; /* number in the pool, 0: none */
    bool done;         /* there is nothing to find any more */
    bool has_ja4;
    char ja4[JA4_BYTES];
} HelloState;

/** hello_reader_new() - at most so many hellos are put together at a time */
int hello_reader_new(HelloReader **readerp, uint32_t max);
HelloReader *hello_reader_free(HelloReader *reader);

/** hello_packet() - false: a hello was given up, for all of the pool is in use */
bool hello_packet(HelloReader *reader, HelloState *state, const Packet *packet);

/** hello_end() - the flow is not looked at any more */
void hello_end(HelloReader *reader, HelloState *state);

DEFINE_CLEANUP(HelloReader *, hello_reader_free)
