/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/queue.h"
#include "http/sse.h"
#include "hub/api.h"
#include "hub/hub.h"
#include "hub/pulse.h"

enum {
    REPORTS_MAX = 16384,
    REPORT_BYTES_MAX = 128 << 10,
    WAITING_BYTES_MAX = 32 << 20, /* of all that wait */
    RATE_SECONDS = 10,
    PROBES_EVERY_MS = 5000, /* browsers get all probes so often even when none changed */
};

/* what the receive thread queues: a pulse, or an event with its texts */
typedef struct Report {
    uint64_t at_ms; /* when it came */
    bool is_pulse;
    HubEventKind kind;
    unsigned interface;
    PeerKey key;
    char address[64];
    char other[64];
    size_t size;
    char json[];
} Report;

typedef struct Rate {
    uint64_t flows[RATE_SECONDS]; /* the link's count, second by second */
    size_t n;
    WatchRates now;
} Rate;

struct Watch {
    Hub *hub;
    Queue *reports;
    _Atomic size_t waiting_bytes;
    Rate *rates;          /* an interface */
    pthread_mutex_t lock; /* of rates */
    uint64_t second;      /* monotonic, of the last housekeeping */
    uint64_t told_ms;     /* monotonic, when browsers last got the probes */
    atomic_bool stopping;
    bool running;
    pthread_t thread;
};

int watch_new(Watch **watchp, Hub *hub) {
    cleanup(watch_freep) Watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return error_origin(-ENOMEM);
    watch->hub = hub;
    (void)pthread_mutex_init(&watch->lock, NULL);
    watch->rates = calloc(hub->n_interfaces, sizeof(*watch->rates));
    if (!watch->rates)
        return error_origin(-ENOMEM);
    const int r = queue_new(&watch->reports, REPORTS_MAX);
    if (r)
        return error_trace(r);
    *watchp = watch;
    watch = NULL;
    return 0;
}

Watch *watch_free(Watch *watch) {
    if (!watch)
        return NULL;
    watch_stop(watch);
    Report *report;
    while (watch->reports && (report = queue_pop(watch->reports, 0)))
        free(report);
    (void)queue_free(watch->reports);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch->rates);
    free(watch);
    return NULL;
}

/* ------------------------------------------------------------------- from the receive thread */

static void put(Watch *watch, const Report *head, const char *json, size_t size) {
    if (size > REPORT_BYTES_MAX)
        size = 0; /* will not parse: counted as malformed */
    /* one thread adds, so what is looked at here can only have become less */
    const bool room = atomic_load(&watch->waiting_bytes) + size <= WAITING_BYTES_MAX;
    Report *report = room ? malloc(sizeof(*report) + size + 1) : NULL;
    if (report) {
        *report = *head;
        report->at_ms = clock_wall_ms();
        report->size = size;
        if (size)
            memcpy(report->json, json, size);
        report->json[size] = 0;
        atomic_fetch_add(&watch->waiting_bytes, size);
    }
    if (!report || !queue_push(watch->reports, report)) {
        if (report)
            atomic_fetch_sub(&watch->waiting_bytes, size);
        free(report);
        atomic_fetch_add(&watch->hub->metrics[HUB_METRIC_REPORTS_LOST], 1);
    }
}

void watch_pulse(void *userdata, const PeerKey *key, unsigned interface, const char *json,
                 size_t size) {
    const Report head = {.is_pulse = true, .interface = interface, .key = *key};
    put(userdata, &head, json, size);
}

void watch_event(void *userdata, const HubEvent *event) {
    Report head = {.kind = event->kind, .interface = event->interface, .key = event->key};
    memcpy(head.address, event->address, sizeof(head.address));
    memcpy(head.other, event->other, sizeof(head.other));
    put(userdata, &head, event->json, event->json ? strlen(event->json) : 0);
}

/* --------------------------------------------------------------------------- on its own thread */

static const char *interface_name(const Watch *watch, unsigned interface) {
    return interface < watch->hub->n_interfaces ? watch->hub->interfaces[interface].name : "?";
}

/* what is known of the probe is kept beyond a restart, with the next flush */
static void remember(Watch *watch, const PeerKey *key) {
    Probe *probe = probes_lock(watch->hub->probes, key);
    if (!probe)
        return;
    probe->enrolment.dirty = true;
    probes_unlock(watch->hub->probes);
}

static void take_problem(Watch *watch, const Report *report, PeerProblemKind kind,
                         uint64_t now_ms) {
    probes_problem(watch->hub->probes, kind, report->interface, report->address, now_ms);
    if (*report->address)
        log_warning("%s: peer at %s: %s", interface_name(watch, report->interface), report->address,
                    peer_problem_text(kind));
}

