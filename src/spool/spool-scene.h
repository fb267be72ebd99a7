#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the tests of the spool share: a folder of their own, batches whose bytes and counts follow
 * from a number, and a look at everything that a spool still has for a hub.
 */

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "spool/inside.h"

enum { SCENE_PAYLOAD_MAX = 8192, SCENE_FILES_MAX = 256 };

typedef struct Scene {
    char folder[128];
    Spool *spool;
    SpoolConfig config;
    SpoolDrop drops[64]; /* the last ones */
    unsigned n_drops;
    pthread_mutex_t lock; /* of what follows */
    unsigned n_words;
    char word[512]; /* the last one */
} Scene;

static inline void scene_on_drop(void *userdata, const SpoolDrop *drop) {
    Scene *scene = userdata;
    scene->drops[scene->n_drops++ % 64] = *drop;
}

static inline void scene_on_word(void *userdata, bool trouble, const char *text) {
    Scene *scene = userdata;
    (void)trouble;
    (void)pthread_mutex_lock(&scene->lock);
    scene->n_words++;
    (void)snprintf(scene->word, sizeof(scene->word), "%s", text);
    (void)pthread_mutex_unlock(&scene->lock);
    if (getenv("WEIR_VERBOSE"))
        print_message("%s\n", text);
}

static inline void scene_make(Scene *scene) {
    *scene = (Scene){.config = {.limit_bytes = 64 << 20,
                                .memory_bytes = 4 << 20,
                                .hubs = {0x0000000100000001},
                                .n_hubs = 1,
                                .on_drop = scene_on_drop,
                                .on_word = scene_on_word}};
    (void)snprintf(scene->folder, sizeof(scene->folder), "/tmp/weir-test-spool-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    scene->config.folder = scene->folder;
    scene->config.userdata = scene;
    (void)pthread_mutex_init(&scene->lock, NULL);
}

/** scene_words() - lines said so far, `at_least` of which are waited for */
static inline unsigned scene_words(Scene *scene, unsigned at_least) {
    unsigned n = 0;
    for (int i = 0; i < 500; i++) {
        (void)pthread_mutex_lock(&scene->lock);
        n = scene->n_words;
        (void)pthread_mutex_unlock(&scene->lock);
        if (n >= at_least)
            break;
        (void)usleep(10000);
    }
    return n;
}

static inline void scene_open(Scene *scene) {
    Reason reason = {""};
    if (spool_new(&scene->spool, &scene->config, &reason))
        fail_msg("spool_new: %s", reason.text);
}

static inline void scene_close(Scene *scene) {
    scene->spool = spool_free(scene->spool);
}

/* the process goes without a word; what it wrote stays */
static inline void scene_kill(Scene *scene) {
    Spool *spool = scene->spool;
    spool_commit_stop(spool);
    spool->started = false;
    scene->spool = spool_free(spool);
}

/** scene_files() - names that end like this, sorted */
static inline size_t scene_files(const Scene *scene, const char *end, char names[][64]) {
    DIR *dir = opendir(scene->folder);
    assert_non_null(dir);
    size_t n = 0;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t length = strlen(entry->d_name);
        if (length < strlen(end) || strcmp(entry->d_name + length - strlen(end), end) != 0)
            continue;
        assert_true(n < SCENE_FILES_MAX);
        (void)snprintf(names[n++], 64, "%.63s", entry->d_name);
    }
    (void)closedir(dir);
    qsort(names, n, 64, (int (*)(const void *, const void *))strcmp);
    return n;
}

static inline void scene_path(const Scene *scene, const char *name, char *path, size_t size) {
    (void)snprintf(path, size, "%s/%s", scene->folder, name);
}

static inline void scene_clear(const Scene *scene) {
    char names[SCENE_FILES_MAX][64];
    char path[256];
    size_t n = scene_files(scene, "", names);
    for (size_t i = 0; i < n; i++) {
        scene_path(scene, names[i], path, sizeof(path));
        (void)unlink(path);
    }
}

static inline void scene_remove(Scene *scene) {
    scene->spool = spool_free(scene->spool);
    scene_clear(scene);
    (void)rmdir(scene->folder);
}

