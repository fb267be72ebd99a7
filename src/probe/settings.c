/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "flow/fieldset.h"

void settings_given(const ProbeConfig *config, Configuration *to) {
    *to = (Configuration){
        .set = CONFIGURATION_ALL,
        .sampling = options_sampling(config).packets,
        .active_s = config->active_s,
        .idle_s = config->idle_s,
    };
    (void)snprintf(to->filter, sizeof(to->filter), "%s", config->filter ? config->filter : "");
    for (char *c = to->filter; *c; c++) /* for people to read: as long in JSON as here */
        *c = (char)((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f ? '?' : *c);
    (void)snprintf(to->template, sizeof(to->template), "%s", fieldset_names[config->template]);
}

const char *settings_filter(const ProbeConfig *config, const Configuration *configuration) {
    Configuration given;
    settings_given(config, &given);
    if (strcmp(configuration->filter, given.filter) != 0)
        return configuration->filter;
    return config->filter ? config->filter : "";
}

static int find_fields(const Configuration *now, const FieldSet **fieldsp, Reason *reason) {
    *fieldsp = fieldset_find(now->template);
    if (*fieldsp)
        return 0;
    reason_set(reason, "template '%s': this probe has no such set of fields; it has",
               now->template);
    for (size_t i = 0; i < FIELDSETS_N; i++)
        reason_append(reason, "%s %s", i ? "," : "", fieldset_names[i]);
    return SETTINGS_E_REFUSED;
}

/* packets that come sampled, and are sampled again: flows tell the product */
static uint32_t all_sampling(const ProbeConfig *config, const Configuration *now) {
    const uint64_t rate = (uint64_t)options_sampling(config).told * now->sampling;
    return rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
}

int settings_apply(const SettingsParts *parts, const Configuration *now,
                   const Configuration *before, Reason *reason) {
    const FieldSet *fields = NULL;
    int r = find_fields(now, &fields, reason);
    if (!r && strcmp(now->filter, before->filter) != 0)
        r = capture_filter(parts->worker->capture, settings_filter(parts->config, now), reason);
    if (r)
        return r > 0 ? SETTINGS_E_REFUSED : error_trace(r);
    /* from here on nothing can fail */
    Worker *worker = parts->worker;
    sampler_set(&worker->sampler, now->sampling);
    meter_sampling(worker->meter, all_sampling(parts->config, now));
    meter_timeouts(worker->meter, now->idle_s, now->active_s);
    export_fields(worker->out, fields);
    return 0;
}
