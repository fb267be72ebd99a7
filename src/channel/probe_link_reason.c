/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_link_reason.h"

#include <stdio.h>
#include <string.h>

#include "channel/cause.h"

enum {
    EVENTS_MS = 2000, /* data is connected: how long events may take before it is said */
    STATE_MS = 4000,  /* both are: how long the hub may say nothing */
    SHAKE_MS = 4000,  /* connected: how long the peer may take for the handshake */
    ALONE_MS = 5000,  /* bound: how long until a missing hub is worth a word */
    LATER_MS = 100,   /* asked this long after events was up: its hub has bound data too by then */
};

static const struct {
    const char *word;
    Cause cause;
} words[PROBE_LINK_N_WORDS] = {
    [PROBE_LINK_CONNECTING] = {"connecting", CAUSE_NONE},
    [PROBE_LINK_NAME_UNKNOWN] = {"name unknown", CAUSE_NAME_UNKNOWN},
    [PROBE_LINK_REFUSED] = {"refused", CAUSE_REFUSED},
    [PROBE_LINK_NO_ROUTE] = {"no route", CAUSE_NO_ROUTE},
    [PROBE_LINK_NO_ANSWER] = {"no answer", CAUSE_NO_ANSWER},
    [PROBE_LINK_WRONG_KEY] = {"wrong key", CAUSE_WRONG_KEY},
    [PROBE_LINK_PLAIN_PEER] = {"plain peer", CAUSE_PLAIN},
    [PROBE_LINK_NO_HANDSHAKE] = {"no handshake", CAUSE_NO_HANDSHAKE},
    [PROBE_LINK_KEY_REVOKED] = {"revoked", CAUSE_REVOKED},
    [PROBE_LINK_EVENTS_CLOSED] = {"events closed", CAUSE_EVENTS_CLOSED},
    [PROBE_LINK_NO_STATE] = {"no state", CAUSE_NO_STATE},
    [PROBE_LINK_WAITING] = {"waiting", CAUSE_WAITING},
    [PROBE_LINK_NO_HUB] = {"no hub", CAUSE_NO_HUB},
    [PROBE_LINK_WRONG_PORT] = {"wrong port", CAUSE_OTHER_PORT},
    [PROBE_LINK_BOTH_CONNECT] = {"both connect", CAUSE_BOTH_CONNECT},
    [PROBE_LINK_HUB_FULL] = {"hub full", CAUSE_HUB_IS_FULL},
    [PROBE_LINK_CLOCK_OFF] = {"clock off", CAUSE_CLOCK},
    [PROBE_LINK_VERSION] = {"version", CAUSE_NONE},
    [PROBE_LINK_UP] = {"up", CAUSE_NONE},
};

const char *probe_link_word(ProbeLinkWord word) {
    return words[word].word;
}

void probe_link_say(char *reason, size_t size, ProbeLinkWord word, const char *endpoint,
                    const char *detail) {
    if (words[word].cause == CAUSE_NONE)
        (void)snprintf(reason, size, "%s: %s", endpoint,
                       word == PROBE_LINK_UP ? "delivering" : words[word].word);
    else
        cause_line(reason, size, words[word].cause, endpoint, detail);
}

static ProbeLinkWord say(char *reason, size_t size, ProbeLinkWord word, const char *endpoint,
                         const char *detail) {
    probe_link_say(reason, size, word, endpoint, detail);
    return word;
}

/* a peer that took the connection and has not answered the handshake for long */
static bool is_mute(const ProbeStanding *standing, const ProbeView *view) {
    return !standing->bind && view->connected && !view->ready &&
           standing->now_ms - view->connected_ms > SHAKE_MS;
}

ProbeLinkWord probe_link_judge_events(const ProbeView *view, const char *endpoint, bool assumed,
                                      char *reason, size_t size) {
    Cause cause = CAUSE_EVENTS_NO_ANSWER;
    switch (view->trouble) {
    case PROBE_LINK_WRONG_KEY: /* the data port has this key */
        cause = CAUSE_OTHER_PORT;
        break;
    case PROBE_LINK_PLAIN_PEER:
    case PROBE_LINK_KEY_REVOKED:
        if (!assumed)
            return say(reason, size, view->trouble, endpoint, view->detail);
        break;
    case PROBE_LINK_REFUSED:
        cause = CAUSE_EVENTS_CLOSED;
        break;
    default:
        break;
    }
    const char *detail = view->detail[0]                          ? view->detail
                         : view->connected                        ? "no handshake"
                         : view->trouble == PROBE_LINK_CONNECTING ? "no answer"
                                                                  : words[view->trouble].word;
    cause_line(reason, size, assumed ? CAUSE_EVENTS_ASSUMED : cause, endpoint, detail);
    return PROBE_LINK_EVENTS_CLOSED;
}

