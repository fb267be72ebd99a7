/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

enum { THREAD_WAIT_MS = 20 /* for packets, and so most that one waits for an answer */ };

typedef struct Seat {
    Worker worker;
    Workers *all;
    pthread_t thread;
    bool running; /* there is a thread to join */
    atomic_bool asked;
    WorkerCall *call; /* what it is asked, under the lock */
    void *userdata;
    bool ended; /* its thread works no more; under the lock */
    int answer; /* why */
    Reason reason;
} Seat;

struct Workers {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an answer, or an end */
    atomic_bool stop;
    size_t ended;
    size_t n;
    Seat seats[];
};

/* --- life --------------------------------------------------------------------------------- */

int workers_new(Workers **workersp, size_t n) {
    cleanup(workers_freep) Workers *workers = calloc(1, sizeof(*workers) + n * sizeof(Seat));
    pthread_condattr_t clock;
    if (!workers)
        return error_origin(-ENOMEM);
    workers->n = n;
    (void)pthread_mutex_init(&workers->lock, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&workers->changed, &clock);
    (void)pthread_condattr_destroy(&clock);
    for (size_t i = 0; i < n; i++)
        workers->seats[i].all = workers;
    *workersp = workers;
    workers = NULL;
    return 0;
}

Workers *workers_free(Workers *workers) {
    if (!workers)
        return NULL;
    workers_stop(workers);
    for (size_t i = 0; i < workers->n; i++)
        worker_close(&workers->seats[i].worker);
    (void)pthread_cond_destroy(&workers->changed);
    (void)pthread_mutex_destroy(&workers->lock);
    free(workers);
    return NULL;
}

size_t workers_n(const Workers *workers) {
    return workers->n;
}

Worker *workers_at(Workers *workers, size_t i) {
    return &workers->seats[i].worker;
}

uint64_t workers_sum(const Workers *workers, int counter) {
    uint64_t sum = 0;
    for (size_t i = 0; i < workers->n; i++)
        sum += metric_get(&workers->seats[i].worker.counters[counter]);
    return sum;
}

/* --- a worker's thread -------------------------------------------------------------------- */

static void answer(Seat *seat) {
    Workers *workers = seat->all;
    (void)pthread_mutex_lock(&workers->lock);
    WorkerCall *call = seat->call;
    (void)pthread_mutex_unlock(&workers->lock);
    call(&seat->worker, seat->userdata);
    (void)pthread_mutex_lock(&workers->lock);
    atomic_store(&seat->asked, false);
    (void)pthread_cond_broadcast(&workers->changed);
    (void)pthread_mutex_unlock(&workers->lock);
}

static void *seat_run(void *userdata) {
    Seat *seat = userdata;
    Workers *workers = seat->all;
    size_t frames = 0;
    int r = 0;
    while (r == 0 && !atomic_load_explicit(&workers->stop, memory_order_relaxed)) {
        r = worker_turn(&seat->worker, THREAD_WAIT_MS, &frames, &seat->reason);
        if (atomic_load_explicit(&seat->asked, memory_order_acquire))
            answer(seat);
    }
    (void)pthread_mutex_lock(&workers->lock);
    seat->answer = r;
    seat->ended = true;
    workers->ended++;
    (void)pthread_cond_broadcast(&workers->changed);
    (void)pthread_mutex_unlock(&workers->lock);
    return NULL;
}

/* signals are for the thread that started the run */
int workers_start(Workers *workers) {
    sigset_t all;
    sigset_t before;
    int r = 0;
    if (workers->n == 1)
        return 0;
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGSYS); /* which says what system call is not allowed */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; r == 0 && i < workers->n; i++) {
        Seat *seat = &workers->seats[i];
        r = -pthread_create(&seat->thread, NULL, seat_run, seat);
        seat->running = r == 0;
        char name[16] = "";
        (void)snprintf(name, sizeof(name), "worker-%hhu", (unsigned char)i);
        if (seat->running)
            (void)pthread_setname_np(seat->thread, name);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r ? error_origin(r) : 0;
}

void workers_stop(Workers *workers) {
    atomic_store(&workers->stop, true);
    for (size_t i = 0; i < workers->n; i++) {
        if (workers->seats[i].running)
            (void)pthread_join(workers->seats[i].thread, NULL);
        workers->seats[i].running = false;
    }
}

/* --- the run's side ----------------------------------------------------------------------- */

/* with the lock held; false: the time is over */
static bool wait_for_change(Workers *workers, uint64_t until_ms) {
    const struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                                   .tv_nsec = (long)(until_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&workers->changed, &workers->lock, &until) == 0;
}

static int why_ended(const Workers *workers, Reason *reason) {
    for (size_t i = 0; i < workers->n; i++)
        if (workers->seats[i].ended && workers->seats[i].answer) {
            *reason = workers->seats[i].reason;
            return workers->seats[i].answer;
        }
    return 0;
}

int workers_run(Workers *workers, unsigned wait_ms, size_t *framesp, Reason *reason) {
    if (workers->n == 1)
        return error_trace(worker_turn(&workers->seats[0].worker, wait_ms, framesp, reason));
    const uint64_t until_ms = clock_monotonic_ms() + wait_ms;
    *framesp = 0;
    (void)pthread_mutex_lock(&workers->lock);
    while (!workers->ended && wait_for_change(workers, until_ms))
        ;
    const int r = why_ended(workers, reason);
    (void)pthread_mutex_unlock(&workers->lock);
    return r;
}

/* one whose thread does not run, or no more, has nobody beside the caller */
static void ask(Seat *seat, WorkerCall *call, void *userdata) {
    Workers *workers = seat->all;
    (void)pthread_mutex_lock(&workers->lock);
    const bool alone = !seat->running || seat->ended;
    if (!alone) {
        seat->call = call;
        seat->userdata = userdata;
        atomic_store_explicit(&seat->asked, true, memory_order_release);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    if (alone)
        call(&seat->worker, userdata);
}

static void wait_for_answer(Seat *seat) {
    Workers *workers = seat->all;
    (void)pthread_mutex_lock(&workers->lock);
    while (atomic_load(&seat->asked) && !seat->ended)
        (void)wait_for_change(workers, clock_monotonic_ms() + 1000);
    const bool left = atomic_exchange(&seat->asked, false); /* its thread ended first */
    (void)pthread_mutex_unlock(&workers->lock);
    if (left)
        seat->call(&seat->worker, seat->userdata);
}

void workers_ask(Workers *workers, WorkerCall *call, void *userdata) {
    for (size_t i = 0; i < workers->n; i++)
        ask(&workers->seats[i], call, userdata);
    for (size_t i = 0; i < workers->n; i++)
        wait_for_answer(&workers->seats[i]);
}

void workers_ask_one(Workers *workers, size_t i, WorkerCall *call, void *userdata) {
    ask(&workers->seats[i], call, userdata);
    wait_for_answer(&workers->seats[i]);
}
