/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/configure.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "flow/fieldset.h"
#include "hub/probes.h"

#define SETTING_VERSION "configuration.version"

enum { BUCKETS = 4096 };

typedef struct Entry {
    PeerKey key;
    ConfigureRow own;
    Configuration wanted;
    bool reported;
    bool telling;
    ConfigurationReport report;
    struct Entry *next; /* in its bucket */
} Entry;

struct Configure {
    ConfigureConfig config;
    pthread_mutex_t lock;
    uint64_t version; /* the last one given */
    uint64_t seed;
    ConfigureRow general;
    Entry *buckets[BUCKETS];
    size_t n;
};

const char *const configure_state_names[_CONFIGURE_STATE_N] = {
    [CONFIGURE_NONE] = "none",
    [CONFIGURE_CONFIRMED] = "confirmed",
    [CONFIGURE_WAITING] = "waiting",
    [CONFIGURE_REFUSED] = "refused",
};

/* ------------------------------------------------------------------------------------ the table */

static Entry **place_of(Configure *configure, const PeerKey *key) {
    const uint64_t hash = hash_bytes(key->z85, sizeof(key->z85) - 1, configure->seed);
    Entry **at = &configure->buckets[hash % BUCKETS];
    while (*at && strcmp((*at)->key.z85, key->z85) != 0)
        at = &(*at)->next;
    return at;
}

/** entry_of() - made when there is none; NULL: no room, or no memory */
static Entry *entry_of(Configure *configure, const PeerKey *key) {
    Entry **at = place_of(configure, key);
    if (!*at && configure->n < PROBES_MAX) {
        *at = calloc(1, sizeof(**at));
        if (*at) {
            (*at)->key = *key;
            configure->n++;
        }
    }
    return *at;
}

static void drop(Configure *configure, const PeerKey *key) {
    Entry **at = place_of(configure, key);
    Entry *entry = *at;
    if (!entry)
        return;
    *at = entry->next;
    configure->n--;
    free(entry);
}

/* -------------------------------------------------------------------------------------- telling */

static void want(const Configure *configure, const ConfigureRow *own, Configuration *to) {
    *to = configure->general.settings;
    configuration_over(to, &own->settings);
    configuration_stamp(to);
}

static bool is_told(const Entry *entry) {
    return entry->reported && entry->report.id == entry->wanted.id &&
           entry->report.version == entry->wanted.version;
}

/* until it has answered. One that says nothing may be of a version that will never */
static void tell(const Configure *configure, Entry *entry) {
    const bool telling = !is_told(entry) && (entry->reported || entry->wanted.version);
    if (!configure->config.tell || (!telling && !entry->telling))
        return;
    Buffer text = {0};
    Json json = json_make(&text);
    configuration_write(&json, NULL, &entry->wanted);
    if (!text.failed)
        configure->config.tell(configure->config.userdata, &entry->key,
                               telling ? buffer_text(&text) : NULL);
    buffer_deinit(&text);
    entry->telling = telling;
}

static void want_anew(Configure *configure) {
    for (size_t i = 0; i < BUCKETS; i++) {
        for (Entry *entry = configure->buckets[i]; entry; entry = entry->next) {
            want(configure, &entry->own, &entry->wanted);
            tell(configure, entry);
        }
    }
}

/* ----------------------------------------------------------------------------------------- life */

static int load_row(const SettingsConfiguration *row, void *context) {
    Configure *configure = context;
    PeerKey key = {0};
    memcpy(key.z85, row->key, sizeof(key.z85));
    Entry *entry = *row->key ? entry_of(configure, &key) : NULL;
    ConfigureRow *to = *row->key ? (entry ? &entry->own : NULL) : &configure->general;
    if (!to)
        return 1;
    Reason reason = {""};
    if (configuration_read(&to->settings, row->settings, strlen(row->settings), &reason))
        log_warning("what probe %s was set to is not used: %s", row->key, reason.text);
    to->settings.version = row->version;
    to->changed_ms = row->changed_ms;
    memcpy(to->changed_by, row->changed_by, sizeof(to->changed_by));
    if (row->version > configure->version)
        configure->version = row->version;
    return 0;
}

