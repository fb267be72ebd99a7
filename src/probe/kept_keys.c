/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/kept_keys.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "channel/keys.h"

enum { FILE_BYTES_MAX = 1 << 20 };

struct KeptKeys {
    pthread_mutex_t lock;
    char path[PATH_MAX];
    json_t *hubs; /* {"tcp://HUB:5556": {"first": …, "keys": …}} */
};

static int read_file(KeptKeys *kept, Reason *reason) {
    if (access(kept->path, F_OK) < 0 && errno == ENOENT)
        return 0;
    Buffer text = {0};
    const int r = file_read(&text, kept->path, FILE_BYTES_MAX, reason);
    if (r) {
        buffer_deinit(&text);
        return r < 0 ? error_trace(r) : KEPT_KEYS_E_REFUSED;
    }
    json_t *object = json_loadb((const char *)text.bytes, text.size, 0, NULL);
    json_t *hubs = json_object_get(object, "hubs");
    const bool good = json_is_object(hubs);
    if (good) {
        json_decref(kept->hubs);
        kept->hubs = json_incref(hubs);
    } else {
        reason_set(reason,
                   "%s cannot be read: it holds the hub's key that took the place of the one in "
                   "the configuration. Restore it, or remove it and give the hub's present key",
                   kept->path);
    }
    json_decref(object);
    buffer_deinit(&text);
    return good ? 0 : KEPT_KEYS_E_REFUSED;
}

int kept_keys_new(KeptKeys **keptp, const char *folder, Reason *reason) {
    cleanup(kept_keys_freep) KeptKeys *kept = calloc(1, sizeof(*kept));
    if (!kept)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&kept->lock, NULL);
    kept->hubs = json_object();
    if (!kept->hubs)
        return error_origin(-ENOMEM);
    (void)snprintf(kept->path, sizeof(kept->path), "%s/server-keys.json", folder);
    const int r = read_file(kept, reason);
    if (r)
        return error_trace(r);
    *keptp = kept;
    kept = NULL;
    return 0;
}

KeptKeys *kept_keys_free(KeptKeys *kept) {
    if (!kept)
        return NULL;
    json_decref(kept->hubs);
    (void)pthread_mutex_destroy(&kept->lock);
    free(kept);
    return NULL;
}

/** find() - locked */
static void find(const KeptKeys *kept, const char *endpoint, const char *configured,
                 KeptKey *found) {
    KeptKey made = {0};
    const json_t *hub = json_object_get(kept->hubs, endpoint);
    const char *first = json_string_value(json_object_get(hub, "first"));
    const bool good = first && key_check(first) &&
                      server_keys_read(&made.keys, json_object_get(hub, "keys")) &&
                      (strcmp(configured, first) == 0 || strcmp(configured, made.keys.now) == 0 ||
                       strcmp(configured, made.keys.next) == 0);
    if (!good)
        made.keys = (ServerKeys){0};
    memcpy(made.first, good ? first : configured, sizeof(made.first));
    *found = made;
}

void kept_keys_find(KeptKeys *kept, const char *endpoint, const char *configured_z85,
                    KeptKey *found) {
    (void)pthread_mutex_lock(&kept->lock);
    find(kept, endpoint, configured_z85, found);
    (void)pthread_mutex_unlock(&kept->lock);
}

static json_t *make_entry(const char *first, const ServerKeys *keys) {
    Buffer text = {0};
    Json json = json_make(&text);
    json_object_begin(&json, NULL);
    json_text(&json, "first", first);
    server_keys_write(&json, "keys", keys);
    json_object_end(&json);
    json_t *entry = text.failed ? NULL : json_loadb((const char *)text.bytes, text.size, 0, NULL);
    buffer_deinit(&text);
    return entry;
}

/** write_file() - locked; durable when it returns true */
static bool write_file(const KeptKeys *kept, json_t *hubs, Reason *reason) {
    json_t *file = json_pack("{s:i, s:O}", "v", 1, "hubs", hubs);
    char *text = file ? json_dumps(file, JSON_INDENT(1)) : NULL;
    const bool good = text && file_write(kept->path, text, strlen(text), 0600, reason) == 0;
    free(text);
    json_decref(file);
    return good;
}

bool kept_keys_put(KeptKeys *kept, const char *endpoint, const char *configured_z85,
                   const ServerKeys *keys, Reason *reason) {
    KeptKey before;
    (void)pthread_mutex_lock(&kept->lock);
    find(kept, endpoint, configured_z85, &before);
    json_t *hubs = json_copy(kept->hubs);
    json_t *entry = make_entry(before.first, keys);
    const bool good = hubs && entry && json_object_set(hubs, endpoint, entry) == 0 &&
                      write_file(kept, hubs, reason);
    json_decref(entry);
    if (good) {
        json_decref(kept->hubs);
        kept->hubs = hubs;
    } else {
        json_decref(hubs);
    }
    (void)pthread_mutex_unlock(&kept->lock);
    return good;
}
