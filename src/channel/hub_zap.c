/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_zap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zmq.h>

#include "base/error.h"

#define ADDRESS_OF_ZAP "inproc://zeromq.zap.01"

enum {
    TURN_MS = 100,
    KEY_BYTES = 32,
};

/* the parts of a request, in order */
enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS, N_PARTS };

struct HubZap {
    pthread_t thread;
    bool started;
    atomic_bool stop;
    void *socket;
    HubKeys *keys;
};

typedef struct Part {
    uint8_t bytes[256];
    size_t size;
} Part;

static bool part_is(const Part *part, const char *text) {
    return part->size == strlen(text) && memcmp(part->bytes, text, part->size) == 0;
}

/** read_request() - false: nothing there, or not a request for CURVE */
static bool read_request(void *socket, Part parts[N_PARTS]) {
    int n = 0;
    int more = 1;
    for (; more; n++) {
        Part ignored;
        Part *part = n < N_PARTS ? &parts[n] : &ignored;
        int size = zmq_recv(socket, part->bytes, sizeof(part->bytes), n ? 0 : ZMQ_DONTWAIT);
        if (size < 0)
            return false;
        part->size = (size_t)size < sizeof(part->bytes) ? (size_t)size : 0;
        size_t length = sizeof(more);
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &length) < 0)
            return false;
    }
    if (n < REQUEST_ID + 1)
        parts[REQUEST_ID].size = 0;
    return n == N_PARTS && part_is(&parts[VERSION], "1.0") && part_is(&parts[MECHANISM], "CURVE") &&
           parts[CREDENTIALS].size == KEY_BYTES;
}

static void answer(void *socket, const Part *id, bool good, const char *user) {
    const struct {
        const void *bytes;
        size_t size;
    } frames[] = {
        {"1.0", 3},
        {id->bytes, id->size},
        {good ? "200" : "400", 3},
        {good ? "OK" : "refused", strlen(good ? "OK" : "refused")},
        {user, strlen(user)},
        {"", 0},
    };
    size_t n = sizeof(frames) / sizeof(frames[0]);
    for (size_t i = 0; i < n; i++)
        if (zmq_send(socket, frames[i].bytes, frames[i].size, i + 1 < n ? ZMQ_SNDMORE : 0) < 0)
            return;
}

static void serve(HubZap *zap) {
    Part parts[N_PARTS];
    PeerKey key = {""};
    parts[REQUEST_ID].size = 0;
    bool good = read_request(zap->socket, parts) &&
                zmq_z85_encode(key.z85, parts[CREDENTIALS].bytes, KEY_BYTES) &&
                hub_keys_get(zap->keys, &key, NULL) != HUB_REVOKED;
    answer(zap->socket, &parts[REQUEST_ID], good, good ? key.z85 : "");
}

static bool wait_for_request(HubZap *zap, long timeout_ms) {
    zmq_pollitem_t item = {.socket = zap->socket, .events = ZMQ_POLLIN};
    return zmq_poll(&item, 1, timeout_ms) > 0;
}

static void *open_socket(void *context) {
    void *socket = zmq_socket(context, ZMQ_REP);
    if (socket)
        (void)zmq_setsockopt(socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    return socket;
}

static void *run(void *arg) {
    HubZap *zap = arg;
    while (!atomic_load(&zap->stop))
        if (wait_for_request(zap, TURN_MS))
            serve(zap);
    return NULL;
}

int hub_zap_new(HubZap **zapp, void *context, HubKeys *keys) {
    cleanup(hub_zap_freep) HubZap *zap = calloc(1, sizeof(*zap));
    if (!zap)
        return error_origin(-ENOMEM);
    zap->keys = keys;
    zap->socket = open_socket(context);
    if (!zap->socket || zmq_bind(zap->socket, ADDRESS_OF_ZAP) < 0)
        return error_origin(-errno);
    int r = pthread_create(&zap->thread, NULL, run, zap);
    if (r)
        return error_origin(-r);
    zap->started = true;
    *zapp = zap;
    zap = NULL;
    return 0;
}

HubZap *hub_zap_free(HubZap *zap) {
    if (!zap)
        return NULL;
    atomic_store(&zap->stop, true);
    if (zap->started)
        (void)pthread_join(zap->thread, NULL);
    if (zap->socket)
        (void)zmq_close(zap->socket);
    free(zap);
    return NULL;
}
