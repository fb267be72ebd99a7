/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/hub.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "hub/hub-inside.h"
#include "hub/server_key_files.h"

enum { LINGER_MS = 200 }; /* for the last acknowledgements to leave */

static const char *const files[HUB_FILES] = {"weir.sqlite", "store/flows.duckdb"};

/* -------------------------------------------------------------------------------------- parts */

static int read_interfaces(Hub *hub, Reason *reason) {
    const HubConfig *config = hub->config;
    if (!config->interfaces.n) {
        reason_set(reason, "no interface is given; for example -i tcp://*:5556c listens for "
                           "probes on port 5556");
        return HUB_E_USAGE;
    }
    if (config->events.n > config->interfaces.n) {
        reason_set(reason,
                   "--zmq-publish-events is given %zu times for %zu -i; one each, in the "
                   "same order",
                   config->events.n, config->interfaces.n);
        return HUB_E_USAGE;
    }
    hub->interfaces = calloc(config->interfaces.n, sizeof(*hub->interfaces));
    if (!hub->interfaces)
        return error_origin(-ENOMEM);
    for (size_t i = 0; i < config->interfaces.n; i++) {
        const int r = pages_interface(&hub->interfaces[i], config, i, reason);
        if (r)
            return hub_refused(r, HUB_E_USAGE, reason);
        hub->n_interfaces++;
    }
    return 0;
}

static int open_identity(Hub *hub, Reason *reason) {
    int r = hub_given_keys(&hub->keys, hub->config, reason);
    if (!r)
        r = hub_refused(dir_own(&hub->lock_fd, hub->config->data_dir, reason), HUB_E_REFUSED,
                        reason);
    if (!r) /* a change of the pair that was cut short */
        r = hub_refused(server_key_files_mend(hub->config->data_dir, reason), HUB_E_REFUSED,
                        reason);
    if (!r)
        r = hub_load_keys(&hub->keys, hub->config, reason);
    return r;
}

static bool shares_events(const Hub *hub) {
    return hub->config->events.n == 1 && hub->n_interfaces > 1;
}

static int open_server_key(Hub *hub, Reason *reason) {
    const ServerKeyConfig config = {
        .data_dir = hub->config->data_dir,
        .keys = &hub->keys,
        .settings = hub->settings,
        .probes = hub->probes,
        .interfaces = hub->interfaces,
        .n_interfaces = hub->n_interfaces,
        .shared_events = shares_events(hub),
        .unconfirmed = &hub->metrics[HUB_METRIC_SERVER_KEY_UNCONFIRMED],
    };
    return hub_refused(server_key_new(&hub->server_key, &config, reason), HUB_E_REFUSED, reason);
}

static int open_auth(Hub *hub, Reason *reason) {
    char host[256] = "";
    const char *names[2];
    size_t n = 0;
    if (hub->config->public_address)
        names[n++] = hub->config->public_address;
    if (gethostname(host, sizeof(host) - 1) == 0 && *host)
        names[n++] = host;
    const AuthConfig config = {.data_dir = hub->config->data_dir,
                               .host_names = names,
                               .n_host_names = n,
                               .login_disabled = hub->config->login_disabled};
    int r = settings_new(&hub->settings, hub->config->data_dir, reason);
    if (!r)
        r = auth_new(&hub->auth, hub->settings, &config, reason);
    hub->auth_context.auth = hub->auth;
    return hub_refused(r, HUB_E_REFUSED, reason);
}

static int open_store(Hub *hub, Reason *reason) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/store", hub->config->data_dir);
    const StoreConfig config = {.dir = path, .memory_limit_bytes = hub->config->store_memory};
    return hub_refused(store_open(&hub->store, &config, reason), HUB_E_REFUSED, reason);
}

static int number_probe(void *context, uint32_t number, const uint8_t bytes[STORE_KEY_BYTES]) {
    Hub *hub = context;
    PeerKey key = {0};
    if (!zmq_z85_encode(key.z85, bytes, STORE_KEY_BYTES))
        return 0;
    Probe *probe = probes_lock(hub->probes, &key);
    if (!probe)
        return 0;       /* forgotten; its flows are still there */
    if (!probe->number) /* else that of the probe whose place it took */
        probe->number = number;
    probes_unlock(hub->probes);
    return 0;
}

