#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery
 *
 * The way to the hubs: the probe's key pair, one spool, one link a hub. With several hubs each flow
 * goes to one of them, always the same (a lane is chosen by the flow's hash), or with --zmq-fanout
 * to all. What a former run left in the spool goes to the hub it was meant for, beside what comes
 * now. What links and spool have to say goes to the log, once a change.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/lease.h"
#include "probe/options.h"
#include "spool/spool.h"

typedef struct Deliver Deliver;

typedef struct DeliverSource {
    const char *interface; /* what is captured, for the hub to show */
    uint32_t index;
    const char *mode; /* "live" or "file" */
    bool patient; /* it can wait: a full spool holds it up, as long as the hubs store something */
    bool (*stopping)(void); /* ends that waiting */
    /* what the first hub wants this probe to be set to; from a thread of a link */
    void (*on_configuration)(void *userdata, const char *json);
    void *userdata;
    const char *licence; /* the probe's own, to be shown to hubs; "" or NULL: none */
    const char *system_id;
} DeliverSource;

enum {
    _DELIVER_E_SUCCESS,
    DELIVER_E_USAGE,   /* a bad endpoint or key: the reason says which */
    DELIVER_E_REFUSED, /* the data folder, a port in use: the reason says why */
    DELIVER_E_LEFT,    /* deliver_drain(): not everything is stored yet */
};

/** deliver_check() - endpoints and key, before anything is opened; 0 or DELIVER_E_USAGE */
int deliver_check(const ProbeConfig *config, Reason *reason);

int deliver_new(Deliver **deliverp, const ProbeConfig *config, const DeliverSource *source,
                Reason *reason);
Deliver *deliver_free(Deliver *deliver);

/** deliver_held() - flows in the spool that the hubs of config have still to store, as a start
 * would find them. The data folder is the caller's; nothing else has the spool open */
int deliver_held(uint64_t *flowsp, const ProbeConfig *config, Reason *reason);

/** deliver_lanes() - how many kinds of batches there are to submit, at least 1 */
unsigned deliver_lanes(const Deliver *deliver);

/** deliver_submit() - into the spool and to the lane's hub; of the type that Export calls */
int deliver_submit(void *userdata, unsigned lane, const void *bytes, size_t size,
                   const BatchCounts *counts);

void deliver_pulse(Deliver *deliver, const char *json);

/** deliver_licence() - from now on hubs are shown this one; "" none */
void deliver_licence(Deliver *deliver, const char *licence);

/** deliver_lease() - the one told last by any hub; over: one lets this probe wait, and no other
 * has lent it anything */
void deliver_lease(Deliver *deliver, LeaseWord *word);

/** deliver_waiting() - flows submitted and not stored by their hub */
uint64_t deliver_waiting(Deliver *deliver);

/** deliver_spool_status() - of the one spool for all hubs */
void deliver_spool_status(Deliver *deliver, SpoolStatus *status);
size_t deliver_hubs(const Deliver *deliver);

/**
 * deliver_spool() - the folder, when all that is not stored is safe on its disk and goes to the hub
 * at the next start; NULL: it would be lost with the process
 */
const char *deliver_spool(Deliver *deliver);

/** deliver_reaching() - a hub is there that still has to store something */
bool deliver_reaching(Deliver *deliver);

/** deliver_drain() - wait until all is stored; DELIVER_E_LEFT and *left_flowsp if it is not */
int deliver_drain(Deliver *deliver, unsigned timeout_ms, uint64_t *left_flowsp);

DEFINE_CLEANUP(Deliver *, deliver_free)
