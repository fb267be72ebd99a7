/* SPDX-License-Identifier: Apache-2.0 */

/* the commands for anybody: inspect, verify */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "licence/judge.h"
#include "licence/licence.h"
#include "licence/revocations.h"
#include "tools/license.h"

int license_keys(VendorKeys *keys, const VendorKey *own, const OptionList *named, Reason *reason) {
    const VendorKeys built_in = vendor_keys();
    const size_t first = own ? 1 : 0; /* of those named */
    const size_t n_given = first + named->n;
    VendorKey *all = calloc(n_given + built_in.n, sizeof(*all));
    if (!all)
        return error_origin(-ENOMEM);
    if (own)
        all[0] = *own;
    memcpy(all + n_given, built_in.keys, built_in.n * sizeof(*all));
    for (size_t i = 0; i < named->n; i++) {
        const char *text = named->values[i];
        VendorKey *key = &all[first + i];
        size_t n = strcspn(text, ":");
        size_t size = 0;
        if (n <= VENDOR_KID_MAX)
            memcpy(key->kid, text, n);
        if (!vendor_kid_valid(key->kid) || text[n] != ':' || strlen(text + n + 1) != 64 ||
            sodium_hex2bin(key->public_key, VENDOR_PUBLIC_BYTES, text + n + 1, 64, NULL, &size,
                           NULL) != 0 ||
            size != VENDOR_PUBLIC_BYTES) {
            reason_set(reason, "--vendor-key %s is not KID:HEX with 64 digits, as keygen prints it",
                       text);
            free(all);
            return LICENSE_USAGE;
        }
    }
    *keys = (VendorKeys){.keys = all, .n = n_given + built_in.n};
    return 0;
}

/* a positive answer of any reader of signed lines */
static int refused(int r, const char *path, const Reason *why, Reason *reason) {
    if (r <= 0)
        return error_trace(r);
    reason_set(reason, "%s: %s", path, why->text);
    return LICENSE_REFUSED;
}

static int read_text(Buffer *text, const char *path, Reason *reason) {
    int r = file_read_any(text, path, TOKEN_BYTES_MAX, reason);
    return r == FILE_E_REFUSED ? LICENSE_REFUSED : error_trace(r);
}

static int read_licence(Licence *licence, const char *path, const VendorKeys *keys,
                        Reason *reason) {
    Reason why = {""};
    cleanup(buffer_deinit) Buffer text = {0};
    int r = read_text(&text, path, reason);
    if (r)
        return error_trace(r);
    r = licence_parse(licence, (const char *)text.bytes, text.size, keys, &why);
    return refused(r, path, &why, reason);
}

static int show(const Licence *licence, bool as_json, const char *state, const char *why) {
    cleanup(buffer_deinit) Buffer out = {0};
    Json json = json_make(&out);
    if (as_json) {
        json_object_begin(&json, NULL);
        licence_write_json(licence, &json);
        if (state) {
            json_text(&json, "state", state);
            json_text(&json, "why", why);
        }
        json_object_end(&json);
        buffer_put_text(&out, "\n");
    } else if (state) {
        buffer_printf(&out, "%s\n", why);
    } else {
        licence_print(licence, &out);
    }
    return out.failed || fputs(buffer_text(&out), stdout) < 0 ? LICENSE_REFUSED : LICENSE_DONE;
}

int license_inspect(const LicenseConfig *config, Reason *reason) {
    VendorKeys keys = {0};
    Licence licence;
    int r = license_keys(&keys, NULL, &config->vendor_keys, reason);
    if (r == 0)
        r = read_licence(&licence, config->operands.values[0], &keys, reason);
    free((void *)(uintptr_t)keys.keys);
    return r ? error_trace(r) : show(&licence, config->json, NULL, NULL);
}

static int read_list(Revocations **listp, const char *path, const VendorKeys *keys,
                     Reason *reason) {
    Reason why = {""};
    cleanup(buffer_deinit) Buffer text = {0};
    int r = path ? read_text(&text, path, reason) : 0;
    if (r || !path)
        return error_trace(r);
    r = revocations_parse(listp, (const char *)text.bytes, text.size, keys, &why);
    return refused(r, path, &why, reason);
}

/* without --system-id, this machine */
static int read_place(LicencePlace *place, SystemId *here, const LicenseConfig *config,
                      const Licence *licence, Reason *reason) {
    place->probe = licence->kind == LICENCE_PROBE;
    place->now_s = (int64_t)(clock_wall_ms() / 1000);
    place->here = here;
    if (config->at && !licence_read_date(&place->now_s, config->at)) {
        reason_set(reason, "--at %s is no date: 2027-12-31 or 2027-12-31T12:00:00Z", config->at);
        return LICENSE_USAGE;
    }
    if (!config->system_id)
        system_id_look(here, "", SYSTEM_ID_CACHE);
    else if (system_id_parse(here, config->system_id, reason))
        return LICENSE_USAGE;
    return 0;
}

int license_verify(const LicenseConfig *config, Reason *reason) {
    VendorKeys keys = {0};
    Licence licence;
    SystemId here = {0};
    LicencePlace place = {0};
    Reason why = {""};
    cleanup(revocations_freep) Revocations *list = NULL;
    int r = license_keys(&keys, NULL, &config->vendor_keys, reason);
    if (r == 0)
        r = read_licence(&licence, config->operands.values[0], &keys, reason);
    if (r == 0)
        r = read_list(&list, config->revocations, &keys, reason);
    if (r == 0)
        r = read_place(&place, &here, config, &licence, reason);
    free((void *)(uintptr_t)keys.keys);
    if (r)
        return error_trace(r);
    place.revoked = list;
    LicenceState state = licence_judge(&licence, &place, &why);
    r = show(&licence, config->json, licence_state_name(state), why.text);
    return licence_unlocks(state) ? r : LICENSE_REFUSED;
}
