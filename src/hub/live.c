/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/live.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "flow/field.h"
#include "hub/tally.h"

enum {
    OPEN_SECONDS = 3, /* the one that runs, the one in its grace, one of a probe that is ahead */
    FLOW_TEXT_BYTES = 512,
    TALLY_CAPACITY = 4096,
};

/* one second that still takes pulses */
typedef struct Second {
    uint64_t at; /* 0: free */
    uint64_t packets;
    uint64_t octets;
    uint64_t drops;
    uint64_t flows_active;
    uint64_t pulses;
    Tally *apps;
    Tally *hosts;
    Tally *conversations;
} Second;

/* a flow that outlives its batch; its texts point into `texts` */
typedef struct KeptFlow {
    FlowRecord record;
    char texts[FLOW_TEXT_BYTES];
} KeptFlow;

struct Live {
    Second open[OPEN_SECONDS]; /* by second modulo */
    uint64_t oldest;           /* the oldest second that is open */
    uint64_t flows_before;     /* n_flows when the last second was closed */
    _Atomic uint64_t flows_per_s;
    _Atomic uint64_t n_flows; /* that came, ever */

    pthread_mutex_t ticks_lock;
    char *ticks[LIVE_SECONDS];
    size_t tick_next;

    pthread_mutex_t flows_lock;
    KeptFlow flows[LIVE_FLOWS];
    uint64_t flow_next; /* ever kept; the slot is that modulo */
    uint64_t flow_told; /* by live_new_flows() */
};

int live_new(Live **livep) {
    cleanup(live_freep) Live *live = calloc(1, sizeof(*live));
    if (!live)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&live->ticks_lock, NULL);
    (void)pthread_mutex_init(&live->flows_lock, NULL);
    for (size_t i = 0; i < OPEN_SECONDS; i++) {
        Second *second = &live->open[i];
        int r = tally_new(&second->apps, TALLY_CAPACITY);
        if (!r)
            r = tally_new(&second->hosts, TALLY_CAPACITY);
        if (!r)
            r = tally_new(&second->conversations, TALLY_CAPACITY);
        if (r)
            return error_trace(r);
    }
    *livep = live;
    live = NULL;
    return 0;
}

Live *live_free(Live *live) {
    if (!live)
        return NULL;
    for (size_t i = 0; i < OPEN_SECONDS; i++) {
        (void)tally_free(live->open[i].apps);
        (void)tally_free(live->open[i].hosts);
        (void)tally_free(live->open[i].conversations);
    }
    for (size_t i = 0; i < LIVE_SECONDS; i++)
        free(live->ticks[i]);
    (void)pthread_mutex_destroy(&live->ticks_lock);
    (void)pthread_mutex_destroy(&live->flows_lock);
    free(live);
    return NULL;
}

/* ------------------------------------------------------------------------------------ seconds */

/* the open second for a pulse: its own, or the nearest that is open */
static Second *second_at(Live *live, uint64_t at) {
    if (!live->oldest)
        live->oldest = at;
    if (at < live->oldest)
        at = live->oldest;
    if (at >= live->oldest + OPEN_SECONDS)
        at = live->oldest + OPEN_SECONDS - 1;
    Second *second = &live->open[at % OPEN_SECONDS];
    second->at = at;
    return second;
}

void live_add_totals(Live *live, uint64_t at, uint64_t packets, uint64_t octets, uint64_t drops,
                     uint64_t flows_active) {
    Second *second = second_at(live, at);
    second->pulses++;
    second->packets += packets;
    second->octets += octets;
    second->drops += drops;
    second->flows_active += flows_active;
}

void live_add_app(Live *live, uint64_t at, const char *name, uint64_t octets, uint64_t packets) {
    tally_add(second_at(live, at)->apps, name, strlen(name), octets, packets);
}

void live_add_host(Live *live, uint64_t at, const char *ip, uint64_t octets_in,
                   uint64_t octets_out) {
    tally_add(second_at(live, at)->hosts, ip, strlen(ip), octets_in, octets_out);
}

/* the three texts one after the other, each with its NUL */
void live_add_conversation(Live *live, uint64_t at, const char *src_ip, const char *dst_ip,
                           const char *app_name, uint64_t octets, uint64_t rev_octets) {
    char key[TALLY_KEY_MAX] = {0};
    size_t size = 0;
    const char *const parts[] = {src_ip, dst_ip, app_name};
    for (size_t i = 0; i < 3; i++) {
        const size_t room = sizeof(key) - size - (3 - i); /* a NUL for each part still to come */
        const size_t part = strnlen(parts[i], room);
        memcpy(key + size, parts[i], part);
        size += part + 1;
    }
    tally_add(second_at(live, at)->conversations, key, size, octets, rev_octets);
}

