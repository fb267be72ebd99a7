/* SPDX-License-Identifier: Apache-2.0 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/cause.h"
#include "channel/endpoint.h"
#include "channel/keystring.h"
#include "channel/link_trial.h"
#include "probe/check_inside.h"
#include "probe/kept_keys.h"

enum { TRIAL_MS = 9000 };

typedef struct HubTrial {
    LinkTrialConfig config;
    LinkTrial trial;
    KeyString key;
    KeptKey kept; /* what the hub has handed over counts, not the configured key */
    bool tried;
    bool swapped; /* data and events endpoint */
    int error;
    pthread_t thread;
} HubTrial;

/** is_swapped() - a port answers the other port's socket as it answers another key */
static bool is_swapped(const HubTrial *hub) {
    LinkTrialConfig config = hub->config;
    LinkTrial turned;
    config.endpoint = hub->trial.events.endpoint;
    config.events_endpoint = hub->trial.data.endpoint;
    return !config.bind && hub->trial.data.wrong_key && hub->trial.events.wrong_key &&
           link_trial(&turned, &config) == 0 && turned.data.good && turned.events.good;
}

static void *try_hub(void *arg) {
    HubTrial *hub = arg;
    hub->error = link_trial(&hub->trial, &hub->config);
    hub->swapped = !hub->error && is_swapped(hub);
    if (!hub->error && !hub->swapped && !hub->trial.data.good && *hub->kept.keys.next) {
        LinkTrial next; /* its change may have been finished meanwhile */
        hub->config.server_z85 = hub->kept.keys.next;
        if (link_trial(&next, &hub->config) == 0 && next.data.good)
            hub->trial = next;
    }
    return NULL;
}

static void find_kept(const Check *check, HubTrial *hub, size_t i) {
    cleanup(kept_keys_freep) KeptKeys *kept = NULL;
    Endpoint endpoint;
    char text[280];
    if (keystring_parse(&hub->key, options_key(check->config, i), NULL) ||
        kept_keys_new(&kept, check->config->data_dir, NULL) ||
        endpoint_parse(&endpoint, check->config->hubs.values[i], NULL))
        return;
    endpoint_write(&endpoint, text, sizeof(text));
    kept_keys_find(kept, text, hub->key.server_z85, &hub->kept);
}

static void tell_side(Check *check, const char *name, const LinkTrialSide *side, bool swapped) {
    char line[512];
    cause_line(line, sizeof(line), CAUSE_PORTS_SWAPPED, side->endpoint, "");
    if (side->good)
        check_ok(check, "%s %s: answers, and has the key", name, side->endpoint);
    else if (swapped)
        check_fail(check, "%s %s", name, line);
    else
        check_fail(check, "%s %s", name, side->line);
}

static void tell_hub(Check *check, const HubTrial *hub) {
    if (!hub->tried || hub->error) {
        check_fail(check, "hub %s: could not be tried: out of memory or descriptors",
                   hub->config.endpoint);
        return;
    }
    tell_side(check, "data port", &hub->trial.data, hub->swapped);
    tell_side(check, "events port", &hub->trial.events, hub->swapped);
}

/* all at once: one that does not answer takes as long as all of them */
static void try_hubs(Check *check, const KeyPair *keys) {
    const ProbeConfig *config = check->config;
    for (size_t i = 0; i < config->hubs.n; i++) {
        HubTrial *hub = &check->hubs[i];
        find_kept(check, hub, i);
        hub->config = (LinkTrialConfig){
            .endpoint = config->hubs.values[i],
            .events_endpoint = i < config->events.n ? config->events.values[i] : NULL,
            .bind = !config->probe_mode,
            .server_z85 = hub->kept.keys.version ? hub->kept.keys.now : hub->key.server_z85,
            .keys = keys,
            .ask = check->own_keys,
            .timeout_ms = TRIAL_MS,
        };
        hub->tried = pthread_create(&hub->thread, NULL, try_hub, hub) == 0;
    }
    for (size_t i = 0; i < config->hubs.n; i++)
        if (check->hubs[i].tried)
            (void)pthread_join(check->hubs[i].thread, NULL);
}

void check_ports(Check *check) {
    const ProbeConfig *config = check->config;
    KeyPair keys = check->keys;
    if (config->hubs.n == 0)
        return;
    if (check->running && !config->probe_mode) {
        check_note(
            check,
            "ports: the running probe listens on them; its log says whether the hub has come");
        return;
    }
    if (!check->own_keys && key_pair_make(&keys)) {
        check_fail(check, "ports: no key pair can be made: libzmq has no CURVE");
        return;
    }
    check->hubs = calloc(config->hubs.n, sizeof(*check->hubs));
    if (!check->hubs) {
        check_fail(check, "ports: out of memory");
        return;
    }
    try_hubs(check, &keys);
    for (size_t i = 0; i < config->hubs.n; i++)
        tell_hub(check, &check->hubs[i]);
    key_pair_wipe(&keys);
}

/* the hubs whose both ports are well */
static const HubTrial *next_good(const Check *check, size_t *i) {
    while (check->hubs && *i < check->config->hubs.n) {
        const HubTrial *hub = &check->hubs[(*i)++];
        if (hub->trial.data.good && hub->trial.events.good)
            return hub;
    }
    return NULL;
}

static void tell_session(Check *check, const HubTrial *hub) {
    const char *at = hub->trial.data.endpoint;
    char line[512];
    if (check->running) {
        check_note(
            check,
            "session %s: that of the running probe is left alone; its log says how it stands", at);
    } else if (!check->own_keys) {
        check_note(check,
                   "session %s: the hub is not asked without a key pair; it admits this probe, or "
                   "says why not, at the first run",
                   at);
    } else if (!hub->trial.told) {
        check_note(check,
                   "session %s: the hub does not know this probe yet; it admits it, or says why "
                   "not, when it runs",
                   at);
    } else if (hub->trial.version != CAUSE_NONE) {
        cause_line(line, sizeof(line), hub->trial.version, at, WEIR_VERSION);
        check_fail(check, "session %s", line);
    } else if (hub->trial.admitted && hub->trial.full) {
        cause_line(line, sizeof(line), CAUSE_HUB_IS_FULL, at, "");
        check_fail(check, "session %s", line);
    } else if (hub->trial.admitted) {
        check_ok(check, "session %s: the hub admits this probe", at);
    } else {
        cause_line(line, sizeof(line), CAUSE_WAITING, at, hub->trial.reason);
        check_fail(check, "session %s", line);
    }
}

void check_session(Check *check) {
    const HubTrial *hub = NULL;
    for (size_t i = 0; (hub = next_good(check, &i)) != NULL;)
        tell_session(check, hub);
}

static void tell_clock(Check *check, const HubTrial *hub) {
    const int64_t off_ms = hub->trial.clock_offset_ms;
    const char *at = hub->trial.data.endpoint;
    char detail[64];
    char line[512];
    if (!cause_clock_is_off(off_ms)) {
        check_ok(check, "clock %s: within %" PRIdMAX " ms of the hub's", at, imaxabs(off_ms) + 1);
        return;
    }
    cause_clock_text(detail, sizeof(detail), off_ms);
    cause_line(line, sizeof(line), CAUSE_CLOCK, at, detail);
    check_fail(check, "clock %s", line);
}

void check_clock(Check *check) {
    const HubTrial *hub = NULL;
    for (size_t i = 0; (hub = next_good(check, &i)) != NULL;)
        if (hub->trial.told)
            tell_clock(check, hub);
}