/* once a session, when the probe has said its name */
static void log_session(Watch *watch, const Report *report, bool connected) {
    char name[256] = "";
    bool say = false;
    Probe *probe = probes_lock(watch->hub->probes, &report->key);
    if (probe) {
        (void)snprintf(name, sizeof(name), "%s", probes_name(probe));
        say = connected
                  ? *probe->name && !probe->announced && probe->enrolment.admission == HUB_ADMITTED
                  : probe->announced;
        probe->announced = probe->announced || say;
        probes_unlock(watch->hub->probes);
    }
    if (say)
        log_notice("%s: probe %s at %s %s, key %s", interface_name(watch, report->interface), name,
                   report->address, connected ? "connected" : "disconnected", report->key.z85);
}

static void take_clone(Watch *watch, const Report *report, uint64_t now_ms) {
    Probes *probes = watch->hub->probes;
    if (!probes_clone(probes, &report->key, report->address, report->other, now_ms))
        return;
    char name[256] = "";
    const Probe *probe = probes_lock(probes, &report->key);
    if (probe) {
        (void)snprintf(name, sizeof(name), "%s", probes_name(probe));
        probes_unlock(probes);
    }
    log_warning("probe %s: two running probes use its key, at %s and %s; the flows of both are "
                "kept. Stop one and start it again with an empty data directory",
                name, report->address, report->other);
}

static void take_event(Watch *watch, const Report *report, uint64_t now_ms) {
    Probes *probes = watch->hub->probes;
    switch (report->kind) {
    case HUB_EVENT_SESSION_BEGIN:
        admission_hello(watch->hub->admission, &report->key, report->interface, report->address,
                        report->json, now_ms);
        licensing_hello(watch->hub->licensing, &report->key, report->json);
        server_key_hello(watch->hub->server_key, &report->key, report->json);
        log_session(watch, report, true);
        return;
    case HUB_EVENT_SESSION_END:
        probes_end(probes, &report->key, now_ms);
        licensing_gone(watch->hub->licensing);
        remember(watch, &report->key);
        log_session(watch, report, false);
        return;
    case HUB_EVENT_WRONG_KEY:
        take_problem(watch, report,
                     server_key_was_lost(watch->hub->server_key, report->address) ? PEER_RETIRED_KEY
                                                                                  : PEER_WRONG_KEY,
                     now_ms);
        return;
    case HUB_EVENT_PLAIN_PEER:
        take_problem(watch, report, PEER_PLAIN, now_ms);
        return;
    case HUB_EVENT_NOT_SPOKEN:
        take_problem(watch, report, PEER_MALFORMED, now_ms);
        return;
    case HUB_EVENT_TOO_MANY:
        take_problem(watch, report, PEER_TOO_MANY, now_ms);
        return;
    case HUB_EVENT_CLONE:
        take_clone(watch, report, now_ms);
        return;
    }
}

static void take_report(Watch *watch, const Report *report) {
    const uint64_t now_ms = report->at_ms;
    if (!report->is_pulse) {
        take_event(watch, report, now_ms);
        return;
    }
    MetricValue *metrics = watch->hub->metrics;
    const int r =
        pulse_take(watch->hub->probes, watch->hub->live, watch->hub->configure,
                   watch->hub->exporters, &report->key, report->json, report->size, now_ms);
    metric_add(&metrics[r ? HUB_METRIC_PULSES_MALFORMED : HUB_METRIC_PULSES], 1);
}

typedef struct BitRates {
    Rate *rates;
    size_t n;
    uint64_t now_ms;
} BitRates;

static void add_bits(void *context, const Probe *probe) {
    BitRates *bits = context;
    if (probe_delivers(probe) && probe->interface < bits->n && probe->pulse_ms &&
        bits->now_ms < probe->pulse_ms + PROBES_SILENT_MS)
        bits->rates[probe->interface].now.bits_per_s += (double)probe->pulse.octets_per_s * 8;
}

static void take_rates(Watch *watch, uint64_t now_ms) {
    Hub *hub = watch->hub;
    (void)pthread_mutex_lock(&watch->lock);
    for (unsigned i = 0; i < hub->n_interfaces; i++) {
        Rate *rate = &watch->rates[i];
        HubInterfaceStatus status = {0};
        rate->now = (WatchRates){0};
        if (!hub_link_interface(hub->link, i, &status))
            continue;
        const size_t kept = rate->n < RATE_SECONDS ? rate->n : RATE_SECONDS;
        if (kept) {
            const uint64_t then = rate->flows[(rate->n - kept) % RATE_SECONDS];
            rate->now.flows_per_s = (double)(status.flows.flows - then) / (double)kept;
        }
        rate->flows[rate->n++ % RATE_SECONDS] = status.flows.flows;
    }
    BitRates bits = {.rates = watch->rates, .n = hub->n_interfaces, .now_ms = now_ms};
    probes_each(hub->probes, add_bits, &bits);
    (void)pthread_mutex_unlock(&watch->lock);
}

