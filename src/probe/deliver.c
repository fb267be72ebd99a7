/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/deliver.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "channel/endpoint.h"
#include "channel/keystring.h"
#include "channel/probe_link.h"
#include "probe/hello.h"
#include "probe/kept_keys.h"

enum { ENDPOINT_TEXT = 280 };

typedef struct Hub {
    Deliver *deliver;
    unsigned number;
    char data[ENDPOINT_TEXT];
    char events[ENDPOINT_TEXT];
    bool assumed; /* events */
    bool was_up;  /* of the link's thread */
    KeptKey kept; /* at the start */
    ProbeLink *link;
} Hub;

struct Deliver {
    int folder_lock;
    int spool_lock;
    char spool_dir[PATH_MAX]; /* "": memory only */
    KeyPair keys;
    KeptKeys *kept;
    KeyString key;
    Buffer hello;
    char *instance; /* within it: HELLO_INSTANCE_DIGITS */
    void *again;    /* room for a batch; NULL until it is needed */
    Spool *spool;
    bool fanout;
    bool patient; /* the exporting thread's, once it runs */
    unsigned patience_s;
    bool (*stopping)(void);
    void (*on_configuration)(void *userdata, const char *json);
    void *userdata;
    size_t n_hubs;
    Hub hubs[];
};

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

static int read_key(const ProbeConfig *config, KeyString *key, Reason *reason) {
    int r = keystring_parse(key, config->key, reason);
    return r > 0 ? DELIVER_E_USAGE : error_trace(r);
}

int deliver_check(const ProbeConfig *config, Reason *reason) {
    KeyString key;
    int r = config->hubs.n ? read_key(config, &key, reason) : 0;
    for (size_t i = 0; r == 0 && i < config->hubs.n; i++) {
        Hub hub;
        r = read_endpoints(config, i, &hub, reason);
    }
    return r;
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
    if (deliver->on_configuration)
        deliver->on_configuration(deliver->userdata, json);
}

static void on_note(void *userdata, const char *text) {
    (void)userdata;
    log_notice("%s", text);
}

static bool keep_keys(void *userdata, const ServerKeys *keys) {
    const Hub *hub = userdata;
    Reason reason = {""};
    if (kept_keys_put(hub->deliver->kept, hub->data, hub->deliver->key.server_z85, keys, &reason))
        return true;
    log_warning("%s: the hub's next key cannot be kept: %s", hub->data, reason.text);
    return false;
}

/* --- the spool ---------------------------------------------------------------------------- */

/* the spool is full and let go of its oldest: a link that knows it makes it a gap */
static void on_drop(void *userdata, const SpoolDrop *drop) {
    const Deliver *deliver = userdata;
    ProbeLink *link = deliver->hubs[drop->hub].link;
    if (link)
        probe_link_dropped(link, &drop->epoch, drop->last, &drop->totals, drop->bytes);
}

static void on_word(void *userdata, bool trouble, const char *text) {
    (void)userdata;
    log_write(trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, "%s", text);
}

static void to_delivery(const SpoolBatch *from, DeliveryBatch *to) {
    *to = (DeliveryBatch){
        .epoch = from->epoch,
        .first = from->first,
        .last = from->last,
        .gap = from->gap,
        .bytes = from->bytes,
        .counts = from->counts,
        .totals = from->totals,
    };
}

static int to_answer(int r) {
    return r == SPOOL_E_LATER ? DELIVERY_E_LATER : r > 0 ? DELIVERY_E_UNKNOWN : r;
}

static int load(void *userdata, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    const Hub *hub = userdata;
    SpoolBatch found;
    int r = spool_peek(hub->deliver->spool, hub->number, epoch, sequence, &found);
    if (r)
        return to_answer(r);
    to_delivery(&found, batch);
    return 0;
}

static int fetch(void *userdata, const EpochId *epoch, uint64_t sequence, void *to, size_t size) {
    const Hub *hub = userdata;
    return to_answer(spool_fetch(hub->deliver->spool, hub->number, epoch, sequence, to, size));
}

static void release(void *userdata, const EpochId *epoch, uint64_t last,
                    const BatchCounts *totals) {
    const Hub *hub = userdata;
    spool_release(hub->deliver->spool, hub->number, epoch, last, totals);
}

static bool former(void *userdata, size_t i, DeliveryFormer *to) {
    const Hub *hub = userdata;
    Spool *spool = hub->deliver->spool;
    SpoolFormer from;
    size_t n = 0; /* what is over comes first */
    while (n <= i && spool_finished(spool, hub->number, n, &from))
        n++;
    if (n <= i && !spool_former(spool, hub->number, i - n, &from))
        return false;
    *to = (DeliveryFormer){
        .epoch = from.epoch,
        .stored = from.stored,
        .stored_totals = from.stored_totals,
        .last = from.last,
        .last_totals = from.last_totals,
        .bytes = from.bytes,
    };
    return true;
}

/* the same hub in the next run, whatever its place in the command line */
static uint64_t hub_id(const Hub *hub) {
    const char *key = hub->kept.first; /* that of a hub that changed its key stays the same */
    return hash_bytes(hub->data, strlen(hub->data), 0) << 32 |
           (hash_bytes(key, strlen(key), 0) & UINT32_MAX);
}

/* a folder of its own, or NULL: memory only */
static int own_folder(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    if (!config->spool_bytes)
        return 0;
    int n = config->spool_dir
                ? snprintf(deliver->spool_dir, sizeof(deliver->spool_dir), "%s", config->spool_dir)
                : snprintf(deliver->spool_dir, sizeof(deliver->spool_dir), "%s/spool",
                           config->data_dir);
    if (n < 0 || (size_t)n >= sizeof(deliver->spool_dir)) {
        reason_set(reason, "--spool-dir: %s", strerror(ENAMETOOLONG));
        return DELIVER_E_REFUSED;
    }
    int r = dir_own(&deliver->spool_lock, deliver->spool_dir, reason);
    return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
}

