/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/licensing.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "hub/licensing-inside.h"
#include "licence/seats.h"
#include "licence/token.h"

enum { GIVE_MS = 1000, HELLO_LICENCE_MAX = 4096 };

const char *const licensing_mode_names[] = {
    [LICENSING_EVALUATION] = "evaluation",
    [LICENSING_CLOUD] = "cloud",
    [LICENSING_HUB] = "hub",
};

LicensingTime licensing_time(void) {
    return (LicensingTime){.mono_ms = clock_monotonic_ms(),
                           .wall_ms = clock_wall_ms(),
                           .synchronised = holder_clock_synchronised()};
}

static int64_t wall_s(const LicensingTime *now) {
    return (int64_t)(now->wall_ms / 1000);
}

/* ----------------------------------------------------------------------------------- the locks */

void licensing_news(Licensing *licensing, LogLevel level, const char *format, ...) {
    LicensingNews *news = &licensing->news;
    va_list args;
    if (news->n == LICENSING_LINES)
        return;
    va_start(args, format);
    (void)vsnprintf(news->lines[news->n].text, sizeof(news->lines[0].text), format, args);
    va_end(args);
    news->lines[news->n++].level = level;
}

/** begin() - to look, and to give seats */
static void begin(Licensing *licensing) {
    (void)pthread_mutex_lock(&licensing->looking);
}

/** end() - the log may be slow, and nobody but the next look waits for it */
static void end(Licensing *licensing) {
    LicensingNews *news = &licensing->news;
    for (size_t i = 0; i < news->n; i++)
        log_write(news->lines[i].level, "%s", news->lines[i].text);
    news->n = 0;
    (void)pthread_mutex_unlock(&licensing->looking);
}

/* ------------------------------------------------------------------------- the licence in force */

const char *licensing_state_name(const HolderView *view) {
    static const char *const names[_LICENCE_STATE_N] = {
        [LICENCE_VALID] = "valid",
        [LICENCE_GRACE] = "grace",
        [LICENCE_NOT_YET] = "not_yet",
        [LICENCE_EXPIRED] = "expired",
        [LICENCE_REVOKED] = "revoked",
        [LICENCE_OTHER_MACHINE] = "other_machine",
        [LICENCE_OTHER_PROGRAM] = "other_program",
    };
    return view->has ? names[view->state] : "none";
}

static void write_warning(LicensingView *view) {
    const HolderView *held = &view->holder;
    char date[24];
    const unsigned days = held->unlocks ? holder_days_warned(held->days_left) : 0;
    view->warning[0] = '\0';
    if (held->unlocks && held->state == LICENCE_GRACE)
        (void)snprintf(view->warning, sizeof(view->warning), "The licence has ended: %.200s.",
                       held->why.text);
    else if (days)
        (void)snprintf(view->warning, sizeof(view->warning),
                       "The licence ends within %u day%s, on %s; ask for a new one.", days,
                       days == 1 ? "" : "s", licence_date(date, held->licence.expiry_s));
    else if (held->has && !held->unlocks)
        (void)snprintf(view->warning, sizeof(view->warning),
                       "The licence is not in force: %.200s. Two probes go on, as without one.",
                       held->why.text);
}

/** take_view() - both locks are held */
static void take_view(Licensing *licensing) {
    LicensingView *view = &licensing->view;
    view->holder = *holder_view(licensing->holder);
    const HolderView *held = &view->holder;
    const LicensingMode mode = !held->unlocks                        ? LICENSING_EVALUATION
                               : held->licence.kind == LICENCE_CLOUD ? LICENSING_CLOUD
                                                                     : LICENSING_HUB;
    const uint32_t limit =
        mode == LICENSING_CLOUD ? held->licence.max_probes : (uint32_t)SEATS_EVALUATION;
    licensing->all = licensing->all || mode != view->mode || limit != view->limit;
    view->mode = mode;
    view->limit = limit;
    write_warning(view);
}

void licensing_line(const LicensingView *view, char *line, size_t size) {
    const HolderView *held = &view->holder;
    const Licence *licence = &held->licence;
    char text[640];
    char probes[32] = "";
    if (licence->kind == LICENCE_CLOUD)
        (void)snprintf(probes, sizeof(probes), " for %u probe%s", licence->max_probes,
                       licence->max_probes == 1 ? "" : "s");
    if (!held->has)
        (void)snprintf(text, sizeof(text),
                       "no licence: evaluation, everything works, for %d probes", SEATS_EVALUATION);
    else
        (void)snprintf(text, sizeof(text), "%s licence %s of %s%s: %s%.200s%s",
                       licence_kind_name(licence->kind), licence->id, licence->customer, probes,
                       held->unlocks ? "" : "not in force, ", held->why.text,
                       held->unlocks ? "" : "; as without one, two probes go on");
    (void)snprintf(line, size, "%.600s%s%.250s", text, *held->trouble.text ? "; " : "",
                   held->trouble.text);
}

/** say() - once a change: what passes with time is only said when a warning is due. `looking` is
 * held, and nobody else changes what it reads */
