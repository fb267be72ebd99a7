/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/sampler.h"

#include "base/hash.h"
#include "probe/counters.h"

Sampler sampler_make(uint64_t seed, MetricValue *counters) {
    return (Sampler){.random = seed, .counters = counters};
}

void sampler_set(Sampler *sampler, uint32_t rate) {
    sampler->rate = rate;
    sampler->left = 0;
}

static void begin_group(Sampler *sampler) {
    sampler->random = hash_u64(sampler->random + 1, 0);
    sampler->left = sampler->rate;
    sampler->keep = 1 + (uint32_t)(((sampler->random >> 32) * sampler->rate) >> 32);
}

size_t sampler_take(Sampler *sampler, Frame *frames, size_t n) {
    uint64_t bytes = 0;
    size_t kept = 0;
    if (sampler->rate <= 1)
        return n;
    for (size_t i = 0; i < n; i++) {
        if (sampler->left == 0)
            begin_group(sampler);
        if (sampler->left-- == sampler->keep)
            frames[kept++] = frames[i];
        else
            bytes += frames[i].wire_bytes;
    }
    metric_add(&sampler->counters[COUNTER_PACKETS_RECEIVED], n - kept);
    metric_add(&sampler->counters[COUNTER_BYTES_RECEIVED], bytes);
    metric_add(&sampler->counters[COUNTER_PACKETS_SKIPPED], n - kept);
    metric_add(&sampler->counters[COUNTER_BYTES_SKIPPED], bytes);
    return kept;
}
