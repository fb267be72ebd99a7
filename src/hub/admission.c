/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/admission-inside.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#define SETTING_MODE   "admission.mode"
#define SETTING_OPTION "admission.option"

/* ----------------------------------------------------------------------------------- the mode */

static int get_setting(const Admission *admission, const char *key, char *value, size_t size) {
    Buffer text = {0};
    const int r = settings_get(admission->config.settings, key, &text);
    admission_text(value, size, r ? "" : buffer_text(&text));
    buffer_deinit(&text);
    return error_fold(r == SETTINGS_E_MISSING ? 0 : r);
}

/** choose_mode() - what was said last: the option, if it is another one than at the last start */
static int choose_mode(Admission *admission) {
    char mode[16];
    char option[16];
    const char *given = admission_mode_names[admission->config.option];
    int r = get_setting(admission, SETTING_MODE, mode, sizeof(mode));
    if (!r)
        r = get_setting(admission, SETTING_OPTION, option, sizeof(option));
    if (r)
        return error_trace(r);
    size_t i = admission_index(admission_mode_names, _ADMISSION_MODE_N, mode);
    if (i == _ADMISSION_MODE_N || strcmp(option, given) != 0) {
        i = admission_index(admission_mode_names, _ADMISSION_MODE_N, given);
        r = settings_set(admission->config.settings, SETTING_MODE, given);
        if (!r)
            r = settings_set(admission->config.settings, SETTING_OPTION, given);
    }
    admission->mode = (AdmissionMode)i;
    return error_trace(r);
}

int admission_new(Admission **admissionp, const AdmissionConfig *config) {
    cleanup(admission_freep) Admission *admission = calloc(1, sizeof(*admission));
    if (!admission)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&admission->lock, NULL);
    admission->config = *config;
    int r = choose_mode(admission);
    if (!r)
        r = settings_probe_each(config->settings, admission_load, admission);
    if (r < 0)
        return error_trace(r);
    *admissionp = admission;
    admission = NULL;
    return 0;
}

Admission *admission_free(Admission *admission) {
    if (!admission)
        return NULL;
    admission_flush(admission);
    (void)pthread_mutex_destroy(&admission->lock);
    free(admission);
    return NULL;
}

AdmissionMode admission_mode(Admission *admission) {
    (void)pthread_mutex_lock(&admission->lock);
    const AdmissionMode mode = admission->mode;
    (void)pthread_mutex_unlock(&admission->lock);
    return mode;
}

/* --------------------------------------------------------------------------------- one key */

void admission_tell(const Admission *admission, const PeerKey *key, HubAdmission verdict,
                    const char *reason) {
    if (admission->config.tell)
        admission->config.tell(admission->config.userdata, key, verdict, reason);
}

int admission_copy(const Admission *admission, const PeerKey *key, Probe *copy) {
    const Probe *probe = probes_lock(admission->config.probes, key);
    if (!probe)
        return ADMISSION_E_MISSING;
    *copy = *probe;
    probes_unlock(admission->config.probes);
    return 0;
}

void admission_drop(Admission *admission, const PeerKey *key) {
    probes_remove(admission->config.probes, key);
    admission_tell(admission, key, HUB_UNKNOWN, NULL);
}

typedef struct Handover {
    const PeerKey *key;
    const Probe *before;
    bool done;
} Handover;

/** hand_over() - ProbesChange: both ends in one section, so that never two have its claim to a seat
 */
static void hand_over(void *context, Probe *probe) {
    Handover *over = context;
    const Probe *before = over->before;
    if (strcmp(probe->key.z85, before->key.z85) == 0) {
        probe->seat.gone_ms = 0; /* none is kept for it */
        probe->seat.there = false;
        return;
    }
    if (strcmp(probe->key.z85, over->key->z85) != 0)
        return;
    ProbeEnrolment *enrolment = &probe->enrolment;
    const char *name = probes_name(before);
    admission_text(enrolment->given_name, sizeof(enrolment->given_name),
                   strcmp(name, probe->name) != 0 ? name : before->enrolment.given_name);
    memcpy(enrolment->site, before->enrolment.site, sizeof(enrolment->site));
    memcpy(enrolment->tenant, before->enrolment.tenant, sizeof(enrolment->tenant));
    enrolment->enrolled_ms = before->enrolment.enrolled_ms;
    enrolment->namesake = (PeerKey){""};
    probe->number = before->number;
    probe->first_seen_ms = before->first_seen_ms;
    probe->missing = batch_counts_pile(probe->missing, before->missing);
    probe->ledger = (Ledger){0}; /* these are not its own */
    probe->seat.pinned = before->seat.pinned;
    over->done = true;
}