static int load(Configure *configure) {
    Buffer text = {0};
    int r = settings_get(configure->config.settings, SETTING_VERSION, &text);
    if (r == 0)
        configure->version = strtoull(buffer_text(&text), NULL, 10);
    buffer_deinit(&text);
    if (r >= 0)
        r = settings_configuration_each(configure->config.settings, load_row, configure);
    want_anew(configure);
    return error_fold(r);
}

int configure_new(Configure **configurep, const ConfigureConfig *config) {
    cleanup(configure_freep) Configure *configure = calloc(1, sizeof(*configure));
    if (!configure)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&configure->lock, NULL);
    configure->seed = hash_u64(clock_monotonic_ns(), (uint64_t)(uintptr_t)configure);
    configure->config = *config;
    const int r = load(configure);
    if (r)
        return error_trace(r);
    *configurep = configure;
    configure = NULL;
    return 0;
}

Configure *configure_free(Configure *configure) {
    if (!configure)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (configure->buckets[i]) {
            Entry *next = configure->buckets[i]->next;
            free(configure->buckets[i]);
            configure->buckets[i] = next;
        }
    }
    (void)pthread_mutex_destroy(&configure->lock);
    free(configure);
    return NULL;
}

/* -------------------------------------------------------------------------------------- setting */

/* the probe compiles the filter: what a hub can see without it */
static int check_filter(const char *filter, Reason *reason) {
    int open = 0;
    for (const char *c = filter; *c && open >= 0; c++)
        open += *c == '(' ? 1 : *c == ')' ? -1 : 0;
    if (open == 0)
        return 0;
    reason_set(reason, "filter: a parenthesis is not %s", open > 0 ? "closed" : "opened");
    return CONFIGURE_E_REFUSED;
}

static int check(const Configuration *settings, Reason *reason) {
    if ((settings->set & CONFIGURATION_TEMPLATE) && !fieldset_find(settings->template)) {
        reason_set(reason, "template: there is no '%s'; there are", settings->template);
        for (size_t i = 0; i < FIELDSETS_N; i++)
            reason_append(reason, "%s %s", i ? "," : "", fieldset_names[i]);
        return CONFIGURE_E_REFUSED;
    }
    return settings->set & CONFIGURATION_FILTER ? check_filter(settings->filter, reason) : 0;
}

/* the number first: one that is lost is only left out */
static int save(const Configure *configure, const PeerKey *key, const ConfigureRow *row) {
    SettingsConfiguration to = {.version = row->settings.version, .changed_ms = row->changed_ms};
    char version[24];
    Buffer text = {0};
    Json json = json_make(&text);
    configuration_write_settings(&json, NULL, &row->settings);
    (void)snprintf(to.settings, sizeof(to.settings), "%s", buffer_text(&text));
    buffer_deinit(&text);
    (void)snprintf(to.key, sizeof(to.key), "%s", key ? key->z85 : "");
    memcpy(to.changed_by, row->changed_by, sizeof(to.changed_by));
    (void)snprintf(version, sizeof(version), "%" PRIu64, row->settings.version);
    int r = settings_set(configure->config.settings, SETTING_VERSION, version);
    if (!r)
        r = settings_configuration_save(configure->config.settings, &to);
    return error_fold(r);
}

static int set(Configure *configure, const PeerKey *key, const Configuration *settings,
               const char *user, uint64_t now_ms) {
    Entry *entry = key ? entry_of(configure, key) : NULL;
    if (key && !entry)
        return CONFIGURE_E_FULL;
    ConfigureRow *row = entry ? &entry->own : &configure->general;
    if (configuration_same(&row->settings, settings))
        return 0;
    ConfigureRow now = {.settings = *settings, .changed_ms = now_ms};
    (void)snprintf(now.changed_by, sizeof(now.changed_by), "%s", user ? user : "");
    now.settings.version = ++configure->version;
    now.settings.id = 0;
    const int r = save(configure, key, &now);
    if (r)
        return error_trace(r);
    *row = now;
    if (!entry) {
        want_anew(configure);
        return 0;
    }
    want(configure, &entry->own, &entry->wanted);
    tell(configure, entry);
    return 0;
}

int configure_set(Configure *configure, const PeerKey *key, const Configuration *settings,
                  const char *user, uint64_t now_ms, Reason *reason) {
    const int bad = check(settings, reason);
    if (bad)
        return bad;
    (void)pthread_mutex_lock(&configure->lock);
    const int r = set(configure, key, settings, user, now_ms);
    (void)pthread_mutex_unlock(&configure->lock);
    return error_trace(r);
}

