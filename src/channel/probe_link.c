/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_link.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "channel/cause.h"
#include "channel/delivery.h"
#include "channel/frame.h"
#include "channel/probe_link_inner.h"
#include "channel/probe_link_reason.h"
#include "channel/version.h"
#include "channel/zsock.h"

enum {
    TURN_MS = 100,  /* longest wait of the thread */
    GATHER_MS = 2,  /* after batches were sent */
    BLOCKED_MS = 2, /* wait when the socket is full: XPUB does not say when it no longer is */
    AGAIN_FIRST_MS = 1000,
    AGAIN_LAST_MS = 60000,
    AGAIN_DOUBLINGS = 5,
    REFUSED_FIRST_MS = 5000, /* revoked by mistake and restored at once: soon back */
};

/* -------------------------------------------------------------------------------- receiving */

static void begin_session(ProbeLink *link) {
    uint64_t hello_id = 0;
    while (hello_id == 0)
        randombytes_buf(&hello_id, sizeof(hello_id));
    link->session_ms = clock_monotonic_ms();
    link->state_ms = 0;
    link->status.sessions++;
    delivery_sender_session_begin(link->sender, hello_id, link->session_ms);
}

/** on_subscription() - every peer's, not only the first; `on` false when the last has gone */
static void on_subscription(void *userdata, bool on) {
    ProbeLink *link = userdata;
    if (on) {
        begin_session(link);
        return;
    }
    delivery_sender_session_end(link->sender);
    link->session_ms = 0;
}

/* a hub that is away says nothing, and what it lent stays; one that lets this probe wait takes it
 * back. One of another version, which does not serve it, does neither */
static void note_lease(LeaseWord *word, const ControlState *state) {
    if (strcmp(state->admission, "admitted") != 0)
        *word = (LeaseWord){.over = true};
    else if (state->lease.until_s)
        *word = (LeaseWord){.lease = state->lease, .told_ms = clock_monotonic_ms()};
}

static void on_state(void *userdata, const void *bytes, size_t size) {
    ProbeLink *link = userdata;
    ControlState state;
    int r = control_read(&state, bytes, size);
    if (r) {
        link->status.malformed_states++;
    } else {
        if (version_judge(state.hub_version, WEIR_VERSION) != CAUSE_NONE)
            state.delivery.admitted = false; /* what it cannot read waits in the spool */
        link->state = state;
        link->state_ms = clock_monotonic_ms();
        link->status.clock_offset_ms = (int64_t)state.server_time_ms - (int64_t)clock_wall_ms();
        if (version_judge(state.hub_version, WEIR_VERSION) == CAUSE_NONE)
            note_lease(&link->status.lease, &state);
        (void)link_do_jobs(
            link); /* it may speak of what was submitted just now, by a link to the same hub */
        delivery_sender_state(link->sender, &state.delivery);
    }
    if (!r && *state.configuration && link->config.on_configuration)
        link->config.on_configuration(link->config.userdata, state.configuration);
}

/** again_after_ms() - after the n-th handshake that failed for good; refusals not all at once */
static uint64_t again_after_ms(const ProbeView *view, unsigned n) {
    if (view->trouble != PROBE_LINK_KEY_REVOKED)
        return (uint64_t)AGAIN_FIRST_MS << n;
    const uint64_t wait_ms = (uint64_t)REFUSED_FIRST_MS << n;
    const uint64_t least_ms = wait_ms < AGAIN_LAST_MS ? wait_ms : AGAIN_LAST_MS;
    return least_ms - view->given_up_ms % (least_ms / 4);
}

/* -------------------------------------------------------------------------- how the link stands */

