/* SPDX-License-Identifier: Apache-2.0 */

/* the commands that need the private key: keygen, issue, revoke */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "licence/licence.h"
#include "licence/revocations.h"
#include "licence/vendor_secret.h"
#include "tools/license.h"

enum { DAY_S = 86400, ID_BYTES = 8 };

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

static int open_key(VendorSecret *secret, const LicenseConfig *config, Reason *reason) {
    char passphrase[PASSPHRASE_MAX];
    int r = license_passphrase(passphrase, config->passphrase_file, false, reason);
    if (r == 0)
        r = vendor_secret_load(secret, config->key, passphrase, reason);
    explicit_bzero(passphrase, sizeof(passphrase));
    return r == VENDOR_SECRET_E_REFUSED ? LICENSE_REFUSED : error_trace(r);
}

int license_keygen(const LicenseConfig *config, Reason *reason) {
    char passphrase[PASSPHRASE_MAX];
    char hex[2 * VENDOR_PUBLIC_BYTES + 1];
    if (!vendor_kid_valid(config->kid)) {
        reason_set(reason, "--kid '%s': 1 to %d of a-z, 0-9, - and _", config->kid, VENDOR_KID_MAX);
        return LICENSE_USAGE;
    }
    int r = license_passphrase(passphrase, config->passphrase_file, true, reason);
    if (r)
        return error_trace(r);
    VendorSecret secret;
    vendor_secret_make(&secret, config->kid);
    r = vendor_secret_save(&secret, config->key, passphrase, reason);
    explicit_bzero(passphrase, sizeof(passphrase));
    (void)sodium_bin2hex(hex, sizeof(hex), secret.key.public_key, VENDOR_PUBLIC_BYTES);
    vendor_secret_wipe(&secret);
    if (r)
        return r == VENDOR_SECRET_E_REFUSED ? LICENSE_REFUSED : error_trace(r);
    (void)printf("The private key is in %s; keep it, and its passphrase, off every hub and probe.\n"
                 "Build the programs you ship with its public half:\n"
                 "  scripts/setup build -Dlicense_keys=%s:%s\n",
                 config->key, config->kid, hex);
    return LICENSE_DONE;
}

static int refuse_date(Reason *reason, const char *option, const char *text) {
    reason_set(reason,
               "--%s %s is no date: 2027-12-31, 2027-12-31T12:00:00Z, a number of days such as "
               "365d, or never",
               option, text);
    return LICENSE_USAGE;
}

static int read_expiry(int64_t *time_s, const char *text, int64_t from_s, Reason *reason) {
    char *end = NULL;
    if (strcmp(text, "never") == 0) {
        *time_s = 0;
        return 0;
    }
    errno = 0;
    long days = strtol(text, &end, 10);
    if (end != text && strcmp(end, "d") == 0 && errno == 0 && days > 0 && days <= 36500) {
        *time_s = (from_s / DAY_S + 1 + days) * DAY_S; /* whole days, the present one for free */
        return 0;
    }
    return licence_read_date(time_s, text) ? 0 : refuse_date(reason, "expires", text);
}

/* what belongs together: a cloud licence has probes, the others a machine */
static int check_kind(const LicenseConfig *config, const Licence *licence, Reason *reason) {
    const char *wrong = NULL;
    if (licence->kind == LICENCE_CLOUD && !licence->max_probes)
        wrong = "a cloud licence needs --probes N";
    else if (licence->kind != LICENCE_CLOUD && licence->max_probes)
        wrong = "--probes belongs to a cloud licence";
    else if (licence->kind != LICENCE_CLOUD && !config->system_id)
        wrong = "a hub's and a probe's licence need --system-id, as that program's --version "
                "prints it";
    else if (licence->bound && system_id_facts(&licence->system) < SYSTEM_FACTS_NEEDED)
        wrong = "this System ID has fewer than two facts, so the licence would hold nowhere: issue "
                "a cloud licence";
    else if (licence->expiry_s && licence->expiry_s <= licence->not_before_s)
        wrong = "it would end before it begins (--expires, --not-before)";
    if (!wrong)
        return 0;
    reason_set(reason, "%s", wrong);
    return LICENSE_USAGE;
}

