/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/deliver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "channel/endpoint.h"
#include "probe/deliver_inside.h"

/* --- configuration ------------------------------------------------------------------------ */

/* both endpoints of the i-th hub, checked and written out */
static int read_endpoints(const ProbeConfig *config, size_t i, Hub *hub, Reason *reason) {
    Endpoint data;
    Endpoint events;
    int r = endpoint_parse(&data, config->hubs.values[i], reason);
    if (r)
        return r < 0 ? error_trace(r) : DELIVER_E_USAGE;
    hub->assumed = i >= config->events.n;
    if (hub->assumed)
        r = endpoint_next_port(&events, &data, reason);
    else
        r = endpoint_parse(&events, config->events.values[i], reason);
    if (r)
        return r < 0 ? error_trace(r) : DELIVER_E_USAGE;
    if (config->probe_mode && (data.any || events.any)) {
        reason_set(reason,
                   "--zmq-probe-mode connects, and tcp://* is no address to connect to: give the "
                   "hub's, or leave --zmq-probe-mode out to bind");
        return DELIVER_E_USAGE;
    }
    endpoint_write(&data, hub->data, sizeof(hub->data));
    endpoint_write(&events, hub->events, sizeof(hub->events));
    return 0;
}

static int read_key(const ProbeConfig *config, size_t i, Hub *hub, Reason *reason) {
    int r = keystring_parse(&hub->key, options_key(config, i), reason);
    return r > 0 ? DELIVER_E_USAGE : error_trace(r);
}

/** check_distinct() - each of a hub's two ports is asked for something else; `*` is any port */
static int check_distinct(const Hub *hubs, size_t n, Reason *reason) {
    for (size_t i = 0; i < 2 * n; i++)
        for (size_t k = i + 1; k < 2 * n; k++) {
            const char *a = i % 2 ? hubs[i / 2].events : hubs[i / 2].data;
            const char *b = k % 2 ? hubs[k / 2].events : hubs[k / 2].data;
            if (strcmp(a, b) != 0 || a[strlen(a) - 1] == '*')
                continue;
            reason_set(reason,
                       "%s is given twice: a hub has two ports, --ntopng and --zmq-publish-events "
                       "(left out, the port after it), and each stands once",
                       a);
            return DELIVER_E_USAGE;
        }
    return 0;
}

int deliver_check(const ProbeConfig *config, Reason *reason) {
    cleanup(freep) Hub *hubs = calloc(config->hubs.n + 1, sizeof(*hubs));
    if (!hubs)
        return error_origin(-ENOMEM);
    int r = 0;
    for (size_t i = 0; r == 0 && i < config->hubs.n; i++) {
        r = read_key(config, i, &hubs[i], reason);
        if (r == 0)
            r = read_endpoints(config, i, &hubs[i], reason);
    }
    return r ? r : check_distinct(hubs, config->hubs.n, reason);
}

/* --- life --------------------------------------------------------------------------------- */

/* how long the spool lasts, when a hub that was there is gone */
static void say_hours(Hub *hub, bool up) {
    SpoolStatus status;
    spool_status(hub->deliver->spool, &status);
    if (hub->was_up && !up && status.hours_left > 0)
        log_notice("%s: flows wait in %s, which has room for %.1f hours more at the present rate",
                   hub->data, hub->deliver->spool_dir[0] ? hub->deliver->spool_dir : "memory",
                   status.hours_left);
    hub->was_up = up;
}

static void on_change(void *userdata, ProbeLinkWord word, const char *reason) {
    Hub *hub = userdata;
    say_hours(hub, word == PROBE_LINK_UP);
    if (word == PROBE_LINK_UP)
        log_notice("%s: connected; flows are delivered", hub->data);
    else if (word == PROBE_LINK_CONNECTING)
        log_info("%s: connecting", hub->data);
    else if (reason && *reason)
        log_warning("%s", reason); /* it names the endpoint */
    else
        log_warning("%s: %s", hub->data, probe_link_word(word));
}

static void on_configuration(void *userdata, const char *json) {
    const Deliver *deliver = ((const Hub *)userdata)->deliver;
    if (deliver->source.on_configuration)
        deliver->source.on_configuration(deliver->source.userdata, json);
}

static void on_note(void *userdata, const char *text) {
    (void)userdata;
    log_notice("%s", text);
}

static bool keep_keys(void *userdata, const ServerKeys *keys) {
    const Hub *hub = userdata;
    Reason reason = {""};
    if (kept_keys_put(hub->deliver->kept, hub->data, hub->key.server_z85, keys, &reason))
        return true;
    log_warning("%s: the hub's next key cannot be kept: %s", hub->data, reason.text);
    return false;
}