WatchRates watch_rates(Watch *watch, unsigned interface) {
    (void)pthread_mutex_lock(&watch->lock);
    const WatchRates rates = watch->rates[interface].now;
    (void)pthread_mutex_unlock(&watch->lock);
    return rates;
}

static void tell_probes(Watch *watch, uint64_t now_ms) {
    const bool changed = probes_changed(watch->hub->probes);
    const uint64_t mono_ms = clock_monotonic_ms();
    if (!changed && mono_ms - watch->told_ms < PROBES_EVERY_MS)
        return;
    watch->told_ms = mono_ms;
    if (!http_sse_subscribers(watch->hub->http, "probes"))
        return;
    Buffer text = {0};
    Json json = json_make(&text);
    api_write_probes(&json, NULL, watch->hub, now_ms);
    if (!text.failed)
        (void)http_sse_publish(watch->hub->http, "probes", buffer_text(&text));
    buffer_deinit(&text);
}

static void tell_flows(Watch *watch) {
    if (!http_sse_subscribers(watch->hub->http, "flows"))
        return;
    Buffer text = {0};
    if (live_new_flows(watch->hub->live, &text) && !text.failed)
        (void)http_sse_publish(watch->hub->http, "flows", buffer_text(&text));
    buffer_deinit(&text);
}

static void close_seconds(Watch *watch, uint64_t now_ms) {
    Buffer tick = {0};
    const uint64_t connected = probes_connected(watch->hub->probes);
    while (live_close(watch->hub->live, now_ms, connected, &tick)) {
        if (tick.size && !tick.failed)
            (void)http_sse_publish(watch->hub->http, "tick", buffer_text(&tick));
        buffer_clear(&tick);
    }
    buffer_deinit(&tick);
}

static void take_licence(Watch *watch) {
    LicensingView view;
    licensing_view(watch->hub->licensing, &view);
    const HolderView *held = &view.holder;
    MetricValue *metrics = watch->hub->metrics;
    metric_set(&metrics[HUB_METRIC_LICENCE_STATE], !held->has                     ? 0
                                                   : !held->unlocks               ? 4
                                                   : held->kept                   ? 3
                                                   : held->state == LICENCE_GRACE ? 2
                                                                                  : 1);
    metric_set(&metrics[HUB_METRIC_LICENCE_EXPIRES],
               held->has ? (uint64_t)held->licence.expiry_s : 0);
    metric_set(&metrics[HUB_METRIC_SEATS], view.limit);
    metric_set(&metrics[HUB_METRIC_SEATS_USED], view.used);
    metric_set(&metrics[HUB_METRIC_SEATS_WAITING], view.waiting);
}

/* once a second, a little after its end so that its pulses are in */
static void housekeep(Watch *watch) {
    const uint64_t now_ms = clock_wall_ms();
    HubProbeStatus *statuses = NULL;
    size_t n = 0;
    if (!hub_link_probes(watch->hub->link, &statuses, &n)) {
        probes_take_status(watch->hub->probes, statuses, n);
        probes_only_these(watch->hub->probes, statuses, n, now_ms);
    }
    free(statuses);
    hub_link_notice(watch->hub->link, ingest_state(watch->hub->ingest) == INGEST_DISK_FULL
                                          ? CAUSE_HUB_IS_FULL
                                          : CAUSE_NONE);
    close_seconds(watch, now_ms);
    take_rates(watch, now_ms);
    tell_flows(watch);
    tell_probes(watch, now_ms);
    admission_flush(watch->hub->admission);
    server_key_second(watch->hub->server_key);
    take_licence(watch);
}

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

static void *run(void *userdata) {
    Watch *watch = userdata;
    unsigned turn_ms = 1; /* the licence and its seats want to be looked at so soon */
    while (!atomic_load(&watch->stopping)) {
        const unsigned into_ms = (unsigned)((clock_wall_ms() + 1000 - LIVE_GRACE_MS) % 1000);
        Report *report = queue_pop(watch->reports, least(1000 - into_ms, turn_ms));
        if (report) {
            atomic_fetch_sub(&watch->waiting_bytes, report->size);
            take_report(watch, report);
        }
        free(report);
        const LicensingTime now = licensing_time();
        turn_ms = licensing_turn(watch->hub->licensing, &now);
        const uint64_t second = (clock_wall_ms() - LIVE_GRACE_MS) / 1000;
        if (second != watch->second) {
            watch->second = second;
            housekeep(watch);
        }
    }
    return NULL;
}

int watch_start(Watch *watch) {
    const int r = pthread_create(&watch->thread, NULL, run, watch);
    if (r)
        return error_origin(-r);
    watch->running = true;
    return 0;
}

void watch_stop(Watch *watch) {
    if (!watch->running)
        return;
    atomic_store(&watch->stopping, true);
    queue_close(watch->reports);
    (void)pthread_join(watch->thread, NULL);
    watch->running = false;
}
