/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/admission-inside.h"

#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

static int missing(const PeerKey *key, Reason *reason) {
    reason_set(reason, "There is no probe with the key %s.", key->z85);
    return ADMISSION_E_MISSING;
}

static int refuse(Reason *reason, const char *text) {
    reason_set(reason, "%s", text);
    return ADMISSION_E_REFUSED;
}

/** approve_now() - with the site and tenant of the token it brought, if that is good */
static int approve_now(Admission *admission, const Probe *probe, bool take_over, uint64_t now_ms) {
    SettingsToken token = {0};
    AdmissionToken worth;
    int r = admission_find_token(admission, probe, &token, &worth, now_ms);
    const bool good = worth == ADMISSION_TOKEN_GOOD;
    if (!r && good)
        r = admission_spend(admission, &probe->key, &token, now_ms);
    if (!r)
        r = admission_enrol(admission, &probe->key, PROBE_VIA_APPROVE, good ? &token : NULL,
                            take_over, now_ms);
    return error_trace(r);
}

static int approve(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason) {
    Probe probe;
    if (admission_copy(admission, key, &probe))
        return missing(key, reason);
    if (probe.enrolment.admission == HUB_ADMITTED)
        return refuse(reason, "This probe is admitted already.");
    if (probe.enrolment.admission == HUB_REVOKED)
        return refuse(reason, "This probe's key is revoked; restore it instead.");
    return error_trace(approve_now(admission, &probe, false, now_ms));
}

static int take_over(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason) {
    Probe probe;
    Probe old;
    if (admission_copy(admission, key, &probe))
        return missing(key, reason);
    if (probe.enrolment.admission == HUB_REVOKED)
        return refuse(reason, "This probe's key is revoked; restore it first.");
    if (!*probe.enrolment.namesake.z85 ||
        admission_copy(admission, &probe.enrolment.namesake, &old))
        return refuse(reason, "This probe does not say that it is another one.");
    if (old.connected)
        return refuse(reason, "The probe it says it is has come back with its own key.");
    if (probe.enrolment.admission == HUB_PENDING)
        return error_trace(approve_now(admission, &probe, true, now_ms));
    return error_trace(admission_inherit(admission, key, &old.key));
}

static int expel(Admission *admission, const PeerKey *key, Reason *reason) {
    Probe probe;
    if (admission_copy(admission, key, &probe))
        return missing(key, reason);
    admission_set(admission, key, HUB_REVOKED, "");
    /* first of all it is cut; that it is not kept would be told */
    admission_tell(admission, key, HUB_REVOKED, "");
    if (probe.enrolment.admission == HUB_PENDING)
        probes_end(admission->config.probes, key, clock_wall_ms());
    log_notice("the key of probe %s is revoked, %s", probes_name(&probe), key->z85);
    return error_trace(admission_save(admission, key, NULL));
}

static int restore(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason) {
    Probe probe;
    if (admission_copy(admission, key, &probe))
        return missing(key, reason);
    if (probe.enrolment.admission != HUB_REVOKED)
        return refuse(reason, "This probe's key is not revoked.");
    if (!probe.enrolment.enrolled_ms) /* it had never been admitted */
        return error_trace(approve_now(admission, &probe, false, now_ms));
    admission_set(admission, key, HUB_ADMITTED, "");
    /* that it is not kept would be told; the link must not think otherwise meanwhile */
    admission_tell(admission, key, HUB_ADMITTED, "");
    log_notice("the key of probe %s is admitted again, %s", probes_name(&probe), key->z85);
    return error_trace(admission_save(admission, key, NULL));
}

static int drop(Admission *admission, const PeerKey *key, Reason *reason) {
    Probe probe;
    if (admission_copy(admission, key, &probe))
        return missing(key, reason);
    if (probe.connected && probe.enrolment.admission != HUB_REVOKED)
        return refuse(reason, "This probe is connected and would come again at once; revoke its "
                              "key to keep it out.");
    const SettingsKey row = admission_row_key(key);
    const int r = settings_probes_save(admission->config.settings, NULL, 0, &row, 1);
    if (r)
        return error_trace(r);
    log_notice("probe %s is forgotten, key %s", probes_name(&probe), key->z85);
    admission_drop(admission, key);
    return 0;
}

int admission_approve(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason) {
    (void)pthread_mutex_lock(&admission->lock);
    const int r = approve(admission, key, now_ms, reason);
    (void)pthread_mutex_unlock(&admission->lock);
    return r;
}

int admission_take_over(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason) {
    (void)pthread_mutex_lock(&admission->lock);
    const int r = take_over(admission, key, now_ms, reason);
    (void)pthread_mutex_unlock(&admission->lock);
    return r;
}

int admission_revoke(Admission *admission, const PeerKey *key, Reason *reason) {
    (void)pthread_mutex_lock(&admission->lock);
    const int r = expel(admission, key, reason);
    (void)pthread_mutex_unlock(&admission->lock);
    return r;
}

int admission_restore(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason) {
    (void)pthread_mutex_lock(&admission->lock);
    const int r = restore(admission, key, now_ms, reason);
    (void)pthread_mutex_unlock(&admission->lock);
    return r;
}

int admission_forget(Admission *admission, const PeerKey *key, Reason *reason) {
    (void)pthread_mutex_lock(&admission->lock);
    const int r = drop(admission, key, reason);
    (void)pthread_mutex_unlock(&admission->lock);
    return r;
}

int admission_edit(Admission *admission, const PeerKey *key, const AdmissionEdit *edit,
                   Reason *reason) {
    (void)pthread_mutex_lock(&admission->lock);
    Probe *probe = probes_lock(admission->config.probes, key);
    if (probe) {
        ProbeEnrolment *enrolment = &probe->enrolment;
        if (edit->name)
            admission_text(enrolment->given_name, sizeof(enrolment->given_name), edit->name);
        if (edit->site)
            admission_text(enrolment->site, sizeof(enrolment->site),
                           *edit->site ? edit->site : ADMISSION_LABEL);
        if (edit->tenant)
            admission_text(enrolment->tenant, sizeof(enrolment->tenant),
                           *edit->tenant ? edit->tenant : ADMISSION_LABEL);
        probes_unlock(admission->config.probes);
    }
    const int r = probe ? admission_save(admission, key, NULL) : missing(key, reason);
    (void)pthread_mutex_unlock(&admission->lock);
    return r;
}

int admission_token_make(Admission *admission, const SettingsToken *token,
                         char text[ADMISSION_TOKEN_TEXT], uint64_t *idp) {
    uint8_t bytes[(ADMISSION_TOKEN_TEXT - 1) / 2];
    uint8_t hash[SETTINGS_HASH_BYTES];
    randombytes_buf(bytes, sizeof(bytes));
    (void)sodium_bin2hex(text, ADMISSION_TOKEN_TEXT, bytes, sizeof(bytes));
    (void)crypto_generichash(hash, sizeof(hash), (const uint8_t *)text, ADMISSION_TOKEN_TEXT - 1,
                             NULL, 0);
    SettingsToken row = *token;
    if (!*row.site)
        admission_text(row.site, sizeof(row.site), ADMISSION_LABEL);
    if (!*row.tenant)
        admission_text(row.tenant, sizeof(row.tenant), ADMISSION_LABEL);
    return error_trace(settings_token_add(admission->config.settings, hash, &row, idp));
}