static void note_standing(ProbeLink *link) {
    ProbeStanding standing = {
        .bind = link->config.bind,
        .events_assumed = !link->config.events_endpoint,
        .now_ms = clock_monotonic_ms(),
    };
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        probe_lines_view(link->lines, (ProbeSide)i, &standing.views[i]);
        standing.endpoints[i] = probe_lines_attached(link->lines, (ProbeSide)i);
    }
    DeliverySenderStatus sender;
    ProbeLinkWord word;
    char reason[512];
    delivery_sender_status(link->sender, &sender);
    standing.session_ms = link->session_ms;
    standing.state_ms = link->state_ms;
    standing.synced = sender.synced;
    standing.admitted = sender.admitted;
    standing.admission_reason = link->state.reason;
    standing.version = version_judge(link->state.hub_version, WEIR_VERSION);
    standing.hub_full = link->state.notice == CAUSE_HUB_IS_FULL;
    standing.clock_offset_ms = link->status.clock_offset_ms;
    (void)snprintf(reason, sizeof(reason), "%s", link->status.reason);
    if (probe_routes_trying(&link->keys.routes, standing.views) && !link->session_ms)
        word = link->status.word; /* of the first of several ways is told how it stands */
    else
        word = probe_link_judge(&standing, link->status.word, reason, sizeof(reason));
    if (word == PROBE_LINK_WRONG_KEY && probe_keys_handed(&link->keys))
        cause_line(reason, sizeof(reason), CAUSE_KEPT_KEY, standing.endpoints[0], "");
    bool changed = word != link->status.word || strcmp(reason, link->status.reason) != 0;
    link->status.word = word;
    (void)snprintf(link->status.reason, sizeof(link->status.reason), "%s", reason);
    if (changed && link->config.on_change)
        link->config.on_change(link->config.userdata, word, reason);

    for (int i = 0; i < PROBE_N_SIDES; i++) {
        const ProbeView *view = &standing.views[i];
        if (view->ready)
            link->n_again[i] = 0;
        if (!view->given_up ||
            standing.now_ms - view->given_up_ms < again_after_ms(view, link->n_again[i]))
            continue;
        if (link->n_again[i] < AGAIN_DOUBLINGS)
            link->n_again[i]++;
        probe_lines_again(link->lines, (ProbeSide)i);
    }
}

static void name_ends(ProbeLink *link) {
    ProbeLinkStatus *status = &link->status;
    (void)snprintf(status->peer, sizeof(status->peer), "%s",
                   probe_lines_attached(link->lines, PROBE_SIDE_DATA));
    (void)snprintf(status->events, sizeof(status->events), "%s",
                   probe_lines_attached(link->lines, PROBE_SIDE_EVENTS));
}

/** follow_keys() - what the hub said of its keys, and the way to it that follows */
static int follow_keys(ProbeLink *link) {
    const uint64_t now_ms = clock_monotonic_ms();
    const ServerKeys *told = &link->state.server_keys;
    const bool news = link->state_ms && probe_keys_told(&link->keys, told, now_ms);
    const bool step = probe_keys_step(&link->keys, link->lines, link->status.reason, now_ms);
    int r = 0;
    if (!news && !step)
        return 0;
    link->hello_again = link->hello_again || news;
    if (step)
        r = probe_keys_go(&link->keys, link->lines, link->endpoints);
    name_ends(link);
    memset(link->n_again, 0, sizeof(link->n_again));
    return error_trace(r);
}

/** note_end() - out of memory or descriptors: the thread cannot go on, and says so */
static void note_end(ProbeLink *link, int r) {
    char reason[512];
    (void)snprintf(reason, sizeof(reason), "%s: the link has stopped: %s", link->status.peer,
                   strerror(-r));
    link->status.word = PROBE_LINK_CONNECTING;
    (void)snprintf(link->status.reason, sizeof(link->status.reason), "%s", reason);
    link_desk_publish(&link->desk, &link->status, link->sender);
    link_desk_end(&link->desk);
    if (link->config.on_change)
        link->config.on_change(link->config.userdata, PROBE_LINK_CONNECTING, reason);
}

/**
 * wait_for_any() - who has just sent batches lets the next ones gather for a moment: to wake this
 * thread costs about what it costs to send 20 KB.
 */
static void wait_for_any(ProbeLink *link, bool more, bool gather) {
    const int wait_ms = more ? 0 : link->blocked ? BLOCKED_MS : gather ? GATHER_MS : TURN_MS;
    probe_lines_wait(link->lines, gather ? -1 : link->wake_fd, wait_ms);
}