void configure_forget(Configure *configure, const PeerKey *key) {
    (void)pthread_mutex_lock(&configure->lock);
    if (*place_of(configure, key)) {
        drop(configure, key);
        (void)settings_configuration_remove(configure->config.settings, key->z85);
    }
    (void)pthread_mutex_unlock(&configure->lock);
}

void configure_move(Configure *configure, const PeerKey *from, const PeerKey *to) {
    (void)pthread_mutex_lock(&configure->lock);
    const Entry *before = *place_of(configure, from);
    Entry *entry = before && before->own.changed_ms ? entry_of(configure, to) : NULL;
    if (entry) {
        entry->own = before->own;
        want(configure, &entry->own, &entry->wanted);
        if (save(configure, to, &entry->own))
            log_warning("what probe %s is set to is not saved", to->z85);
        tell(configure, entry);
    }
    (void)pthread_mutex_unlock(&configure->lock);
}

/* -------------------------------------------------------------------------------------- reports */

void configure_report(Configure *configure, const PeerKey *key, const ConfigurationReport *report) {
    (void)pthread_mutex_lock(&configure->lock);
    Entry **at = place_of(configure, key);
    const bool is_new = !*at;
    Entry *entry = is_new ? entry_of(configure, key) : *at;
    if (entry) {
        if (is_new)
            want(configure, &entry->own, &entry->wanted);
        entry->reported = report != NULL;
        if (report)
            entry->report = *report;
        tell(configure, entry);
    }
    (void)pthread_mutex_unlock(&configure->lock);
}

static ConfigureState state_of(const Entry *entry) {
    if (is_told(entry) && entry->report.state == CONFIGURATION_REFUSED)
        return CONFIGURE_REFUSED;
    if (!entry->wanted.version)
        return CONFIGURE_NONE;
    return is_told(entry) ? CONFIGURE_CONFIRMED : CONFIGURE_WAITING;
}

/* of a probe of which nothing is known */
static void entry_blank(const Configure *configure, Entry *entry) {
    *entry = (Entry){0};
    want(configure, &entry->own, &entry->wanted);
}

bool configure_unconfirmed(Configure *configure, const PeerKey *key) {
    (void)pthread_mutex_lock(&configure->lock);
    Entry blank;
    const Entry *entry = *place_of(configure, key);
    if (!entry) {
        entry_blank(configure, &blank);
        entry = &blank;
    }
    const ConfigureState state = state_of(entry);
    (void)pthread_mutex_unlock(&configure->lock);
    return state == CONFIGURE_WAITING || state == CONFIGURE_REFUSED;
}

void configure_view(Configure *configure, const PeerKey *key, ConfigureView *view) {
    (void)pthread_mutex_lock(&configure->lock);
    Entry blank;
    const Entry *entry = *place_of(configure, key);
    if (!entry) {
        entry_blank(configure, &blank);
        entry = &blank;
    }
    *view = (ConfigureView){.own = entry->own,
                            .general = configure->general,
                            .wanted = entry->wanted,
                            .reported = entry->reported,
                            .report = entry->report,
                            .state = state_of(entry)};
    (void)pthread_mutex_unlock(&configure->lock);
}

void configure_text(const ConfigureView *view, const Probe *probe, char *text, size_t size) {
    const uint64_t version = view->wanted.version;
    switch (view->state) {
    case CONFIGURE_CONFIRMED:
        (void)snprintf(text, size, "version %" PRIu64 " is in force", version);
        return;
    case CONFIGURE_REFUSED:
        (void)snprintf(text, size, "version %" PRIu64 " is refused, what was before goes on: %s",
                       version, view->report.reason);
        return;
    case CONFIGURE_WAITING:
        break;
    default:
        (void)snprintf(text, size, "as it was started");
        return;
    }
    const char *why = "is on its way";
    if (!probe->connected)
        why = "waits for the probe to connect";
    else if (probe->pulse_ms && !view->reported)
        why = "is not taken: the probe's version cannot be configured from here; update it";
    else if (probe->pulse.spool.hubs > 1)
        why = "is not taken: the probe delivers to several hubs and obeys the first one it was "
              "given";
    (void)snprintf(text, size, "version %" PRIu64 " %s", version, why);
}
