/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/metadata.h"

#include <assert.h>
#include <string.h>

typedef struct Chunk {
    uint32_t next; /* 0: the last one */
    uint8_t bytes[METADATA_CHUNK_BYTES - 4];
} Chunk;

static_assert(sizeof(Chunk) == METADATA_CHUNK_BYTES, "one cache line");

/* what stands before the texts in the first chunk */
typedef struct Head {
    uint16_t bytes; /* of the texts, each with which one it is and its length */
    uint16_t tls_version;
    uint16_t tls_cipher;
    uint16_t dns_type;
    uint16_t http_status;
    uint8_t dns_rcode;
    uint8_t zero;
} Head;

enum { TEXT_HEAD_BYTES = 3 };

static const uint16_t most[_METADATA_N] = {
#define TEXT(name, member, bytes) [METADATA_##name] = (bytes),
    METADATA_TEXTS(TEXT)
#undef TEXT
};

void metadata_clear(Metadata *m) {
    memset(m, 0, offsetof(Metadata, bytes));
}

void metadata_put(Metadata *m, MetadataText which, const char *text, size_t size) {
    if (size > most[which])
        size = most[which];
    if (size == 0 || m->used + size > sizeof(m->bytes))
        return;
    memcpy(m->bytes + m->used, text, size);
    m->texts[which] = (FlowText){.text = m->bytes + m->used, .size = (uint32_t)size};
    m->used += size;
}

static Chunk *chunk_at(const Pool *chunks, uint32_t number) {
    return pool_at(chunks, number);
}

void metadata_drop(Pool *chunks, uint32_t first) {
    while (first) {
        uint32_t next = chunk_at(chunks, first)->next;
        pool_return(chunks, first);
        first = next;
    }
}

/* the head and the texts one after the other; 0: there is nothing */
static size_t flatten(const Metadata *m, uint8_t to[sizeof(Head) + METADATA_BYTES_MAX]) {
    size_t at = sizeof(Head);
    for (unsigned i = 0; i < _METADATA_N; i++) {
        size_t size = m->texts[i].size;
        if (size == 0)
            continue;
        to[at] = (uint8_t)i;
        to[at + 1] = (uint8_t)(size >> 8);
        to[at + 2] = (uint8_t)size;
        memcpy(to + at + TEXT_HEAD_BYTES, m->texts[i].text, size);
        at += TEXT_HEAD_BYTES + size;
    }
    if (at == sizeof(Head) &&
        !(m->tls_version | m->tls_cipher | m->dns_type | m->http_status | m->dns_rcode))
        return 0;
    const Head head = {.bytes = (uint16_t)(at - sizeof(Head)),
                       .tls_version = m->tls_version,
                       .tls_cipher = m->tls_cipher,
                       .dns_type = m->dns_type,
                       .http_status = m->http_status,
                       .dns_rcode = m->dns_rcode};
    memcpy(to, &head, sizeof(head));
    return at;
}

uint32_t metadata_keep(Pool *chunks, uint32_t old, const Metadata *m, bool *fullp) {
    uint8_t flat[sizeof(Head) + METADATA_BYTES_MAX];
    size_t size = flatten(m, flat);
    uint32_t first = 0;
    *fullp = false;
    metadata_drop(chunks, old);
    /* from the end, so that each knows the next */
    const size_t room = sizeof(((Chunk *)0)->bytes);
    for (size_t left = (size + room - 1) / room; left-- > 0;) {
        uint32_t number = pool_take(chunks);
        if (!number) {
            metadata_drop(chunks, first);
            *fullp = true;
            return 0;
        }
        Chunk *chunk = chunk_at(chunks, number);
        size_t from = left * room;
        chunk->next = first;
        memcpy(chunk->bytes, flat + from, size - from < room ? size - from : room);
        first = number;
    }
    return first;
}

void metadata_read(const Pool *chunks, uint32_t first, Metadata *m) {
    metadata_clear(m);
    if (!first)
        return;
    uint8_t flat[sizeof(Head) + METADATA_BYTES_MAX + sizeof(Chunk)];
    size_t size = 0;
    for (uint32_t n = first; n && size < sizeof(Head) + METADATA_BYTES_MAX;) {
        const Chunk *chunk = chunk_at(chunks, n);
        memcpy(flat + size, chunk->bytes, sizeof(chunk->bytes));
        size += sizeof(chunk->bytes);
        n = chunk->next;
    }
    Head head;
    memcpy(&head, flat, sizeof(head));
    m->tls_version = head.tls_version;
    m->tls_cipher = head.tls_cipher;
    m->dns_type = head.dns_type;
    m->http_status = head.http_status;
    m->dns_rcode = head.dns_rcode;
    const uint8_t *at = flat + sizeof(head);
    for (const uint8_t *end = at + head.bytes; at < end;) {
        size_t bytes = (size_t)at[1] << 8 | at[2];
        metadata_put(m, (MetadataText)at[0], (const char *)at + TEXT_HEAD_BYTES, bytes);
        at += TEXT_HEAD_BYTES + bytes;
    }
}

void metadata_record(const Metadata *m, FlowRecord *record) {
    record->tls_version = m->tls_version;
    record->tls_cipher = m->tls_cipher;
    record->dns_type = m->dns_type;
    record->http_status = m->http_status;
    record->dns_rcode = m->dns_rcode;
#define TEXT(name, member, bytes) record->member = m->texts[METADATA_##name];
    METADATA_TEXTS(TEXT)
#undef TEXT
}
