#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * QUIC Initial Packets
 *
 * Their keys follow from the connection id that the client begins with, so whoever sees the first
 * packet can read them (RFC 9001 section 5.2; version 2: RFC 9369). Version 1, version 2 and the
 * drafts from 23 on. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

typedef struct QuicReader QuicReader;

enum {
    QUIC_ID_MAX = 20,
    QUIC_DATAGRAM_MAX = 1600,
};

/* what the keys follow from */
typedef struct QuicOrigin {
    uint32_t version; /* 0: not known yet */
    uint8_t id_bytes;
    uint8_t id[QUIC_ID_MAX];
} QuicOrigin;

/* takes a piece of the CRYPTO stream */
typedef void QuicTake(void *userdata, uint64_t offset, const uint8_t *bytes, size_t size);

int quic_reader_new(QuicReader **readerp);
QuicReader *quic_reader_free(QuicReader *reader);

/** quic_is_initial() - whether a datagram begins with an Initial of a version that is known */
bool quic_is_initial(const uint8_t *bytes, size_t size);

/**
 * quic_read() - hand over what the client's Initial packets of a datagram say. The origin is taken
 * of the first one that can be read, and kept. False: none could.
 */
bool quic_read(QuicReader *reader, QuicOrigin *origin, const uint8_t *bytes, size_t size,
               QuicTake *take, void *userdata);

DEFINE_CLEANUP(QuicReader *, quic_reader_free)
