#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the fuzz targets share: a collector whose every record is written as JSON and mended, so
 * that a sanitizer sees any field that is not there.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "collect/collect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static MetricValue fuzz_counters[_COLLECT_COUNT_N];

static void fuzz_record(void *userdata, CollectRecord *record) {
    Buffer *buffer = userdata;
    buffer_clear(buffer);
    Json json = json_make(buffer);
    collect_record_write_json(record, &json);
    CollectRecord mended = *record;
    (void)collect_mend_times(&mended);
    if (mended.flow.first_ms > mended.flow.last_ms)
        abort();
}

/* whatever came, all that was sent is in one place */
static inline void fuzz_account(void *userdata, const CollectExporter *exporter) {
    uint64_t sum = 0;
    for (int i = 0; i < _COLLECT_FATE_N; i++)
        sum += exporter->account.units[i];
    if (sum != exporter->account.sent)
        abort();
    (void)userdata;
}

static inline Collector *fuzz_collector(Buffer *buffer, size_t held_bytes) {
    Collector *collector = NULL;
    const CollectConfig config = {.held_bytes = held_bytes,
                                  .held_ms = 1000,
                                  .counters = fuzz_counters,
                                  .record = fuzz_record,
                                  .userdata = buffer};
    return collector_new(&collector, &config) == 0 ? collector : NULL;
}

static inline void fuzz_take(Collector *collector, const uint8_t *bytes, size_t size,
                             uint64_t now_ms) {
    const CollectSource source = {
        .address = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 2055, .received_ms = now_ms};
    /* an exact copy, so that a read past the end is seen */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return;
    memcpy(copy, bytes, size);
    if (collector_take(collector, &source, copy, size) != 0)
        abort();
    collector_each(collector, fuzz_account, NULL);
    free(copy);
}

/* one datagram of this version, whatever its first bytes were */
static inline int fuzz_version(const char *version, size_t n, const uint8_t *data, size_t size) {
    Buffer buffer = {0};
    uint8_t bytes[65536];
    if (size < n || size > sizeof(bytes))
        return 0;
    memcpy(bytes, data, size);
    memcpy(bytes, version, n);
    Collector *collector = fuzz_collector(&buffer, 4096);
    if (collector)
        fuzz_take(collector, bytes, size, 1700000000000);
    collector_free(collector);
    buffer_deinit(&buffer);
    return 0;
}
