#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flows that a probe has left in its spool: all segments below a folder, as records.
 */

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "codec/batch.h"
#include "flow/record.h"

enum { SEGMENT_BYTES_MAX = 256 << 20, SEGMENT_FOLDERS = 16 };

static FlowBatch *segment_flows;

/** segment_read() - of a file of zstd frames those that hold a batch; another file holds none */
static int segment_read(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)place;
    Buffer bytes = {0};
    BatchCodec *codec = NULL;
    BatchCounts counts;
    if (kind != FTW_F || !status->st_size || file_read(&bytes, path, SEGMENT_BYTES_MAX, NULL) ||
        batch_codec_new(&codec)) {
        buffer_deinit(&bytes);
        return 0;
    }
    for (size_t at = 0; at < bytes.size;) {
        const size_t size = ZSTD_findFrameCompressedSize(bytes.bytes + at, bytes.size - at);
        if (ZSTD_isError(size))
            break;
        (void)batch_decode(codec, bytes.bytes + at, size, segment_flows, &counts);
        at += size;
    }
    batch_codec_free(codec);
    buffer_deinit(&bytes);
    return 0;
}

/** segments_load() - NULL when there are none */
static FlowBatch *segments_load(const char *folder) {
    if (flow_batch_new(&segment_flows, 1024) ||
        nftw(folder, segment_read, SEGMENT_FOLDERS, FTW_PHYS) || !segment_flows->n)
        return NULL;
    return segment_flows;
}

/** segments_only_v9() - what NetFlow v9 has of a flow, as flows.h makes it up */
static void segments_only_v9(FlowBatch *flows) {
    for (size_t i = 0; i < flows->n; i++) {
        const FlowRecord *all = &flows->records[i];
        flows->records[i] = (FlowRecord){.first_ms = all->first_ms,
                                         .last_ms = all->last_ms,
                                         .src_ip = all->src_ip,
                                         .dst_ip = all->dst_ip,
                                         .src_port = all->src_port,
                                         .dst_port = all->dst_port,
                                         .protocol = all->protocol,
                                         .packets = all->packets,
                                         .octets = all->octets,
                                         .rev_packets = all->rev_packets,
                                         .rev_octets = all->rev_octets,
                                         .tcp_flags = all->tcp_flags,
                                         .rev_tcp_flags = all->rev_tcp_flags,
                                         .end_reason = all->end_reason};
    }
}