static void say(Licensing *licensing) {
    const LicensingView *view = &licensing->view;
    const HolderView *held = &view->holder;
    char line[sizeof(licensing->said)];
    char whole[sizeof(line)];
    char text[SYSTEM_ID_CHARS];
    if (!licensing->speaks)
        return;
    licensing_line(view, line, sizeof(line));
    (void)snprintf(whole, sizeof(whole), "%.500s%s%.120s", line,
                   held->state == LICENCE_VALID && *view->warning ? ". " : "",
                   held->state == LICENCE_VALID ? view->warning : "");
    if (strcmp(whole, licensing->said) == 0)
        return;
    memcpy(licensing->said, whole, sizeof(whole));
    if (!held->has && !*held->trouble.text)
        licensing_news(licensing, LOG_LEVEL_NOTICE, "%s; System ID %s", whole,
                       system_id_text(&view->here, text));
    else
        licensing_news(licensing,
                       *view->warning || *held->trouble.text ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE,
                       "%s", whole);
}

/** look() - at the licence's files and the clock; `looking` is held */
static void look(Licensing *licensing, const LicensingTime *now) {
    bool changed = false;
    char text[256];
    const int r = holder_look(licensing->holder, wall_s(now), now->synchronised, &changed);
    const Reason *unwritten = &holder_view(licensing->holder)->unwritten;
    if (r && !licensing->unwritten)
        licensing_news(licensing, LOG_LEVEL_WARNING,
                       "what is to be remembered of the licence is not, and a restart would not "
                       "know it: %s",
                       r > 0 ? unwritten->text : error_describe(r, text, sizeof(text)));
    licensing->unwritten = r != 0;
    licensing->looked_ms = now->mono_ms;
    (void)pthread_mutex_lock(&licensing->lock);
    take_view(licensing);
    (void)pthread_mutex_unlock(&licensing->lock);
    say(licensing);
    const HolderView *held = &licensing->view.holder;
    Lease lease = {.until_s = held->now_s + LEASE_S};
    (void)snprintf(lease.licence, sizeof(lease.licence), "%s",
                   held->unlocks ? held->licence.id : "evaluation");
    if (licensing->config.lease)
        licensing->config.lease(licensing->config.userdata, &lease);
}

/* ----------------------------------------------------------------------------------- its life */

int licensing_new(Licensing **licensingp, const LicensingConfig *config, const LicensingTime *now) {
    cleanup(licensing_freep) Licensing *licensing = calloc(1, sizeof(*licensing));
    if (!licensing)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&licensing->looking, NULL);
    (void)pthread_mutex_init(&licensing->lock, NULL);
    licensing->config = *config;
    licensing->view.here = config->here;
    licensing->all = true;
    if (token_init() < 0)
        return error_origin(-EIO);
    const HolderConfig holder = {
        .path = config->path, .folder = config->folder, .keys = config->keys, .here = config->here};
    const int r = holder_new(&licensing->holder, &holder, wall_s(now), now->synchronised);
    if (r)
        return error_trace(r);
    take_view(licensing);
    *licensingp = licensing;
    licensing = NULL;
    return 0;
}

Licensing *licensing_free(Licensing *licensing) {
    if (!licensing)
        return NULL;
    (void)holder_free(licensing->holder);
    (void)pthread_mutex_destroy(&licensing->lock);
    (void)pthread_mutex_destroy(&licensing->looking);
    free(licensing);
    return NULL;
}

void licensing_verdict(Licensing *licensing, const PeerKey *key, HubAdmission verdict,
                       const char *reason) {
    (void)pthread_mutex_lock(&licensing->lock);
    Probe *probe = probes_lock(licensing->config.probes, key);
    if (probe) {
        probe->seat.told = HUB_UNKNOWN; /* whatever the link was told, it is told anew */
        probes_unlock(licensing->config.probes);
    }
    if (verdict != HUB_ADMITTED) {
        licensing->all = true;
        licensing->config.tell(licensing->config.userdata, key, verdict, reason);
    } else if (licensing->n_candidates == LICENSING_CANDIDATES) {
        licensing->all = true;
    } else {
        licensing->candidates[licensing->n_candidates++] = *key;
    }
    (void)pthread_mutex_unlock(&licensing->lock);
}

/** keep() - ProbesChange: for who had a seat in the last run it is kept, as if it went just now */
static void keep(void *context, Probe *probe) {
    const LicensingTime *now = context;
    if (probe->seat.state == PROBE_SEAT_HELD)
        probe->seat.gone_ms = now->mono_ms;
}

/** give_all() - `looking` is held */
static void give_all(Licensing *licensing, const LicensingTime *now) {
    (void)pthread_mutex_lock(&licensing->lock);
    licensing_give(licensing, now);
    (void)pthread_mutex_unlock(&licensing->lock);
}

void licensing_start(Licensing *licensing, const LicensingTime *now) {
    begin(licensing);
    probes_change(licensing->config.probes, keep, (void *)(uintptr_t)now);
    licensing->started = true;
    look(licensing, now);
    give_all(licensing, now);
    end(licensing);
}

