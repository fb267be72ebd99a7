/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/sampling.h"

#include <stddef.h>
#include <stdlib.h>

#include "channel/configuration.h"

/* a number and what ends it, ':' or the end; 0: neither */
static uint32_t rate(const char **textp) {
    const char *text = *textp;
    if (*text < '0' || *text > '9')
        return 0;
    char *end = NULL;
    const unsigned long long value = strtoull(text, &end, 10);
    if ((*end && *end != ':') || value > CONFIGURATION_SAMPLING_MAX)
        return 0;
    *textp = end;
    return (uint32_t)value;
}

static int refuse(Reason *reason, const char *text) {
    reason_set(reason,
               "-S %s is no sampling: N meters one of N packets, @N says that they come sampled "
               "so, and N:C:E beside it how exporters have sampled (C) and that one of E flows "
               "goes to collectors; each from 1 to %d",
               text, CONFIGURATION_SAMPLING_MAX);
    return SAMPLING_E_USAGE;
}

int sampling_parse(Sampling *sampling, const char *text, Reason *reason) {
    Sampling s = {.told = 1, .collected = 1, .exported = 1};
    uint32_t *const places[] = {&s.packets, &s.collected, &s.exported};
    const char *at = text;
    const bool told = *at == '@';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (i && *at == ':')
            at++;
        else if (i)
            break;
        if (i < 2 && *at == '@')
            at++;
        *places[i] = rate(&at);
        if (!*places[i])
            return refuse(reason, text);
    }
    if (*at)
        return refuse(reason, text);
    if (told) {
        s.told = s.packets;
        s.packets = 1;
    }
    *sampling = s;
    return 0;
}