static int count_gap(void *context, const StoreGap *gap) {
    Hub *hub = context;
    PeerKey key = {0};
    if (!zmq_z85_encode(key.z85, gap->key, STORE_KEY_BYTES))
        return 0;
    Probe *probe = probes_lock(hub->probes, &key);
    if (!probe)
        return 0;
    probe->missing = batch_counts_pile(probe->missing, gap->counts);
    probes_unlock(hub->probes);
    return 0;
}

/* the store's number of a probe, from the moment it is admitted */
static void give_number(Hub *hub, const PeerKey *key) {
    Probe *probe = probes_lock(hub->probes, key);
    const bool has = !probe || probe->number;
    if (probe)
        probes_unlock(hub->probes);
    uint8_t bytes[STORE_KEY_BYTES];
    uint32_t number = 0;
    ingest_key_bytes(bytes, key);
    if (has || store_probe(hub->store, bytes, &number))
        return; /* the decoder asks again with the first flow */
    probe = probes_lock(hub->probes, key);
    if (!probe)
        return;
    probe->number = number;
    probe->enrolment.dirty = true;
    probes_unlock(hub->probes);
}

static void tell_configuration(void *userdata, const PeerKey *key, const char *json) {
    const Hub *hub = userdata;
    char text[256];
    const int r = hub->link ? hub_link_configure(hub->link, key, json) : 0;
    if (r) /* the next pulse tries again */
        log_error("probe %s: %s", key->z85, error_describe(r, text, sizeof(text)));
}

static void move_probe(void *userdata, const PeerKey *from, const PeerKey *to) {
    const Hub *hub = userdata;
    configure_move(hub->configure, from, to);
}

static void forget(Hub *hub, const PeerKey *key) {
    configure_forget(hub->configure, key);
    exporters_forget(hub->exporters, key);
}

/* of admission: whether one that is admitted has a seat too is licensing's to say */
static void take_verdict(void *userdata, const PeerKey *key, HubAdmission verdict,
                         const char *reason) {
    Hub *hub = userdata;
    if (verdict == HUB_ADMITTED)
        give_number(hub, key);
    if (verdict == HUB_UNKNOWN)
        forget(hub, key);
    licensing_verdict(hub->licensing, key, verdict, reason);
}

static void tell_link(void *userdata, const PeerKey *key, HubAdmission verdict,
                      const char *reason) {
    Hub *hub = userdata;
    const int r = hub_link_admit(hub->link, key, verdict, reason);
    char text[256];
    if (r)
        log_error("probe %s: %s", key->z85, error_describe(r, text, sizeof(text)));
}

static void tell_lease(void *userdata, const Lease *lease) {
    Hub *hub = userdata;
    hub_link_lease(hub->link, lease);
}

static int open_licensing(Hub *hub) {
    LicensingConfig config = {.path = hub->config->license,
                              .folder = hub->config->data_dir,
                              .keys = vendor_keys(),
                              .probes = hub->probes,
                              .tell = tell_link,
                              .lease = tell_lease,
                              .userdata = hub};
    system_id_here(&config.here, "", SYSTEM_ID_CACHE);
    const LicensingTime now = licensing_time();
    return error_trace(licensing_new(&hub->licensing, &config, &now));
}

static bool is_kept(void *userdata) {
    return !hub_lost(userdata);
}

static void store_state(void *userdata, IngestState state, const char *reason) {
    (void)userdata;
    if (state == INGEST_READY)
        log_notice("the store takes flows again");
    else
        log_error("flows cannot be stored and wait at the probes: %s", reason);
}