/* --- opening ------------------------------------------------------------------------------ */

static int open_identity(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    int r = dir_own(&deliver->folder_lock, config->data_dir, reason);
    if (r == 0)
        r = key_pair_load(&deliver->keys, config->data_dir, reason);
    if (r == 0)
        r = kept_keys_new(&deliver->kept, config->data_dir, reason);
    return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
}

/** write_hello() - for this hub: no other is told its join token */
static int write_hello(const Hub *hub) {
    Deliver *deliver = hub->deliver;
    const HelloWords words = {
        .instance = deliver->instance,
        .token = hub->key.token,
        .licence = deliver->licence ? deliver->licence : "",
        .system_id = deliver->source.system_id ? deliver->source.system_id : "",
    };
    buffer_clear(&deliver->hello);
    return error_trace(hello_write(&deliver->hello, deliver->config, &deliver->source, &words));
}

static int read_hubs(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < deliver->n_hubs; i++) {
        Hub *hub = &deliver->hubs[i];
        hub->deliver = deliver;
        hub->number = (unsigned)i;
        r = read_key(config, i, hub, reason);
        if (r == 0)
            r = read_endpoints(config, i, hub, reason);
        if (r == 0 && deliver->kept)
            kept_keys_find(deliver->kept, hub->data, hub->key.server_z85, &hub->kept);
    }
    return error_trace(r);
}

static int open_hub(Deliver *deliver, const ProbeConfig *config, size_t i, Reason *reason) {
    Hub *hub = &deliver->hubs[i];
    if (hub->assumed)
        log_notice("--zmq-publish-events is not given; the events endpoint is taken to be %s",
                   hub->events);
    if (hub->key.notice[0])
        log_notice("%s: --zmq-encryption-key: %s", hub->data, hub->key.notice);
    int r = write_hello(hub);
    if (r)
        return error_trace(r);
    ProbeLinkConfig link = {
        .endpoint = hub->data,
        .events_endpoint =
            hub->assumed ? NULL : hub->events, /* not named: bound by who binds data */
        .bind = !config->probe_mode,
        .server_z85 = hub->key.server_z85,
        .keys = deliver->keys,
        .hello_json = buffer_text(&deliver->hello),
        .spool = deliver_link_spool(hub),
        .on_change = on_change,
        .on_configuration = i == 0 ? on_configuration : NULL, /* two could not agree */
        .userdata = hub,
        .kept = hub->kept.keys,
        .keep = keep_keys,
        .on_note = on_note,
    };
    r = probe_link_new(&hub->link, &link, reason);
    key_pair_wipe(&link.keys);
    return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
}

static void init(Deliver *deliver, const ProbeConfig *config) {
    (void)pthread_mutex_init(&deliver->hello_lock, NULL);
    deliver->folder_lock = deliver->spool_lock = -1;
    deliver->n_hubs = config->hubs.n;
    deliver->fanout = config->fanout && config->hubs.n > 1;
}

int deliver_new(Deliver **deliverp, const ProbeConfig *config, const DeliverSource *source,
                Reason *reason) {
    cleanup(deliver_freep) Deliver *deliver =
        calloc(1, sizeof(*deliver) + config->hubs.n * sizeof(Hub));
    if (!deliver)
        return error_origin(-ENOMEM);
    init(deliver, config);
    deliver->patience_s = config->exit_timeout_s;
    deliver->config = config;
    deliver->source = *source;
    hello_draw_instance(deliver->instance);
    if (source->licence)
        deliver->licence = strdup(source->licence); /* else it is shown later */

    int r = open_identity(deliver, config, reason);
    if (r == 0)
        r = read_hubs(deliver, config, reason);
    if (r == 0)
        r = deliver_open_spool(deliver, config, reason);
    for (size_t i = 0; r == 0 && i < deliver->n_hubs; i++)
        r = open_hub(deliver, config, i, reason);
    if (r)
        return error_trace(r);
    *deliverp = deliver;
    deliver = NULL;
    return 0;
}

Deliver *deliver_free(Deliver *deliver) {
    if (!deliver)
        return NULL;
    for (size_t i = 0; i < deliver->n_hubs; i++)
        probe_link_free(deliver->hubs[i].link);
    spool_free(deliver->spool);
    buffer_deinit(&deliver->hello);
    free(deliver->licence);
    (void)pthread_mutex_destroy(&deliver->hello_lock);
    free(deliver->again);
    key_pair_wipe(&deliver->keys);
    kept_keys_free(deliver->kept);
    closep(&deliver->spool_lock);
    closep(&deliver->folder_lock);
    free(deliver);
    return NULL;
}

