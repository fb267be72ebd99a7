/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/admission-inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

enum { FLUSH_MAX = 2000 }; /* rows in one transaction */

static const char *const state_names[] = {
    [HUB_UNKNOWN] = "pending",
    [HUB_PENDING] = "pending",
    [HUB_ADMITTED] = "admitted",
    [HUB_REVOKED] = "revoked",
};

size_t admission_index(const char *const *names, size_t n, const char *name) {
    size_t i = 0;
    while (i < n && strcmp(names[i], name) != 0)
        i++;
    return i;
}

int admission_load(const SettingsProbe *row, void *context) {
    Admission *admission = context;
    PeerKey key = {0};
    memcpy(key.z85, row->key, sizeof(key.z85));
    if (row->enrolled_ms > admission->latest_ms)
        admission->latest_ms = row->enrolled_ms;
    Probe *probe = probes_lock_new(admission->config.probes, &key);
    if (!probe)
        return 1; /* as many as are kept */
    ProbeEnrolment *enrolment = &probe->enrolment;
    memcpy(probe->name, row->name, sizeof(probe->name));
    memcpy(probe->probe_id, row->probe_id, sizeof(probe->probe_id));
    memcpy(enrolment->given_name, row->given_name, sizeof(enrolment->given_name));
    memcpy(enrolment->site, row->site, sizeof(enrolment->site));
    memcpy(enrolment->tenant, row->tenant, sizeof(enrolment->tenant));
    enrolment->admission = (HubAdmission)admission_index(state_names, HUB_REVOKED + 1, row->state);
    if (enrolment->admission == HUB_UNKNOWN)
        enrolment->admission = HUB_PENDING;
    enrolment->via = (ProbeVia)admission_index(probe_via_names, _PROBE_VIA_N, row->via);
    enrolment->enrolled_ms = row->enrolled_ms;
    enrolment->token = row->token;
    probe->seat.pinned = row->pinned;
    probe->seat.state = row->seat_ms ? PROBE_SEAT_HELD : PROBE_SEAT_NONE; /* in the last run */
    probe->seat.since_ms = row->seat_ms;
    probe->number = row->number;
    probe->first_seen_ms = row->first_seen_ms;
    probe->last_seen_ms = row->last_seen_ms;
    for (unsigned i = 0; i < admission->config.n_interfaces; i++)
        if (strcmp(admission->config.interfaces[i].name, row->interface) == 0)
            probe->interface = i;
    probes_unlock(admission->config.probes);
    return 0;
}

static void fill_row(const Admission *admission, SettingsProbe *row, const Probe *probe) {
    const ProbeEnrolment *enrolment = &probe->enrolment;
    *row = (SettingsProbe){.first_seen_ms = probe->first_seen_ms,
                           .last_seen_ms = probe->last_seen_ms,
                           .number = probe->number,
                           .enrolled_ms = enrolment->enrolled_ms,
                           .token = enrolment->token,
                           .pinned = probe->seat.pinned};
    if (probe->seat.state == PROBE_SEAT_HELD)
        row->seat_ms = probe->seat.since_ms;
    memcpy(row->key, probe->key.z85, sizeof(row->key));
    memcpy(row->name, probe->name, sizeof(row->name));
    memcpy(row->probe_id, probe->probe_id, sizeof(row->probe_id));
    memcpy(row->given_name, enrolment->given_name, sizeof(row->given_name));
    memcpy(row->site, enrolment->site, sizeof(row->site));
    memcpy(row->tenant, enrolment->tenant, sizeof(row->tenant));
    admission_text(row->state, sizeof(row->state), state_names[enrolment->admission]);
    admission_text(row->via, sizeof(row->via), probe_via_names[enrolment->via]);
    if (probe->interface < admission->config.n_interfaces)
        memcpy(row->interface, admission->config.interfaces[probe->interface].name,
               sizeof(row->interface));
}

int admission_save(Admission *admission, const PeerKey *key, const PeerKey *gone) {
    SettingsProbe row;
    const SettingsKey other = gone ? admission_row_key(gone) : (SettingsKey){""};
    Probe *probe = probes_lock(admission->config.probes, key);
    if (!probe)
        return 0;
    fill_row(admission, &row, probe);
    probe->enrolment.dirty = false;
    probes_unlock(admission->config.probes);
    probes_touch(admission->config.probes);
    const int r = settings_probes_save(admission->config.settings, &row, 1, &other, gone ? 1 : 0);
    if (r) {
        probe = probes_lock(admission->config.probes, key);
        if (probe) {
            probe->enrolment.dirty = true;
            probes_unlock(admission->config.probes);
        }
    }
    return error_trace(r);
}

int admission_keep(Admission *admission, const PeerKey *key) {
    (void)pthread_mutex_lock(&admission->lock);
    const int r = admission_save(admission, key, NULL);
    (void)pthread_mutex_unlock(&admission->lock);
    return error_trace(r);
}

typedef struct Flush {
    const Admission *admission;
    SettingsProbe *rows;
    size_t n;
} Flush;

static void take_dirty(void *context, const Probe *probe) {
    Flush *flush = context;
    if (!probe->enrolment.dirty || probe->enrolment.admission == HUB_UNKNOWN ||
        flush->n == FLUSH_MAX)
        return;
    if (!flush->rows)
        flush->rows = calloc(FLUSH_MAX, sizeof(*flush->rows));
    if (flush->rows)
        fill_row(flush->admission, &flush->rows[flush->n++], probe);
}

static void mark(Admission *admission, const Flush *flush, bool dirty) {
    for (size_t i = 0; i < flush->n; i++) {
        PeerKey key = {0};
        memcpy(key.z85, flush->rows[i].key, sizeof(key.z85));
        Probe *probe = probes_lock(admission->config.probes, &key);
        if (!probe)
            continue;
        probe->enrolment.dirty = dirty;
        probes_unlock(admission->config.probes);
    }
}

void admission_flush(Admission *admission) {
    Flush flush = {.admission = admission};
    (void)pthread_mutex_lock(&admission->lock);
    probes_walk(admission->config.probes, take_dirty, &flush);
    if (flush.n || admission->n_gone) {
        mark(admission, &flush, false);
        const int r = settings_probes_save(admission->config.settings, flush.rows, flush.n,
                                           admission->gone, admission->n_gone);
        if (r) {
            char text[256];
            mark(admission, &flush, true);
            if (!admission->unsaved)
                log_warning("what is known of %zu probes is not saved: %s", flush.n,
                            error_describe(r, text, sizeof(text)));
        }
        admission->unsaved = r != 0;
        admission->n_gone = r ? admission->n_gone : 0;
    }
    (void)pthread_mutex_unlock(&admission->lock);
    free(flush.rows);
}
