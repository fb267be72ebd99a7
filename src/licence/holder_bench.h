#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* of the holder's tests: a vendor, a machine's folders, a clock */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "licence/holder.h"
#include "licence/vendor_secret.h"

enum { DAY = 86400, NOW = 1800000000 };

typedef struct Bench {
    VendorSecret vendor;
    VendorKeys keys;
    char root[64];
    char etc[PATH_MAX], path[PATH_MAX], list[PATH_MAX], folder[PATH_MAX];
    int64_t now_s;
    Holder *holder;
} Bench;

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline int begin(void **state) {
    Bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    assert_int_equal(token_init(), 0);
    vendor_secret_make(&bench->vendor, "test-1");
    bench->keys = (VendorKeys){.keys = &bench->vendor.key, .n = 1};
    (void)snprintf(bench->root, sizeof(bench->root), "/tmp/weir-holder-XXXXXX");
    assert_non_null(mkdtemp(bench->root));
    (void)snprintf(bench->etc, PATH_MAX, "%s/etc", bench->root);
    (void)snprintf(bench->folder, PATH_MAX, "%s/state", bench->root);
    (void)snprintf(bench->path, PATH_MAX, "%s/etc/hub.license", bench->root);
    (void)snprintf(bench->list, PATH_MAX, "%s/etc/revoked.list", bench->root);
    assert_int_equal(mkdir(bench->etc, 0755), 0);
    assert_int_equal(mkdir(bench->folder, 0755), 0);
    bench->now_s = NOW;
    *state = bench;
    return 0;
}

static inline int end(void **state) {
    Bench *bench = *state;
    holder_free(bench->holder);
    (void)nftw(bench->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(bench);
    return 0;
}

static inline void start(Bench *bench) {
    holder_free(bench->holder);
    bench->holder = NULL;
    const HolderConfig config = {.path = bench->path, .folder = bench->folder, .keys = bench->keys};
    assert_int_equal(holder_new(&bench->holder, &config, bench->now_s, true), 0);
}

/* one look; did anything change? */
static inline bool look(Bench *bench) {
    bool changed = false;
    assert_int_equal(holder_look(bench->holder, bench->now_s, true, &changed), 0);
    return changed;
}

static inline const HolderView *view(const Bench *bench) {
    return holder_view(bench->holder);
}

static inline Licence grant(const Bench *bench, const char *id, uint32_t probes) {
    Licence licence = {.kid = "test-1",
                       .customer = "x",
                       .kind = LICENCE_CLOUD,
                       .max_probes = probes,
                       .issued_s = bench->now_s,
                       .not_before_s = bench->now_s,
                       .expiry_s = bench->now_s + 100 * DAY,
                       .grace_days = 30};
    (void)snprintf(licence.id, sizeof(licence.id), "%s", id);
    return licence;
}

static inline void line_of(const Bench *bench, Buffer *line, const Licence *licence) {
    Reason reason = {""};
    buffer_clear(line);
    assert_int_equal(licence_sign(line, licence, bench->vendor.secret_key, &reason), 0);
}

static inline void put(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void put_licence(const Bench *bench, const char *path, const Licence *licence) {
    Buffer line = {0};
    line_of(bench, &line, licence);
    put(path, line.bytes, line.size);
    buffer_deinit(&line);
}

static inline void list_of(const Bench *bench, Buffer *line, const char *id, unsigned number) {
    cleanup(revocations_freep) Revocations *list = revocations_new();
    assert_int_equal(revocations_add(list, id), 0);
    for (unsigned i = 0; i < number; i++) { /* each signing counts one on */
        Revocations *next = NULL;
        Reason reason = {""};
        buffer_clear(line);
        assert_int_equal(revocations_sign(line, list, "test-1", NOW, bench->vendor.secret_key), 0);
        assert_int_equal(
            revocations_parse(&next, (const char *)line->bytes, line->size, &bench->keys, &reason),
            0);
        revocations_free(list);
        list = next;
    }
}

static inline void put_list(const Bench *bench, const char *path, const char *id, unsigned number) {
    Buffer line = {0};
    list_of(bench, &line, id, number);
    put(path, line.bytes, line.size);
    buffer_deinit(&line);
}

static inline int install(Bench *bench, const Licence *licence, Reason *reason) {
    Buffer line = {0};
    line_of(bench, &line, licence);
    int r = holder_install(bench->holder, (const char *)line.bytes, line.size, bench->now_s, true,
                           reason);
    buffer_deinit(&line);
    return r;
}
