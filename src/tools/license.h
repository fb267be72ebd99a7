#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * weir-license
 *
 * The vendor's tool. Each command is a row: what it takes, what it needs, what it does.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/option.h"
#include "base/reason.h"
#include "licence/vendor.h"

typedef struct LicenseConfig {
    const char *key;             /* file of the private key */
    const char *passphrase_file; /* NULL: asked for */
    const char *kid;
    const char *kind;
    const char *customer;
    const char *id;
    uint32_t probes;
    const char *expires;
    uint32_t grace_days;
    const char *not_before;
    const char *system_id;
    const char *output;
    OptionList vendor_keys;
    const char *revocations;
    const char *at;
    bool json;
    OptionList operands; /* what stands behind the command */
} LicenseConfig;

/* exit codes */
enum { LICENSE_DONE, LICENSE_REFUSED, LICENSE_USAGE };

typedef struct LicenseCommand {
    const char *name;
    size_t n_operands;
    const char *operands; /* as usage has it */
    const char *takes;    /* names of its options, a space around each; those needed end in ! */
    int (*run)(const LicenseConfig *config, Reason *reason);
} LicenseCommand;

extern const OptionProgram license_program;

/* each: 0, or an exit code and the reason; negative errno when something is broken */
int license_keygen(const LicenseConfig *config, Reason *reason);
int license_issue(const LicenseConfig *config, Reason *reason);
int license_inspect(const LicenseConfig *config, Reason *reason);
int license_verify(const LicenseConfig *config, Reason *reason);
int license_revoke(const LicenseConfig *config, Reason *reason);

/** license_keys() - the signer's own, if not NULL, those named, then those built in; the caller
 * frees keys->keys */
int license_keys(VendorKeys *keys, const VendorKey *own, const OptionList *named, Reason *reason);

enum { PASSPHRASE_MAX = 1024 };

/** license_passphrase() - from the file, or asked for at the terminal; twice when it is new */
int license_passphrase(char text[PASSPHRASE_MAX], const char *file, bool is_new, Reason *reason);