/* the usual size is too much for a small disk */
static uint64_t spool_limit(const Deliver *deliver, uint64_t bytes) {
    struct statvfs disk;
    if (bytes != (uint64_t)SPOOL_BYTES_USUAL << 30 || statvfs(deliver->spool_dir, &disk) < 0)
        return bytes;
    uint64_t tenth = (uint64_t)disk.f_blocks * disk.f_frsize / 10;
    return tenth && tenth < bytes ? tenth : bytes;
}

static int open_spool(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    int r = own_folder(deliver, config, reason);
    if (r)
        return r;
    SpoolConfig spool = {
        .folder = deliver->spool_dir[0] ? deliver->spool_dir : NULL,
        .limit_bytes = spool_limit(deliver, config->spool_bytes),
        .memory_bytes = config->spool_memory_bytes,
        .n_hubs = (unsigned)deliver->n_hubs,
        .fanout = deliver->fanout,
        .on_drop = on_drop,
        .on_word = on_word,
        .userdata = deliver,
    };
    for (size_t i = 0; i < deliver->n_hubs; i++)
        spool.hubs[i] = hub_id(&deliver->hubs[i]);
    r = spool_new(&deliver->spool, &spool, reason);
    if (r)
        return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
    SpoolStatus status;
    spool_status(deliver->spool, &status);
    if (status.held.flows)
        log_notice("%" PRIu64 " flows of former runs wait in %s", status.held.flows,
                   deliver->spool_dir);
    return 0;
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

static int read_hubs(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < deliver->n_hubs; i++) {
        deliver->hubs[i].deliver = deliver;
        deliver->hubs[i].number = (unsigned)i;
        r = read_endpoints(config, i, &deliver->hubs[i], reason);
        if (r == 0 && deliver->kept)
            kept_keys_find(deliver->kept, deliver->hubs[i].data, deliver->key.server_z85,
                           &deliver->hubs[i].kept);
    }
    return error_trace(r);
}

static int open_hub(Deliver *deliver, const ProbeConfig *config, size_t i, Reason *reason) {
    Hub *hub = &deliver->hubs[i];
    if (hub->assumed)
        log_notice("--zmq-publish-events is not given; the events endpoint is taken to be %s",
                   hub->events);
    ProbeLinkConfig link = {
        .endpoint = hub->data,
        .events_endpoint =
            hub->assumed ? NULL : hub->events, /* not named: bound by who binds data */
        .bind = !config->probe_mode,
        .server_z85 = deliver->key.server_z85,
        .keys = deliver->keys,
        .hello_json = buffer_text(&deliver->hello),
        .spool = {.spool = hub, .load = load, .release = release, .fetch = fetch, .former = former},
        .on_change = on_change,
        .on_configuration = i == 0 ? on_configuration : NULL, /* two could not agree */
        .userdata = hub,
        .kept = hub->kept.keys,
        .keep = keep_keys,
        .on_note = on_note,
    };
    int r = probe_link_new(&hub->link, &link, reason);
    key_pair_wipe(&link.keys);
    return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
}

int deliver_new(Deliver **deliverp, const ProbeConfig *config, const DeliverSource *source,
                Reason *reason) {
    cleanup(deliver_freep) Deliver *deliver =
        calloc(1, sizeof(*deliver) + config->hubs.n * sizeof(Hub));
    if (!deliver)
        return error_origin(-ENOMEM);
    deliver->folder_lock = deliver->spool_lock = -1;
    deliver->n_hubs = config->hubs.n;
    deliver->fanout = config->fanout && config->hubs.n > 1;
    deliver->patient = source->patient;
    deliver->patience_s = config->exit_timeout_s;
    deliver->stopping = source->stopping;
    deliver->on_configuration = source->on_configuration;
    deliver->userdata = source->userdata;

    int r = read_key(config, &deliver->key, reason);
    if (r == 0 && deliver->key.notice[0])
        log_notice("--zmq-encryption-key: %s", deliver->key.notice);
    if (r == 0)
        r = open_identity(deliver, config, reason);
    if (r == 0)
        r = hello_write(&deliver->hello, &deliver->instance, config, source, deliver->key.token);
    if (r == 0)
        r = read_hubs(deliver, config, reason);
    if (r == 0)
        r = open_spool(deliver, config, reason);
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
    deliver->folder_lock = deliver->spool_lock = -1;
    deliver->n_hubs = config->hubs.n;
    deliver->fanout = config->fanout && config->hubs.n > 1;
    int r = read_key(config, &deliver->key, reason);
    if (r == 0)
        r = read_hubs(deliver, config, reason);
    if (r == 0)
        r = open_spool(deliver, config, reason);
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
    while (deliver->patient && !has_room(deliver, size, &freed) && !deliver->stopping()) {
        uint64_t now_ms = clock_monotonic_ms();
        if (freed != before)
            since_ms = now_ms;
        before = freed;
        if (now_ms - since_ms >= (uint64_t)deliver->patience_s * 1000) {
            log_warning("the spool is full, the hub has stored nothing for "
                        "%u s: the file is read on without it",
                        deliver->patience_s);
            deliver->patient = false;
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
    to_delivery(&placed, &batch);
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

static void be_another(Deliver *deliver) {
    char instance[HELLO_INSTANCE_DIGITS + 1];
    hello_draw_instance(instance);
    memcpy(deliver->instance, instance, HELLO_INSTANCE_DIGITS);
    for (size_t i = 0; i < deliver->n_hubs; i++)
        (void)probe_link_hello(deliver->hubs[i].link, buffer_text(&deliver->hello));
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