static int fill(Licence *licence, const LicenseConfig *config, Reason *reason) {
    *licence = (Licence){
        .max_probes = config->probes,
        .issued_s = now_s(),
        .not_before_s = now_s(),
        .grace_days = config->grace_days,
        .bound = config->system_id,
    };
    if (!licence_kind_find(&licence->kind, config->kind)) {
        reason_set(reason, "--kind '%s': cloud, hub or probe", config->kind);
        return LICENSE_USAGE;
    }
    if (config->not_before && !licence_read_date(&licence->not_before_s, config->not_before))
        return refuse_date(reason, "not-before", config->not_before);
    int r = read_expiry(&licence->expiry_s, config->expires, licence->not_before_s, reason);
    if (r)
        return r;
    if (config->system_id && system_id_parse(&licence->system, config->system_id, reason))
        return LICENSE_USAGE;
    uint8_t random[ID_BYTES];
    randombytes_buf(random, sizeof(random));
    (void)sodium_bin2hex(licence->id, sizeof(licence->id), random, sizeof(random));
    const struct {
        const char *option, *text;
        char *to;
        size_t size;
    } texts[] = {{"customer", config->customer, licence->customer, sizeof(licence->customer)},
                 {"id", config->id, licence->id, sizeof(licence->id)}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t n = texts[i].text ? strlen(texts[i].text) : 0;
        if (texts[i].text && (n == 0 || n >= texts[i].size)) {
            reason_set(reason, "--%s is 1 to %zu bytes long", texts[i].option, texts[i].size - 1);
            return LICENSE_USAGE;
        }
        if (texts[i].text)
            memcpy(texts[i].to, texts[i].text, n + 1);
    }
    return check_kind(config, licence, reason);
}

static int put_out(const Buffer *line, const char *path, Reason *reason) {
    if (strcmp(path, "-") == 0)
        return fwrite(line->bytes, 1, line->size, stdout) == line->size ? LICENSE_DONE
                                                                        : LICENSE_REFUSED;
    int r = file_write(path, line->bytes, line->size, 0644, reason);
    return r == FILE_E_REFUSED ? LICENSE_REFUSED : error_trace(r);
}

/* what a licence made here can be called */
static bool id_valid(const char *id) {
    const size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return n > 0 && !id[n] && n < sizeof(((Licence *)0)->id);
}

int license_issue(const LicenseConfig *config, Reason *reason) {
    VendorSecret secret;
    Licence licence;
    cleanup(buffer_deinit) Buffer line = {0};
    if (config->id && !id_valid(config->id)) {
        reason_set(reason, "--id '%.60s': 1 to 32 letters, digits, - and _", config->id);
        return LICENSE_USAGE;
    }
    int r = fill(&licence, config, reason);
    if (r == 0)
        r = open_key(&secret, config, reason);
    if (r)
        return error_trace(r);
    memcpy(licence.kid, secret.key.kid, sizeof(licence.kid));
    r = licence_sign(&line, &licence, secret.secret_key, reason);
    vendor_secret_wipe(&secret);
    if (r)
        return r == LICENCE_E_CLAIM ? LICENSE_USAGE : error_trace(r);
    return put_out(&line, config->output, reason);
}

/* the list there is, or an empty one */
static int open_list(Revocations **listp, const char *path, const VendorKeys *keys,
                     Reason *reason) {
    Reason why = {""};
    cleanup(buffer_deinit) Buffer text = {0};
    if (access(path, F_OK) != 0) {
        *listp = revocations_new();
        return *listp ? 0 : error_origin(-ENOMEM);
    }
    int r = file_read_any(&text, path, TOKEN_BYTES_MAX, reason);
    if (r)
        return r == FILE_E_REFUSED ? LICENSE_REFUSED : error_trace(r);
    r = revocations_parse(listp, (const char *)text.bytes, text.size, keys, &why);
    if (r <= 0)
        return error_trace(r);
    reason_set(reason,
               "%s is no list that this key, or one given with --vendor-key, has signed: %s", path,
               why.text);
    return LICENSE_REFUSED;
}

int license_revoke(const LicenseConfig *config, Reason *reason) {
    const char *path = config->operands.values[0];
    const char *id = config->operands.values[1];
    VendorSecret secret;
    VendorKeys keys = {0};
    cleanup(revocations_freep) Revocations *list = NULL;
    cleanup(buffer_deinit) Buffer line = {0};
    if (!id_valid(id)) {
        reason_set(reason,
                   "'%.60s' is no licence's id (1 to 32 letters, digits, - and _): weir-license "
                   "inspect FILE shows it",
                   id);
        return LICENSE_USAGE;
    }
    int r = open_key(&secret, config, reason);
    if (r)
        return error_trace(r);
    /* not only its own: a new key carries on the list of the one before */
    r = license_keys(&keys, &secret.key, &config->vendor_keys, reason);
    if (r == 0)
        r = open_list(&list, path, &keys, reason);
    free((void *)(uintptr_t)keys.keys);
    if (r == 0)
        r = revocations_add(list, id);
    if (r == 0)
        r = revocations_sign(&line, list, secret.key.kid, now_s(), secret.secret_key);
    vendor_secret_wipe(&secret);
    if (r == 0)
        r = put_out(&line, path, reason);
    if (r == 0)
        (void)printf("%s holds %zu revoked licence%s; upload it on the hub's Licence page, or put "
                     "it beside the hub's licence file\n",
                     path, revocations_count(list), revocations_count(list) == 1 ? "" : "s");
    return error_trace(r);
}
