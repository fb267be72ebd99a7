#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Configure
 *
 * What probes are to be set to, and what each has made of it. There are settings for all probes
 * and settings of one, which go over those; both over what its command line says. Each change gets
 * the next version. Kept in <data-dir>/weir.sqlite. Any thread may call.
 *
 * A probe says with each pulse what it last heard of and what it runs; as long as that is not what
 * it should be, the link is told to tell it, so that nothing needs to be remembered of sessions.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/configuration.h"
#include "channel/identity.h"
#include "hub/settings.h"

typedef struct Configure Configure;
typedef struct Probe Probe;

typedef struct ConfigureConfig {
    Settings *settings;
    /* tell this probe this with each state, until NULL; must not call this module */
    void (*tell)(void *userdata, const PeerKey *key, const char *json);
    void *userdata;
} ConfigureConfig;

/** ConfigureState - of what a probe should be set to */
typedef enum ConfigureState {
    CONFIGURE_NONE,      /* nothing: it is as it was started */
    CONFIGURE_CONFIRMED, /* it is */
    CONFIGURE_WAITING,   /* it has not said so */
    CONFIGURE_REFUSED,   /* it has said why not */
    _CONFIGURE_STATE_N,
} ConfigureState;

extern const char *const configure_state_names[_CONFIGURE_STATE_N];

/** ConfigureRow - settings as somebody set them */
typedef struct ConfigureRow {
    Configuration settings;
    uint64_t changed_ms; /* 0: never */
    char changed_by[SETTINGS_NAME_MAX + 1];
} ConfigureRow;

typedef struct ConfigureView {
    ConfigureRow own;
    ConfigureRow general;
    Configuration wanted; /* both */
    bool reported;        /* since the hub started */
    ConfigurationReport report;
    ConfigureState state;
} ConfigureView;

enum {
    _CONFIGURE_E_SUCCESS,
    CONFIGURE_E_REFUSED, /* not valid, as far as a hub can tell; the reason says what */
    CONFIGURE_E_FULL,    /* of as many probes as are kept */
};

int configure_new(Configure **configurep, const ConfigureConfig *config);
Configure *configure_free(Configure *configure);

/** configure_set() - instead of what was set before; of all probes when key is NULL */
int configure_set(Configure *configure, const PeerKey *key, const Configuration *settings,
                  const char *user, uint64_t now_ms, Reason *reason);

void configure_view(Configure *configure, const PeerKey *key, ConfigureView *view);

/** configure_unconfirmed() - waiting or refused */
bool configure_unconfirmed(Configure *configure, const PeerKey *key);

/** configure_text() - where it stands, in words */
void configure_text(const ConfigureView *view, const Probe *probe, char *text, size_t size);

/** configure_report() - a pulse came, with this or (NULL) nothing */
void configure_report(Configure *configure, const PeerKey *key, const ConfigurationReport *report);

/** configure_forget() - the probe is no longer known */
void configure_forget(Configure *configure, const PeerKey *key);

/** configure_move() - the probe has another key now */
void configure_move(Configure *configure, const PeerKey *from, const PeerKey *to);

DEFINE_CLEANUP(Configure *, configure_free)
