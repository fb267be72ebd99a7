/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/vendor_secret.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"

enum {
    BOX_BYTES = crypto_secretbox_MACBYTES + VENDOR_SECRET_BYTES,
    FILE_BYTES_MAX = 4096,
    HEX_MAX = 2 * BOX_BYTES + 1,
};

/* of the file, in its order; a row's bytes are written as hex */
typedef struct SecretFile {
    uint8_t public_key[VENDOR_PUBLIC_BYTES];
    uint8_t salt[crypto_pwhash_argon2id_SALTBYTES];
    uint8_t nonce[crypto_secretbox_NONCEBYTES];
    uint8_t box[BOX_BYTES];
} SecretFile;

static const struct {
    const char *name;
    size_t at, size;
} lines[] = {
#define LINE(member)                                                                               \
    { #member, offsetof(SecretFile, member), sizeof(((SecretFile *)0)->member) }
    LINE(public_key),
    LINE(salt),
    LINE(nonce),
    LINE(box),
#undef LINE
};

enum { N_LINES = sizeof(lines) / sizeof(lines[0]) };

static const char first_line[] = "weir vendor key 1 (private: keep it off every hub and probe)\n";

void vendor_secret_make(VendorSecret *secret, const char *kid) {
    (void)snprintf(secret->key.kid, sizeof(secret->key.kid), "%s", kid);
    (void)crypto_sign_keypair(secret->key.public_key, secret->secret_key);
}

void vendor_secret_wipe(VendorSecret *secret) {
    sodium_memzero(secret, sizeof(*secret));
}

/* 256 MiB and about a second: a vendor opens it a few times a day */
static int box_key(uint8_t key[crypto_secretbox_KEYBYTES], const SecretFile *file,
                   const char *passphrase) {
    if (crypto_pwhash(key, crypto_secretbox_KEYBYTES, passphrase, strlen(passphrase), file->salt,
                      crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return error_origin(-ENOMEM);
    return 0;
}

int vendor_secret_save(const VendorSecret *secret, const char *path, const char *passphrase,
                       Reason *reason) {
    SecretFile file;
    uint8_t key[crypto_secretbox_KEYBYTES];
    if (access(path, F_OK) == 0) {
        reason_set(reason, "%s is there already, and a key is never written over: name another",
                   path);
        return VENDOR_SECRET_E_REFUSED;
    }
    memcpy(file.public_key, secret->key.public_key, sizeof(file.public_key));
    randombytes_buf(file.salt, sizeof(file.salt));
    randombytes_buf(file.nonce, sizeof(file.nonce));
    int r = box_key(key, &file, passphrase);
    if (r)
        return error_trace(r);
    (void)crypto_secretbox_easy(file.box, secret->secret_key, VENDOR_SECRET_BYTES, file.nonce, key);
    sodium_memzero(key, sizeof(key));
    cleanup(buffer_deinit) Buffer text = {0};
    buffer_put_text(&text, first_line);
    buffer_printf(&text, "kid: %s\n", secret->key.kid);
    for (size_t i = 0; i < N_LINES; i++) {
        char hex[HEX_MAX];
        buffer_printf(
            &text, "%s: %s\n", lines[i].name,
            sodium_bin2hex(hex, sizeof(hex), (uint8_t *)&file + lines[i].at, lines[i].size));
    }
    if (text.failed)
        return error_origin(-ENOMEM);
    r = file_write(path, text.bytes, text.size, 0600, reason);
    return r == FILE_E_REFUSED ? VENDOR_SECRET_E_REFUSED : error_trace(r);
}

/* the value of a line, up to its end; NULL when there is none of that name */
static const char *find_line(const char *text, const char *name, size_t *sizep) {
    size_t n = strlen(name);
    for (const char *at = strchr(text, '\n'); at; at = strchr(at, '\n')) {
        at++;
        if (strncmp(at, name, n) != 0 || strncmp(at + n, ": ", 2) != 0)
            continue;
        *sizep = strcspn(at + n + 2, "\n");
        return at + n + 2;
    }
    return NULL;
}

static bool read_lines(VendorSecret *secret, SecretFile *file, const char *text) {
    size_t size = 0;
    const char *kid = find_line(text, "kid", &size);
    if (strncmp(text, first_line, 17) != 0 || !kid || size > VENDOR_KID_MAX)
        return false;
    memcpy(secret->key.kid, kid, size);
    secret->key.kid[size] = '\0';
    for (size_t i = 0; i < N_LINES; i++) {
        size_t got = 0;
        const char *hex = find_line(text, lines[i].name, &size);
        if (!hex ||
            sodium_hex2bin((uint8_t *)file + lines[i].at, lines[i].size, hex, size, NULL, &got,
                           NULL) != 0 ||
            got != lines[i].size)
            return false;
    }
    return vendor_kid_valid(secret->key.kid);
}

int vendor_secret_load(VendorSecret *secret, const char *path, const char *passphrase,
                       Reason *reason) {
    VendorSecret found = {0};
    SecretFile file;
    uint8_t key[crypto_secretbox_KEYBYTES];
    cleanup(buffer_deinit) Buffer text = {0};
    int r = file_read_any(&text, path, FILE_BYTES_MAX, reason);
    if (r)
        return r == FILE_E_REFUSED ? VENDOR_SECRET_E_REFUSED : error_trace(r);
    if (!read_lines(&found, &file, buffer_text(&text))) {
        reason_set(reason,
                   "%s is not a vendor's private key, or it is damaged; weir-license "
                   "keygen makes one",
                   path);
        return VENDOR_SECRET_E_REFUSED;
    }
    r = box_key(key, &file, passphrase);
    if (r)
        return error_trace(r);
    memcpy(found.key.public_key, file.public_key, sizeof(file.public_key));
    int opened =
        crypto_secretbox_open_easy(found.secret_key, file.box, sizeof(file.box), file.nonce, key);
    sodium_memzero(key, sizeof(key));
    if (opened != 0) {
        reason_set(reason, "the passphrase does not open %s", path);
        return VENDOR_SECRET_E_REFUSED;
    }
    *secret = found;
    vendor_secret_wipe(&found);
    return 0;
}
