/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/link_trial.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "channel/cause.h"
#include "channel/frame.h"
#include "channel/probe_lines.h"
#include "channel/probe_link_reason.h"
#include "channel/version.h"
#include "channel/zsock.h"

enum {
    TURN_MS = 20,
    TELL_MS = 3000, /* both are connected: what the hub may take to say something */
};

typedef struct Trying {
    const LinkTrialConfig *config;
    LinkTrial *trial;
    ProbeLines *lines;
    bool attached[PROBE_N_SIDES];
    int wake_fd;
    ProbeStanding standing;
} Trying;

static LinkTrialSide *side_of(const Trying *try, ProbeSide i) {
    return i == PROBE_SIDE_DATA ? &try->trial->data : &try->trial->events;
}

/** attach() - a port that cannot be bound is a result */
static void attach(Trying *try, ProbeSide i) {
    LinkTrialSide *side = side_of(try, i);
    Reason reason = {""};
    const int r = probe_lines_attach(try->lines, i, &reason);
    (void)snprintf(side->endpoint, sizeof(side->endpoint), "%s",
                   probe_lines_attached(try->lines, i));
    try->attached[i] = r == 0;
    if (r)
        (void)snprintf(side->line, sizeof(side->line), "%s; %s", reason.text,
                       cause_rows[CAUSE_CANNOT_LISTEN].mend);
}

/* what the hub repeats on the probe's topic */
static void on_state(void *userdata, const void *bytes, size_t size) {
    const Trying *try = userdata;
    LinkTrial *trial = try->trial;
    ControlState state;
    if (control_read(&state, bytes, size))
        return;
    trial->told = true;
    trial->admitted = state.delivery.admitted;
    trial->version = version_judge(state.hub_version, WEIR_VERSION);
    trial->full = state.notice == CAUSE_HUB_IS_FULL;
    memcpy(trial->reason, state.reason, sizeof(trial->reason));
    trial->clock_offset_ms = (int64_t)state.server_time_ms - (int64_t)clock_wall_ms();
}

static int trial_open(Trying *try) {
    const LinkTrialConfig *config = try->config;
    ProbeLinesConfig lines = {
        .keys = config->keys,
        .server_z85 = config->server_z85,
        .binds = {config->bind, config->bind && !config->events_endpoint},
        .topic_bytes = config->ask ? FRAME_STATE_TOPIC_BYTES : 0,
        .userdata = try,
        .on_state = on_state,
    };
    Reason reason = {""};
    int r = endpoint_parse(&lines.endpoints[0], config->endpoint, &reason);
    if (!r && config->events_endpoint)
        r = endpoint_parse(&lines.endpoints[1], config->events_endpoint, &reason);
    else if (!r)
        r = endpoint_next_port(&lines.endpoints[1], &lines.endpoints[0], &reason);
    if (r) /* the options were checked before */
        return error_origin(-EINVAL);
    r = zsock_wake_new(&try->wake_fd);
    lines.wake_fd = try->wake_fd;
    if (!r)
        r = probe_lines_new(&try->lines, &lines);
    for (int i = 0; i < PROBE_N_SIDES && !r; i++)
        attach(try, (ProbeSide)i);
    return error_trace(r);
}

/** is_known() - how this side ends is clear */
static bool is_known(const Trying *try, int i) {
    const ProbeView *view = &try->standing.views[i];
    return !try->attached[i] || view->ready || view->trouble != PROBE_LINK_CONNECTING;
}

/** is_over() - nothing more is to be learned by waiting */
static bool is_over(const Trying *try) {
    const ProbeStanding *standing = &try->standing;
    const ProbeView *data = &standing->views[PROBE_SIDE_DATA];
    const ProbeView *events = &standing->views[PROBE_SIDE_EVENTS];
    if (!is_known(try, PROBE_SIDE_DATA) || !is_known(try, PROBE_SIDE_EVENTS))
        return false;
    if (!data->ready || !events->ready || !try->config->ask || try->trial->told)
        return true;
    uint64_t since_ms = data->ready_ms > events->ready_ms ? data->ready_ms : events->ready_ms;
    return standing->now_ms - since_ms > TELL_MS;
}

static void look(Trying *try) {
    try->standing.now_ms = clock_monotonic_ms();
    for (int i = 0; i < PROBE_N_SIDES; i++)
        probe_lines_view(try->lines, (ProbeSide)i, &try->standing.views[i]);
}

static void conclude(Trying *try) {
    ProbeStanding *standing = &try->standing;
    LinkTrial *trial = try->trial;
    const ProbeView *events = &standing->views[PROBE_SIDE_EVENTS];
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        side_of(try, (ProbeSide)i)->good = standing->views[i].ready;
        side_of(try, (ProbeSide)i)->wrong_key = standing->views[i].trouble == PROBE_LINK_WRONG_KEY;
        standing->endpoints[i] = side_of(try, (ProbeSide)i)->endpoint;
    }
    if (try->attached[PROBE_SIDE_DATA] && !trial->data.good &&
        probe_link_judge(standing, PROBE_LINK_CONNECTING, trial->data.line,
                         sizeof(trial->data.line)) == PROBE_LINK_CONNECTING)
        probe_link_say(trial->data.line, sizeof(trial->data.line), PROBE_LINK_NO_ANSWER,
                       trial->data.endpoint, "no answer");
    if (!try->attached[PROBE_SIDE_EVENTS] || trial->events.good)
        return;
    if (trial->data.good)
        (void)probe_link_judge_events(events, trial->events.endpoint, standing->events_assumed,
                                      trial->events.line, sizeof(trial->events.line));
    else
        probe_link_say(trial->events.line, sizeof(trial->events.line),
                       standing->bind && standing->events_assumed ? PROBE_LINK_NO_HUB
                       : events->trouble == PROBE_LINK_CONNECTING ? PROBE_LINK_NO_ANSWER
                                                                  : events->trouble,
                       trial->events.endpoint, events->detail[0] ? events->detail : "no answer");
}

int link_trial(LinkTrial *trial, const LinkTrialConfig *config) {
    Trying try = {.config = config, .trial = trial, .wake_fd = -1};
    *trial = (LinkTrial){0};
    if (sodium_init() < 0)
        return error_origin(-EIO);
    try.standing.bind = config->bind;
    try.standing.events_assumed = !config->events_endpoint;
    int r = trial_open(&try);
    uint64_t end_ms = clock_monotonic_ms() + config->timeout_ms;
    while (!r) {
        probe_lines_wait(try.lines, try.wake_fd, TURN_MS);
        for (int i = 0; i < PROBE_N_SIDES && !r; i++)
            if (try.attached[i])
                r = probe_lines_read(try.lines, (ProbeSide)i);
        look(&try);
        if (is_over(&try) || try.standing.now_ms >= end_ms)
            break;
    }
    if (!r)
        conclude(&try);
    probe_lines_free(try.lines);
    closep(&try.wake_fd);
    return error_trace(r);
}