static int open_pipeline(Hub *hub) {
    int r = live_new(&hub->live);
    if (!r)
        r = probes_new(&hub->probes);
    if (!r)
        r = exporters_new(&hub->exporters);
    const ConfigureConfig configure = {
        .settings = hub->settings, .tell = tell_configuration, .userdata = hub};
    if (!r)
        r = configure_new(&hub->configure, &configure);
    if (!r)
        r = open_licensing(hub);
    const AdmissionConfig admission = {.settings = hub->settings,
                                       .probes = hub->probes,
                                       .interfaces = hub->interfaces,
                                       .n_interfaces = hub->n_interfaces,
                                       .option = (AdmissionMode)hub->config->admission,
                                       .tell = take_verdict,
                                       .moved = move_probe,
                                       .userdata = hub};
    if (!r)
        r = admission_new(&hub->admission, &admission);
    if (r >= 0)
        r = store_probes(hub->store, number_probe, hub);
    if (r >= 0)
        r = error_fold(store_gaps(hub->store, &(StoreGapPage){0}, count_gap, hub, NULL));
    if (r < 0)
        return error_trace(r);
    const IngestConfig config = {.store = hub->store,
                                 .live = hub->live,
                                 .probes = hub->probes,
                                 .data_dir = hub->config->data_dir,
                                 .metrics = hub->metrics,
                                 .on_state = store_state,
                                 .is_kept = is_kept,
                                 .userdata = hub};
    const ExportersKeepConfig keep = {.exporters = hub->exporters,
                                      .store = hub->store,
                                      .data_dir = hub->config->data_dir,
                                      .stored = &hub->metrics[HUB_METRIC_COUNTERS_STORED],
                                      .lost = &hub->metrics[HUB_METRIC_COUNTERS_LOST]};
    r = exporters_keep_new(&hub->exporters_keep, &keep);
    if (!r)
        r = ingest_new(&hub->ingest, &config);
    if (!r)
        r = watch_new(&hub->watch, hub);
    return error_trace(r);
}

/* the link knows nothing of the other parts: its callbacks go through the hub */

static bool on_batch(void *userdata, HubBatch *batch) {
    Hub *hub = userdata;
    return ingest_take(hub->ingest, batch);
}

static void on_pulse(void *userdata, const PeerKey *key, unsigned interface, const char *json,
                     size_t size) {
    Hub *hub = userdata;
    watch_pulse(hub->watch, key, interface, json, size);
}

static void on_event(void *userdata, const HubEvent *event) {
    Hub *hub = userdata;
    watch_event(hub->watch, event);
}

static int load_cursor(void *context, const StoreCursor *stored) {
    Hub *hub = context;
    HubCursor cursor = {.sequence = stored->sequence, .totals = stored->totals};
    memcpy(cursor.epoch.bytes, stored->epoch, sizeof(cursor.epoch.bytes));
    if (!zmq_z85_encode(cursor.key.z85, stored->key, STORE_KEY_BYTES))
        return 0;
    return error_fold(hub_link_load_cursor(hub->link, &cursor));
}

static int open_link(Hub *hub, Reason *reason) {
    HubInterfaceConfig *interfaces = calloc(hub->n_interfaces, sizeof(*interfaces));
    if (!interfaces)
        return error_origin(-ENOMEM);
    /* one for several interfaces serves them all; else each has its own */
    const bool shared = shares_events(hub);
    for (size_t i = 0; i < hub->n_interfaces; i++) {
        interfaces[i].endpoint = hub->interfaces[i].given;
        if (!shared && *hub->interfaces[i].events_given)
            interfaces[i].events = hub->interfaces[i].events_given;
    }
    const HubLinkConfig config = {.interfaces = interfaces,
                                  .n_interfaces = hub->n_interfaces,
                                  .events = hub->config->events.values,
                                  .n_events = shared ? 1 : 0,
                                  .keys = hub->keys,
                                  .budget_bytes = INGEST_BUDGET_BYTES,
                                  .ask = true,
                                  .on_batch = on_batch,
                                  .on_pulse = on_pulse,
                                  .on_event = on_event,
                                  .userdata = hub};
    int r = hub_refused(hub_link_new(&hub->link, &config, reason), HUB_E_REFUSED, reason);
    free(interfaces);
    if (!r)
        r = error_fold(store_cursors(hub->store, load_cursor, hub));
    if (!r) {
        const LicensingTime now = licensing_time();
        admission_start(hub->admission);
        licensing_start(hub->licensing, &now);
    }
    return r;
}

/* what an operator wants to know at start, one line each */
static int announce(Hub *hub, Reason *reason) {
    for (size_t i = 0; i < hub->n_interfaces; i++) {
        const HubInterface *interface = &hub->interfaces[i];
        char events[300];
        endpoint_write(&interface->events, events, sizeof(events));
        log_notice(
            "interface %zu: %s %s, events %s%s", i + 1,
            interface->data.collector ? "listening on" : "connecting to", interface->name, events,
            *interface->events_given ? ""
                                     : " (--zmq-publish-events is not given: same host, port + 1)");
    }
    char base[400];
    const char *host =
        hub->https_port ? (hub->config->public_address ? hub->config->public_address : "127.0.0.1")
                        : hub->http_listen.address;
    const bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(base, sizeof(base), "http%s://%s%s%s:%u", hub->https_port ? "s" : "",
                   v6 ? "[" : "", host, v6 ? "]" : "",
                   hub->https_port ? hub->https_port : hub->http_port);
    log_notice("web pages and API at %s", base);
    licensing_speak(hub->licensing);
    if (hub->config->login_disabled)
        return 0;
    char link[600] = "";
    const int r = auth_setup_link(hub->auth, base, link, sizeof(link), reason);
    if (!r && *link)
        log_notice("first start: open %s to make the administrator", link);
    return hub_refused(r, HUB_E_REFUSED, reason);
}