int deliver_held(uint64_t *flowsp, const ProbeConfig *config, Reason *reason) {
    cleanup(deliver_freep) Deliver *deliver =
        calloc(1, sizeof(*deliver) + config->hubs.n * sizeof(Hub));
    if (!deliver)
        return error_origin(-ENOMEM);
    init(deliver, config);
    int r = read_hubs(deliver, config, reason);
    if (r == 0)
        r = deliver_open_spool(deliver, config, reason);
    if (r)
        return error_trace(r);
    SpoolStatus status;
    spool_status(deliver->spool, &status);
    *flowsp = status.held.flows;
    return 0;
}

/* --- use ---------------------------------------------------------------------------------- */

unsigned deliver_lanes(const Deliver *deliver) {
    return deliver->fanout ? 1 : (unsigned)deliver->n_hubs;
}

/** has_room() - *freed grows while the hubs store */
static bool has_room(Deliver *deliver, size_t size, uint64_t *freed) {
    SpoolStatus status;
    spool_status(deliver->spool, &status);
    *freed = status.appended.flows - status.held.flows;
    uint64_t used = status.disk == SPOOL_DISK_GOOD ? status.disk_bytes : status.memory_bytes;
    return used + size <= status.limit_bytes;
}

/* A file is read as fast as the hubs store, so nothing of it is lost; but not for ever. */
static void wait_for_room(Deliver *deliver, size_t size) {
    static const struct timespec step = {.tv_nsec = 20000000};
    uint64_t since_ms = clock_monotonic_ms();
    uint64_t before = 0;
    uint64_t freed = 0;
    while (deliver->source.patient && !has_room(deliver, size, &freed) &&
           !deliver->source.stopping()) {
        uint64_t now_ms = clock_monotonic_ms();
        if (freed != before)
            since_ms = now_ms;
        before = freed;
        if (now_ms - since_ms >= (uint64_t)deliver->patience_s * 1000) {
            log_warning("the spool is full, the hub has stored nothing for "
                        "%u s: the file is read on without it",
                        deliver->patience_s);
            deliver->source.patient = false;
        }
        (void)nanosleep(&step, NULL);
    }
}

/* into the spool, and to the hubs of its lane */
static int append(Deliver *deliver, unsigned lane, const void *bytes, size_t size,
                  const BatchCounts *counts) {
    size_t first = deliver->fanout ? 0 : lane;
    size_t end = deliver->fanout ? deliver->n_hubs : first + 1;
    bool fresh = false;
    for (size_t i = first; i < end; i++)
        fresh = fresh || probe_link_wants_epoch(deliver->hubs[i].link);
    if (fresh)
        spool_rotate(deliver->spool, lane);
    SpoolBatch placed;
    DeliveryBatch batch;
    int r = spool_append(deliver->spool, lane, bytes, size, counts, &placed);
    if (r)
        return error_trace(r);
    deliver_batch(&placed, &batch);
    for (size_t i = first; r == 0 && i < end; i++)
        r = probe_link_submit(deliver->hubs[i].link, &batch);
    return error_trace(r);
}

/* --- another goes on with an epoch of this process ------------------------------------------- */

/* one batch of it into the lane's epoch; what cannot be read is gone */
static int append_again(Deliver *deliver, unsigned lane, const Hub *hub, const EpochId *epoch,
                        uint64_t sequence) {
    SpoolBatch old;
    int r = spool_peek(deliver->spool, hub->number, epoch, sequence, &old);
    if (!r && old.gap)
        return 0;
    if (!r)
        r = spool_fetch(deliver->spool, hub->number, epoch, sequence, deliver->again, old.bytes);
    if (r)
        return r == SPOOL_E_LATER ? r : 0;
    return error_trace(append(deliver, lane, deliver->again, old.bytes, &old.counts));
}

/* under the lock; one that cannot be written for want of memory is said the next time */
static void say_hello(Deliver *deliver) {
    for (size_t i = 0; i < deliver->n_hubs; i++)
        if (write_hello(&deliver->hubs[i]) == 0)
            (void)probe_link_hello(deliver->hubs[i].link, buffer_text(&deliver->hello));
}

