#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Link Desk
 *
 * Where other threads leave what the link's thread is to know, and find what it has to say. The
 * delivery state is that thread's alone: it may wait for a slow disk with it. The desk's lock is
 * never held over anything that waits, so whoever submits, pulses or asks goes on at once; what
 * they read is as of the thread's last turn. Internal to the layer.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/delivery.h"
#include "channel/probe_link.h"

typedef enum LinkJobKind {
    LINK_JOB_SUBMIT,
    LINK_JOB_DROP,
    LINK_JOB_MOVED,
} LinkJobKind;

typedef struct LinkJob {
    LinkJobKind kind;
    DeliveryBatch batch; /* of a drop and a move what they need: epoch, last, totals */
    uint64_t bytes;      /* of a drop */
    uint64_t now_ms;
} LinkJob;

/** LinkWord - what the thread publishes */
typedef struct LinkWord {
    ProbeLinkStatus status;
    bool wants_epoch;
    bool diverged;
    EpochId diverged_epoch;
    uint64_t diverged_first, diverged_last;
} LinkWord;

typedef struct LinkDesk {
    pthread_mutex_t lock;
    pthread_cond_t moved; /* something new was published */
    LinkJob *jobs, *taken;
    size_t n_jobs, capacity, taken_capacity;
    ProbeLinkStatus waiting; /* submitted and not yet published: of it only pending and its like */
    ProbeLinkStatus in_hand; /* of that, what the thread has taken */
    EpochId epoch;           /* of the last submitted */
    bool fresh;              /* the thread does not know of this epoch yet */
    bool ended;              /* the thread is no more: jobs are only counted */
    char *hello, *pulse;     /* NULL: nothing new */
    LinkWord word;
} LinkDesk;

void link_desk_init(LinkDesk *desk);
void link_desk_deinit(LinkDesk *desk);

/** link_desk_put() - *firstp: nothing lay there, so the link must be woken */
int link_desk_put(LinkDesk *desk, const LinkJob *job, bool *firstp);
/** link_desk_take() - all jobs, in order; they stay the desk's, until the next call */
size_t link_desk_take(LinkDesk *desk, const LinkJob **jobsp);
/** link_desk_publish() - how the thread stands, at the end of its turn */
void link_desk_publish(LinkDesk *desk, const ProbeLinkStatus *status, const DeliverySender *sender);
void link_desk_end(LinkDesk *desk);

/** link_desk_text() - in place of one that was not yet taken; taken ones are the caller's */
int link_desk_put_text(LinkDesk *desk, char **place, const char *json);
char *link_desk_take_text(LinkDesk *desk, char **place);

void link_desk_status(LinkDesk *desk, ProbeLinkStatus *status);
/** link_desk_wait() - until nothing is pending, or the time is over */
void link_desk_wait(LinkDesk *desk, unsigned timeout_ms, ProbeLinkStatus *status);
bool link_desk_wants_epoch(LinkDesk *desk);
