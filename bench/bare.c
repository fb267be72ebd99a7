/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is left of delivery when nothing is promised: as many bytes as bench/deliver delivers go
 * through two sockets of libzmq with CURVE, in messages of 128 and 60,000 bytes, and into files of
 * 8 MB, a write each; fdatasync every 200 ms, and the last but one file goes. Nobody acknowledges,
 * checks, counts or keeps anything. Sums are of both whole processes.
 *
 *     bare FOLDER MEGABYTES
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
    HEAD_BYTES = 128,
    BODY_BYTES = 60000,
    BODIES = 16, /* different ones, as in deliver.c */
    FILE_BYTES = 8 << 20,
    SYNC_US = 200000,
    HIGH_WATER = 64,
};

static atomic_int syncing = -1; /* the file */

static void check(bool good, const char *what) {
    if (good)
        return;
    (void)fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double cpu_s(const struct rusage *usage) {
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static void *sync_for_ever(void *arg) {
    (void)arg;
    for (;;) {
        (void)usleep(SYNC_US);
        const int fd = atomic_load(&syncing);
        if (fd >= 0)
            (void)fdatasync(fd); /* it may just have gone */
    }
    return NULL;
}

static void run_hub(const char *secret, int ready_fd) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_PULL);
    const int one = 1;
    char endpoint[64] = "";
    size_t size = sizeof(endpoint);
    check(socket && zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &one, sizeof(one)) == 0 &&
              zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, 41) == 0 &&
              zmq_bind(socket, "tcp://127.0.0.1:*") == 0 &&
              zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 &&
              write(ready_fd, endpoint, sizeof(endpoint)) == sizeof(endpoint),
          "listening");
    for (;;) {
        zmq_msg_t part;
        (void)zmq_msg_init(&part);
        (void)zmq_msg_recv(&part, socket, 0);
        const bool last = zmq_msg_size(&part) == 1;
        (void)zmq_msg_close(&part);
        if (last)
            check(write(ready_fd, "e", 1) == 1, "answering");
    }
}

static void *connect_to(const char *endpoint, const char *server, const char *public,
                        const char *secret) {
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_PUSH);
    const int water = HIGH_WATER;
    check(socket && zmq_setsockopt(socket, ZMQ_SNDHWM, &water, sizeof(water)) == 0 &&
              zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, 41) == 0 &&
              zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, 41) == 0 &&
              zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, 41) == 0 &&
              zmq_connect(socket, endpoint) == 0,
          "connecting");
    return socket;
}

static void keep(void *bytes, void *hint) {
    (void)bytes;
    (void)hint;
}

/** deliver() - into files and through the socket, and wait until the other side has all of it */
static void deliver(const char *folder, void *socket, uint8_t *bodies, size_t n, int answer_fd) {
    int fds[2] = {-1, -1};
    size_t at = FILE_BYTES;
    uint8_t head[HEAD_BYTES] = {0};
    for (size_t i = 0, file = 0; i < n; i++) {
        uint8_t *body = bodies + i % BODIES * BODY_BYTES;
        if (at >= FILE_BYTES) {
            char path[512];
            (void)snprintf(path, sizeof(path), "%s/%zu", folder, file % 2);
            if (fds[file % 2] >= 0)
                (void)close(fds[file % 2]);
            (void)unlink(path);
            fds[file % 2] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            atomic_store(&syncing, fds[file++ % 2]);
            at = 0;
        }
        check(pwrite(atomic_load(&syncing), body, BODY_BYTES, (off_t)at) == BODY_BYTES, "writing");
        at += BODY_BYTES;
        zmq_msg_t part;
        check(zmq_send(socket, head, sizeof(head), ZMQ_SNDMORE) == sizeof(head) &&
                  zmq_msg_init_data(&part, body, BODY_BYTES, keep, NULL) == 0 &&
                  zmq_msg_send(&part, socket, 0) == BODY_BYTES,
              "sending");
    }
    char byte;
    check(zmq_send(socket, "e", 1, 0) == 1 && read(answer_fd, &byte, 1) == 1, "sending");
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        (void)fprintf(stderr, "usage: bare FOLDER MEGABYTES\n");
        return 2;
    }
    char server[2][41], client[2][41], endpoint[64];
    int answers[2];
    static uint8_t bodies[BODIES * BODY_BYTES];
    pthread_t thread;
    check(zmq_curve_keypair(server[0], server[1]) == 0 &&
              zmq_curve_keypair(client[0], client[1]) == 0 && pipe(answers) == 0,
          "keys");
    const pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0)
        run_hub(server[1], answers[1]);
    check(read(answers[0], endpoint, sizeof(endpoint)) == sizeof(endpoint), "the other side");
    void *socket = connect_to(endpoint, server[0], client[0], client[1]);
    for (size_t i = 0; i < sizeof(bodies); i++)
        bodies[i] = (uint8_t)(i * 2654435761u >> 13);
    check(pthread_create(&thread, NULL, sync_for_ever, NULL) == 0, "a thread");

    const size_t n = strtoull(argv[2], NULL, 10) * 1000000 / BODY_BYTES;
    struct rusage before, after, hub;
    struct timespec from, to;
    deliver(argv[1], socket, bodies, 300, answers[0]);
    (void)getrusage(RUSAGE_SELF, &before);
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    deliver(argv[1], socket, bodies, n, answers[0]);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    (void)getrusage(RUSAGE_SELF, &after);
    (void)kill(child, SIGKILL);
    check(wait4(child, NULL, 0, &hub) == child, "wait");
    const double mb = (double)n * BODY_BYTES / 1e6;
    (void)printf("{\"mb\":%.1f,\"s\":%.3f,\"probe_ms_mb\":%.3f,\"hub_ms_mb\":%.3f,"
                 "\"sent_part\":1,\"resent\":0}\n",
                 mb, (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9,
                 (cpu_s(&after) - cpu_s(&before)) * 1e3 / mb,
                 cpu_s(&hub) * 1e3 / (mb + 300 * BODY_BYTES / 1e6));
    return 0;
}
