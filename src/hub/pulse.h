#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pulse
 *
 * Reads a probe's report of one second: totals into the registry, tables into the live tables.
 * Anything may be missing, texts are cut, and what is not understood is passed over.
 */

#include <stddef.h>
#include <stdint.h>

typedef struct Configure Configure;
typedef struct Exporters Exporters;
typedef struct Live Live;
typedef struct Probes Probes;
typedef struct PeerKey PeerKey;

enum {
    _PULSE_E_SUCCESS,
    PULSE_E_MALFORMED, /* not a JSON object */
};

/** pulse_take() - `configure` and `exporters` may be NULL */
int pulse_take(Probes *probes, Live *live, Configure *configure, Exporters *exporters,
               const PeerKey *key, const char *json, size_t size, uint64_t now_ms);
