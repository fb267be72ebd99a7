/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_link_reason.h"

#include <stdio.h>
#include <string.h>

enum {
    EVENTS_MS = 2000, /* data is connected: how long events may take before it is said */
    STATE_MS = 4000,  /* both are: how long the hub may say nothing */
    ALONE_MS = 10000, /* bound: how long until a missing hub is worth a word */
};

/* text: one %s for the endpoint, one for the detail */
static const struct {
    const char *word;
    const char *text;
} words[PROBE_LINK_N_WORDS] = {
    [PROBE_LINK_CONNECTING] = {"connecting", "%s: connecting%s"},
    [PROBE_LINK_NAME_UNKNOWN] = {"name unknown", "%s: the host name is not known: %s"},
    [PROBE_LINK_REFUSED] = {"refused",
                            "%s: nothing listens there (%s); is the hub running, and does "
                            "its -i endpoint end in c?"},
    [PROBE_LINK_NO_ROUTE] = {"no route", "%s: cannot be reached: %s"},
    [PROBE_LINK_NO_ANSWER] = {"no answer", "%s: does not answer (%s); is a firewall between?"},
    [PROBE_LINK_WRONG_KEY] = {"wrong key", "%s: the hub there has another key than the one given "
                                           "with --zmq-encryption-key%s"},
    [PROBE_LINK_PLAIN_PEER] = {"plain peer", "%s: the peer there does not encrypt; weir sends "
                                             "nothing in the clear%s"},
    [PROBE_LINK_NO_HANDSHAKE] = {"no handshake",
                                 "%s: connected, but what answers there is no hub%s"},
    [PROBE_LINK_KEY_REVOKED] = {"revoked",
                                "%s: this probe's key was revoked by the hub; flows are kept in "
                                "the spool, and it asks again every minute%s"},
    [PROBE_LINK_EVENTS_CLOSED] = {"events closed", "%s (events endpoint): %s"},
    [PROBE_LINK_NO_STATE] = {"no state", "%s: connected, but the hub says nothing%s"},
    [PROBE_LINK_WAITING] = {"waiting", "%s: the hub has not admitted this probe: %s"},
    [PROBE_LINK_UP] = {"up", "%s: delivering%s"},
};

const char *probe_link_word(ProbeLinkWord word) {
    return words[word].word;
}

static ProbeLinkWord say(char *reason, size_t size, ProbeLinkWord word, const char *endpoint,
                         const char *detail) {
/* the formats are the table's own */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(reason, size, words[word].text, endpoint, detail);
#pragma GCC diagnostic pop
    return word;
}

static ProbeLinkWord judge_events(const ProbeStanding *standing, char *reason, size_t size) {
    const ProbeView *view = &standing->views[PROBE_SIDE_EVENTS];
    const char *endpoint = standing->endpoints[PROBE_SIDE_EVENTS];
    char why[320];
    switch (view->trouble) {
    case PROBE_LINK_WRONG_KEY:
    case PROBE_LINK_PLAIN_PEER:
    case PROBE_LINK_KEY_REVOKED:
        return say(reason, size, view->trouble, endpoint, view->detail);
    case PROBE_LINK_REFUSED:
        (void)snprintf(why, sizeof(why),
                       "the data port answers, this one is closed (%s); does the "
                       "hub have --zmq-publish-events?",
                       view->detail);
        break;
    default:
        (void)snprintf(why, sizeof(why), "the data port answers, this one does not%s%s",
                       view->detail[0] ? ": " : "", view->detail);
        break;
    }
    return say(reason, size, PROBE_LINK_EVENTS_CLOSED, endpoint, why);
}

static ProbeLinkWord judge_session(const ProbeStanding *standing, ProbeLinkWord before,
                                   char *reason, size_t size) {
    const char *endpoint = standing->endpoints[PROBE_SIDE_DATA];
    const ProbeView *events = &standing->views[PROBE_SIDE_EVENTS];
    uint64_t up_ms = standing->now_ms - standing->session_ms;
    if (standing->synced && standing->state_ms) {
        if (standing->admitted)
            return say(reason, size, PROBE_LINK_UP, endpoint, "");
        return say(reason, size, PROBE_LINK_WAITING, endpoint, standing->admission_reason);
    }
    if (!events->ready && up_ms > EVENTS_MS)
        return judge_events(standing, reason, size);
    if (events->ready && up_ms > STATE_MS && standing->now_ms - events->ready_ms > STATE_MS)
        return say(reason, size, PROBE_LINK_NO_STATE, endpoint, "");
    /* a moment of patience: what was said before the session came is over */
    bool keep = before == PROBE_LINK_EVENTS_CLOSED || before == PROBE_LINK_NO_STATE ||
                before == PROBE_LINK_UP || before == PROBE_LINK_WAITING;
    return keep ? before : say(reason, size, PROBE_LINK_CONNECTING, endpoint, "");
}

ProbeLinkWord probe_link_judge(const ProbeStanding *standing, ProbeLinkWord before, char *reason,
                               size_t size) {
    const char *endpoint = standing->endpoints[PROBE_SIDE_DATA];
    const ProbeView *data = &standing->views[PROBE_SIDE_DATA];
    if (standing->session_ms)
        return judge_session(standing, before, reason, size);
    if (data->trouble != PROBE_LINK_CONNECTING)
        return say(reason, size, data->trouble, endpoint, data->detail);
    if (data->ready && standing->now_ms - data->ready_ms > STATE_MS)
        return say(reason, size, PROBE_LINK_NO_STATE, endpoint, "");
    if (standing->bind && standing->now_ms - data->ready_ms > ALONE_MS)
        return say(reason, size, PROBE_LINK_CONNECTING, endpoint,
                   "; no hub has come so far: its -i endpoint names this probe, without a c");
    return say(reason, size, PROBE_LINK_CONNECTING, endpoint, "");
}
