#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ingest
 *
 * From the channel to the store. The receive thread only queues (ingest_take); the decoder turns
 * batches into records, enriches them, shows them to the live tables and fills a group; the writer
 * commits a group of flows and cursors in one transaction and tells the channel. There are two
 * groups, one filling and one being written, so memory is bounded: what does not fit waits
 * compressed in the queue, and beyond the channel's budget in the probes' spools.
 *
 * A group is committed when it has STORE_GROUP_ROWS rows or is 5 s old, and at once when nothing
 * came for half a second.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "channel/hub_link.h"

typedef struct Ingest Ingest;
typedef struct Live Live;
typedef struct Probes Probes;
typedef struct Store Store;

enum { INGEST_BUDGET_BYTES = 64 << 20 }; /* of batches received and not yet stored, compressed */

typedef enum IngestState {
    INGEST_READY,
    INGEST_DISK_FULL,   /* keeps the group and tries again each second */
    INGEST_UNAVAILABLE, /* the store cannot be opened: likewise */
} IngestState;

typedef struct IngestConfig {
    Store *store;
    Live *live;
    Probes *probes;
    const char *data_dir; /* quarantine/ is made in it when needed */
    MetricValue *metrics; /* HUB_METRIC_ */
    void (*on_state)(void *userdata, IngestState state, const char *reason); /* writer's thread */
    bool (*is_kept)(void *userdata); /* may be NULL; false: what was written just now is nowhere */
    void *userdata;
} IngestConfig;

/* everything in the config outlives the ingest */
int ingest_new(Ingest **ingestp, const IngestConfig *config);

/** ingest_start() - the link may call ingest_take() from before, and is called from here on */
int ingest_start(Ingest *ingest, HubLink *link);

/** ingest_take() - HubLinkConfig.on_batch: true when taken over. Never waits */
bool ingest_take(void *ingest, HubBatch *batch);

/** ingest_stop() - what was taken is committed (but not waited for on a full disk); ends threads */
void ingest_stop(Ingest *ingest);
Ingest *ingest_free(Ingest *ingest);

/** ingest_key_bytes() - a probe's key as the store keeps it */
void ingest_key_bytes(uint8_t bytes[32], const PeerKey *key);

IngestState ingest_state(const Ingest *ingest);

/** ingest_last_flow_ms() - when an interface last brought a flow, wall clock; 0: never */
uint64_t ingest_last_flow_ms(const Ingest *ingest, unsigned interface);

DEFINE_CLEANUP(Ingest *, ingest_free)
