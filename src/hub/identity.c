/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/identity.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "channel/keystring.h"
#include "hub/hub.h"
#include "hub/server_key_files.h"

int hub_refused(int r, int answer, Reason *reason) {
    char text[256];
    if (r > 0)
        return answer;
    if (r < 0 && !*reason->text)
        reason_set(reason, "%s", error_describe(r, text, sizeof(text)));
    return error_trace(r);
}

/* --zmq-encryption-key-priv, if it is given */
int hub_given_keys(KeyPair *given, const HubConfig *config, Reason *reason) {
    Reason detail = {0};
    if (!config->private_key)
        return 0;
    const int r = key_pair_from_secret(given, config->private_key, &detail);
    if (r > 0)
        reason_set(reason, "--zmq-encryption-key-priv: %s", detail.text);
    return hub_refused(r, HUB_E_USAGE, reason);
}

/* it is kept in the data directory, but never put over another pair */
static int keep_private_key(const HubConfig *config, Reason *reason) {
    KeyPair given = {0};
    int r = hub_given_keys(&given, config, reason);
    if (r)
        return r;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/zmq-key.priv", config->data_dir);
    if (access(path, F_OK) == 0) {
        KeyPair kept = {0};
        r = key_pair_load(&kept, config->data_dir, reason);
        if (!r && server_key_files_retired(given.secret_z85, config->data_dir)) {
            log_notice("--zmq-encryption-key-priv is the key that was changed; the one in %s is "
                       "used, and the option can be left out",
                       config->data_dir);
        } else if (!r && strcmp(kept.secret_z85, given.secret_z85) != 0) {
            reason_set(reason,
                       "--zmq-encryption-key-priv: %s holds another key; remove zmq-key.priv and "
                       "zmq-key.pub there to use this one, or leave the option out",
                       config->data_dir);
            r = KEYS_E_REFUSED;
        }
        key_pair_wipe(&kept);
    } else {
        r = file_write(path, given.secret_z85, 40, 0600, reason);
        (void)snprintf(path, sizeof(path), "%s/zmq-key.pub", config->data_dir);
        if (!r)
            r = file_write(path, given.public_z85, 40, 0600, reason);
    }
    key_pair_wipe(&given);
    return hub_refused(r, HUB_E_REFUSED, reason);
}

int hub_load_keys(KeyPair *keys, const HubConfig *config, Reason *reason) {
    if (config->private_key) {
        const int r = keep_private_key(config, reason);
        if (r)
            return r;
    }
    return hub_refused(key_pair_load(keys, config->data_dir, reason), HUB_E_REFUSED, reason);
}

int hub_key_string(char **textp, const char *public_z85, const char *token) {
    Buffer text = {0};
    KeyString key = {0};
    memcpy(key.server_z85, public_z85, sizeof(key.server_z85));
    (void)snprintf(key.token, sizeof(key.token), "%s", token);
    const int r = keystring_write(&text, &key);
    char *copy = r || text.failed ? NULL : strdup(buffer_text(&text));
    buffer_deinit(&text);
    if (!copy)
        return error_origin(r < 0 ? r : -ENOMEM);
    *textp = copy;
    return 0;
}

static int print_sample(const HubConfig *config, const KeyPair *keys, FILE *out, Reason *reason) {
    HubInterface interface = {0};
    PageAddress address = {0};
    int r = pages_interface(&interface, config, 0, reason);
    if (!r)
        r = pages_address(&address, &interface, config->public_address, NULL, NULL, reason);
    if (r)
        return hub_refused(r, HUB_E_USAGE, reason);
    char *text = NULL;
    r = hub_key_string(&text, keys->public_z85, "");
    if (r)
        return error_trace(r);
    Buffer file = {0};
    pages_sample_config(&file, &interface, address.host, text, false);
    (void)fputs(buffer_text(&file), out);
    buffer_deinit(&file);
    free(text);
    return 0;
}

int hub_print(const HubConfig *config, FILE *out, Reason *reason) {
    if (config->print_sample_config && !config->interfaces.n) {
        reason_set(reason, "--print-sample-config needs the hub's -i, for example "
                           "-i tcp://*:5556c");
        return HUB_E_USAGE;
    }
    KeyPair keys = {0};
    int r = hub_given_keys(&keys, config, reason);
    if (r)
        return r;
    /* a running hub holds the folder's lock, and its keys are there already */
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/zmq-key.pub", config->data_dir);
    cleanup(closep) int lock_fd = -1;
    if (access(path, F_OK) != 0) {
        r = dir_own(&lock_fd, config->data_dir, reason);
        if (r)
            return hub_refused(r, HUB_E_REFUSED, reason);
    }
    (void)snprintf(path, sizeof(path), "%s/zmq-key.priv", config->data_dir);
    const bool fresh = access(path, F_OK) != 0;
    r = hub_load_keys(&keys, config, reason);
    if (r)
        return r;
    if (fresh) /* a folder that was mistyped has another key than the hub */
        log_notice("there was no key pair in %s; it is made now", config->data_dir);
    if (config->print_public_key) {
        char hex[81];
        keystring_hex(hex, keys.public_z85);
        (void)fprintf(out, "%s\n", hex);
    }
    if (config->print_sample_config)
        r = print_sample(config, &keys, out, reason);
    key_pair_wipe(&keys);
    return r;
}
