/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/quic_initial.h"

#include <errno.h>
#include <gcrypt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

enum {
    KEY_BYTES = 16,
    IV_BYTES = 12,
    TAG_BYTES = 16,
    SAMPLE_BYTES = 16,
    SALT_BYTES = 20,
    SECRET_BYTES = 32,
};

struct QuicReader {
    gcry_cipher_hd_t mask;   /* of the header */
    gcry_cipher_hd_t packet; /* of what is in it */
    uint8_t plain[QUIC_DATAGRAM_MAX];
};

typedef struct Keys {
    uint8_t key[KEY_BYTES];
    uint8_t iv[IV_BYTES];
    uint8_t mask[KEY_BYTES];
} Keys;

typedef struct Version {
    uint32_t first, last;
    uint8_t salt[SALT_BYTES];
    uint8_t initial; /* the bits of a long header's type that mean Initial */
    bool second;     /* labels of version 2 */
} Version;

/* RFC 9001 section 5.2, its drafts, RFC 9369 section 3.3.1 */
static const Version versions[] = {
    {.first = 1, .last = 1, .salt = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                     0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}},
    {.first = 0x6b3343cf,
     .last = 0x6b3343cf,
     .salt = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
              0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
     .initial = 1,
     .second = true},
    {.first = 0xff00001d, .last = 0xff000020, .salt = {0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2,
                                                       0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61,
                                                       0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99}},
    {.first = 0xff000021, .last = 0xff000022, .salt = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34,
                                                       0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                                                       0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}},
    {.first = 0xff000017, .last = 0xff00001c, .salt = {0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb,
                                                       0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4,
                                                       0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02}},
    {.first = 0xfaceb002,
     .last = 0xfaceb002, /* mvfst, as draft 27 */
     .salt = {0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7,
              0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02}},
};

static const Version *version_find(uint32_t number) {
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        if (number >= versions[i].first && number <= versions[i].last)
            return &versions[i];
    return NULL;
}

int quic_reader_new(QuicReader **readerp) {
    cleanup(quic_reader_freep) QuicReader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return error_origin(-ENOMEM);
    if (!gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
        (void)gcry_check_version(NULL);
        (void)gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
        (void)gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    }
    if (gcry_cipher_open(&reader->mask, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_ECB, 0) ||
        gcry_cipher_open(&reader->packet, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_GCM, 0))
        return error_origin(-ENOMEM);
    *readerp = reader;
    reader = NULL;
    return 0;
}

QuicReader *quic_reader_free(QuicReader *reader) {
    if (!reader)
        return NULL;
    gcry_cipher_close(reader->mask);
    gcry_cipher_close(reader->packet);
    free(reader);
    return NULL;
}

/* --- keys (RFC 9001 section 5.2, RFC 8446 section 7.1, RFC 5869) --- */

static void hmac(uint8_t out[SECRET_BYTES], const uint8_t *key, size_t key_bytes,
                 const uint8_t *data, size_t size) {
    crypto_auth_hmacsha256_state state;
    (void)crypto_auth_hmacsha256_init(&state, key, key_bytes);
    (void)crypto_auth_hmacsha256_update(&state, data, size);
    (void)crypto_auth_hmacsha256_final(&state, out);
}

/* HKDF-Expand-Label without context; what is wanted is never longer than one hash */
static void expand(const uint8_t secret[SECRET_BYTES], const char *label, uint8_t *to, size_t n) {
    uint8_t info[40] = {0, (uint8_t)n};
    uint8_t out[SECRET_BYTES];
    size_t label_bytes = strlen(label);
    info[2] = (uint8_t)(6 + label_bytes);
    memcpy(info + 3, "tls13 ", 6);
    memcpy(info + 9, label, label_bytes);
    info[9 + label_bytes] = 0;  /* context */
    info[10 + label_bytes] = 1; /* the first and only block */
    hmac(out, secret, SECRET_BYTES, info, 11 + label_bytes);
    memcpy(to, out, n);
}

static void keys_make(Keys *keys, const Version *version, const QuicOrigin *origin) {
    uint8_t initial[SECRET_BYTES];
    uint8_t client[SECRET_BYTES];
    hmac(initial, version->salt, SALT_BYTES, origin->id, origin->id_bytes);
    expand(initial, "client in", client, sizeof(client));
    expand(client, version->second ? "quicv2 key" : "quic key", keys->key, KEY_BYTES);
    expand(client, version->second ? "quicv2 iv" : "quic iv", keys->iv, IV_BYTES);
    expand(client, version->second ? "quicv2 hp" : "quic hp", keys->mask, KEY_BYTES);
}

/* --- packets --- */

/* a variable-length integer (RFC 9000 section 16) */
static uint64_t take_number(Cursor *c) {
    uint8_t first = cursor_u8(c);
    uint64_t v = first & 0x3f;
    for (unsigned more = (1u << (first >> 6)) - 1; more > 0; more--)
        v = v << 8 | cursor_u8(c);
    return v;
}

/*
 *  one long header packet (RFC 9000 section 17.2)
 *   +-+-+-+-+-+-+-+-+
 *   |1|1| T |R R|P P|  type, length of the packet number (both ends masked)
 *   +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *   | version (32) | id length, id | source id length, source id     |
 *   | token length, token (Initial only) | length | number | payload |
 */
typedef struct Initial {
    const uint8_t *header;
    const uint8_t *number; /* where it begins, masked */
    size_t left;           /* from there to the end of the packet */
    const Version *version;
    uint32_t version_number;
    const uint8_t *id;
    uint8_t id_bytes;
    bool is_initial;
} Initial;