static void *run(void *arg) {
    ProbeLink *link = arg;
    bool more = false, gather = false;
    int r = 0;
    while (!atomic_load(&link->stop) && !r) {
        const uint64_t sent_batches = link->status.sent_batches;
        wait_for_any(link, more, gather);
        const uint64_t sessions = link->status.sessions;
        r = link_do_jobs(link); /* first: a state may be of what was just submitted */
        if (!r)
            r = probe_lines_read(link->lines, PROBE_SIDE_EVENTS);
        if (!r)
            r = follow_keys(link);
        more = link_send_due(link);
        gather = link->status.sent_batches != sent_batches;
        if (!r) /* last: a send may take note of what comes, and nothing would wake this thread */
            r = probe_lines_read(link->lines, PROBE_SIDE_DATA);
        more = more || link->status.sessions != sessions;
        note_standing(link);
        link_desk_publish(&link->desk, &link->status, link->sender);
    }
    if (r)
        note_end(link, r);
    return NULL;
}

/* ------------------------------------------------------------------------------- the interface */

static int read_config(ProbeLink *link, const ProbeLinkConfig *config, Reason *reason) {
    if (endpoint_parse(&link->endpoints[PROBE_SIDE_DATA], config->endpoint, reason))
        return PROBE_LINK_E_REFUSED;
    if (config->events_endpoint
            ? endpoint_parse(&link->endpoints[PROBE_SIDE_EVENTS], config->events_endpoint, reason)
            : endpoint_next_port(&link->endpoints[PROBE_SIDE_EVENTS],
                                 &link->endpoints[PROBE_SIDE_DATA], reason))
        return PROBE_LINK_E_REFUSED;
    if (!config->server_z85 || !key_check(config->server_z85)) {
        reason_set(reason, "the hub's public key is missing: give it with --zmq-encryption-key");
        return PROBE_LINK_E_REFUSED;
    }
    if (!config->bind && (link->endpoints[0].any || !link->endpoints[0].port)) {
        reason_set(reason, "\"%s\": the probe connects, so it needs a host and a port",
                   config->endpoint);
        return PROBE_LINK_E_REFUSED;
    }
    link->config = *config;
    probe_keys_init(&link->keys, config, clock_monotonic_ms());
    link->hello = strdup(config->hello_json ? config->hello_json : "{}");
    return link->hello ? 0 : error_origin(-ENOMEM);
}

static int attach(ProbeLink *link, Reason *reason) {
    ProbeLinesConfig config = {
        .keys = &link->config.keys,
        .server_z85 = link->keys.routes.current.server_z85,
        .topic_bytes = FRAME_STATE_TOPIC_BYTES,
        .wake_fd = link->wake_fd,
        .userdata = link,
        .on_subscription = on_subscription,
        .on_state = on_state,
    };
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        config.endpoints[i] = probe_keys_place(&link->keys, link->endpoints, i);
        config.binds[i] = link->keys.binds[i];
    }
    int r = probe_lines_new(&link->lines, &config);
    for (int i = 0; i < PROBE_N_SIDES && !r; i++)
        r = probe_lines_attach(link->lines, (ProbeSide)i, reason);
    if (link->lines)
        name_ends(link);
    if (r > 0)
        reason_append(reason, "; %s", cause_rows[CAUSE_CANNOT_LISTEN].mend);
    return r > 0 ? PROBE_LINK_E_REFUSED : error_trace(r);
}

static int open_sender(ProbeLink *link) {
    const ProbeLinkSpool *spool = &link->config.spool;
    DeliveryOwner owner = {
        .userdata = spool->spool, .load = spool->load, .release = spool->release};
    DeliveryFormer former;
    int r = delivery_sender_new(&link->sender, &owner);
    for (size_t i = 0; !r && spool->former && spool->former(spool->spool, i, &former); i++)
        r = delivery_sender_restore(link->sender, &former);
    return error_trace(r);
}

