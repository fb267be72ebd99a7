#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Server Keys
 *
 * What a hub says of its own key pair, as part of a probe's state, and what a probe says of it in
 * its hello: the key of the endpoints a probe is configured with, and, while an administrator
 * changes it, the one to come. It is state: told again and again, applied as often.
 * docs/wire/channel.md has the JSON, docs/decisions/server-key.md the reasons.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct json_t;
typedef struct Json Json;

/** ServerKeys - public keys, 40 characters Z85 */
typedef struct ServerKeys {
    uint64_t version; /* grows with each change; 0: there never was one, nothing is said */
    char now[41];
    char next[41]; /* "": no change is under way */
    /* where `next` is served already, beside `now`; the host is that of the probe's endpoints.
     * 0: nowhere of its own */
    uint16_t data_port;
    uint16_t events_port;
} ServerKeys;

/** ServerKeysHeld - what a probe says: it has these keys on its disk, and uses that one */
typedef struct ServerKeysHeld {
    bool said; /* else it does not know of such changes, or has not been told of one */
    char now[41];
    char next[41];
    char uses[41];
    char trouble[96]; /* why it could not keep what it was told; "" */
} ServerKeysHeld;

/** server_keys_write() - {"version": …}, as a member, or as a value with `name` NULL */
void server_keys_write(Json *json, const char *name, const ServerKeys *keys);

/** server_keys_read() - false: NULL, or not in order; *keys is untouched */
bool server_keys_read(ServerKeys *keys, const struct json_t *object);

/** server_keys_same() - the same keys in the same place, whatever the version */
bool server_keys_same(const ServerKeys *a, const ServerKeys *b);

/** server_keys_hello() - the hello, a JSON object, with what is held added to it */
void server_keys_hello(Buffer *to, const char *hello, const ServerKeysHeld *held);

/** server_keys_held() - from a hello; one that does not say it gives .said = false */
void server_keys_held(ServerKeysHeld *held, const char *hello);
