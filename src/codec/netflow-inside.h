#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* What the files of netflow.h share. */

#include "codec/netflow.h"

enum {
    V5_HEADER_BYTES = 24,
    V5_RECORD_BYTES = 48,
    V5_RECORDS_MAX = 30,
    V9_HEADER_BYTES = 20,
    V9_SET_TEMPLATE = 0,
    V9_SET_OPTIONS = 1,
};

static inline uint64_t netflow_least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* netflow-made.c */
void netflow_make(NetflowMade *made, const NetflowStream *stream, const FlowRecord *record,
                  bool reverse, uint64_t export_ms);

/* netflow5.c: the header; a direction in as many records as it takes */
void netflow5_header(const NetflowStream *stream, NetflowMessage *message, uint64_t export_ms);
void netflow5_put(NetflowStream *stream, NetflowMessage *message, const FlowRecord *record,
                  bool reverse);

/* netflow-set.c: a set within a message, closed by netflow_set_close() */
void netflow_set_open(NetflowMessage *message, uint16_t id);
void netflow_set_close(const NetflowStream *stream, NetflowMessage *message);

/* netflow-set.c: a new message, its header left free; netflow_end() completes it */
void netflow_begin(const NetflowStream *stream, NetflowMessage *message);
size_t netflow_header_bytes(NetflowVersion version);

/* netflow-set.c: the templates of these variants; how many there were */
size_t netflow_templates_write(Buffer *to, const NetflowStream *stream, uint16_t mask);

/* netflow-options.c: their templates, in a set of their own; how many */
size_t netflow_options_templates(Buffer *to, const NetflowStream *stream);
/* and the records; how many */
size_t netflow_options_records(const NetflowStream *stream, NetflowMessage *message,
                               const NetflowFacts *facts);