int admission_inherit(Admission *admission, const PeerKey *key, const PeerKey *old) {
    Probe before;
    int r = admission_copy(admission, old, &before);
    if (r)
        return r;
    Handover over = {.key = key, .before = &before};
    probes_change(admission->config.probes, hand_over, &over);
    if (!over.done)
        return ADMISSION_E_MISSING;
    r = admission_save(admission, key, old);
    if (r)
        return error_trace(r);
    log_notice("probe %s has a new key, %s; the old one, %s, is forgotten", probes_name(&before),
               key->z85, old->z85);
    if (admission->config.moved)
        admission->config.moved(admission->config.userdata, old, key);
    admission_drop(admission, old);
    return 0;
}

static void set_verdict(ProbeEnrolment *enrolment, HubAdmission verdict, const char *reason) {
    enrolment->admission = verdict;
    enrolment->dirty = true;
    admission_text(enrolment->reason, sizeof(enrolment->reason), reason);
}

void admission_set(Admission *admission, const PeerKey *key, HubAdmission verdict,
                   const char *reason) {
    Probe *probe = probes_lock(admission->config.probes, key);
    if (!probe)
        return;
    set_verdict(&probe->enrolment, verdict, reason);
    probes_unlock(admission->config.probes);
    probes_touch(admission->config.probes);
}

int admission_enrol(Admission *admission, const PeerKey *key, ProbeVia via,
                    const SettingsToken *token, bool take_over, uint64_t now_ms) {
    Probe *probe = probes_lock(admission->config.probes, key);
    if (!probe)
        return ADMISSION_E_MISSING;
    ProbeEnrolment *enrolment = &probe->enrolment;
    /* since when it is admitted orders who has a seat: never seen without */
    set_verdict(enrolment, HUB_ADMITTED, "");
    enrolment->via = via;
    /* nor before an incumbent: the clock may have gone back */
    admission->latest_ms = now_ms > admission->latest_ms ? now_ms : admission->latest_ms + 1;
    enrolment->enrolled_ms = admission->latest_ms;
    if (token) {
        enrolment->token = token->id;
        memcpy(enrolment->site, token->site, sizeof(enrolment->site));
        memcpy(enrolment->tenant, token->tenant, sizeof(enrolment->tenant));
    }
    const PeerKey old = enrolment->namesake;
    char name[256];
    char address[64];
    admission_text(name, sizeof(name), probes_name(probe));
    memcpy(address, probe->address, sizeof(address));
    probes_unlock(admission->config.probes);
    probes_touch(admission->config.probes);
    int r = 0;
    if (take_over && *old.z85)
        r = admission_inherit(admission, key, &old);
    else if (via != PROBE_VIA_OPEN)
        r = admission_save(admission, key, NULL);
    /* it is so even when it is not kept (yet), which would be told: the next flush tries again */
    log_notice("new probe %s at %s is admitted (%s), key %s", name, address, probe_via_names[via],
               key->z85);
    admission_tell(admission, key, HUB_ADMITTED, "");
    return error_trace(r);
}

/* ---------------------------------------------------------------------------------- judging */

typedef struct Look {
    const Probe *of;
    uint64_t begun_ms;
    size_t n_pending;
    size_t n_unused;
    PeerKey longest_unseen;
    uint64_t unseen_ms;
    PeerKey namesake; /* the one seen last */
    ProbeEnrolment namesake_is;
    char namesake_name[256];
    uint64_t namesake_seen_ms;
    bool namesake_live;
} Look;

/** is_unused() - whoever has the public key can make such keys without end */
static bool is_unused(const Probe *probe, uint64_t begun_ms) {
    return probe->enrolment.admission == HUB_ADMITTED && probe->enrolment.via == PROBE_VIA_OPEN &&
           probe->enrolment.enrolled_ms >= begun_ms && !probe->connected &&
           !probe->received.flows && !probe->flows_stored;
}

