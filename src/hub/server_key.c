/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/server_key.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "hub/server_key_files.h"

#define SETTING "server_key"

enum {
    TRIES = 16,        /* at ports of our own choosing */
    SILENT_MS = 10000, /* told for so long, and nothing said */
    NAMES_SHOWN = 5,   /* in a refusal */
    FLUSH_MAX = 2000,  /* rows in one transaction */
};

const char *const server_key_state_names[_SERVER_KEY_STATE_N] = {
    [SERVER_KEY_SINGLE] = "single",
    [SERVER_KEY_HANDING] = "handing over",
    [SERVER_KEY_FINISHING] = "finishing",
};

struct ServerKey {
    ServerKeyConfig config;
    HubLink *link;
    pthread_mutex_t acting; /* one act at a time, which may wait for disk and link */
    pthread_mutex_t lock;   /* of all below */
    KeyPair now, next;
    uint64_t version;
    uint64_t made_ms;
    uint64_t changed_ms;
    HubNextPorts *ports; /* an interface each */
    char trouble[256];   /* last told in the log */
    bool all_told;       /* that all have confirmed */
    SettingsHeld *dirty; /* not yet on the disk */
    size_t n_dirty;
};

/* ------------------------------------------------------------------------ what lies on the disk */

static void read_ports(ServerKey *key, const json_t *ports) {
    for (size_t i = 0; i < key->config.n_interfaces && i < json_array_size(ports); i++) {
        const json_t *pair = json_array_get(ports, i);
        key->ports[i].data = (uint16_t)json_integer_value(json_array_get(pair, 0));
        key->ports[i].events = (uint16_t)json_integer_value(json_array_get(pair, 1));
    }
}

static int read_setting(ServerKey *key) {
    Buffer text = {0};
    const int r = settings_get(key->config.settings, SETTING, &text);
    json_t *object = r ? NULL : json_loads(buffer_text(&text), 0, NULL);
    key->version = (uint64_t)json_integer_value(json_object_get(object, "version"));
    key->made_ms = (uint64_t)json_integer_value(json_object_get(object, "made_ms"));
    key->changed_ms = (uint64_t)json_integer_value(json_object_get(object, "changed_ms"));
    read_ports(key, json_object_get(object, "ports"));
    json_decref(object);
    buffer_deinit(&text);
    return error_fold(r == SETTINGS_E_MISSING ? 0 : r);
}

/** save_setting() - locked */
static int save_setting(ServerKey *key) {
    json_t *ports = json_array();
    for (size_t i = 0; i < key->config.n_interfaces; i++)
        (void)json_array_append_new(ports,
                                    json_pack("[i, i]", key->ports[i].data, key->ports[i].events));
    json_t *object = json_pack("{s:I, s:I, s:I, s:o}", "version", (json_int_t)key->version,
                               "made_ms", (json_int_t)key->made_ms, "changed_ms",
                               (json_int_t)key->changed_ms, "ports", ports);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    const int r = text ? settings_set(key->config.settings, SETTING, text) : error_origin(-ENOMEM);
    free(text);
    json_decref(object);
    return error_fold(r);
}

static int load_held(const SettingsHeld *held, void *context) {
    const ServerKey *key = context;
    PeerKey probe_key = {0};
    memcpy(probe_key.z85, held->probe, sizeof(probe_key.z85));
    Probe *probe = probes_lock(key->config.probes, &probe_key);
    if (!probe)
        return 0; /* forgotten */
    memcpy(probe->held.now, held->server_key, sizeof(probe->held.now));
    probes_unlock(key->config.probes);
    return 0;
}

int server_key_new(ServerKey **keyp, const ServerKeyConfig *config, Reason *reason) {
    cleanup(server_key_freep) ServerKey *key = calloc(1, sizeof(*key));
    if (!key)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&key->acting, NULL);
    (void)pthread_mutex_init(&key->lock, NULL);
    key->config = *config;
    key->now = *config->keys;
    key->config.keys = NULL;
    key->ports = calloc(config->n_interfaces + 1, sizeof(*key->ports));
    key->dirty = calloc(FLUSH_MAX, sizeof(*key->dirty));
    if (!key->ports || !key->dirty)
        return error_origin(-ENOMEM);
    int r = read_setting(key);
    if (!r)
        r = server_key_files_next(&key->next, config->data_dir, reason);
    if (r > 0 && r != SERVER_KEY_FILES_E_NONE)
        return SERVER_KEY_E_REFUSED;
    if (r >= 0)
        r = error_fold(settings_held_each(config->settings, load_held, key));
    if (r)
        return error_trace(r);
    /* files that somebody put there: a change begins with this start */
    if (*key->next.public_z85 && !key->version)
        key->version = 1;
    *keyp = key;
    key = NULL;
    return 0;
}

