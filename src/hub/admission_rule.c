/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/admission.h"

#include <string.h>

const char *const admission_mode_names[_ADMISSION_MODE_N + 1] = {
    [ADMISSION_OPEN] = "open",
    [ADMISSION_TOKEN] = "token",
    [ADMISSION_APPROVE] = "approve",
};

AdmissionToken admission_judge_token(const SettingsToken *token, bool used, uint64_t now_ms) {
    if (token->expires_ms && now_ms >= token->expires_ms)
        return ADMISSION_TOKEN_EXPIRED;
    if (!used && token->uses_max && token->uses >= token->uses_max)
        return ADMISSION_TOKEN_USED_UP;
    return ADMISSION_TOKEN_GOOD;
}

bool admission_token_covers(const SettingsToken *token, const ProbeEnrolment *old) {
    if (strcmp(token->tenant, old->tenant) != 0)
        return false;
    return strcmp(token->site, old->site) == 0 || (token->id && token->id == old->token);
}

AdmissionVerdict admission_judge(AdmissionMode mode, AdmissionToken token, bool away) {
    static const char *const reasons[_ADMISSION_TOKEN_N] = {
        [ADMISSION_TOKEN_NONE] =
            "this hub admits new probes by a join token, and its key string has none",
        [ADMISSION_TOKEN_UNKNOWN] = "this hub does not know its join token",
        [ADMISSION_TOKEN_EXPIRED] = "its join token has expired",
        [ADMISSION_TOKEN_USED_UP] = "its join token is used up",
    };
    if (mode == ADMISSION_APPROVE)
        return (AdmissionVerdict){.reason = "an administrator of the hub has to approve it"};
    if (token == ADMISSION_TOKEN_GOOD)
        return (AdmissionVerdict){.admit = true, .take_over = away, .via = PROBE_VIA_TOKEN};
    if (mode == ADMISSION_OPEN)
        return (AdmissionVerdict){.admit = true, .via = PROBE_VIA_OPEN};
    return (AdmissionVerdict){.reason = reasons[token]};
}