static void look_at(void *context, const Probe *probe) {
    Look *look = context;
    const ProbeEnrolment *enrolment = &probe->enrolment;
    look->n_unused += is_unused(probe, look->begun_ms);
    if (enrolment->admission == HUB_PENDING) {
        look->n_pending++;
        if (!probe->connected &&
            (!*look->longest_unseen.z85 || probe->last_seen_ms < look->unseen_ms)) {
            look->longest_unseen = probe->key;
            look->unseen_ms = probe->last_seen_ms;
        }
    }
    if (enrolment->admission != HUB_ADMITTED || !*look->of->probe_id ||
        strcmp(probe->probe_id, look->of->probe_id) != 0 ||
        strcmp(probe->key.z85, look->of->key.z85) == 0)
        return;
    look->namesake_live = look->namesake_live || probe->connected;
    if (probe->last_seen_ms < look->namesake_seen_ms)
        return;
    look->namesake = probe->key;
    look->namesake_is = *enrolment;
    look->namesake_seen_ms = probe->last_seen_ms;
    admission_text(look->namesake_name, sizeof(look->namesake_name), probes_name(probe));
}

int admission_find_token(const Admission *admission, const Probe *probe, SettingsToken *token,
                         AdmissionToken *worthp, uint64_t now_ms) {
    *worthp = ADMISSION_TOKEN_NONE;
    if (!probe->enrolment.brings)
        return 0;
    *worthp = ADMISSION_TOKEN_UNKNOWN;
    int r = settings_token_find(admission->config.settings, probe->enrolment.brought, token);
    if (r)
        return error_fold(r == SETTINGS_E_MISSING ? 0 : r);
    r = settings_token_used(admission->config.settings, token->id, probe->key.z85);
    if (r < 0)
        return error_trace(r);
    *worthp = admission_judge_token(token, r == 0, now_ms);
    return 0;
}

int admission_spend(const Admission *admission, const PeerKey *key, const SettingsToken *token,
                    uint64_t now_ms) {
    const int r = settings_token_use(admission->config.settings, token->id, key->z85, now_ms);
    return error_fold(r == SETTINGS_E_MISSING ? 0 : r);
}

static void set_namesake(Admission *admission, const PeerKey *key, const Look *look, bool away) {
    Probe *probe = probes_lock(admission->config.probes, key);
    if (!probe)
        return;
    probe->enrolment.namesake = away ? look->namesake : (PeerKey){""};
    admission_text(probe->enrolment.namesake_name, sizeof(probe->enrolment.namesake_name),
                   look->namesake_name);
    probe->enrolment.namesake_seen_ms = look->namesake_seen_ms;
    probes_unlock(admission->config.probes);
    admission->suggested = admission->suggested || away;
}

enum { WAITS_SPAN_MS = 60000, WAITS_MAX = 20 };

/** say_waits() - whoever holds the public key can make keys, and change what it says each second */
static void say_waits(Admission *admission, const Probe *probe, const char *reason,
                      uint64_t now_ms) {
    if (now_ms - admission->waits_ms >= WAITS_SPAN_MS || now_ms < admission->waits_ms) {
        admission->waits_ms = now_ms;
        admission->n_waits = 0;
    }
    if (admission->n_waits++ > WAITS_MAX)
        return;
    if (admission->n_waits <= WAITS_MAX)
        log_warning("probe %s at %s waits: %s; key %s", probes_name(probe), probe->address, reason,
                    probe->key.z85);
    else
        log_warning("more probes wait, or wait for other reasons; those of this minute are only "
                    "on the page");
}

/** judge_by_rule() - unless too many were let in unasked that are of no use */
static AdmissionVerdict judge_by_rule(const Admission *admission, AdmissionToken worth,
                                      const Look *look, bool away) {
    const AdmissionVerdict verdict = admission_judge(admission->mode, worth, away);
    if (!verdict.admit || verdict.via != PROBE_VIA_OPEN || look->n_unused < ADMISSION_UNUSED_MAX)
        return verdict;
    return (AdmissionVerdict){.reason = "too many new probes came and delivered nothing; an "
                                        "administrator of the hub has to approve it"};
}