static void be_another(Deliver *deliver) {
    (void)pthread_mutex_lock(&deliver->hello_lock);
    hello_draw_instance(deliver->instance);
    say_hello(deliver);
    (void)pthread_mutex_unlock(&deliver->hello_lock);
}

/* 0, or what is left is tried with the next batch. What was done of it by then is done twice */
static int move_diverged(Deliver *deliver, unsigned lane, const Hub *hub) {
    EpochId epoch;
    uint64_t first = 0;
    uint64_t last = 0;
    int r = 0;
    while (!r && probe_link_diverged(hub->link, &epoch, &first, &last)) {
        log_warning("%s: the hub has flows of another process under the name of this one: this "
                    "machine went back to a snapshot, or a copy of it runs; it goes on under "
                    "another name",
                    hub->data);
        if (!deliver->again)
            deliver->again = malloc(BATCH_PAYLOAD_MAX_BYTES);
        if (!deliver->again)
            return error_origin(-ENOMEM);
        be_another(deliver);
        for (uint64_t sequence = first; !r && sequence <= last; sequence++)
            r = append_again(deliver, lane, hub, &epoch, sequence);
        if (!r)
            probe_link_moved(hub->link, &epoch);
    }
    return r;
}

int deliver_submit(void *userdata, unsigned lane, const void *bytes, size_t size,
                   const BatchCounts *counts) {
    Deliver *deliver = userdata;
    size_t first = deliver->fanout ? 0 : lane;
    size_t end = deliver->fanout ? deliver->n_hubs : first + 1;
    wait_for_room(deliver, size);
    int r = append(deliver, lane, bytes, size, counts);
    for (size_t i = first; r == 0 && i < end; i++)
        r = move_diverged(deliver, lane, &deliver->hubs[i]);
    return r > 0 ? 0 : error_trace(r);
}

void deliver_pulse(Deliver *deliver, const char *json) {
    for (size_t i = 0; i < deliver->n_hubs; i++)
        (void)probe_link_pulse(deliver->hubs[i].link, json); /* a lost pulse is a gap in a chart */
}

void deliver_licence(Deliver *deliver, const char *licence) {
    (void)pthread_mutex_lock(&deliver->hello_lock);
    if (strcmp(deliver->licence ? deliver->licence : "", licence) != 0) {
        free(deliver->licence);
        deliver->licence = strdup(licence);
        say_hello(deliver);
    }
    (void)pthread_mutex_unlock(&deliver->hello_lock);
}

void deliver_lease(Deliver *deliver, LeaseWord *word) {
    bool over = false;
    *word = (LeaseWord){0};
    for (size_t i = 0; i < deliver->n_hubs; i++) {
        LeaseWord one;
        probe_link_lease(deliver->hubs[i].link, &one);
        over = over || one.over;
        if (one.lease.until_s && one.told_ms > word->told_ms)
            *word = one;
    }
    word->over = over && !word->told_ms;
}

uint64_t deliver_waiting(Deliver *deliver) {
    uint64_t flows = 0;
    for (size_t i = 0; i < deliver->n_hubs; i++) {
        ProbeLinkStatus status;
        probe_link_status(deliver->hubs[i].link, &status);
        flows += status.pending.flows;
    }
    return flows;
}

void deliver_spool_status(Deliver *deliver, SpoolStatus *status) {
    spool_status(deliver->spool, status);
}

size_t deliver_hubs(const Deliver *deliver) {
    return deliver->n_hubs;
}

const char *deliver_spool(Deliver *deliver) {
    return spool_flush(deliver->spool) == 0 ? deliver->spool_dir : NULL;
}

bool deliver_reaching(Deliver *deliver) {
    for (size_t i = 0; i < deliver->n_hubs; i++) {
        ProbeLinkStatus status;
        probe_link_status(deliver->hubs[i].link, &status);
        if (status.pending_batches && status.word == PROBE_LINK_UP)
            return true;
    }
    return false;
}

int deliver_drain(Deliver *deliver, unsigned timeout_ms, uint64_t *left_flowsp) {
    uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
    uint64_t left = 0;
    for (size_t i = 0; i < deliver->n_hubs; i++) {
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t flows = 0;
        int r = probe_link_drain(deliver->hubs[i].link,
                                 now_ms < end_ms ? (unsigned)(end_ms - now_ms) : 0, &flows);
        if (r < 0)
            return error_trace(r);
        if (r == PROBE_LINK_E_LEFT)
            left += flows;
    }
    if (left == 0)
        return 0;
    *left_flowsp = left;
    return DELIVER_E_LEFT;
}
