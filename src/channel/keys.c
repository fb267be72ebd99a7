/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/keys.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "base/error.h"
#include "base/file.h"

enum { KEY_CHARS = 40 };

typedef enum KeyFile { KEY_PUBLIC, KEY_SECRET } KeyFile;

static const char *const file_ends[] = {"pub", "priv"};

int key_check(const char *z85) {
    /* zmq_z85_decode() wraps around on five characters beyond 32 bits and takes a NUL as an end */
    static const char alphabet[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    if (strlen(z85) != KEY_CHARS)
        return 0;
    for (size_t group = 0; group < KEY_CHARS; group += 5) {
        uint64_t v = 0;
        for (size_t i = 0; i < 5; i++) {
            const char *at = strchr(alphabet, z85[group + i]);
            if (!at)
                return 0;
            v = v * 85 + (uint64_t)(at - alphabet);
        }
        if (v > UINT32_MAX)
            return 0;
    }
    return 1;
}

int key_pair_make(KeyPair *pair) {
    KeyPair made;
    if (zmq_curve_keypair(made.public_z85, made.secret_z85) < 0)
        return error_origin(-errno);
    *pair = made;
    return 0;
}

void key_pair_wipe(KeyPair *pair) {
    sodium_memzero(pair, sizeof(*pair));
}

int key_pair_from_secret(KeyPair *pair, const char *secret_z85, Reason *reason) {
    if (!key_check(secret_z85)) {
        reason_set(reason,
                   "a private key has 40 characters of the Z85 alphabet; this one has %zu or other "
                   "characters",
                   strlen(secret_z85));
        return KEYS_E_REFUSED;
    }
    KeyPair made;
    memcpy(made.secret_z85, secret_z85, sizeof(made.secret_z85));
    if (zmq_curve_public(made.public_z85, made.secret_z85) < 0)
        return error_origin(-errno);
    *pair = made;
    return 0;
}

/** read_key() - one file; *therep is false when there is none */
static int read_key(char z85[41], const char *path, bool *therep, Reason *reason) {
    struct stat st;
    *therep = false;
    if (stat(path, &st) < 0 && errno == ENOENT)
        return 0;
    Buffer text = {0};
    int r = file_read(&text, path, 4096, reason);
    if (r) {
        buffer_deinit(&text);
        return r < 0 ? error_trace(r) : KEYS_E_REFUSED;
    }
    while (text.size && (text.bytes[text.size - 1] == '\n' || text.bytes[text.size - 1] == '\r'))
        text.size--; /* written by an editor or echo */
    char key[41] = "";
    if (text.size == KEY_CHARS)
        memcpy(key, text.bytes, KEY_CHARS);
    if (!key_check(key)) {
        reason_set(reason,
                   "%s is not a key: it has %zu characters, a key has 40 of the Z85 alphabet", path,
                   text.size);
        r = KEYS_E_REFUSED;
    }
    if (!r && (st.st_mode & 077)) {
        reason_set(reason, "%s can be read by others (mode %03o): chmod 600 %s", path,
                   (unsigned)(st.st_mode & 0777), path);
        r = KEYS_E_REFUSED;
    }
    if (!r) {
        memcpy(z85, key, sizeof(key));
        *therep = true;
    }
    sodium_memzero(key, sizeof(key));
    if (text.bytes)
        sodium_memzero(text.bytes, text.size);
    buffer_deinit(&text);
    return r;
}

/** write_pair() - the private half first: half a pair then always has the half that makes the other
 */
static int write_pair(const KeyPair *pair, char paths[2][PATH_MAX], Reason *reason) {
    int r = file_write(paths[KEY_SECRET], pair->secret_z85, KEY_CHARS, 0600, reason);
    if (!r)
        r = file_write(paths[KEY_PUBLIC], pair->public_z85, KEY_CHARS, 0600, reason);
    return r > 0 ? KEYS_E_REFUSED : error_trace(r);
}

static int check_pair(const KeyPair *found, char paths[2][PATH_MAX], Reason *reason) {
    KeyPair made;
    int r = key_pair_from_secret(&made, found->secret_z85, reason);
    if (!r && memcmp(made.public_z85, found->public_z85, sizeof(made.public_z85)) != 0) {
        reason_set(reason, "%s and %s do not belong together: restore the pair, or remove both",
                   paths[KEY_PUBLIC], paths[KEY_SECRET]);
        r = KEYS_E_REFUSED;
    }
    key_pair_wipe(&made);
    return error_trace(r);
}

static int name_files(char paths[2][PATH_MAX], const char *folder, const char *stem,
                      Reason *reason) {
    for (int i = 0; i < 2; i++) {
        int n = snprintf(paths[i], PATH_MAX, "%s/%s.%s", folder, stem, file_ends[i]);
        if (n < 0 || n >= PATH_MAX) {
            reason_set(reason, "%s: %s", folder, strerror(ENAMETOOLONG));
            return KEYS_E_REFUSED;
        }
    }
    return 0;
}

/** find() - *halfp: only the private half was there, and the other was made from it */
static int find(KeyPair *pair, const char *folder, const char *stem, bool *halfp, Reason *reason) {
    char paths[2][PATH_MAX];
    KeyPair found = {0};
    char *halves[] = {[KEY_PUBLIC] = found.public_z85, [KEY_SECRET] = found.secret_z85};
    bool there[2] = {false, false};
    int r = name_files(paths, folder, stem, reason);
    for (int i = 0; i < 2 && !r; i++)
        r = read_key(halves[i], paths[i], &there[i], reason);
    *halfp = there[KEY_SECRET] && !there[KEY_PUBLIC];
    if (!r && *halfp) {
        r = key_pair_from_secret(&found, found.secret_z85, reason);
    } else if (!r && there[KEY_PUBLIC] && !there[KEY_SECRET]) {
        reason_set(reason,
                   "half a key pair: %s is there, %s is missing: restore it, or remove both",
                   paths[KEY_PUBLIC], paths[KEY_SECRET]);
        r = KEYS_E_REFUSED;
    } else if (!r) {
        r = there[KEY_SECRET] ? check_pair(&found, paths, reason) : KEYS_E_MISSING;
    }
    if (!r)
        *pair = found;
    key_pair_wipe(&found);
    return error_trace(r);
}

int key_pair_find(KeyPair *pair, const char *folder, const char *stem, Reason *reason) {
    bool half = false;
    return error_trace(find(pair, folder, stem, &half, reason));
}

int key_pair_save(const KeyPair *pair, const char *folder, const char *stem, Reason *reason) {
    char paths[2][PATH_MAX];
    int r = name_files(paths, folder, stem, reason);
    if (!r)
        r = write_pair(pair, paths, reason);
    return error_trace(r);
}

int key_pair_load(KeyPair *pair, const char *folder, Reason *reason) {
    KeyPair found = {0};
    bool half = false;
    int r = find(&found, folder, KEY_STEM, &half, reason);
    const bool none = r == KEYS_E_MISSING;
    if (none)
        r = key_pair_make(&found);
    if (!r && (none || half)) /* half: it was killed in making them */
        r = key_pair_save(&found, folder, KEY_STEM, reason);
    if (!r)
        *pair = found;
    key_pair_wipe(&found);
    return error_trace(r);
}