/** judge() - a key nothing was decided of, or that waits; its hello is in `probes` */
static int judge(Admission *admission, const PeerKey *key, uint64_t now_ms) {
    Probe probe;
    int r = admission_copy(admission, key, &probe);
    if (r) { /* nothing was kept of it */
        admission_tell(admission, key, HUB_PENDING, "this hub knows as many probes as it can");
        return 0;
    }
    Look look = {.of = &probe, .begun_ms = admission->begun_ms};
    probes_walk(admission->config.probes, look_at, &look);
    const bool away = *look.namesake.z85 && !look.namesake_live;
    set_namesake(admission, key, &look, away);
    SettingsToken token = {0};
    AdmissionToken worth;
    r = admission_find_token(admission, &probe, &token, &worth, now_ms);
    if (r)
        return error_trace(r);
    const bool covered = away && admission_token_covers(&token, &look.namesake_is);
    const AdmissionVerdict verdict = judge_by_rule(admission, worth, &look, covered);
    if (verdict.admit) {
        const bool by_token = verdict.via == PROBE_VIA_TOKEN;
        r = by_token ? admission_spend(admission, key, &token, now_ms) : 0;
        if (!r)
            r = admission_enrol(admission, key, verdict.via, by_token ? &token : NULL,
                                verdict.take_over, now_ms);
        return error_trace(r);
    }
    if (probe.enrolment.admission != HUB_PENDING ||
        strcmp(probe.enrolment.reason, verdict.reason) != 0)
        say_waits(admission, &probe, verdict.reason, now_ms);
    admission_set(admission, key, HUB_PENDING, verdict.reason);
    admission_tell(admission, key, HUB_PENDING, verdict.reason);
    return 0;
}

/** has_room() - for one more that may have to wait: the longest unseen goes for it */
static bool has_room(Admission *admission, const Look *look) {
    if (look->n_pending < ADMISSION_PENDING_MAX)
        return true;
    if (!*look->longest_unseen.z85 || admission->n_gone == ADMISSION_GONE_MAX)
        return false;
    admission->gone[admission->n_gone++] = admission_row_key(&look->longest_unseen);
    admission_drop(admission, &look->longest_unseen);
    return true;
}

/** stay() - it came back before the flush that would have removed its row */
static void stay(Admission *admission, const PeerKey *key) {
    const SettingsKey row = admission_row_key(key);
    for (size_t i = admission->n_gone; i-- > 0;)
        if (memcmp(admission->gone[i].text, row.text, sizeof(row.text)) == 0)
            admission->gone[i] = admission->gone[--admission->n_gone];
}

/** note_token() - the one that its hello brings */
static void note_token(ProbeEnrolment *enrolment, const char *json) {
    json_t *hello = json_loads(json, 0, NULL);
    const char *token = json_string_value(json_object_get(hello, "token"));
    enrolment->brings = token && *token;
    if (enrolment->brings)
        (void)crypto_generichash(enrolment->brought, sizeof(enrolment->brought),
                                 (const uint8_t *)token, strlen(token), NULL, 0);
    json_decref(hello);
}

/** has_place() - for a key not heard of: no room is needed where it would not have to wait */
static bool has_place(Admission *admission, const PeerKey *key, const char *json, uint64_t now_ms) {
    Probe probe = {.key = *key};
    SettingsToken token = {0};
    AdmissionToken worth;
    note_token(&probe.enrolment, json);
    const int r = admission_find_token(admission, &probe, &token, &worth, now_ms);
    Look look = {.of = &probe, .begun_ms = admission->begun_ms};
    probes_walk(admission->config.probes, look_at, &look);
    return (!r && judge_by_rule(admission, worth, &look, false).admit) ||
           has_room(admission, &look);
}

/** note_claims() - of its hello: who it says it is, and the token it brings */
static void note_claims(Admission *admission, const PeerKey *key, const char *json) {
    Probe *probe = probes_lock(admission->config.probes, key);
    if (probe) {
        ProbeEnrolment *enrolment = &probe->enrolment;
        enrolment->dirty = true;
        note_token(enrolment, json);
        if (!*enrolment->site)
            admission_text(enrolment->site, sizeof(enrolment->site), ADMISSION_LABEL);
        if (!*enrolment->tenant)
            admission_text(enrolment->tenant, sizeof(enrolment->tenant), ADMISSION_LABEL);
        probes_unlock(admission->config.probes);
    }
}

