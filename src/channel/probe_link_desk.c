/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_link_desk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "channel/frame.h"

void link_desk_init(LinkDesk *desk) {
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&desk->lock, NULL);
    (void)pthread_cond_init(&desk->moved, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

void link_desk_deinit(LinkDesk *desk) {
    free(desk->jobs);
    free(desk->taken);
    free(desk->hello);
    free(desk->pulse);
    (void)pthread_cond_destroy(&desk->moved);
    (void)pthread_mutex_destroy(&desk->lock);
}

static int need_room(LinkDesk *desk) {
    if (desk->n_jobs < desk->capacity)
        return 0;
    const size_t capacity = desk->capacity ? desk->capacity * 2 : 16;
    LinkJob *jobs = realloc(desk->jobs, capacity * sizeof(*jobs));
    if (!jobs)
        return error_origin(-ENOMEM);
    desk->jobs = jobs;
    desk->capacity = capacity;
    return 0;
}

static void count(LinkDesk *desk, const DeliveryBatch *batch) {
    desk->waiting.pending_batches++;
    desk->waiting.pending_bytes += batch->bytes;
    desk->waiting.pending = batch_counts_add(desk->waiting.pending, batch->counts);
    if (epoch_equal(&desk->epoch, &batch->epoch))
        return;
    desk->epoch = batch->epoch;
    desk->fresh = true;
}

int link_desk_put(LinkDesk *desk, const LinkJob *job, bool *firstp) {
    (void)pthread_mutex_lock(&desk->lock);
    const int r = desk->ended ? 0 : need_room(desk);
    *firstp = desk->n_jobs == 0;
    if (!r && !desk->ended)
        desk->jobs[desk->n_jobs++] = *job;
    if (!r && job->kind == LINK_JOB_SUBMIT)
        count(desk, &job->batch);
    if (!r && job->kind == LINK_JOB_MOVED)
        desk->word.diverged = false;
    (void)pthread_mutex_unlock(&desk->lock);
    return error_trace(r);
}

size_t link_desk_take(LinkDesk *desk, const LinkJob **jobsp) {
    (void)pthread_mutex_lock(&desk->lock);
    LinkJob *const jobs = desk->jobs;
    const size_t n = desk->n_jobs;
    const size_t capacity = desk->capacity;
    desk->jobs = desk->taken;
    desk->capacity = desk->taken_capacity;
    desk->taken = jobs;
    desk->taken_capacity = capacity;
    desk->n_jobs = 0;
    desk->in_hand = desk->waiting;
    desk->fresh = false;
    (void)pthread_mutex_unlock(&desk->lock);
    *jobsp = jobs;
    return n;
}

static LinkWord word_of(const ProbeLinkStatus *status, const DeliverySender *of) {
    DeliverySenderStatus sender;
    LinkWord word = {.status = *status, .wants_epoch = delivery_sender_wants_epoch(of)};
    delivery_sender_status(of, &sender);
    word.status.session = sender.session;
    word.status.pending_batches = sender.pending_batches;
    word.status.pending_bytes = sender.pending_bytes;
    word.status.pending = sender.pending;
    word.status.stored = sender.stored;
    word.status.dropped = sender.dropped;
    word.status.resent_batches = sender.resent_batches;
    word.diverged = delivery_sender_diverged(of, &word.diverged_epoch, &word.diverged_first,
                                             &word.diverged_last);
    return word;
}

void link_desk_publish(LinkDesk *desk, const ProbeLinkStatus *status,
                       const DeliverySender *sender) {
    const LinkWord word = word_of(status, sender);
    (void)pthread_mutex_lock(&desk->lock);
    bool moved = false; /* what it was told of a move may be waiting here */
    for (size_t i = 0; i < desk->n_jobs; i++)
        moved = moved || desk->jobs[i].kind == LINK_JOB_MOVED;
    desk->word = word;
    desk->word.diverged = word.diverged && !moved;
    desk->waiting.pending_batches -= desk->in_hand.pending_batches;
    desk->waiting.pending_bytes -= desk->in_hand.pending_bytes;
    desk->waiting.pending = batch_counts_subtract(desk->waiting.pending, desk->in_hand.pending);
    desk->in_hand = (ProbeLinkStatus){0};
    (void)pthread_cond_broadcast(&desk->moved);
    (void)pthread_mutex_unlock(&desk->lock);
}

void link_desk_end(LinkDesk *desk) {
    (void)pthread_mutex_lock(&desk->lock);
    desk->ended = true;
    (void)pthread_mutex_unlock(&desk->lock);
}

int link_desk_put_text(LinkDesk *desk, char **place, const char *json) {
    if (strlen(json) > FRAME_JSON_MAX_BYTES - PULSE_ECHO_MAX_BYTES)
        return error_origin(-EMSGSIZE);
    char *copy = strdup(json);
    if (!copy)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_lock(&desk->lock);
    char *old = *place;
    *place = copy;
    (void)pthread_mutex_unlock(&desk->lock);
    free(old);
    return 0;
}

char *link_desk_take_text(LinkDesk *desk, char **place) {
    (void)pthread_mutex_lock(&desk->lock);
    char *text = *place;
    *place = NULL;
    (void)pthread_mutex_unlock(&desk->lock);
    return text;
}

static void fill(const LinkDesk *desk, ProbeLinkStatus *status) {
    *status = desk->word.status;
    status->pending_batches += desk->waiting.pending_batches;
    status->pending_bytes += desk->waiting.pending_bytes;
    status->pending = batch_counts_add(status->pending, desk->waiting.pending);
}

void link_desk_status(LinkDesk *desk, ProbeLinkStatus *status) {
    (void)pthread_mutex_lock(&desk->lock);
    fill(desk, status);
    (void)pthread_mutex_unlock(&desk->lock);
}

void link_desk_wait(LinkDesk *desk, unsigned timeout_ms, ProbeLinkStatus *status) {
    struct timespec until = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&desk->lock);
    for (;;) {
        fill(desk, status);
        if (!status->pending_batches ||
            pthread_cond_timedwait(&desk->moved, &desk->lock, &until) == ETIMEDOUT)
            break;
    }
    fill(desk, status);
    (void)pthread_mutex_unlock(&desk->lock);
}

bool link_desk_wants_epoch(LinkDesk *desk) {
    (void)pthread_mutex_lock(&desk->lock);
    const bool wants = desk->word.wants_epoch && !desk->fresh;
    (void)pthread_mutex_unlock(&desk->lock);
    return wants;
}