ServerKey *server_key_free(ServerKey *key) {
    if (!key)
        return NULL;
    if (key->n_dirty)
        (void)settings_held_save(key->config.settings, key->dirty, key->n_dirty);
    key_pair_wipe(&key->now);
    key_pair_wipe(&key->next);
    free(key->ports);
    free(key->dirty);
    (void)pthread_mutex_destroy(&key->lock);
    (void)pthread_mutex_destroy(&key->acting);
    free(key);
    return NULL;
}

void server_key_public(ServerKey *key, char z85[41]) {
    (void)pthread_mutex_lock(&key->lock);
    memcpy(z85, key->now.public_z85, 41);
    (void)pthread_mutex_unlock(&key->lock);
}

/* ----------------------------------------------------------------------------------- the link */

/** serve() - as it stands; the ports that the link found come back into key->ports */
static int serve(ServerKey *key, Reason *reason) {
    HubServerKeys keys = {
        .version = key->version, .now = key->now, .next = key->next, .ports = key->ports};
    if (!keys.version)
        return 0;
    const int r = hub_link_serve(key->link, &keys, reason);
    key_pair_wipe(&keys.now);
    key_pair_wipe(&keys.next);
    if (r)
        return r > 0 ? SERVER_KEY_E_REFUSED : error_trace(r);
    for (unsigned i = 0; i < key->config.n_interfaces; i++) {
        bool settled = false;
        char trouble[256];
        const ServerKeys served = hub_link_served(key->link, i, &settled, trouble);
        key->ports[i] = (HubNextPorts){served.data_port, served.events_port};
    }
    return 0;
}

/** highest_port() - of all the hub's own */
static uint16_t highest_port(const ServerKey *key) {
    uint16_t port = 0;
    for (size_t i = 0; i < key->config.n_interfaces; i++) {
        const HubInterface *interface = &key->config.interfaces[i];
        if (interface->data.port > port)
            port = interface->data.port;
        if (interface->events.port > port)
            port = interface->events.port;
    }
    return port;
}

/** set_ports() - data and events of each interface, one behind the other; 0: any */
static bool set_ports(ServerKey *key, uint32_t first) {
    uint32_t port = first;
    const uint32_t step = first ? 1 : 0;
    for (size_t i = 0; i < key->config.n_interfaces; i++) {
        const bool own = !key->config.shared_events || i == 0;
        if (port + 2 * step > UINT16_MAX)
            return false;
        key->ports[i].data = (uint16_t)port;
        port += step;
        key->ports[i].events = own ? (uint16_t)port : key->ports[0].events;
        port += own ? step : 0;
    }
    return true;
}

/** serve_from() - at these ports; 0: at the first ones behind our own that are free */
static int serve_from(ServerKey *key, uint16_t first_port, Reason *reason) {
    const uint32_t behind = highest_port(key);
    uint32_t first = first_port ? first_port : behind ? behind + 1 : 0;
    int r = SERVER_KEY_E_REFUSED;
    for (unsigned i = 0; r == SERVER_KEY_E_REFUSED && i < (first_port ? 1 : TRIES); i++) {
        if (!set_ports(key, first)) {
            reason_set(reason, "port %" PRIu32 ": there are not enough ports behind it", first);
            return SERVER_KEY_E_REFUSED;
        }
        r = serve(key, reason);
        first += first ? 2 : 0;
    }
    return r;
}

int server_key_start(ServerKey *key, HubLink *link) {
    Reason reason = {""};
    (void)pthread_mutex_lock(&key->acting);
    (void)pthread_mutex_lock(&key->lock);
    int r = *key->next.public_z85 && !key->ports[0].data ? SERVER_KEY_E_REFUSED : 0;
    key->link = link;
    if (!r)
        r = serve(key, &reason);
    if (r > 0) { /* none were chosen yet, or somebody else has them now */
        r = serve_from(key, 0, &reason);
        if (!r)
            r = save_setting(key);
    }
    if (r > 0)
        log_error("the next server key cannot be served: %s", reason.text);
    else if (!r && *key->next.public_z85)
        log_notice("a next server key is handed over to the probes, and served on port %u too",
                   key->ports[0].data);
    (void)pthread_mutex_unlock(&key->lock);
    (void)pthread_mutex_unlock(&key->acting);
    return r < 0 ? error_trace(r) : 0;
}

