#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Configuration
 *
 * What a hub may set of a probe, and what the probe answers. State like everything on a probe's
 * topic: the hub repeats the whole of it until the probe's report shows its id, so that any of
 * it may be lost, doubled or late. A setting that is not in it is as the probe was started.
 *
 * The id is drawn by the hub from the content. Versions grow, but a hub that went back to a backup
 * may give a number again; by the id both know that it is another configuration.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/reason.h"

struct json_t; /* of jansson */

enum {
    CONFIGURATION_FILTER_MAX = 512,  /* bytes */
    CONFIGURATION_TEMPLATE_MAX = 15, /* likewise */
    CONFIGURATION_SAMPLING_MAX = 1000000,
    CONFIGURATION_TIMEOUT_MAX_S = 86400,
    CONFIGURATION_TEXT_MAX = 2048, /* of the JSON of one, each byte of the filter escaped */
    CONFIGURATION_REASON_MAX = 255,
};

/* which settings are there */
enum {
    CONFIGURATION_FILTER = 1,
    CONFIGURATION_SAMPLING = 2,
    CONFIGURATION_ACTIVE = 4,
    CONFIGURATION_IDLE = 8,
    CONFIGURATION_TEMPLATE = 16,
    CONFIGURATION_ALL = 31,
};

typedef struct Configuration {
    uint64_t version; /* 0: nothing was ever set */
    uint64_t id;
    unsigned set;                              /* CONFIGURATION_..., or-ed */
    char filter[CONFIGURATION_FILTER_MAX + 1]; /* BPF; "" everything */
    uint32_t sampling;                         /* one of so many packets; 1: all */
    uint32_t active_s;
    uint32_t idle_s;
    char template[CONFIGURATION_TEMPLATE_MAX + 1]; /* a set of fields, by name */
} Configuration;

/** ConfigurationState - what became of the configuration that a probe last heard of */
typedef enum ConfigurationState {
    CONFIGURATION_NONE, /* there was none */
    CONFIGURATION_APPLIED,
    CONFIGURATION_REFUSED, /* what was before it goes on; the reason says why */
    _CONFIGURATION_STATE_N,
} ConfigurationState;

/** ConfigurationReport - a probe's answer, in each of its pulses */
typedef struct ConfigurationReport {
    uint64_t version; /* of what it last heard of, refused or not */
    uint64_t id;
    ConfigurationState state;
    char reason[CONFIGURATION_REASON_MAX + 1];
    Configuration running; /* all of it set; its version is the one in force */
    Configuration given;   /* likewise, by the command line */
} ConfigurationReport;

enum {
    _CONFIGURATION_E_SUCCESS,
    CONFIGURATION_E_REFUSED, /* the reason names the setting and what would be right */
};

/**
 * configuration_read() - a JSON object. Refused is what is out of bounds, and a setting that nobody
 * here knows: to pass over it and confirm would be a lie. Of one that is refused *configuration
 * has version and id, as far as they can be read, and no settings.
 */
int configuration_read(Configuration *configuration, const char *text, size_t size, Reason *reason);

/** configuration_take() - likewise, of JSON that was read already */
int configuration_take(Configuration *configuration, const struct json_t *object, Reason *reason);

/** configuration_write() - settings that are set, with version and id */
void configuration_write(Json *json, const char *name, const Configuration *configuration);
void configuration_write_settings(Json *json, const char *name, const Configuration *configuration);

/** configuration_stamp() - draw the id from version and settings; 0 when there is neither */
void configuration_stamp(Configuration *configuration);

/** configuration_over() - the settings of `over` in place of those of `to`; the later version */
void configuration_over(Configuration *to, const Configuration *over);

/** configuration_same() - the same settings, whatever their version */
bool configuration_same(const Configuration *a, const Configuration *b);

/** configuration_differences() - "filter 'tcp' (was none), sampling 1 of 10 (was all)" */
void configuration_differences(Reason *to, const Configuration *now, const Configuration *before);

int configuration_report_read(ConfigurationReport *report, const struct json_t *object);
void configuration_report_write(Json *json, const char *name, const ConfigurationReport *report);
