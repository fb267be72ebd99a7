/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/exporters_keep.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

enum {
    COUNTERS_EVERY_S = 5,
    FILE_EVERY_S = 60,
    AT_ONCE = 4096,
    FILE_BYTES_MAX = 64 << 20,
    PATH_BYTES = 4096,
};

struct ExportersKeep {
    ExportersKeepConfig config;
    char path[PATH_BYTES];
    StoreCounter *rows;
    size_t n; /* of them, that the store did not take */
    bool told;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    pthread_t thread;
};

/* --- counters --- */

/* false: the store takes none now */
static bool store_some(ExportersKeep *keep) {
    uint64_t lost = 0;
    if (!keep->n)
        keep->n = exporters_pending(keep->config.exporters, keep->rows, AT_ONCE, &lost);
    metric_set(keep->config.lost, lost);
    if (!keep->n)
        return false;
    Reason reason = {""};
    const int r = store_append_counters(keep->config.store, keep->rows, keep->n, &reason);
    if (r && !keep->told)
        log_warning("counters of interfaces cannot be stored and wait: %s", reason.text);
    keep->told = r != 0;
    if (r)
        return false;
    metric_add(keep->config.stored, keep->n);
    keep->n = 0;
    return true;
}

/* --- the file --- */

typedef struct Writing {
    Json json;
    bool dirty;
} Writing;

static void look_dirty(void *context, Exporter *exporter) {
    Writing *writing = context;
    writing->dirty = writing->dirty || exporter->dirty;
}

static void write_exporter(void *context, Exporter *exporter) {
    Writing *writing = context;
    Json *json = &writing->json;
    char text[NET_ADDRESS_TEXT_MAX];
    exporter->dirty = false;
    for (const ExporterDomain *d = exporter->domains; d; d = d->next) {
        json_object_begin(json, NULL);
        json_text(json, "probe", exporter->probe.z85);
        json_text(json, "ip", net_address_format(&exporter->ip, text));
        json_text(json, "name", exporter->name);
        json_text(json, "site", exporter->site);
        json_u64(json, "version", d->version);
        json_u64(json, "domain", d->domain);
        json_u64(json, "sub_agent", d->sub_agent);
        json_u64(json, "first_ms", d->first_ms);
        json_u64(json, "last_ms", d->last_ms);
        json_object_end(json);
        buffer_put_u8(json->to, '\n');
    }
}

static void write_file(ExportersKeep *keep) {
    Buffer text = {0};
    Reason reason = {""};
    Writing writing = {.json = json_make(&text)};
    exporters_each(keep->config.exporters, look_dirty, &writing);
    if (!writing.dirty)
        return;
    json_array_begin(&writing.json, NULL);
    exporters_each(keep->config.exporters, write_exporter, &writing);
    json_array_end(&writing.json);
    if (!text.failed && file_write(keep->path, text.bytes, text.size, 0600, &reason) != 0)
        log_warning("which exporters there are could not be kept: %s", reason.text);
    buffer_deinit(&text);
}

static const char *text_of(const json_t *row, const char *name) {
    const char *text = json_string_value(json_object_get(row, name));
    return text ? text : "";
}

static uint64_t number_of(const json_t *row, const char *name) {
    const json_int_t v = json_integer_value(json_object_get(row, name));
    return v > 0 ? (uint64_t)v : 0;
}

/* one that is missing or damaged is as if nobody was known */
static void read_file(ExportersKeep *keep) {
    Buffer text = {0};
    json_t *rows = NULL;
    if (file_read(&text, keep->path, FILE_BYTES_MAX, NULL) == 0)
        rows = json_loadb((const char *)text.bytes, text.size, 0, NULL);
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        const ExporterDomain domain = {.version = (uint32_t)number_of(row, "version"),
                                       .domain = (uint32_t)number_of(row, "domain"),
                                       .sub_agent = (uint32_t)number_of(row, "sub_agent"),
                                       .first_ms = number_of(row, "first_ms"),
                                       .last_ms = number_of(row, "last_ms")};
        PeerKey key = {0};
        NetAddress ip;
        const char *z85 = text_of(row, "probe");
        if (strlen(z85) != sizeof(key.z85) - 1 || !net_address_parse(&ip, text_of(row, "ip")))
            continue;
        memcpy(key.z85, z85, sizeof(key.z85));
        (void)exporters_restore(keep->config.exporters, &key, &ip, text_of(row, "name"),
                                text_of(row, "site"), &domain);
    }
    json_decref(rows);
    buffer_deinit(&text);
}

/* --- the thread --- */

static bool wait_s(ExportersKeep *keep, unsigned s) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += s;
    (void)pthread_mutex_lock(&keep->lock);
    if (!keep->stopping)
        (void)pthread_cond_timedwait(&keep->wake, &keep->lock, &until);
    const bool stopping = keep->stopping;
    (void)pthread_mutex_unlock(&keep->lock);
    return !stopping;
}

static void *run(void *userdata) {
    ExportersKeep *keep = userdata;
    uint64_t file_ms = clock_monotonic_ms();
    while (wait_s(keep, COUNTERS_EVERY_S)) {
        while (store_some(keep))
            ;
        if (clock_monotonic_ms() - file_ms < FILE_EVERY_S * 1000)
            continue;
        write_file(keep);
        file_ms = clock_monotonic_ms();
    }
    while (store_some(keep))
        ;
    write_file(keep);
    return NULL;
}

int exporters_keep_new(ExportersKeep **keepp, const ExportersKeepConfig *config) {
    ExportersKeep *keep = calloc(1, sizeof(*keep));
    if (!keep)
        return error_origin(-ENOMEM);
    keep->config = *config;
    keep->rows = calloc(AT_ONCE, sizeof(*keep->rows));
    (void)snprintf(keep->path, sizeof(keep->path), "%s/exporters.json", config->data_dir);
    (void)pthread_mutex_init(&keep->lock, NULL);
    (void)pthread_cond_init(&keep->wake, NULL);
    read_file(keep);
    const int r = keep->rows ? pthread_create(&keep->thread, NULL, run, keep) : ENOMEM;
    if (r) {
        free(keep->rows);
        free(keep);
        return error_origin(-r);
    }
    *keepp = keep;
    return 0;
}

ExportersKeep *exporters_keep_free(ExportersKeep *keep) {
    if (!keep)
        return NULL;
    (void)pthread_mutex_lock(&keep->lock);
    keep->stopping = true;
    (void)pthread_cond_broadcast(&keep->wake);
    (void)pthread_mutex_unlock(&keep->lock);
    (void)pthread_join(keep->thread, NULL);
    (void)pthread_cond_destroy(&keep->wake);
    (void)pthread_mutex_destroy(&keep->lock);
    free(keep->rows);
    free(keep);
    return NULL;
}
