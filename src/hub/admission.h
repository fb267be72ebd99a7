#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Admission
 *
 * Who may deliver. Holding the server's public key is enough to connect; what happens next is told
 * by the mode: `open` admits, `token` admits who brings a join token, `approve` waits for an
 * administrator. What was decided of a key stays decided, in <data-dir>/weir.sqlite, whatever the
 * mode becomes. Any thread may call; times are passed in.
 *
 * The mode is what was chosen last: with --admission, or in the web page. A start with the same
 * option as before does not undo what the page said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/hub_link.h"
#include "hub/pages.h"
#include "hub/probes.h"
#include "hub/settings.h"

typedef struct Admission Admission;

enum {
    ADMISSION_PENDING_MAX = 1000, /* kept; the longest unseen makes room */
    /* of those who came unasked since the start: they went without having said a flow */
    ADMISSION_UNUSED_MAX = 500,
};

typedef enum AdmissionMode {
    ADMISSION_OPEN,
    ADMISSION_TOKEN,
    ADMISSION_APPROVE,
    _ADMISSION_MODE_N,
} AdmissionMode;

extern const char *const admission_mode_names[_ADMISSION_MODE_N + 1]; /* NULL at the end */

typedef struct AdmissionConfig {
    Settings *settings;
    Probes *probes;
    const HubInterface *interfaces;
    size_t n_interfaces;
    AdmissionMode option; /* --admission */
    /* the verdict, for the link; called with a lock held, so it must not call this module */
    void (*tell)(void *userdata, const PeerKey *key, HubAdmission admission, const char *reason);
    /* what the probe of `from` was is now that of `to`; likewise. May be NULL */
    void (*moved)(void *userdata, const PeerKey *from, const PeerKey *to);
    void *userdata;
} AdmissionConfig;

enum {
    _ADMISSION_E_SUCCESS,
    ADMISSION_E_MISSING, /* no such probe or token */
    ADMISSION_E_REFUSED, /* not as things are; the reason says why */
};

/** admission_new() - and all that is known into `probes` */
int admission_new(Admission **admissionp, const AdmissionConfig *config);
Admission *admission_free(Admission *admission);

/** admission_start() - tell of every key that is decided; once tell() can be called */
void admission_start(Admission *admission);

/** admission_hello() - a session began, or its probe says something new: decide */
void admission_hello(Admission *admission, const PeerKey *key, unsigned interface,
                     const char *address, const char *json, uint64_t now_ms);

/** admission_flush() - what changed to the disk, in one transaction; call it each second */
void admission_flush(Admission *admission);

AdmissionMode admission_mode(Admission *admission);

/** admission_set_mode() - from now on, and kept; who waits is judged anew */
int admission_set_mode(Admission *admission, AdmissionMode mode, uint64_t now_ms);

/* what an administrator decides of one probe. 0, or an answer with its reason */
int admission_approve(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason);
/** admission_take_over() - it is the probe it says it is: its name, site, tenant and number */
int admission_take_over(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason);
int admission_revoke(Admission *admission, const PeerKey *key, Reason *reason);
int admission_restore(Admission *admission, const PeerKey *key, uint64_t now_ms, Reason *reason);
/** admission_keep() - what is known of it, to the disk now: an administrator is told it is so */
int admission_keep(Admission *admission, const PeerKey *key);
/** admission_forget() - as if it had never come; its flows stay */
int admission_forget(Admission *admission, const PeerKey *key, Reason *reason);

/* NULL: as it is. An empty name: the one the probe says; an empty site or tenant: default */
typedef struct AdmissionEdit {
    const char *name;
    const char *site;
    const char *tenant;
} AdmissionEdit;

int admission_edit(Admission *admission, const PeerKey *key, const AdmissionEdit *edit,
                   Reason *reason);

/* join tokens */

enum { ADMISSION_TOKEN_TEXT = 32 + 1 };

/** admission_token_make() - `text` is told this once; kept is its hash */
int admission_token_make(Admission *admission, const SettingsToken *token,
                         char text[ADMISSION_TOKEN_TEXT], uint64_t *idp);

/* ---------------------------------------------------------------------------------- the rule */

typedef enum AdmissionToken {
    ADMISSION_TOKEN_NONE,
    ADMISSION_TOKEN_GOOD,
    ADMISSION_TOKEN_UNKNOWN,
    ADMISSION_TOKEN_EXPIRED,
    ADMISSION_TOKEN_USED_UP,
    _ADMISSION_TOKEN_N,
} AdmissionToken;

/** admission_judge_token() - `used`: by this key already, which costs nothing more */
AdmissionToken admission_judge_token(const SettingsToken *token, bool used, uint64_t now_ms);

typedef struct AdmissionVerdict {
    bool admit;
    bool take_over; /* the place of its namesake */
    ProbeVia via;
    const char *reason; /* why not */
} AdmissionVerdict;

/** admission_token_covers() - a token opens the place of a probe of its own tenant and site only;
 * that site may have been changed since this token was what admitted the probe */
bool admission_token_covers(const SettingsToken *token, const ProbeEnrolment *old);

/** admission_judge() - `away`: a probe of the same id is known, its key has no session, and the
 * token covers it */
AdmissionVerdict admission_judge(AdmissionMode mode, AdmissionToken token, bool away);

DEFINE_CLEANUP(Admission *, admission_free)
