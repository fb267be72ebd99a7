#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Outside
 *
 * What a run has to do with the world beside its hubs: the licence, the collectors of others, and
 * the limit that binds the two. One thread, but for what Doors allows.
 */

#include "base/metric.h"
#include "probe/deliver.h"
#include "probe/doors.h"
#include "probe/licensing.h"

typedef struct Outside {
    Licensing *licensing; /* NULL: neither hub nor collector, so nothing asks for it */
    Doors *doors;         /* NULL: no collectors */
    bool patient;
    DoorsStatus status; /* of the last second */
} Outside;

/** outside_open() - patient: the input is a file; a positive answer: the reason says why */
int outside_open(Outside *outside, const ProbeConfig *config, bool patient, Reason *reason);
void outside_close(Outside *outside);

/** outside_second() - deliver may be NULL */
void outside_second(Outside *outside, Deliver *deliver, MetricValue *counters);

/** outside_finish() - nothing comes any more: wait a little until all is sent */
void outside_finish(Outside *outside, MetricValue *counters);

/** outside_doors() - of these options; what is not in them is zero */
DoorsConfig outside_doors(const ProbeConfig *config);