static void write_apps(Json *json, const Tally *apps) {
    const TallyEntry *top[LIVE_TOP];
    const size_t n = tally_top(apps, false, top, LIVE_TOP);
    json_array_begin(json, "apps");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        json_textn(json, "name", (const char *)top[i]->key, top[i]->key_size);
        json_u64(json, "octets", top[i]->a);
        json_u64(json, "packets", top[i]->b);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_hosts(Json *json, const Tally *hosts) {
    const TallyEntry *top[LIVE_TOP];
    const size_t n = tally_top(hosts, true, top, LIVE_TOP);
    json_array_begin(json, "hosts");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        json_textn(json, "ip", (const char *)top[i]->key, top[i]->key_size);
        json_u64(json, "octets_in", top[i]->a);
        json_u64(json, "octets_out", top[i]->b);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_conversations(Json *json, const Tally *conversations) {
    const TallyEntry *top[LIVE_TOP];
    const size_t n = tally_top(conversations, true, top, LIVE_TOP);
    json_array_begin(json, "conversations");
    for (size_t i = 0; i < n; i++) {
        const char *src_ip = (const char *)top[i]->key;
        const char *dst_ip = src_ip + strlen(src_ip) + 1;
        json_object_begin(json, NULL);
        json_text(json, "src_ip", src_ip);
        json_text(json, "dst_ip", dst_ip);
        json_text(json, "app_name", dst_ip + strlen(dst_ip) + 1);
        json_u64(json, "octets", top[i]->a);
        json_u64(json, "rev_octets", top[i]->b);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_tick(const Second *second, uint64_t at, uint64_t flows, uint64_t probes_connected,
                       Buffer *to) {
    Json json = json_make(to);
    json_object_begin(&json, NULL);
    json_u64(&json, "time_ms", at * 1000);
    json_u64(&json, "packets", second->packets);
    json_u64(&json, "octets", second->octets);
    json_u64(&json, "drops", second->drops);
    json_u64(&json, "flows_active", second->flows_active);
    json_u64(&json, "flows", flows);
    json_u64(&json, "probes_connected", probes_connected);
    write_apps(&json, second->apps);
    write_hosts(&json, second->hosts);
    write_conversations(&json, second->conversations);
    json_object_end(&json);
}

static void keep_tick(Live *live, const char *text) {
    char *copy = strdup(text);
    (void)pthread_mutex_lock(&live->ticks_lock);
    char **slot = &live->ticks[live->tick_next++ % LIVE_SECONDS];
    free(*slot);
    *slot = copy; /* NULL when out of memory: a second less */
    (void)pthread_mutex_unlock(&live->ticks_lock);
}

bool live_close(Live *live, uint64_t now_ms, uint64_t probes_connected, Buffer *tick) {
    const uint64_t over = (now_ms - LIVE_GRACE_MS) / 1000; /* the first that is not over */
    if (!live->oldest || live->oldest + LIVE_SECONDS < over || live->oldest > over + LIVE_SECONDS)
        live->oldest = over; /* at start, or the clock was set */
    if (live->oldest >= over)
        return false;
    const uint64_t at = live->oldest++;
    const uint64_t n_flows = atomic_load(&live->n_flows);
    atomic_store(&live->flows_per_s, n_flows - live->flows_before);
    Second *second = &live->open[at % OPEN_SECONDS];
    if (second->at == at && second->pulses) {
        Buffer text = {0};
        write_tick(second, at, n_flows - live->flows_before, probes_connected, &text);
        if (!text.failed) {
            keep_tick(live, buffer_text(&text));
            buffer_put(tick, text.bytes, text.size);
        }
        buffer_deinit(&text);
    }
    live->flows_before = n_flows;
    tally_clear(second->apps);
    tally_clear(second->hosts);
    tally_clear(second->conversations);
    *second = (Second){
        .apps = second->apps, .hosts = second->hosts, .conversations = second->conversations};
    return true;
}

uint64_t live_flows_per_s(const Live *live) {
    return atomic_load(&live->flows_per_s);
}

void live_write_ticks(Live *live, Json *json, const char *name) {
    json_array_begin(json, name);
    (void)pthread_mutex_lock(&live->ticks_lock);
    for (size_t i = 0; i < LIVE_SECONDS; i++) {
        const char *tick = live->ticks[(live->tick_next + i) % LIVE_SECONDS];
        if (tick)
            json_raw(json, NULL, tick);
    }
    (void)pthread_mutex_unlock(&live->ticks_lock);
    json_array_end(json);
}

/* -------------------------------------------------------------------------------------- flows */

static void keep_flow(KeptFlow *kept, const FlowRecord *record) {
    kept->record = *record;
    size_t used = 0;
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        if (flow_fields[i].kind != FLOW_KIND_TEXT)
            continue;
        FlowText *text = (FlowText *)((char *)&kept->record + flow_fields[i].offset);
        const size_t room = sizeof(kept->texts) - used;
        const size_t size = text->size < room ? text->size : room;
        if (size)
            memcpy(kept->texts + used, text->text, size);
        *text = (FlowText){.text = kept->texts + used, .size = (uint32_t)size};
        used += size;
    }
}

void live_add_flows(Live *live, const FlowRecord *records, size_t n) {
    atomic_fetch_add(&live->n_flows, n);
    const size_t keep = n < LIVE_FLOWS ? n : LIVE_FLOWS;
    (void)pthread_mutex_lock(&live->flows_lock);
    for (size_t i = n - keep; i < n; i++)
        keep_flow(&live->flows[live->flow_next++ % LIVE_FLOWS], &records[i]);
    (void)pthread_mutex_unlock(&live->flows_lock);
}

/* newest first, down to but without `until`; under the lock */
static size_t write_flows(const Live *live, uint64_t until, Json *json) {
    size_t n = 0;
    for (uint64_t at = live->flow_next; at > until && n < LIVE_FLOWS; at--, n++)
        flow_record_write_json(&live->flows[(at - 1) % LIVE_FLOWS].record, json);
    return n;
}

size_t live_new_flows(Live *live, Buffer *to) {
    Json json = json_make(to);
    json_array_begin(&json, NULL);
    (void)pthread_mutex_lock(&live->flows_lock);
    const size_t n = write_flows(live, live->flow_told, &json);
    live->flow_told = live->flow_next;
    (void)pthread_mutex_unlock(&live->flows_lock);
    json_array_end(&json);
    return n;
}

void live_write_flows(Live *live, Json *json, const char *name) {
    json_array_begin(json, name);
    (void)pthread_mutex_lock(&live->flows_lock);
    (void)write_flows(live, 0, json);
    (void)pthread_mutex_unlock(&live->flows_lock);
    json_array_end(json);
}