/* ------------------------------------------------------------------------------------ the acts */

static int act_begin(ServerKey *key, bool wants_next, Reason *reason) {
    (void)pthread_mutex_lock(&key->acting);
    if (!key->link) {
        (void)pthread_mutex_unlock(&key->acting);
        reason_set(reason, "The hub is starting.");
        return SERVER_KEY_E_REFUSED;
    }
    if (wants_next == (*key->next.public_z85 != '\0'))
        return 0;
    (void)pthread_mutex_unlock(&key->acting);
    reason_set(reason, wants_next ? "There is no next server key."
                                  : "There is a next server key already: finish it, or take it "
                                    "back first.");
    return SERVER_KEY_E_REFUSED;
}

static int act_end(ServerKey *key, int r) {
    (void)pthread_mutex_unlock(&key->acting);
    return r > 0 ? SERVER_KEY_E_REFUSED : error_trace(r);
}

int server_key_make(ServerKey *key, uint16_t first_port, uint64_t now_ms, Reason *reason) {
    KeyPair made;
    int r = act_begin(key, false, reason);
    if (r)
        return r;
    r = key_pair_make(&made);
    if (!r)
        r = server_key_files_save_next(&made, key->config.data_dir, reason);
    if (r)
        return act_end(key, r);
    (void)pthread_mutex_lock(&key->lock);
    key->next = made;
    key->version++;
    key->made_ms = now_ms;
    key->all_told = false;
    r = serve_from(key, first_port, reason);
    if (!r)
        r = save_setting(key);
    if (r) {
        key->next = (KeyPair){0};
        key->version--;
    }
    (void)pthread_mutex_unlock(&key->lock);
    key_pair_wipe(&made);
    if (r)
        (void)server_key_files_drop_next(key->config.data_dir, NULL);
    else
        log_notice("a next server key was made; it is handed over to the probes");
    return act_end(key, r);
}

int server_key_cancel(ServerKey *key, Reason *reason) {
    int r = act_begin(key, true, reason);
    if (r)
        return r;
    r = server_key_files_drop_next(key->config.data_dir, reason);
    if (r)
        return act_end(key, r);
    (void)pthread_mutex_lock(&key->lock);
    key->next = (KeyPair){0};
    key->version++;
    r = save_setting(key);
    const int served = serve(key, reason);
    (void)pthread_mutex_unlock(&key->lock);
    log_notice("the next server key was taken back");
    return act_end(key, r ? r : served);
}

/** refuse_unconfirmed() - by name */
static int refuse_unconfirmed(ServerKey *key, uint64_t now_ms, Reason *reason) {
    ServerKeyMissing *missing = NULL;
    size_t n = 0;
    const int r = server_key_missing(key, now_ms, &missing, &n);
    if (r)
        return error_trace(r);
    if (n)
        reason_set(reason,
                   n == 1 ? "%zu probe has not confirmed the next key: "
                          : "%zu probes have not confirmed the next key: ",
                   n);
    for (size_t i = 0; i < n && i < NAMES_SHOWN; i++)
        reason_append(reason, "%s%.80s", i ? ", " : "", missing[i].name);
    if (n > NAMES_SHOWN)
        reason_append(reason, " and %zu more", n - NAMES_SHOWN);
    if (n)
        reason_append(reason, ". Without the present key they cannot connect.");
    free(missing);
    return n ? SERVER_KEY_E_UNCONFIRMED : 0;
}

int server_key_finish(ServerKey *key, bool force, uint64_t now_ms, Reason *reason) {
    int r = act_begin(key, true, reason);
    if (r)
        return r;
    if (!force)
        r = refuse_unconfirmed(key, now_ms, reason);
    if (r) {
        (void)act_end(key, 0);
        return r;
    }
    r = server_key_files_finish(&key->now, key->config.data_dir, reason);
    if (r)
        return act_end(key, r);
    (void)pthread_mutex_lock(&key->lock);
    key->now = key->next;
    key->next = (KeyPair){0};
    key->version++;
    key->changed_ms = now_ms;
    r = save_setting(key);
    const int served = serve(key, reason);
    (void)pthread_mutex_unlock(&key->lock);
    log_notice("the server key was changed; the former one is retired");
    return act_end(key, r ? r : served);
}

