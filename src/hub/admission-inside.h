#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Admission, inside
 *
 * What its three parts share: admission.c (the mode, judging a key), admission_registry.c (memory
 * and the settings file) and admission_decide.c (what administrators decide). All of it is called
 * with the lock held.
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "hub/admission.h"

#define ADMISSION_LABEL "default"

enum { ADMISSION_GONE_MAX = 2000 }; /* between two flushes */

struct Admission {
    AdmissionConfig config;
    pthread_mutex_t lock; /* one decision at a time */
    AdmissionMode mode;
    uint64_t begun_ms;  /* the first hello */
    uint64_t latest_ms; /* the latest enrolment known: orders who has a seat, clocks go back */
    bool suggested;     /* somebody may have a namesake */
    bool unsaved;       /* the last flush failed, which was said */
    /* who made room: a flood of new keys must not cost a transaction each */
    SettingsKey gone[ADMISSION_GONE_MAX];
    size_t n_gone;
    uint64_t waits_ms; /* since when it is counted what the log says of those who wait */
    unsigned n_waits;
};

static inline void admission_text(char *to, size_t size, const char *text) {
    (void)snprintf(to, size, "%s", text);
}

static inline SettingsKey admission_row_key(const PeerKey *key) {
    SettingsKey row;
    memcpy(row.text, key->z85, sizeof(row.text));
    return row;
}

/** admission_index() - of a word among these; n when it is none of them */
size_t admission_index(const char *const *names, size_t n, const char *name);

/* the registry; SettingsProbeEach */
int admission_load(const SettingsProbe *row, void *admission);

/** admission_save() - one probe, at once: what an administrator was told is so stays so */
int admission_save(Admission *admission, const PeerKey *key, const PeerKey *gone);

void admission_tell(const Admission *admission, const PeerKey *key, HubAdmission verdict,
                    const char *reason);

/** admission_copy() - ADMISSION_E_MISSING */
int admission_copy(const Admission *admission, const PeerKey *key, Probe *copy);

/** admission_drop() - from memory, and the link */
void admission_drop(Admission *admission, const PeerKey *key);

/** admission_inherit() - what the probe of `old` was is now that of `key`; `old` is forgotten */
int admission_inherit(Admission *admission, const PeerKey *key, const PeerKey *old);

/** admission_set() - the fields that go with a verdict; admission_tell() and _save() follow */
void admission_set(Admission *admission, const PeerKey *key, HubAdmission verdict,
                   const char *reason);

/** admission_enrol() - admitted from now on; `token` is the one it was admitted by, or NULL */
int admission_enrol(Admission *admission, const PeerKey *key, ProbeVia via,
                    const SettingsToken *token, bool take_over, uint64_t now_ms);

/** admission_find_token() - the one that this probe brings, and what it is worth */
int admission_find_token(const Admission *admission, const Probe *probe, SettingsToken *token,
                         AdmissionToken *worthp, uint64_t now_ms);

/** admission_spend() - counted once for each key */
int admission_spend(const Admission *admission, const PeerKey *key, const SettingsToken *token,
                    uint64_t now_ms);
