#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub
 *
 * Everything the running hub consists of, made by hub_open() in the order in which it can fail,
 * and taken down in reverse. The handlers of the API get it as their context.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/hub_link.h"
#include "channel/keys.h"
#include "http/server.h"
#include "hub/admission.h"
#include "hub/auth.h"
#include "hub/configure.h"
#include "hub/exporters.h"
#include "hub/exporters_keep.h"
#include "hub/ingest.h"
#include "hub/licensing.h"
#include "hub/live.h"
#include "hub/metrics.h"
#include "hub/options.h"
#include "hub/pages.h"
#include "hub/probes.h"
#include "hub/server_key.h"
#include "hub/settings.h"
#include "hub/watch.h"
#include "store/store.h"

/* that are open all the time, and are never replaced */
enum { HUB_FILES = 2 };

typedef struct Hub {
    HubAuthContext auth_context; /* first: what auth's handlers expect of the server's context */
    const HubConfig *config;
    HubListen http_listen;
    HubListen https_listen;
    HubInterface *interfaces;
    size_t n_interfaces;
    int lock_fd;                  /* the data directory's */
    struct stat files[HUB_FILES]; /* as they were opened, see hub_lost() */
    KeyPair keys;                 /* as at the start; then of server_key */
    Settings *settings;
    Auth *auth;
    Store *store;
    Live *live;
    Probes *probes;
    Admission *admission;
    Licensing *licensing;
    Configure *configure;
    Exporters *exporters;
    ExportersKeep *exporters_keep;
    ServerKey *server_key;
    Ingest *ingest;
    Watch *watch;
    HubLink *link;
    HttpServer *http;
    HttpRoute *routes;  /* the generated ones and /metrics */
    uint16_t http_port; /* as bound */
    uint16_t https_port;
    char web_dir[4096]; /* "" when there is no browser application */
    uint64_t started_ms;
    atomic_bool ready; /* probes can connect: the web is there a moment before */
    MetricValue metrics[_HUB_METRIC_N];
} Hub;

enum {
    _HUB_E_SUCCESS,
    HUB_E_USAGE,   /* exit 2 */
    HUB_E_REFUSED, /* exit 1 */
};

/** hub_open() - up and serving, or the reason and nothing left behind */
int hub_open(Hub **hubp, const HubConfig *config, Reason *reason);

/**
 * hub_lost() - NULL, or what of the data directory somebody removed, moved or replaced, which a
 * file that is open hides: "." the folder, else the path below it. Any thread
 */
const char *hub_lost(const Hub *hub);

/** hub_close() - what was received is stored and acknowledged; NULL is accepted */
Hub *hub_close(Hub *hub);

/** hub_key_string() - the cloud form of a public key, with a join token or ""; the caller's */
int hub_key_string(char **textp, const char *public_z85, const char *token);

/** hub_print() - --print-public-key and --print-sample-config; makes the keys if need be */
int hub_print(const HubConfig *config, FILE *out, Reason *reason);

DEFINE_CLEANUP(Hub *, hub_close)
