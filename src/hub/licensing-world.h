#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A world for test-licensing.c: the hub's registry, admission and licence for real, in folders of
 * their own; probes and the link are told of here; time goes as the test says.
 */

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

#include "hub/admission.h"
#include "hub/licensing.h"
#include "licence/seats.h"
#include "licence/token.h"
#include "licence/vendor_secret.h"

enum { N = 12, DAY = 86400, NOW = 1800000000, MINUTE_MS = 60000, STEP_MS = 100 };

typedef struct Told {
    HubAdmission verdict;
    char reason[HUB_REASON_BYTES];
    uint64_t at_ms;
} Told;

typedef struct World {
    VendorSecret vendor;
    VendorKeys keys;
    char root[64], path[PATH_MAX], list[PATH_MAX], folder[PATH_MAX];
    uint64_t mono_ms, wall_ms, flushed_ms;
    Settings *settings;
    Probes *probes;
    Admission *admission;
    Licensing *licensing; /* NULL: the hub is down */
    Told told[N];
    bool running[N];                /* the probe, and so connected while the hub is up */
    char shows[N][1024];            /* what it adds to its hello */
    uint32_t numbers[N], n_numbers; /* the store's */
    Lease lease;
} World;

static World world;

static inline uint64_t draw(uint64_t *x) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static inline PeerKey key_of(unsigned i) {
    PeerKey key = {0};
    (void)snprintf(key.z85, sizeof(key.z85), "%040u", i);
    return key;
}

static inline LicensingTime now_of(void) {
    return (LicensingTime){world.mono_ms, world.wall_ms, true};
}

/* --- the hub ------------------------------------------------------------------------------ */

static inline void tell(void *userdata, const PeerKey *key, HubAdmission verdict,
                        const char *reason) {
    (void)userdata;
    Told *told = &world.told[strtoul(key->z85, NULL, 10)];
    told->verdict = verdict;
    told->at_ms = world.mono_ms;
    (void)snprintf(told->reason, sizeof(told->reason), "%s", reason ? reason : "");
}

static inline void take_verdict(void *userdata, const PeerKey *key, HubAdmission verdict,
                                const char *reason) {
    (void)userdata;
    const unsigned i = (unsigned)strtoul(key->z85, NULL, 10);
    Probe *probe = verdict == HUB_ADMITTED ? probes_lock(world.probes, key) : NULL;
    if (probe) {
        if (!world.numbers[i])
            world.numbers[i] = ++world.n_numbers;
        probe->number = world.numbers[i];
        probes_unlock(world.probes);
    }
    licensing_verdict(world.licensing, key, verdict, reason);
}

static inline void take_lease(void *userdata, const Lease *lease) {
    (void)userdata;
    world.lease = *lease;
}

static inline void turn(void) {
    const LicensingTime now = now_of();
    (void)licensing_turn(world.licensing, &now);
}

static inline void hello(unsigned i) {
    char json[1200];
    const PeerKey key = key_of(i);
    if (!world.licensing || !world.running[i])
        return;
    (void)snprintf(json, sizeof(json), "{\"name\":\"p%u\",\"instance\":\"x\"%s}", i,
                   world.shows[i]);
    admission_hello(world.admission, &key, 0, "192.0.2.1", json, world.wall_ms);
    licensing_hello(world.licensing, &key, json);
    turn();
}

static inline void hub_start(void) {
    static const HubInterface interfaces[] = {{.name = "*:5556"}};
    Reason reason = {""};
    memset(world.told, 0, sizeof(world.told));
    assert_int_equal(settings_new(&world.settings, world.folder, &reason), 0);
    assert_int_equal(probes_new(&world.probes), 0);
    const LicensingTime now = now_of();
    const LicensingConfig licensing = {.path = world.path,
                                       .folder = world.folder,
                                       .keys = world.keys,
                                       .probes = world.probes,
                                       .tell = tell,
                                       .lease = take_lease};
    assert_int_equal(licensing_new(&world.licensing, &licensing, &now), 0);
    const AdmissionConfig admission = {.settings = world.settings,
                                       .probes = world.probes,
                                       .interfaces = interfaces,
                                       .n_interfaces = 1,
                                       .tell = take_verdict};
    assert_int_equal(admission_new(&world.admission, &admission), 0);
    admission_start(world.admission);
    licensing_start(world.licensing, &now);
}

/** hub_stop() - `killed`: what was not yet flushed is lost */
static inline void hub_stop(bool killed) {
    if (!world.licensing)
        return;
    if (!killed)
        admission_flush(world.admission);
    world.settings = killed ? settings_free(world.settings) : world.settings;
    if (!killed)
        world.admission = admission_free(world.admission);
    else
        free(world.admission); /* without the flush that ends its life */
    world.admission = NULL;
    world.licensing = licensing_free(world.licensing);
    world.probes = probes_free(world.probes);
    world.settings = settings_free(world.settings);
}

