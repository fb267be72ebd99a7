/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: two bytes of options, then a capture file. Its frames go the whole way: reader,
 * duplicates, sampling, fragments and tunnels, a small table, nDPI, and each record out as IPFIX
 * and JSON. What was received must be ignored, skipped or in records, packets and bytes.
 */

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/json.h"
#include "codec/ipfix.h"
#include "flow/field.h"
#include "probe/capture_reader.h"
#include "probe/counters.h"
#include "probe/dedup.h"
#include "probe/dpi.h"
#include "probe/meter.h"
#include "probe/sampler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Path {
    MetricValue counters[_COUNTER_N];
    Dedup *dedup;
    Sampler sampler;
    Meter *meter;
    Buffer out;
    uint64_t packets, bytes; /* in records */
} Path;

/* setting up nDPI takes longer than what is tried with it */
static MetricValue dpi_counters[_COUNTER_N];

static Dpi *shared_dpi(void) {
    static Dpi *dpi;
    const DpiConfig config = {.max_flows = 8, .counters = dpi_counters};
    Reason reason;
    if (!dpi && dpi_new(&dpi, &config, &reason))
        abort();
    return dpi;
}

static void take(void *userdata, const FlowRecord *record) {
    Path *path = userdata;
    size_t taken = 0;
    path->packets += record->packets + record->rev_packets;
    path->bytes += record->l2_octets + record->rev_l2_octets;
    buffer_clear(&path->out);
    if (ipfix_encode(&path->out, record, 1, &taken, 0, 0, 0) < 0 || taken != 1)
        abort();
    buffer_clear(&path->out);
    Json json = json_make(&path->out);
    flow_record_write_json(record, &json);
    if (path->out.size < 2 || path->out.bytes[path->out.size - 1] != '}')
        abort();
}

static void open_path(Path *path, unsigned options) {
    const MeterConfig config = {
        .max_flows = options & 1 ? 3 : 64,
        .idle_s = options & 2 ? 1 : 15,
        .active_s = options & 2 ? 1 : 60,
        .seed = 1,
        .flow_id = 1,
        .vlan_key = (MeterVlan)((options >> 2) % (METER_VLAN_NONE + 1)),
        .mode = options & 16 ? DISSECT_OUTERMOST : DISSECT_INNERMOST,
        .left_out = (options & 32) ? options >> 8 : 0,
        .dpi = options & (32 | 64) ? NULL : shared_dpi(),
        .counters = path->counters,
        .record = take,
        .userdata = path,
    };
    path->sampler = sampler_make(1, path->counters);
    sampler_set(&path->sampler, options & 128 ? 3 : 1);
    if (meter_new(&path->meter, &config) < 0 ||
        ((options & 512) && dedup_new(&path->dedup, 1, path->counters) < 0))
        abort();
}

static void meter_some(Path *path, Frame *frames, size_t n) {
    if (path->dedup)
        n = dedup_take(path->dedup, frames, n);
    n = sampler_take(&path->sampler, frames, n);
    meter_frames(path->meter, frames, n);
}

/* frames are good until the reader reads on */
static void meter_all(Path *path, CaptureReader *reader) {
    Reason reason = {""};
    Frame frames[METER_BATCH];
    for (;;) {
        int r = 0;
        const size_t n = capture_reader_next(reader, frames, METER_BATCH, &r, &reason);
        meter_some(path, frames, n);
        if (r == CAPTURE_READER_E_EMPTY)
            r = capture_reader_fill(reader, &reason);
        if (r)
            return;
    }
}

static uint64_t sum(const Path *path, unsigned first, unsigned second) {
    return metric_get(&path->counters[first]) + metric_get(&path->counters[second]);
}

static void check_conserved(const Path *path) {
    uint64_t packets =
        path->packets + sum(path, COUNTER_PACKETS_SKIPPED, COUNTER_PACKETS_DUPLICATE);
    uint64_t bytes = path->bytes + sum(path, COUNTER_BYTES_SKIPPED, COUNTER_BYTES_DUPLICATE);
    for (int answer = 1; answer < _DISSECT_E_N; answer++) {
        packets += metric_get(&path->counters[counter_ignored_packets(answer)]);
        bytes += metric_get(&path->counters[counter_ignored_bytes(answer)]);
    }
    if (packets != metric_get(&path->counters[COUNTER_PACKETS_RECEIVED]) ||
        bytes != metric_get(&path->counters[COUNTER_BYTES_RECEIVED]))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Path path = {0};
    CaptureReader *reader = NULL;
    if (size < 2)
        return 0;
    const int fd = memfd_create("capture", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data + 2, size - 2) != (ssize_t)(size - 2) ||
        lseek(fd, 0, SEEK_SET) != 0)
        abort();
    if (capture_reader_new(&reader, fd) == 0) {
        open_path(&path, (unsigned)data[0] | (unsigned)data[1] << 8);
        meter_all(&path, reader);
        meter_flush(path.meter);
        check_conserved(&path);
        meter_free(path.meter);
        dedup_free(path.dedup);
        buffer_deinit(&path.out);
        capture_reader_free(reader);
    }
    (void)close(fd);
    return 0;
}