static inline void scene_read(const Scene *scene, const char *name, Buffer *bytes) {
    char path[256];
    scene_path(scene, name, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    buffer_clear(bytes);
    for (;;) {
        uint8_t *room = buffer_reserve(bytes, 65536);
        assert_non_null(room);
        ssize_t n = read(fd, room, 65536);
        assert_true(n >= 0);
        if (n == 0)
            break;
        bytes->size += (size_t)n;
    }
    (void)close(fd);
}

static inline void scene_write(const Scene *scene, const char *name, const void *bytes,
                               size_t size) {
    char path[256];
    scene_path(scene, name, path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    (void)close(fd);
}

static inline SpoolStatus status_of(const Scene *scene) {
    SpoolStatus status;
    spool_status(scene->spool, &status);
    return status;
}

/* --- batches -------------------------------------------------------------------------------- */

static inline size_t payload_of(uint64_t number, uint8_t *bytes, size_t most) {
    uint64_t h = hash_u64(number, 7);
    size_t size = 8 + h % (most - 8);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(hash_u64(i / 8, h) >> i % 8 * 8);
    memcpy(bytes, &number, sizeof(number));
    return size;
}

static inline BatchCounts counts_of(uint64_t number) {
    uint64_t h = hash_u64(number, 11);
    return (BatchCounts){1 + h % 300, 1 + (h >> 16) % 3000, 1 + (h >> 32) % 300000};
}

static inline SpoolBatch append_sized(Scene *scene, unsigned lane, uint64_t number, size_t most) {
    static uint8_t bytes[SCENE_PAYLOAD_MAX];
    size_t size = payload_of(number, bytes, most);
    BatchCounts counts = counts_of(number);
    SpoolBatch batch;
    assert_int_equal(spool_append(scene->spool, lane, bytes, size, &counts, &batch), 0);
    return batch;
}

static inline SpoolBatch append(Scene *scene, unsigned lane, uint64_t number) {
    return append_sized(scene, lane, number, 2000);
}

/** Found - all that the spool has for a hub of former runs */
typedef struct Found {
    uint64_t batches, missing; /* read whole; sequences that are gaps */
    BatchCounts counts, gaps;  /* of both */
    uint64_t numbers[4096];
} Found;

/** check_batch() - a batch that can be read is what was appended; its number */
static inline uint64_t check_batch(Scene *scene, unsigned hub, const SpoolBatch *batch,
                                   bool *soundp) {
    uint8_t bytes[SCENE_PAYLOAD_MAX];
    uint8_t expected[SCENE_PAYLOAD_MAX];
    assert_true(batch->bytes >= 8 && batch->bytes <= sizeof(bytes));
    *soundp = spool_fetch(scene->spool, hub, &batch->epoch, batch->first, bytes, batch->bytes) == 0;
    if (!*soundp)
        return 0;
    uint64_t number = 0;
    memcpy(&number, bytes, sizeof(number));
    BatchCounts counts = counts_of(number);
    assert_true(batch_counts_equal(batch->counts, counts));
    for (size_t most = 400; most <= SCENE_PAYLOAD_MAX; most++) /* whatever it was made with */
        if (8 + hash_u64(number, 7) % (most - 8) == batch->bytes) {
            assert_int_equal(payload_of(number, expected, most), batch->bytes);
            assert_memory_equal(bytes, expected, batch->bytes);
            return number;
        }
    fail_msg("batch %lu has a size it never had", (unsigned long)number);
    return 0;
}

static inline void walk_epoch(Scene *scene, unsigned hub, const SpoolFormer *former, Found *found) {
    BatchCounts totals = former->stored_totals;
    for (uint64_t at = former->stored + 1; at <= former->last;) {
        SpoolBatch batch;
        assert_int_equal(spool_peek(scene->spool, hub, &former->epoch, at, &batch), 0);
        assert_true(batch.first == at && batch.last >= at && batch.last <= former->last);
        BatchCounts passed = batch_counts_subtract(batch.totals, totals);
        bool sound = false;
        uint64_t number = batch.gap ? 0 : check_batch(scene, hub, &batch, &sound);
        if (sound) {
            assert_true(batch_counts_equal(passed, batch.counts));
            assert_true(found->batches < 4096);
            found->numbers[found->batches++] = number;
            found->counts = batch_counts_add(found->counts, passed);
        } else {
            found->missing += batch.last - at + 1;
            found->gaps = batch_counts_add(found->gaps, passed);
        }
        totals = batch.totals;
        at = batch.last + 1;
    }
    assert_true(batch_counts_equal(totals, former->last_totals));
}

static inline void find_all(Scene *scene, unsigned hub, Found *found) {
    *found = (Found){0};
    SpoolFormer former;
    for (size_t i = 0; spool_former(scene->spool, hub, i, &former); i++)
        walk_epoch(scene, hub, &former, found);
}

/** release_all() - the hub has it all */
static inline void release_all(Scene *scene, unsigned hub) {
    SpoolFormer former;
    while (spool_former(scene->spool, hub, 0, &former))
        spool_release(scene->spool, hub, &former.epoch, former.last, &former.last_totals);
}