typedef struct Keys {
    PeerKey *keys;
    size_t n;
    const PeerKey *namesake; /* NULL: those that wait */
} Keys;

static void take_key(void *context, const Probe *probe) {
    Keys *keys = context;
    const bool wanted = keys->namesake
                            ? strcmp(probe->enrolment.namesake.z85, keys->namesake->z85) == 0
                            : probe->enrolment.admission == HUB_PENDING;
    if (wanted && keys->n < ADMISSION_PENDING_MAX)
        keys->keys[keys->n++] = probe->key;
}

/** came_back() - nobody else is this probe */
static void came_back(Admission *admission, const PeerKey *key) {
    Keys keys = {.namesake = key, .keys = calloc(ADMISSION_PENDING_MAX, sizeof(PeerKey))};
    if (keys.keys)
        probes_walk(admission->config.probes, take_key, &keys);
    for (size_t i = 0; i < keys.n; i++)
        set_namesake(admission, &keys.keys[i], &(Look){0}, false);
    free(keys.keys);
}

void admission_hello(Admission *admission, const PeerKey *key, unsigned interface,
                     const char *address, const char *json, uint64_t now_ms) {
    Probe probe;
    (void)pthread_mutex_lock(&admission->lock);
    if (!admission->begun_ms)
        admission->begun_ms = now_ms;
    const bool known = admission_copy(admission, key, &probe) == 0;
    const HubAdmission before = known ? probe.enrolment.admission : HUB_UNKNOWN;
    if (before == HUB_UNKNOWN && !has_place(admission, key, json, now_ms)) {
        admission_tell(admission, key, HUB_PENDING,
                       "too many probes wait to be admitted by this hub");
    } else if (before != HUB_REVOKED) {
        probes_hello(admission->config.probes, key, interface, address, json, now_ms);
        note_claims(admission, key, json);
        if (before == HUB_UNKNOWN)
            stay(admission, key);
        int r = 0;
        if (before != HUB_ADMITTED)
            r = judge(admission, key, now_ms);
        else {
            if (admission->suggested)
                came_back(admission, key);
            admission_tell(admission, key, HUB_ADMITTED, "");
        }
        char text[256];
        if (r < 0)
            log_error("probe %s cannot be judged: %s", key->z85,
                      error_describe(r, text, sizeof(text)));
    }
    (void)pthread_mutex_unlock(&admission->lock);
}

int admission_set_mode(Admission *admission, AdmissionMode mode, uint64_t now_ms) {
    Keys keys = {.keys = calloc(ADMISSION_PENDING_MAX, sizeof(PeerKey))};
    if (!keys.keys)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_lock(&admission->lock);
    int r = settings_set(admission->config.settings, SETTING_MODE, admission_mode_names[mode]);
    if (!r) {
        admission->mode = mode;
        log_notice("new probes: %s", admission_mode_names[mode]);
        probes_walk(admission->config.probes, take_key, &keys);
    }
    for (size_t i = 0; i < keys.n && !r; i++)
        r = judge(admission, &keys.keys[i], now_ms);
    (void)pthread_mutex_unlock(&admission->lock);
    probes_touch(admission->config.probes);
    free(keys.keys);
    return error_fold(r);
}

static void tell_decided(void *context, const Probe *probe) {
    Keys *keys = context;
    if (probe->enrolment.admission == HUB_ADMITTED || probe->enrolment.admission == HUB_REVOKED)
        keys->keys[keys->n++] = probe->key;
}

void admission_start(Admission *admission) {
    Keys keys = {.keys = calloc(PROBES_MAX, sizeof(PeerKey))};
    (void)pthread_mutex_lock(&admission->lock);
    if (keys.keys)
        probes_walk(admission->config.probes, tell_decided, &keys);
    for (size_t i = 0; i < keys.n; i++) {
        const Probe *probe = probes_lock(admission->config.probes, &keys.keys[i]);
        const HubAdmission verdict = probe ? probe->enrolment.admission : HUB_UNKNOWN;
        if (probe)
            probes_unlock(admission->config.probes);
        admission_tell(admission, &keys.keys[i], verdict, "");
    }
    (void)pthread_mutex_unlock(&admission->lock);
    free(keys.keys);
}