/* --- probes and time ---------------------------------------------------------------------- */

static inline void come(unsigned i) {
    world.running[i] = true;
    hello(i);
}

static inline void pass(uint64_t ms) {
    for (uint64_t end_ms = world.mono_ms + ms; world.mono_ms < end_ms;) {
        const uint64_t left_ms = end_ms - world.mono_ms;
        uint64_t step_ms = left_ms > 2 * MINUTE_MS ? 20000 : left_ms > 5000 ? 1000 : STEP_MS;
        step_ms = step_ms < left_ms ? step_ms : left_ms;
        world.mono_ms += step_ms;
        world.wall_ms += step_ms;
        if (!world.licensing)
            continue;
        turn();
        if (world.mono_ms - world.flushed_ms >= 1000) {
            admission_flush(world.admission);
            world.flushed_ms = world.mono_ms;
        }
    }
}

static inline void leave(unsigned i) {
    const PeerKey key = key_of(i);
    world.running[i] = false;
    if (world.licensing) {
        probes_end(world.probes, &key, world.wall_ms);
        licensing_gone(world.licensing);
        pass(2 * STEP_MS); /* it is seen to be gone */
    }
}

/** works() - connected, and the link lets it deliver */
static inline bool works(unsigned i) {
    return world.licensing && world.running[i] && world.told[i].verdict == HUB_ADMITTED;
}

/** waits() - connected, and told that it must wait for a seat and why */
static inline bool waits(unsigned i) {
    return world.licensing && world.running[i] && world.told[i].verdict == HUB_PENDING &&
           strstr(world.told[i].reason, "seats") != NULL;
}

static inline ProbeSeat seat_of(unsigned i) {
    const PeerKey key = key_of(i);
    Probe *probe = probes_lock(world.probes, &key);
    assert_non_null(probe);
    const ProbeSeat seat = probe->seat;
    probes_unlock(world.probes);
    return seat;
}

/* --- licences ----------------------------------------------------------------------------- */

static inline Licence grant(const char *id, LicenceKind kind, uint32_t probes) {
    Licence licence = {.kid = "test-1",
                       .customer = "x",
                       .kind = kind,
                       .max_probes = probes,
                       .issued_s = (int64_t)(world.wall_ms / 1000),
                       .not_before_s = (int64_t)(world.wall_ms / 1000),
                       .expiry_s = (int64_t)(world.wall_ms / 1000) + 100 * DAY,
                       .grace_days = 30};
    (void)snprintf(licence.id, sizeof(licence.id), "%s", id);
    return licence;
}

static inline void put(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void line_of(Buffer *line, const Licence *licence) {
    Reason reason = {""};
    buffer_clear(line);
    if (licence_sign(line, licence, world.vendor.secret_key, &reason))
        fail_msg("%s", reason.text);
}

static inline void put_licence(const Licence *licence) {
    Buffer line = {0};
    line_of(&line, licence);
    put(world.path, line.bytes, line.size);
    buffer_deinit(&line);
}

static inline void revoke_licence(const char *id) {
    Buffer line = {0};
    cleanup(revocations_freep) Revocations *list = revocations_new();
    assert_int_equal(revocations_add(list, id), 0);
    assert_int_equal(revocations_sign(&line, list, "test-1", NOW, world.vendor.secret_key), 0);
    put(world.list, line.bytes, line.size);
    buffer_deinit(&line);
}

/* --- its life ----------------------------------------------------------------------------- */

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline int begin(void **state) {
    (void)state;
    world = (World){.mono_ms = 5000, .wall_ms = (uint64_t)NOW * 1000};
    assert_int_equal(token_init(), 0);
    vendor_secret_make(&world.vendor, "test-1");
    world.keys = (VendorKeys){.keys = &world.vendor.key, .n = 1};
    /* hundreds of lives, each with a settings file: in memory, where that can be */
    (void)snprintf(world.root, sizeof(world.root), "%s/weir-licensing-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(world.root));
    (void)snprintf(world.folder, PATH_MAX, "%s/state", world.root);
    (void)snprintf(world.path, PATH_MAX, "%s/hub.license", world.root);
    (void)snprintf(world.list, PATH_MAX, "%s/revoked.list", world.root);
    assert_int_equal(mkdir(world.folder, 0755), 0);
    return 0;
}

static inline int end(void **state) {
    (void)state;
    hub_stop(false);
    (void)nftw(world.root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/** anew() - everything from the beginning, for many lives in one test */
static inline void anew(void) {
    (void)end(NULL);
    (void)begin(NULL);
}
