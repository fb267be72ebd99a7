#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Keys
 *
 * What a probe link knows of its hub's keys: the one it was configured with, what the hub said and
 * was kept of it, and by which way it is reached now. The link's thread's own. Internal to the
 * layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "channel/probe_lines.h"
#include "channel/probe_link.h"
#include "channel/probe_routes.h"
#include "channel/server_keys.h"

typedef struct ProbeKeys {
    char endpoint[280]; /* as configured, for words */
    char configured[41];
    bool binds[PROBE_N_SIDES]; /* events named: the hub binds them; else who binds data does */
    bool (*keep)(void *userdata, const ServerKeys *keys);
    void (*on_note)(void *userdata, const char *text);
    void *userdata;
    ServerKeys kept; /* on the disk; .version 0: nothing */
    ServerKeysHeld held;
    ProbeRoutes routes;
    uint64_t refused_ms; /* when it could not be kept, 0: it could */
    bool was_good;
    char trouble[512];                   /* why the first route did not do */
    uint16_t tried_ports[PROBE_N_SIDES]; /* of it: the hub may tell others on the next one */
    Buffer hello;
} ProbeKeys;

void probe_keys_init(ProbeKeys *keys, const ProbeLinkConfig *config, uint64_t now_ms);
void probe_keys_deinit(ProbeKeys *keys);

/** probe_keys_told() - the hub's state is there; true: what the hello says has changed */
bool probe_keys_told(ProbeKeys *keys, const ServerKeys *told, uint64_t now_ms);

/** probe_keys_hello() - with what is held; valid until the next call. NULL: out of memory */
const char *probe_keys_hello(ProbeKeys *keys, const char *hello);

/** probe_keys_step() - true: time for probe_keys_go(). `reason` is that of the link at present */
bool probe_keys_step(ProbeKeys *keys, ProbeLines *lines, const char *reason, uint64_t now_ms);

/** probe_keys_place() - where the side is attached on the present route */
Endpoint probe_keys_place(const ProbeKeys *keys, const Endpoint configured[PROBE_N_SIDES],
                          int side);

/** probe_keys_go() - over to the present route */
int probe_keys_go(const ProbeKeys *keys, ProbeLines *lines,
                  const Endpoint configured[PROBE_N_SIDES]);

/** probe_keys_handed() - the key in use is not the one of the configuration */
bool probe_keys_handed(const ProbeKeys *keys);