static bool take_packet(Cursor *c, Initial *initial) {
    *initial = (Initial){.header = c->at};
    uint8_t first = cursor_u8(c);
    initial->version_number = cursor_u32(c);
    initial->id_bytes = cursor_u8(c);
    initial->id = cursor_take(c, initial->id_bytes);
    cursor_skip(c, cursor_u8(c));
    initial->version = version_find(initial->version_number);
    if (c->failed || (first & 0xc0) != 0xc0 || !initial->version || initial->id_bytes > QUIC_ID_MAX)
        return false;
    initial->is_initial = (first >> 4 & 3) == initial->version->initial;
    if (initial->is_initial) {
        uint64_t token = take_number(c);
        if (token > cursor_left(c))
            return false;
        cursor_skip(c, token);
    }
    uint64_t length = take_number(c);
    if (c->failed || length > cursor_left(c))
        return false;
    initial->number = c->at;
    initial->left = length;
    cursor_skip(c, length);
    return true;
}

bool quic_is_initial(const uint8_t *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    uint8_t first = cursor_u8(&c);
    uint32_t number = cursor_u32(&c);
    if (c.failed || (first & 0xc0) != 0xc0)
        return false;
    const Version *version = version_find(number);
    return version && (first >> 4 & 3) == version->initial;
}

/* bytes of payload in reader->plain, 0: not ours to read */
static size_t open_packet(QuicReader *reader, const Initial *initial, const Keys *keys) {
    if (initial->left < 4 + SAMPLE_BYTES)
        return 0;
    uint8_t mask[SAMPLE_BYTES];
    if (gcry_cipher_setkey(reader->mask, keys->mask, KEY_BYTES) ||
        gcry_cipher_encrypt(reader->mask, mask, sizeof(mask), initial->number + 4, SAMPLE_BYTES))
        return 0;
    uint8_t first = (uint8_t)(initial->header[0] ^ (mask[0] & 0x0f));
    size_t number_bytes = (size_t)(first & 3) + 1;
    size_t header_bytes = (size_t)(initial->number - initial->header) + number_bytes;
    if (header_bytes > QUIC_DATAGRAM_MAX || initial->left < number_bytes + TAG_BYTES)
        return 0;
    size_t size = initial->left - number_bytes - TAG_BYTES;
    if (size == 0 || size > sizeof(reader->plain))
        return 0;
    /* what is authenticated is the header as it was before it was masked */
    uint8_t header[QUIC_DATAGRAM_MAX];
    uint8_t nonce[IV_BYTES];
    uint32_t number = 0;
    memcpy(header, initial->header, header_bytes);
    memcpy(nonce, keys->iv, IV_BYTES);
    header[0] = first;
    for (size_t i = 0; i < number_bytes; i++) {
        uint8_t b = (uint8_t)(initial->number[i] ^ mask[1 + i]);
        header[header_bytes - number_bytes + i] = b;
        number = number << 8 | b;
    }
    for (size_t i = 0; i < sizeof(number); i++)
        nonce[IV_BYTES - 1 - i] ^= (uint8_t)(number >> (8 * i));
    const uint8_t *payload = initial->number + number_bytes;
    if (gcry_cipher_setkey(reader->packet, keys->key, KEY_BYTES) ||
        gcry_cipher_setiv(reader->packet, nonce, sizeof(nonce)) ||
        gcry_cipher_authenticate(reader->packet, header, header_bytes) ||
        gcry_cipher_decrypt(reader->packet, reader->plain, size, payload, size) ||
        gcry_cipher_checktag(reader->packet, payload + size, TAG_BYTES))
        return 0;
    return size;
}

/* frames that an Initial may have (RFC 9000 section 17.2.2) */
enum { FRAME_PADDING = 0, FRAME_PING = 1, FRAME_ACK = 2, FRAME_ACK_ECN = 3, FRAME_CRYPTO = 6 };

static void skip_ack(Cursor *c, bool ecn) {
    (void)take_number(c);
    (void)take_number(c);
    uint64_t ranges = take_number(c);
    (void)take_number(c);
    for (uint64_t i = 0; i < ranges && !c->failed; i++) {
        (void)take_number(c);
        (void)take_number(c);
    }
    for (int i = 0; ecn && i < 3; i++)
        (void)take_number(c);
}

static void walk_frames(const uint8_t *bytes, size_t size, QuicTake *take, void *userdata) {
    Cursor c = cursor_make(bytes, size);
    while (cursor_left(&c) > 0) {
        uint64_t type = take_number(&c);
        if (type == FRAME_PADDING || type == FRAME_PING)
            continue;
        if (type == FRAME_ACK || type == FRAME_ACK_ECN) {
            skip_ack(&c, type == FRAME_ACK_ECN);
            continue;
        }
        if (type != FRAME_CRYPTO)
            return;
        uint64_t offset = take_number(&c);
        uint64_t n = take_number(&c);
        if (n > cursor_left(&c))
            return;
        take(userdata, offset, cursor_take(&c, n), n);
    }
}

bool quic_read(QuicReader *reader, QuicOrigin *origin, const uint8_t *bytes, size_t size,
               QuicTake *take, void *userdata) {
    Cursor c = cursor_make(bytes, size);
    bool any = false;
    Initial initial;
    while (cursor_left(&c) > 0 && take_packet(&c, &initial)) {
        if (!initial.is_initial)
            continue;
        QuicOrigin from = *origin;
        if (!from.version) {
            from = (QuicOrigin){.version = initial.version_number, .id_bytes = initial.id_bytes};
            memcpy(from.id, initial.id, initial.id_bytes);
        }
        Keys keys;
        keys_make(&keys, version_find(from.version), &from);
        size_t n = open_packet(reader, &initial, &keys);
        if (n == 0)
            continue;
        *origin = from;
        any = true;
        walk_frames(reader->plain, n, take, userdata);
    }
    return any;
}