/* the text stays that of when it was first seen: a clock that drifts is not news each second */
static ProbeLinkWord judge_up(const ProbeStanding *standing, ProbeLinkWord before, char *reason,
                              size_t size) {
    const char *endpoint = standing->endpoints[PROBE_SIDE_DATA];
    int64_t off_ms = standing->clock_offset_ms;
    if (standing->hub_full)
        return say(reason, size, PROBE_LINK_HUB_FULL, endpoint, "");
    if (!cause_clock_is_off(off_ms))
        return say(reason, size, PROBE_LINK_UP, endpoint, "");
    if (before == PROBE_LINK_CLOCK_OFF)
        return before;
    char detail[64];
    cause_clock_text(detail, sizeof(detail), off_ms);
    return say(reason, size, PROBE_LINK_CLOCK_OFF, endpoint, detail);
}

static ProbeLinkWord judge_session(const ProbeStanding *standing, ProbeLinkWord before,
                                   char *reason, size_t size) {
    const char *endpoint = standing->endpoints[PROBE_SIDE_DATA];
    const ProbeView *events = &standing->views[PROBE_SIDE_EVENTS];
    uint64_t up_ms = standing->now_ms - standing->session_ms;
    if (standing->synced && standing->state_ms) {
        if (standing->version != CAUSE_NONE) {
            cause_line(reason, size, standing->version, endpoint, WEIR_VERSION);
            return PROBE_LINK_VERSION;
        }
        if (standing->admitted)
            return judge_up(standing, before, reason, size);
        return say(reason, size, PROBE_LINK_WAITING, endpoint, standing->admission_reason);
    }
    if (!events->ready && up_ms > EVENTS_MS &&
        (events->trouble != PROBE_LINK_CONNECTING || up_ms > STATE_MS + EVENTS_MS))
        return probe_link_judge_events(events, standing->endpoints[PROBE_SIDE_EVENTS],
                                       standing->events_assumed, reason, size);
    if (events->ready && up_ms > STATE_MS && standing->now_ms - events->ready_ms > STATE_MS)
        return say(reason, size, PROBE_LINK_NO_STATE, endpoint, "");
    /* a moment of patience: what was said before the session came is over */
    bool keep = before == PROBE_LINK_EVENTS_CLOSED || before == PROBE_LINK_NO_STATE ||
                before == PROBE_LINK_UP || before == PROBE_LINK_WAITING ||
                before == PROBE_LINK_CLOCK_OFF || before == PROBE_LINK_HUB_FULL;
    return keep ? before : say(reason, size, PROBE_LINK_CONNECTING, endpoint, "");
}

ProbeLinkWord probe_link_judge(const ProbeStanding *standing, ProbeLinkWord before, char *reason,
                               size_t size) {
    const char *endpoint = standing->endpoints[PROBE_SIDE_DATA];
    const ProbeView *data = &standing->views[PROBE_SIDE_DATA];
    const ProbeView *events = &standing->views[PROBE_SIDE_EVENTS];
    if (standing->session_ms)
        return judge_session(standing, before, reason, size);
    if (data->trouble == PROBE_LINK_REFUSED && events->ready &&
        data->trouble_ms > events->ready_ms + LATER_MS)
        return say(reason, size, PROBE_LINK_BOTH_CONNECT, endpoint, data->detail);
    if (data->trouble == PROBE_LINK_WRONG_KEY && events->ready) /* that one has this key */
        return say(reason, size, PROBE_LINK_WRONG_PORT, endpoint, "");
    if (data->trouble != PROBE_LINK_CONNECTING)
        return say(reason, size, data->trouble, endpoint, data->detail);
    if (is_mute(standing, data))
        return say(reason, size, PROBE_LINK_NO_HANDSHAKE, endpoint, "");
    if (data->ready && standing->now_ms - data->ready_ms > STATE_MS)
        return say(reason, size, PROBE_LINK_NO_STATE, endpoint, "");
    if (standing->bind && standing->now_ms - data->ready_ms > ALONE_MS)
        return say(reason, size, PROBE_LINK_NO_HUB, endpoint, "");
    return say(reason, size, PROBE_LINK_CONNECTING, endpoint, "");
}
