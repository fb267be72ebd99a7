#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Server Key
 *
 * The hub's key pair, and its change, which an administrator begins and ends: a next pair is made,
 * handed to every probe over the channel and served on ports of its own beside the present one;
 * when all have confirmed that they hold it, it takes the place of the present one, which is
 * retired. docs/decisions/server-key.md says why so. Any thread may call; times are passed in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "channel/hub_link.h"
#include "channel/keys.h"
#include "hub/pages.h"
#include "hub/probes.h"
#include "hub/settings.h"

typedef struct ServerKey ServerKey;

typedef struct ServerKeyConfig {
    const char *data_dir;
    const KeyPair *keys; /* the present pair, as loaded; copied */
    Settings *settings;
    Probes *probes;
    const HubInterface *interfaces;
    size_t n_interfaces;
    bool shared_events; /* one events endpoint serves all */
    MetricValue *unconfirmed;
} ServerKeyConfig;

enum {
    _SERVER_KEY_E_SUCCESS,
    SERVER_KEY_E_REFUSED,     /* not as things are, or a port is in use: the reason says why */
    SERVER_KEY_E_UNCONFIRMED, /* some would be lost; the reason names them */
};

/** server_key_new() - with what was known of a change before the start */
int server_key_new(ServerKey **keyp, const ServerKeyConfig *config, Reason *reason);
ServerKey *server_key_free(ServerKey *key);

/** server_key_start() - when the link has started: what is not as it should be goes to the log */
int server_key_start(ServerKey *key, HubLink *link);

/** server_key_public() - of the present pair */
void server_key_public(ServerKey *key, char z85[41]);

/** server_key_make() - a next pair; served from `first_port` (0: the first free ones) */
int server_key_make(ServerKey *key, uint16_t first_port, uint64_t now_ms, Reason *reason);

/** server_key_cancel() - the next pair is taken back */
int server_key_cancel(ServerKey *key, Reason *reason);

/** server_key_finish() - the next pair is the present one; `force`: whoever has not confirmed it */
int server_key_finish(ServerKey *key, bool force, uint64_t now_ms, Reason *reason);

/** server_key_hello() - a probe said its hello */
void server_key_hello(ServerKey *key, const PeerKey *probe, const char *hello);

/** server_key_second() - each second: to the disk, to the log, to the metrics */
void server_key_second(ServerKey *key);

typedef enum ServerKeyState {
    SERVER_KEY_SINGLE,    /* one pair */
    SERVER_KEY_HANDING,   /* a next one is handed over */
    SERVER_KEY_FINISHING, /* what is over is still being closed */
    _SERVER_KEY_STATE_N,
} ServerKeyState;

extern const char *const server_key_state_names[_SERVER_KEY_STATE_N];

typedef struct ServerKeyStatus {
    ServerKeyState state;
    uint64_t version;
    char now[41];
    char next[41];
    uint64_t made_ms;    /* of the next pair */
    uint64_t changed_ms; /* when the present one took its place; 0: never */
    char trouble[256];
    uint64_t confirmed; /* admitted probes that hold the newest key */
    uint64_t unconfirmed;
    uint64_t using_next; /* and are connected by the next one */
} ServerKeyStatus;

void server_key_status(ServerKey *key, ServerKeyStatus *status);

/** server_key_ports() - of the next key at an interface; 0: none */
HubNextPorts server_key_ports(ServerKey *key, unsigned interface);

/** ServerKeyMissing - an admitted probe that has not confirmed the newest key */
typedef struct ServerKeyMissing {
    PeerKey key;
    char name[256];
    char site[65];
    bool connected;
    uint64_t last_seen_ms;
    char reason[160];
} ServerKeyMissing;

/** server_key_missing() - all of them, by name; the caller's to free() */
int server_key_missing(ServerKey *key, uint64_t now_ms, ServerKeyMissing **missingp, size_t *np);

/** server_key_was_lost() - after a change: is such a probe known at this address? */
bool server_key_was_lost(ServerKey *key, const char *address);

DEFINE_CLEANUP(ServerKey *, server_key_free)