void licensing_speak(Licensing *licensing) {
    begin(licensing);
    licensing->speaks = true;
    say(licensing);
    end(licensing);
}

void licensing_hello(Licensing *licensing, const PeerKey *key, const char *json) {
    json_t *hello = json_loads(json, 0, NULL);
    const char *text = json_string_value(json_object_get(hello, "licence"));
    const char *at = json_string_value(json_object_get(hello, "system_id"));
    Licence own;
    SystemId place;
    Reason reason = {""};
    const VendorKeys *keys = &licensing->config.keys;
    const bool shows = text && at && strlen(text) <= HELLO_LICENCE_MAX &&
                       licence_parse(&own, text, strlen(text), keys, &reason) == 0 &&
                       system_id_parse(&place, at, &reason) == 0;
    json_decref(hello);
    (void)pthread_mutex_lock(&licensing->lock);
    Probe *probe = probes_lock(licensing->config.probes, key);
    if (probe) {
        licensing->all = licensing->all || shows || probe->seat.shows;
        probe->seat.shows = shows;
        if (shows) {
            probe->seat.own = own;
            probe->seat.at = place;
        }
        probes_unlock(licensing->config.probes);
    }
    (void)pthread_mutex_unlock(&licensing->lock);
}

void licensing_gone(Licensing *licensing) {
    (void)pthread_mutex_lock(&licensing->lock);
    licensing->all = true;
    (void)pthread_mutex_unlock(&licensing->lock);
}

/** give() - where it is time; in how many ms it will be. Both locks are held */
static unsigned give(Licensing *licensing, const LicensingTime *now) {
    const uint64_t past_ms = now->mono_ms - licensing->given_ms;
    if (!licensing->all && licensing->n_candidates && !licensing_give_new(licensing, now))
        licensing->all = true;
    if (licensing->all && past_ms < LICENSING_DUE_MS)
        return (unsigned)(LICENSING_DUE_MS - past_ms);
    if (licensing->all || past_ms >= GIVE_MS)
        licensing_give(licensing, now);
    return LICENSING_LOOK_MS;
}

unsigned licensing_turn(Licensing *licensing, const LicensingTime *now) {
    unsigned again_ms = LICENSING_LOOK_MS;
    begin(licensing);
    if (licensing->started) {
        if (now->mono_ms - licensing->looked_ms >= LICENSING_LOOK_MS)
            look(licensing, now);
        (void)pthread_mutex_lock(&licensing->lock);
        again_ms = give(licensing, now);
        (void)pthread_mutex_unlock(&licensing->lock);
    }
    end(licensing);
    return again_ms;
}

/* ---------------------------------------------------------------------- what administrators do */

int licensing_install(Licensing *licensing, const char *text, size_t size, const LicensingTime *now,
                      Reason *reason) {
    begin(licensing);
    const int r =
        holder_install(licensing->holder, text, size, wall_s(now), now->synchronised, reason);
    if (!r) {
        look(licensing, now);
        give_all(licensing, now);
    }
    end(licensing);
    return r == HOLDER_E_REFUSED ? LICENSING_E_REFUSED : error_trace(r);
}

int licensing_pin(Licensing *licensing, const PeerKey *key, bool pinned, const LicensingTime *now) {
    begin(licensing);
    Probe *probe = probes_lock(licensing->config.probes, key);
    if (probe) {
        probe->seat.pinned = pinned;
        probe->enrolment.dirty = true; /* the caller keeps it: admission_keep() */
        probes_unlock(licensing->config.probes);
        probes_touch(licensing->config.probes);
        give_all(licensing, now);
    }
    end(licensing);
    return probe ? 0 : LICENSING_E_MISSING;
}

void licensing_view(Licensing *licensing, LicensingView *view) {
    (void)pthread_mutex_lock(&licensing->lock);
    *view = licensing->view;
    (void)pthread_mutex_unlock(&licensing->lock);
}

bool licensing_check(const char *path, const char *folder, FILE *out) {
    LicensingView view = {0};
    cleanup(holder_freep) Holder *holder = NULL;
    char text[SYSTEM_ID_CHARS];
    system_id_look(&view.here, "", SYSTEM_ID_CACHE);
    const HolderConfig config = {.path = path,
                                 .folder = folder,
                                 .look_only = true,
                                 .keys = vendor_keys(),
                                 .here = view.here};
    const LicensingTime now = licensing_time();
    char line[640] = "it cannot be looked at";
    bool good = false;
    if (token_init() >= 0 && !holder_new(&holder, &config, wall_s(&now), now.synchronised)) {
        view.holder = *holder_view(holder);
        good = view.holder.unlocks && !view.holder.kept;
        licensing_line(&view, line, sizeof(line));
    }
    (void)fprintf(out, "%s: %s\nlooked for: %s, %s/licence\nSystem ID: %s\n",
                  good ? "valid" : "invalid", line, path, folder, system_id_text(&view.here, text));
    return good;
}
