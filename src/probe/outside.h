#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Outside
 *
 * What a run has to do with the world beside its hubs: the licence, the collectors of others, and
 * the limit that binds the two. The licence is looked at once a second by a thread of its own, for
 * that reads and syncs files. Otherwise one thread, but for what Doors allows.
 */

#include <pthread.h>
#include <stdbool.h>

#include "base/metric.h"
#include "base/queue.h"
#include "probe/deliver.h"
#include "probe/doors.h"
#include "probe/licensing.h"

typedef struct Outside {
    /* the thread's, once it runs. NULL: neither hub nor collector, so nothing asks for it */
    Licensing *licensing;
    Doors *doors; /* NULL: no collectors */
    bool patient;
    char host[65];      /* its name, that of the exporter when there is no --probe-name */
    DoorsStatus status; /* of the last outside_count() */

    Deliver *deliver; /* NULL: no hub */
    Queue *stop;      /* closed: the thread is to end */
    pthread_t thread;
    bool running;
} Outside;

/** outside_open() - patient: the input is a file; a positive answer: the reason says why */
int outside_open(Outside *outside, const ProbeConfig *config, bool patient, Reason *reason);

/** outside_start() - from now on hubs are heard of leases and shown the licence; deliver: NULL
 * without a hub, else it must outlive this */
int outside_start(Outside *outside, Deliver *deliver);
void outside_close(Outside *outside);

/** outside_count() - what was sent to collectors */
void outside_count(Outside *outside, MetricValue *counters);

/** outside_finish() - nothing comes any more: wait a little until all is sent */
void outside_finish(Outside *outside, MetricValue *counters);

/** outside_doors() - of these options; what is not in them is zero */
DoorsConfig outside_doors(const ProbeConfig *config);
