#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Metadata
 *
 * What was said in a flow, as far as nDPI and JA4 tell: names, fingerprints, a few numbers. Most
 * flows have none of it and some have a kilobyte, so it is kept in chunks of a fixed pool, linked
 * as needed; when no chunk is free a flow goes without, and that is counted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/record.h"
#include "probe/pool.h"

enum { METADATA_CHUNK_BYTES = 64 };

/* TEXT(NAME, member of FlowRecord, most bytes kept) */
#define METADATA_TEXTS(TEXT)                                                                       \
    TEXT(SERVER_NAME, server_name, 255)                                                            \
    TEXT(JA3C, ja3c, 32)                                                                           \
    TEXT(JA3S, ja3s, 32)                                                                           \
    TEXT(JA4, ja4, 36)                                                                             \
    TEXT(ALPN, tls_alpn, 128)                                                                      \
    TEXT(SUBJECT, tls_subject, 255)                                                                \
    TEXT(ISSUER, tls_issuer, 255)                                                                  \
    TEXT(METHOD, http_method, 16)                                                                  \
    TEXT(URL, http_url, 512)                                                                       \
    TEXT(USER_AGENT, http_user_agent, 255)

typedef enum MetadataText {
#define TEXT(name, ...) METADATA_##name,
    METADATA_TEXTS(TEXT)
#undef TEXT
        _METADATA_N,
} MetadataText;

/* each text with which one it is and its length */
typedef struct MetadataRoom {
#define TEXT(name, member, most) char member[3 + (most)];
    METADATA_TEXTS(TEXT)
#undef TEXT
} MetadataRoom;

enum { METADATA_BYTES_MAX = sizeof(MetadataRoom) };

/* texts point into the bytes behind them */
typedef struct Metadata {
    uint16_t tls_version;
    uint16_t tls_cipher;
    uint16_t dns_type;
    uint16_t http_status;
    uint8_t dns_rcode;
    FlowText texts[_METADATA_N];
    size_t used;
    char bytes[METADATA_BYTES_MAX];
} Metadata;

void metadata_clear(Metadata *metadata);

/** metadata_put() - a copy, cut where it is too long; of several the last one counts */
void metadata_put(Metadata *metadata, MetadataText which, const char *text, size_t size);

/** metadata_keep() - into chunks; 0: there is nothing, or (*fullp) no room. `old` is given back */
uint32_t metadata_keep(Pool *chunks, uint32_t old, const Metadata *metadata, bool *fullp);

void metadata_drop(Pool *chunks, uint32_t first);

void metadata_read(const Pool *chunks, uint32_t first, Metadata *metadata);

/** metadata_record() - into a record, whose texts then point into the metadata */
void metadata_record(const Metadata *metadata, FlowRecord *record);