int probe_link_new(ProbeLink **linkp, const ProbeLinkConfig *config, Reason *reason) {
    if (sodium_init() < 0)
        return error_origin(-EIO);
    cleanup(probe_link_freep) ProbeLink *link = calloc(1, sizeof(*link));
    if (!link)
        return error_origin(-ENOMEM);
    link->wake_fd = -1;
    link_desk_init(&link->desk);
    int r = read_config(link, config, reason);
    if (!r)
        r = open_sender(link);
    if (!r)
        r = zsock_wake_new(&link->wake_fd);
    if (!r)
        r = attach(link, reason);
    if (!r)
        link_desk_publish(&link->desk, &link->status, link->sender);
    if (!r)
        r = -pthread_create(&link->thread, NULL, run, link);
    if (r)
        return error_trace(r);
    link->started = true;
    *linkp = link;
    link = NULL;
    return 0;
}

ProbeLink *probe_link_free(ProbeLink *link) {
    if (!link)
        return NULL;
    atomic_store(&link->stop, true);
    if (link->started) {
        zsock_wake(link->wake_fd);
        (void)pthread_join(link->thread, NULL);
    }
    probe_lines_free(link->lines);
    if (link->wake_fd >= 0)
        (void)close(link->wake_fd);
    delivery_sender_free(link->sender);
    buffer_deinit(&link->header);
    probe_keys_deinit(&link->keys);
    free(link->hello);
    free(link->pulse);
    key_pair_wipe(&link->config.keys);
    link_desk_deinit(&link->desk);
    free(link);
    return NULL;
}

static int put_job(ProbeLink *link, const LinkJob *job) {
    bool first = false;
    int r = link_desk_put(&link->desk, job, &first);
    if (first) /* else it was woken for what lies there already */
        zsock_wake(link->wake_fd);
    return error_trace(r);
}

int probe_link_submit(ProbeLink *link, const DeliveryBatch *batch) {
    if (batch->bytes > BATCH_PAYLOAD_MAX_BYTES)
        return error_origin(-EMSGSIZE);
    return error_trace(put_job(
        link,
        &(LinkJob){.kind = LINK_JOB_SUBMIT, .batch = *batch, .now_ms = clock_monotonic_ms()}));
}

bool probe_link_wants_epoch(ProbeLink *link) {
    return link_desk_wants_epoch(&link->desk);
}

bool probe_link_diverged(ProbeLink *link, EpochId *epoch, uint64_t *firstp, uint64_t *lastp) {
    (void)pthread_mutex_lock(&link->desk.lock);
    const LinkWord *word = &link->desk.word;
    const bool diverged = word->diverged;
    if (diverged) {
        *epoch = word->diverged_epoch;
        *firstp = word->diverged_first;
        *lastp = word->diverged_last;
    }
    (void)pthread_mutex_unlock(&link->desk.lock);
    return diverged;
}

void probe_link_moved(ProbeLink *link, const EpochId *epoch) {
    /* for want of memory it is asked for once more */
    (void)put_job(link, &(LinkJob){.kind = LINK_JOB_MOVED, .batch = {.epoch = *epoch}});
}

void probe_link_dropped(ProbeLink *link, const EpochId *epoch, uint64_t last,
                        const BatchCounts *totals, uint64_t bytes) {
    /* for want of memory it is found out when it is to be sent */
    (void)put_job(link, &(LinkJob){.kind = LINK_JOB_DROP,
                                   .batch = {.epoch = *epoch, .last = last, .totals = *totals},
                                   .bytes = bytes});
}

int probe_link_pulse(ProbeLink *link, const char *json) {
    int r = link_desk_put_text(&link->desk, &link->desk.pulse, json);
    zsock_wake(link->wake_fd);
    return error_trace(r);
}

int probe_link_hello(ProbeLink *link, const char *json) {
    int r = link_desk_put_text(&link->desk, &link->desk.hello, json);
    zsock_wake(link->wake_fd);
    return error_trace(r);
}

void probe_link_status(ProbeLink *link, ProbeLinkStatus *status) {
    link_desk_status(&link->desk, status);
}

void probe_link_lease(ProbeLink *link, LeaseWord *word) {
    ProbeLinkStatus status;
    link_desk_status(&link->desk, &status);
    *word = status.lease;
}

int probe_link_drain(ProbeLink *link, unsigned timeout_ms, uint64_t *left_flowsp) {
    ProbeLinkStatus status;
    link_desk_wait(&link->desk, timeout_ms, &status);
    *left_flowsp = status.pending.flows;
    return status.pending_batches ? PROBE_LINK_E_LEFT : 0;
}
