/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/exporters.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "hub/exporters_inside.h"

enum { BUCKETS = 4096, EVICT_LOOK = 64 };

struct Exporters {
    pthread_mutex_t lock;
    Exporter *buckets[BUCKETS];
    size_t n;
    Exporter *latest;      /* whose name was asked for last */
    StoreCounter *pending; /* a ring of EXPORTERS_PENDING_MAX; NULL: there was none yet */
    size_t pending_at, pending_n;
    uint64_t pending_lost;
};

const char *const exporter_number_names[_EXPORTER_NUMBER_N] = {
#define N(id, name) [EXPORTER_##id] = #name,
    EXPORTER_NUMBERS(N)
#undef N
};

const char *const exporter_name_kinds[_EXPORTER_NAME_N] = {
    [EXPORTER_NAME_INTERFACE] = "interface",
    [EXPORTER_NAME_APPLICATION] = "application",
    [EXPORTER_NAME_VRF] = "vrf",
};

int exporters_new(Exporters **exportersp) {
    Exporters *exporters = calloc(1, sizeof(*exporters));
    if (!exporters)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&exporters->lock, NULL);
    *exportersp = exporters;
    return 0;
}

static void exporter_free(Exporter *exporter) {
    for (ExporterDomain *d = exporter->domains, *next = NULL; d; d = next) {
        next = d->next;
        free(d);
    }
    for (size_t i = 0; i < exporter->n_names; i++)
        free(exporter->names[i].text);
    free(exporter->names);
    free(exporter->interfaces);
    free(exporter);
}

Exporters *exporters_free(Exporters *exporters) {
    if (!exporters)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (Exporter *e = exporters->buckets[i], *next = NULL; e; e = next) {
            next = e->next;
            exporter_free(e);
        }
    (void)pthread_mutex_destroy(&exporters->lock);
    free(exporters->pending);
    free(exporters);
    return NULL;
}

/* --- finding --- */

/* the same after each start: links to an exporter stay good */
static uint64_t id_of(const PeerKey *probe, const NetAddress *ip) {
    const uint64_t hash =
        hash_bytes(ip, sizeof(*ip), hash_bytes(probe->z85, strlen(probe->z85), 1));
    return (hash & ((UINT64_C(1) << 53) - 1)) | 1;
}

static Exporter *find(const Exporters *exporters, uint64_t id) {
    Exporter *e = exporters->buckets[id / 2 % BUCKETS];
    while (e && e->id != id)
        e = e->next;
    return e;
}

static void forget(Exporters *exporters, Exporter **at) {
    Exporter *gone = *at;
    *at = gone->next;
    if (exporters->latest == gone)
        exporters->latest = NULL;
    exporters->n--;
    exporter_free(gone);
}

static uint64_t last_of(const Exporter *exporter) {
    uint64_t last_ms = 0;
    for (const ExporterDomain *d = exporter->domains; d; d = d->next)
        last_ms = d->last_ms > last_ms ? d->last_ms : last_ms;
    return last_ms;
}

/* of some from this bucket on, the one that was silent longest */
static void evict_near(Exporters *exporters, size_t bucket) {
    Exporter **oldest = NULL;
    uint64_t oldest_ms = 0;
    size_t looked = 0;
    for (size_t i = 0; i < BUCKETS && looked < EVICT_LOOK; i++)
        for (Exporter **at = &exporters->buckets[(bucket + i) % BUCKETS]; *at; at = &(*at)->next) {
            const uint64_t last_ms = last_of(*at);
            looked++;
            if (!oldest || last_ms < oldest_ms) {
                oldest = at;
                oldest_ms = last_ms;
            }
        }
    if (oldest)
        forget(exporters, oldest);
}

/* how many a probe has is looked at only when there are many */
static bool has_room(const Exporters *exporters, const PeerKey *probe) {
    size_t n = 0;
    if (exporters->n < EXPORTERS_OF_PROBE_MAX)
        return true;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const Exporter *e = exporters->buckets[i]; e; e = e->next)
            n += strcmp(e->probe.z85, probe->z85) == 0;
    return n < EXPORTERS_OF_PROBE_MAX;
}

Exporter *exporters_find_new(Exporters *exporters, const PeerKey *probe, const NetAddress *ip) {
    const uint64_t id = id_of(probe, ip);
    Exporter *e = find(exporters, id);
    if (e)
        return e;
    if (!has_room(exporters, probe))
        return NULL;
    if (exporters->n >= EXPORTERS_MAX)
        evict_near(exporters, id / 2 % BUCKETS);
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->id = id;
    e->probe = *probe;
    e->ip = *ip;
    e->next = exporters->buckets[id / 2 % BUCKETS];
    exporters->buckets[id / 2 % BUCKETS] = e;
    exporters->n++;
    return e;
}

ExporterDomain *exporter_domain(Exporter *exporter, uint32_t version, uint32_t domain,
                                uint32_t sub_agent) {
    ExporterDomain *d = exporter->domains;
    while (d && (d->version != version || d->domain != domain || d->sub_agent != sub_agent))
        d = d->next;
    if (d || exporter->n_domains >= EXPORTERS_DOMAINS_MAX)
        return d;
    d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->version = version;
    d->domain = domain;
    d->sub_agent = sub_agent;
    ExporterDomain **at = &exporter->domains;
    while (*at &&
           ((*at)->version < version || ((*at)->version == version && (*at)->domain < domain)))
        at = &(*at)->next;
    d->next = *at;
    *at = d;
    exporter->n_domains++;
    return d;
}