/* ---------------------------------------------------------------------------------- the probes */

static bool holds(const Probe *probe, const char *z85) {
    return strcmp(probe->held.now, z85) == 0 || strcmp(probe->held.next, z85) == 0;
}

/** newest() - locked: what every probe ought to hold, "" while the key was never changed */
static const char *newest(const ServerKey *key) {
    return *key->next.public_z85 ? key->next.public_z85
           : key->changed_ms     ? key->now.public_z85
                                 : "";
}

/** flush() - locked; what cannot be saved is tried again */
static void flush(ServerKey *key) {
    if (key->n_dirty && settings_held_save(key->config.settings, key->dirty, key->n_dirty) == 0)
        key->n_dirty = 0;
}

void server_key_hello(ServerKey *key, const PeerKey *probe_key, const char *hello) {
    ServerKeysHeld held;
    SettingsHeld before = {0};
    SettingsHeld after = {0};
    server_keys_held(&held, hello);
    (void)pthread_mutex_lock(&key->lock);
    Probe *probe = probes_lock(key->config.probes, probe_key);
    if (probe && held.said) {
        const ServerKeysHeld *old = &probe->held;
        memcpy(before.server_key, *old->next ? old->next : old->now, sizeof(before.server_key));
        memcpy(after.server_key, *held.next ? held.next : held.now, sizeof(after.server_key));
        memcpy(after.probe, probe_key->z85, sizeof(after.probe));
        probe->held = held;
    } else if (probe) { /* what it said before a restart stays true */
        probe->held.said = false;
        probe->held.uses[0] = '\0';
    }
    if (probe)
        probes_unlock(key->config.probes);
    if (strcmp(before.server_key, after.server_key) != 0 && *after.server_key) {
        if (key->n_dirty == FLUSH_MAX)
            flush(key);
        if (key->n_dirty < FLUSH_MAX)
            key->dirty[key->n_dirty++] = after;
    }
    (void)pthread_mutex_unlock(&key->lock);
}

typedef struct Count {
    const char *wanted;
    const char *next;
    ServerKeyStatus *status;
} Count;

static void count_probe(void *context, const Probe *probe) {
    const Count *count = context;
    if (probe->enrolment.admission != HUB_ADMITTED)
        return;
    count->status->confirmed += holds(probe, count->wanted);
    count->status->unconfirmed += !holds(probe, count->wanted);
    count->status->using_next +=
        *count->next && probe->connected && strcmp(probe->held.uses, count->next) == 0;
}

void server_key_status(ServerKey *key, ServerKeyStatus *status) {
    *status = (ServerKeyStatus){0};
    bool settled = true;
    (void)pthread_mutex_lock(&key->lock);
    status->version = key->version;
    memcpy(status->now, key->now.public_z85, sizeof(status->now));
    memcpy(status->next, key->next.public_z85, sizeof(status->next));
    status->made_ms = *status->next ? key->made_ms : 0;
    status->changed_ms = key->changed_ms;
    if (key->link)
        (void)hub_link_served(key->link, 0, &settled, status->trouble);
    const Count count = {newest(key), key->next.public_z85, status};
    if (*count.wanted)
        probes_walk(key->config.probes, count_probe, (void *)(uintptr_t)&count);
    (void)pthread_mutex_unlock(&key->lock);
    status->state = *status->next ? SERVER_KEY_HANDING
                    : settled     ? SERVER_KEY_SINGLE
                                  : SERVER_KEY_FINISHING;
}

HubNextPorts server_key_ports(ServerKey *key, unsigned interface) {
    (void)pthread_mutex_lock(&key->lock);
    const HubNextPorts ports = *key->next.public_z85 && interface < key->config.n_interfaces
                                   ? key->ports[interface]
                                   : (HubNextPorts) {
        0
    };
    (void)pthread_mutex_unlock(&key->lock);
    return ports;
}

typedef struct Missing {
    const char *wanted;
    uint64_t since_ms; /* when it was first told */
    uint64_t now_ms;
    ServerKeyMissing *rows;
    size_t n, capacity;
    bool failed;
} Missing;

