#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside Delivery
 *
 * Shared by deliver.c and deliver_spool.c (what the links ask of the spool).
 */

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "channel/keystring.h"
#include "channel/probe_link.h"
#include "probe/deliver.h"
#include "probe/hello.h"
#include "probe/kept_keys.h"

enum { DELIVER_ENDPOINT_TEXT = 280 };

typedef struct Hub {
    Deliver *deliver;
    unsigned number;
    char data[DELIVER_ENDPOINT_TEXT];
    char events[DELIVER_ENDPOINT_TEXT];
    bool assumed; /* events */
    KeyString key;
    bool was_up;  /* of the link's thread */
    KeptKey kept; /* at the start */
    ProbeLink *link;
} Hub;

struct Deliver {
    int folder_lock;
    int spool_lock;
    char spool_dir[PATH_MAX]; /* "": memory only */
    KeyPair keys;
    KeptKeys *kept;
    const ProbeConfig *config;
    DeliverSource source;       /* .patient is the exporting thread's, once it runs */
    pthread_mutex_t hello_lock; /* of what follows */
    Buffer hello;
    char instance[HELLO_INSTANCE_DIGITS + 1];
    char *licence; /* the probe's own; NULL none */
    void *again;   /* room for a batch; NULL until it is needed */
    Spool *spool;
    bool fanout;
    unsigned patience_s;
    size_t n_hubs;
    Hub hubs[];
};

/** deliver_open_spool() - a folder of its own, or memory */
int deliver_open_spool(Deliver *deliver, const ProbeConfig *config, Reason *reason);

/** deliver_link_spool() - what the link of this hub asks of it */
ProbeLinkSpool deliver_link_spool(Hub *hub);

/** deliver_batch() - what stands in the spool, as a link has it */
void deliver_batch(const SpoolBatch *from, DeliveryBatch *to);
