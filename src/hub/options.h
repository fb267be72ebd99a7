#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Options of weir-hub
 *
 * The rows, the config they fill, and what one row alone cannot tell: where the web listens.
 * Which events endpoint goes with which interface is told by pages.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/option.h"
#include "base/reason.h"

typedef struct HubConfig {
    OptionList interfaces;
    OptionList events;
    const char *data_dir;
    const char *http_port;
    const char *https_port;
    const char *tls_cert;
    const char *tls_key;
    const char *public_address;
    const char *private_key;
    const char *web_dir;
    const char *license;
    uint64_t store_memory;
    int admission; /* AdmissionMode */
    uint32_t verbose;
    bool login_disabled;
    bool print_public_key;
    bool print_sample_config;
    bool zmq_encryption;
    bool check_license;
} HubConfig;

extern const OptionProgram hub_program;

typedef struct HubListen {
    char address[64]; /* "127.0.0.1", "::1", "*" */
    uint16_t port;    /* 0: does not listen */
} HubListen;

enum {
    _HUB_OPTIONS_E_SUCCESS,
    HUB_OPTIONS_E_USAGE, /* the reason is the line to print; exit 2 */
};

/** hub_options_listen() - the two listeners, from -w, -W and what implies TLS */
int hub_options_listen(const HubConfig *config, HubListen *http, HubListen *https, Reason *reason);
