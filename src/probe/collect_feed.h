#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Collecting
 *
 * Exporters' datagrams to flow records, in the place where a meter would turn packets into them:
 * frames of a capture file or an interface that hold such datagrams (--interpret-flow-packets), or
 * datagrams that a collector's ports received (--collector-port, probe/collect_ports.h). Records
 * go to the export as metered ones do, and as JSON to a file of their own, with all that was said.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "collect/record.h"
#include "net/dissect.h"
#include "probe/options.h"

typedef struct Buffer Buffer;
typedef struct Capture Capture;
typedef struct CollectFeed CollectFeed;
typedef struct Collector Collector;
typedef struct Json Json;

/* the link type of frames that are datagrams, one or several of one exporter: a CollectedFrame,
 * then the payload */
enum { FRAME_LINK_COLLECTED = 0xfff0 };

typedef struct CollectedFrame {
    NetAddress address;
    uint16_t port;
    uint32_t stream;       /* 0: a datagram */
    bool ended;            /* the connection has; there is no payload */
    bool broken;           /* for it sent no IPFIX */
    uint32_t each_bytes;   /* of several datagrams; the last may have less. 0: there is but one */
    uint64_t socket_drops; /* of datagrams, until this one came */
} CollectedFrame;

typedef struct CollectFeedConfig {
    const ProbeConfig *options; /* --json and those of exporters; borrowed */
    unsigned number;            /* of this feed, of those of the run */
    uint64_t seed;
    bool live;             /* ours and the exporters' clocks may be compared */
    MetricValue *packets;  /* counters: frames taken, */
    MetricValue *bytes;    /* their bytes, */
    MetricValue *exported; /* and records made; borrowed */
    /* takes what is to be delivered; NULL: nothing is */
    void (*record)(void *userdata, const FlowRecord *record);
    void *userdata;
} CollectFeedConfig;

/* the name of a file that is none: records are read and summed up, and that is all */
#define COLLECT_FEED_NONE "none"

enum {
    _COLLECT_FEED_E_SUCCESS,
    COLLECT_FEED_E_REFUSED, /* a file cannot be read or written: the reason says why */
};

int collect_feed_new(CollectFeed **feedp, const CollectFeedConfig *config, Reason *reason);
CollectFeed *collect_feed_free(CollectFeed *feed);

/** collect_feed_frames() - 0, or -ENOMEM */
int collect_feed_frames(CollectFeed *feed, const Frame *frames, size_t n);
void collect_feed_tick(CollectFeed *feed, uint64_t now_ms);

/** collect_feed_flush() - at the end: records that wait for more of their flow go on */
void collect_feed_flush(CollectFeed *feed);

/** collect_feed_finish() - write what is left, what still waits for a template is let go */
int collect_feed_finish(CollectFeed *feed, Reason *reason);

/** collect_feed_empty() - at the end: what has come to the ports by now */
void collect_feed_empty(CollectFeed *feed, Capture *capture);

/** collect_feed_write_report() - what is to be told of exporters, see collect_report.h; of NULL
 * nothing */
void collect_feed_write_report(CollectFeed *feed, uint64_t now_ms, Json *json);

/** collect_feed_collector() - the feed's own */
Collector *collect_feed_collector(CollectFeed *feed);

/** collect_feed_write_counters() - of n feeds that stand still, as OpenMetrics text */
void collect_feed_write_counters(CollectFeed *const *feeds, size_t n, Buffer *to);

DEFINE_CLEANUP(CollectFeed *, collect_feed_free)
