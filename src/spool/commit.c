/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The thread that brings what was written to the disk: 200 ms after the first batch that is not
 * there yet, or when someone waits for it; one fdatasync for all that came meanwhile. When much
 * comes it is gathered, and each 10 ms this thread writes what the appending one has not.
 */

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "spool/inside.h"

/* until *condition is signalled or the time is over; the lock is let go meanwhile */
static void wait_ms(Spool *spool, pthread_cond_t *condition, unsigned ms) {
    struct timespec until = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(condition, &spool->lock, &until);
}

static Segment *next_unsynced(const Spool *spool) {
    for (size_t i = 0; i < spool->n_segments; i++)
        if (spool->segments[i]->unsynced && !spool->segments[i]->in_memory)
            return spool->segments[i];
    return NULL;
}

int spool_write_tails(Spool *spool) {
    int error = 0;
    for (unsigned i = 0; i < spool->n_lanes && !error; i++)
        if (spool->lanes[i].active)
            error = segment_write_tail(spool->lanes[i].active, spool->folder);
    return error;
}

/** sync_segments() - the errno that ended it; the lock is let go during each sync */
static int sync_segments(Spool *spool) {
    int error = spool_write_tails(spool);
    for (Segment *segment = next_unsynced(spool); segment; segment = next_unsynced(spool)) {
        segment->unsynced = false;
        int fd = dup(segment->fd); /* the segment may go meanwhile */
        if (fd < 0) {
            error = errno;
            continue;
        }
        (void)pthread_mutex_unlock(&spool->lock);
        int r = fdatasync(fd) < 0 ? errno : 0;
        (void)close(fd);
        (void)pthread_mutex_lock(&spool->lock);
        if (r)
            error = r;
    }
    if (spool->folder_unsynced) {
        spool->folder_unsynced = false;
        (void)pthread_mutex_unlock(&spool->lock);
        int r = fsync(spool->folder) < 0 ? errno : 0;
        (void)pthread_mutex_lock(&spool->lock);
        if (r)
            error = r;
    }
    return error;
}

static void commit(Spool *spool) {
    uint64_t n = spool->n_appended;
    spool->gather = n - spool->n_synced >= GATHER_BATCHES;
    int error = sync_segments(spool);
    if (error) /* what these files hold may be lost with the power: nothing more goes into them */
        spool_disk_failed(spool, error);
    spool_forget_indexes(spool);
    spool_publish(spool); /* before spool_flush() answers */
    spool->n_synced = n;
    spool->hurry = false;
    (void)pthread_cond_broadcast(&spool->synced);
}

static void measure_rate(Spool *spool, uint64_t now_ms) {
    uint64_t passed_ms = now_ms - spool->rate_ms;
    if (passed_ms < RATE_MS)
        return;
    spool->bytes_s = (double)(spool->payload_bytes - spool->rate_bytes) * 1e3 / (double)passed_ms;
    spool->rate_bytes = spool->payload_bytes;
    spool->rate_ms = now_ms;
}

/** gather_until() - the time for a commit, or somebody waits for one */
static void gather_until(Spool *spool, uint64_t end_ms) {
    uint64_t now_ms = clock_monotonic_ms();
    while (!spool->hurry && !spool->stop && now_ms < end_ms) {
        const uint64_t left_ms = end_ms - now_ms;
        const bool soon = spool->gather && left_ms > GATHER_MS;
        wait_ms(spool, &spool->wake, soon ? GATHER_MS : (unsigned)left_ms);
        const int error = spool_write_tails(spool);
        if (error)
            spool_disk_failed(spool, error);
        now_ms = clock_monotonic_ms();
    }
}

static void *run(void *userdata) {
    Spool *spool = userdata;
    (void)pthread_mutex_lock(&spool->lock);
    while (!spool->stop) {
        uint64_t now_ms = clock_monotonic_ms();
        measure_rate(spool, now_ms);
        spool_disk_again(spool); /* on a quiet link nothing else would */
        if (spool->cursors_changed && now_ms - spool->cursors_ms >= CURSORS_MS) {
            spool->cursors_ms = now_ms;
            int error = cursors_write_aside(spool);
            if (error)
                spool_disk_failed(spool, error);
        }
        if (spool->n_words) {
            spool_unlock(spool);
            (void)pthread_mutex_lock(&spool->lock);
            continue; /* it may be time to stop */
        }
        spool_publish(spool);
        if (spool->n_appended == spool->n_synced && !spool->hurry) {
            wait_ms(spool, &spool->wake, 1000);
            continue;
        }
        gather_until(spool, now_ms + COMMIT_MS);
        commit(spool);
    }
    spool_unlock(spool);
    return NULL;
}

int spool_commit_start(Spool *spool) {
    if (spool->folder >= 0) {
        int r = -pthread_create(&spool->thread, NULL, run, spool);
        if (r)
            return error_origin(r);
    }
    spool->started = true;
    return 0;
}

void spool_commit_stop(Spool *spool) {
    if (!spool->started || spool->folder < 0)
        return;
    (void)pthread_mutex_lock(&spool->lock);
    spool->disk_again_ms = 0; /* the last chance */
    spool_disk_again(spool);
    spool->stop = true;
    (void)pthread_cond_signal(&spool->wake);
    (void)pthread_mutex_unlock(&spool->lock);
    (void)pthread_join(spool->thread, NULL);
    (void)pthread_mutex_lock(&spool->lock);
    commit(spool);
    spool_unlock(spool);
}

int spool_flush(Spool *spool) {
    (void)pthread_mutex_lock(&spool->lock);
    uint64_t n = spool->n_appended;
    while (spool->folder >= 0 && spool->n_synced < n) {
        spool->hurry = true;
        (void)pthread_cond_signal(&spool->wake);
        wait_ms(spool, &spool->synced, 1000);
    }
    bool lasting = spool->disk == SPOOL_DISK_GOOD && spool->tally.memory_bytes == 0;
    (void)pthread_mutex_unlock(&spool->lock);
    return lasting ? 0 : SPOOL_E_VOLATILE;
}
