/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/server_key_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"

#define NEXT    KEY_STEM "-next"
#define RETIRED KEY_STEM "-retired"

typedef struct Path {
    char text[PATH_MAX + 32];
} Path;

static Path path_of(const char *folder, const char *stem, const char *end) {
    Path path;
    (void)snprintf(path.text, sizeof(path.text), "%s/%s.%s", folder, stem, end);
    return path;
}

static bool is_there(const Path *path) {
    return access(path->text, F_OK) == 0;
}

static int refuse(const Path *path, Reason *reason) {
    reason_set(reason, "%s: %s", path->text, strerror(errno));
    return SERVER_KEY_FILES_E_REFUSED;
}

/** sync_folder() - what was renamed or removed stays so */
static int sync_folder(const char *folder, Reason *reason) {
    cleanup(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fsync(fd) == 0)
        return 0;
    reason_set(reason, "%s: %s", folder, strerror(errno));
    return SERVER_KEY_FILES_E_REFUSED;
}

static int read_text(char z85[41], const Path *path, Reason *reason) {
    Buffer text = {0};
    const int r = file_read(&text, path->text, 64, reason);
    if (!r)
        (void)snprintf(z85, 41, "%.*s", (int)text.size, (const char *)text.bytes);
    buffer_deinit(&text);
    return r > 0 ? SERVER_KEY_FILES_E_REFUSED : error_trace(r);
}

/** public_of() - of the private half in this file */
static int public_of(KeyPair *pair, const Path *private, Reason *reason) {
    char secret[41] = "";
    int r = read_text(secret, private, reason);
    if (!r)
        r = key_pair_from_secret(pair, secret, reason);
    return r > 0 ? SERVER_KEY_FILES_E_REFUSED : error_trace(r);
}

/** mend_public() - the private half is gone: finishing was cut short, or taking it back was */
static int mend_public(const char *folder, const Path *next, Reason *reason) {
    const Path private = path_of(folder, KEY_STEM, "priv");
    const Path public = path_of(folder, KEY_STEM, "pub");
    KeyPair present = {0};
    char found[41] = "";
    int r = is_there(&private) ? public_of(&present, &private, reason) : 0;
    if (!r)
        r = read_text(found, next, reason);
    if (r)
        return error_trace(r);
    const bool finished = strcmp(found, present.public_z85) == 0;
    key_pair_wipe(&present);
    if ((finished ? rename(next->text, public.text) : unlink(next->text)) < 0)
        return refuse(next, reason);
    return sync_folder(folder, reason);
}

int server_key_files_mend(const char *folder, Reason *reason) {
    const Path private = path_of(folder, NEXT, "priv");
    const Path public = path_of(folder, NEXT, "pub");
    if (is_there(&private) == is_there(&public))
        return 0;
    if (is_there(&public))
        return error_trace(mend_public(folder, &public, reason));
    KeyPair next = {0};
    int r = public_of(&next, &private, reason);
    if (!r)
        r = server_key_files_save_next(&next, folder, reason);
    key_pair_wipe(&next);
    return error_trace(r);
}

int server_key_files_next(KeyPair *pair, const char *folder, Reason *reason) {
    const int r = key_pair_find(pair, folder, NEXT, reason);
    return r == KEYS_E_MISSING ? SERVER_KEY_FILES_E_NONE
           : r > 0             ? SERVER_KEY_FILES_E_REFUSED
                               : error_trace(r);
}

int server_key_files_save_next(const KeyPair *pair, const char *folder, Reason *reason) {
    const int r = key_pair_save(pair, folder, NEXT, reason);
    return r > 0 ? SERVER_KEY_FILES_E_REFUSED : error_trace(r);
}

int server_key_files_drop_next(const char *folder, Reason *reason) {
    static const char *const ends[] = {"priv", "pub"}; /* in this order: mend_public() */
    for (size_t i = 0; i < 2; i++) {
        const Path path = path_of(folder, NEXT, ends[i]);
        if (unlink(path.text) < 0 && errno != ENOENT)
            return refuse(&path, reason);
    }
    return sync_folder(folder, reason);
}

int server_key_files_finish(const KeyPair *present, const char *folder, Reason *reason) {
    static const char *const ends[] = {"priv", "pub"}; /* in this order: mend_public() */
    const int r = key_pair_save(present, folder, RETIRED, reason);
    if (r)
        return r > 0 ? SERVER_KEY_FILES_E_REFUSED : error_trace(r);
    for (size_t i = 0; i < 2; i++) {
        const Path from = path_of(folder, NEXT, ends[i]);
        const Path to = path_of(folder, KEY_STEM, ends[i]);
        if (rename(from.text, to.text) < 0)
            return refuse(&from, reason);
    }
    return sync_folder(folder, reason);
}

bool server_key_files_retired(const char *secret_z85, const char *folder) {
    KeyPair retired = {0};
    const bool same = key_pair_find(&retired, folder, RETIRED, NULL) == 0 &&
                      strcmp(retired.secret_z85, secret_z85) == 0;
    key_pair_wipe(&retired);
    return same;
}