static void say_why(ServerKeyMissing *row, const Probe *probe, const Missing *missing) {
    const uint64_t told_ms =
        probe->session_ms > missing->since_ms ? probe->session_ms : missing->since_ms;
    if (!probe->connected)
        (void)snprintf(row->reason, sizeof(row->reason), "it is away");
    else if (*probe->held.trouble)
        (void)snprintf(row->reason, sizeof(row->reason), "%s", probe->held.trouble);
    else if (!probe->held.said && missing->now_ms > told_ms + SILENT_MS)
        (void)snprintf(row->reason, sizeof(row->reason),
                       "its version, %.40s, does not know how: update weir-probe", probe->version);
    else
        (void)snprintf(row->reason, sizeof(row->reason), "it was told just now");
}

static void take_missing(void *context, const Probe *probe) {
    Missing *missing = context;
    if (probe->enrolment.admission != HUB_ADMITTED || holds(probe, missing->wanted))
        return;
    if (missing->n == missing->capacity) {
        const size_t capacity = missing->capacity * 2 + 16;
        ServerKeyMissing *rows = realloc(missing->rows, capacity * sizeof(*rows));
        missing->failed = missing->failed || !rows;
        if (!rows)
            return;
        missing->rows = rows;
        missing->capacity = capacity;
    }
    ServerKeyMissing *row = &missing->rows[missing->n++];
    *row = (ServerKeyMissing){
        .key = probe->key, .connected = probe->connected, .last_seen_ms = probe->last_seen_ms};
    (void)snprintf(row->name, sizeof(row->name), "%s", probes_name(probe));
    (void)snprintf(row->site, sizeof(row->site), "%s", probe->enrolment.site);
    say_why(row, probe, missing);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ServerKeyMissing *)a)->name, ((const ServerKeyMissing *)b)->name);
}

int server_key_missing(ServerKey *key, uint64_t now_ms, ServerKeyMissing **missingp, size_t *np) {
    Missing missing = {.now_ms = now_ms};
    (void)pthread_mutex_lock(&key->lock);
    missing.wanted = newest(key);
    missing.since_ms = *key->next.public_z85 ? key->made_ms : key->changed_ms;
    if (*missing.wanted)
        probes_walk(key->config.probes, take_missing, &missing);
    (void)pthread_mutex_unlock(&key->lock);
    if (missing.failed) {
        free(missing.rows);
        return error_origin(-ENOMEM);
    }
    if (missing.n)
        qsort(missing.rows, missing.n, sizeof(*missing.rows), by_name);
    *missingp = missing.rows;
    *np = missing.n;
    return 0;
}

typedef struct Lost {
    const char *wanted;
    const char *address;
    bool found;
} Lost;

static void find_lost(void *context, const Probe *probe) {
    Lost *lost = context;
    lost->found =
        lost->found || (probe->enrolment.admission == HUB_ADMITTED && !probe->connected &&
                        !holds(probe, lost->wanted) && strcmp(probe->address, lost->address) == 0);
}

bool server_key_was_lost(ServerKey *key, const char *address) {
    Lost lost = {.address = address};
    (void)pthread_mutex_lock(&key->lock);
    lost.wanted = newest(key);
    if (key->changed_ms && *address && !*key->next.public_z85)
        probes_walk(key->config.probes, find_lost, &lost);
    (void)pthread_mutex_unlock(&key->lock);
    return lost.found;
}

/* --------------------------------------------------------------------------------- each second */

void server_key_second(ServerKey *key) {
    ServerKeyStatus status;
    server_key_status(key, &status);
    metric_set(key->config.unconfirmed, status.unconfirmed);
    (void)pthread_mutex_lock(&key->lock);
    flush(key);
    const bool all = *status.next && status.confirmed && !status.unconfirmed;
    const bool say = all && !key->all_told;
    key->all_told = all;
    const bool trouble = *status.trouble && strcmp(status.trouble, key->trouble) != 0;
    memcpy(key->trouble, status.trouble, sizeof(key->trouble));
    (void)pthread_mutex_unlock(&key->lock);
    if (say)
        log_notice("all %" PRIu64 " probes have confirmed the next server key", status.confirmed);
    if (trouble)
        log_warning("the server key's change is not finished yet: %s", status.trouble);
}