/* --------------------------------------------------------------------------------- open, close */

static bool look_at_file(const Hub *hub, size_t i, struct stat *file) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", hub->config->data_dir, files[i]);
    return stat(path, file) == 0;
}

/** note_files() - whatever is there by now is what is open */
static int note_files(Hub *hub, Reason *reason) {
    for (size_t i = 0; i < HUB_FILES; i++)
        if (!look_at_file(hub, i, &hub->files[i])) {
            reason_set(reason, "cannot look at %s/%s: %s", hub->config->data_dir, files[i],
                       strerror(errno));
            return HUB_E_REFUSED;
        }
    return 0;
}

const char *hub_lost(const Hub *hub) {
    struct stat now;
    if (fstat(hub->lock_fd, &now) != 0 || now.st_nlink == 0)
        return ".";
    for (size_t i = 0; i < HUB_FILES; i++)
        if (!look_at_file(hub, i, &now) || now.st_ino != hub->files[i].st_ino ||
            now.st_dev != hub->files[i].st_dev)
            return files[i];
    return NULL;
}

int hub_open(Hub **hubp, const HubConfig *config, Reason *reason) {
    cleanup(hub_closep) Hub *hub = calloc(1, sizeof(*hub));
    if (!hub)
        return error_origin(-ENOMEM);
    hub->config = config;
    hub->lock_fd = -1;
    hub->started_ms = clock_wall_ms();
    int r = hub_refused(hub_options_listen(config, &hub->http_listen, &hub->https_listen, reason),
                        HUB_E_USAGE, reason);
    if (!r)
        r = read_interfaces(hub, reason);
    if (!r)
        r = open_identity(hub, reason);
    if (!r)
        r = open_auth(hub, reason);
    if (!r)
        r = open_store(hub, reason);
    if (!r)
        r = note_files(hub, reason);
    if (!r)
        r = open_pipeline(hub);
    if (!r)
        r = open_server_key(hub, reason);
    if (!r)
        r = open_link(hub, reason);
    if (!r)
        r = hub_open_http(hub, reason);
    if (!r)
        r = ingest_start(hub->ingest, hub->link);
    if (!r)
        r = watch_start(hub->watch);
    if (!r)
        r = hub_refused(hub_link_start(hub->link, reason), HUB_E_REFUSED, reason);
    if (!r)
        r = server_key_start(hub->server_key, hub->link);
    if (!r)
        r = announce(hub, reason);
    if (r)
        return hub_refused(r, r, reason);
    atomic_store(&hub->ready, true);
    *hubp = hub;
    hub = NULL;
    return 0;
}

Hub *hub_close(Hub *hub) {
    if (!hub)
        return NULL;
    if (hub->watch)
        watch_stop(hub->watch);
    hub->http = http_server_free(hub->http);
    if (hub->ingest)
        ingest_stop(hub->ingest);
    if (hub->link && metric_get(&hub->metrics[HUB_METRIC_COMMITS])) {
        const struct timespec linger = {.tv_nsec = LINGER_MS * 1000000L};
        (void)nanosleep(&linger, NULL);
    }
    (void)hub_link_free(hub->link);
    (void)watch_free(hub->watch);
    (void)ingest_free(hub->ingest);
    (void)exporters_keep_free(hub->exporters_keep);
    (void)store_close(hub->store);
    (void)exporters_free(hub->exporters);
    (void)admission_free(hub->admission);
    (void)licensing_free(hub->licensing);
    (void)configure_free(hub->configure);
    (void)server_key_free(hub->server_key);
    (void)auth_free(hub->auth);
    (void)settings_free(hub->settings);
    (void)live_free(hub->live);
    (void)probes_free(hub->probes);
    key_pair_wipe(&hub->keys);
    free(hub->interfaces);
    free(hub->routes);
    if (hub->lock_fd >= 0)
        (void)close(hub->lock_fd);
    free(hub);
    return NULL;
}