/* --- locking --- */

void exporters_begin(Exporters *exporters) {
    (void)pthread_mutex_lock(&exporters->lock);
}

void exporters_unlock(Exporters *exporters) {
    (void)pthread_mutex_unlock(&exporters->lock);
}

Exporter *exporters_lock(Exporters *exporters, uint64_t id) {
    exporters_begin(exporters);
    Exporter *e = find(exporters, id);
    if (!e)
        exporters_unlock(exporters);
    return e;
}

void exporters_each_and(Exporters *exporters, ExportersEach *each, void *context) {
    exporters_begin(exporters);
    for (size_t i = 0; i < BUCKETS; i++)
        for (Exporter *e = exporters->buckets[i]; e; e = e->next)
            each(context, e);
}

void exporters_each(Exporters *exporters, ExportersEach *each, void *context) {
    exporters_each_and(exporters, each, context);
    exporters_unlock(exporters);
}

void exporters_forget(Exporters *exporters, const PeerKey *probe) {
    exporters_begin(exporters);
    for (size_t i = 0; i < BUCKETS; i++)
        for (Exporter **at = &exporters->buckets[i]; *at;) {
            if (strcmp((*at)->probe.z85, probe->z85) == 0)
                forget(exporters, at);
            else
                at = &(*at)->next;
        }
    exporters_unlock(exporters);
}

bool exporters_restore(Exporters *exporters, const PeerKey *probe, const NetAddress *ip,
                       const char *name, const char *site, const ExporterDomain *domain) {
    exporters_begin(exporters);
    Exporter *e = exporters_find_new(exporters, probe, ip);
    ExporterDomain *d =
        e ? exporter_domain(e, domain->version, domain->domain, domain->sub_agent) : NULL;
    if (d) {
        (void)strncpy(e->name, name, sizeof(e->name) - 1);
        (void)strncpy(e->site, site, sizeof(e->site) - 1);
        d->first_ms = domain->first_ms;
        d->last_ms = domain->last_ms;
    }
    exporters_unlock(exporters);
    return d != NULL;
}

/* --- counters that wait --- */

void exporters_grown(Exporters *exporters, const StoreCounter *counter) {
    if (!exporters->pending)
        exporters->pending = calloc(EXPORTERS_PENDING_MAX, sizeof(*exporters->pending));
    if (!exporters->pending || exporters->pending_n == EXPORTERS_PENDING_MAX)
        exporters->pending_lost++;
    if (!exporters->pending)
        return;
    exporters->pending[(exporters->pending_at + exporters->pending_n) % EXPORTERS_PENDING_MAX] =
        *counter;
    if (exporters->pending_n < EXPORTERS_PENDING_MAX)
        exporters->pending_n++;
    else
        exporters->pending_at = (exporters->pending_at + 1) % EXPORTERS_PENDING_MAX;
}

size_t exporters_pending(Exporters *exporters, StoreCounter *to, size_t max, uint64_t *lostp) {
    exporters_begin(exporters);
    const size_t n = exporters->pending_n < max ? exporters->pending_n : max;
    for (size_t i = 0; i < n; i++)
        to[i] = exporters->pending[(exporters->pending_at + i) % EXPORTERS_PENDING_MAX];
    exporters->pending_at = (exporters->pending_at + n) % EXPORTERS_PENDING_MAX;
    exporters->pending_n -= n;
    *lostp = exporters->pending_lost;
    exporters_unlock(exporters);
    return n;
}

/* --- names --- */

static int compare_name(const ExporterName *name, ExporterNameKind kind, uint64_t key) {
    return name->kind != kind ? (name->kind > kind) - (name->kind < kind)
                              : (name->key > key) - (name->key < key);
}

size_t exporter_name_place(const Exporter *exporter, ExporterNameKind kind, uint64_t key,
                           bool *foundp) {
    size_t low = 0;
    size_t high = exporter->n_names;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_name(&exporter->names[middle], kind, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *foundp = low < exporter->n_names && compare_name(&exporter->names[low], kind, key) == 0;
    return low;
}

const char *exporter_name(const Exporter *exporter, ExporterNameKind kind, uint64_t key) {
    bool found = false;
    const size_t at = exporter_name_place(exporter, kind, key, &found);
    return found ? exporter->names[at].text : NULL;
}

bool exporters_name(Exporters *exporters, const PeerKey *probe, const NetAddress *ip,
                    ExporterNameKind kind, uint64_t key, char *to, size_t size) {
    exporters_begin(exporters);
    Exporter *e = exporters->latest;
    if (!e || !net_address_equal(&e->ip, ip) || strcmp(e->probe.z85, probe->z85) != 0)
        e = find(exporters, id_of(probe, ip));
    exporters->latest = e;
    const char *name = e ? exporter_name(e, kind, key) : NULL;
    const size_t n = name ? strnlen(name, size - 1) : 0;
    if (n)
        memcpy(to, name, n);
    to[n] = '\0';
    exporters_unlock(exporters);
    return name != NULL;
}
