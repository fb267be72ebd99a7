#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ZMTP
 *
 * The client's end of a ZeroMQ connection with CURVE (rfc.zeromq.org, 23 and 26), and nothing more
 * than a simulated probe needs. Thousands of libzmq's sockets would cost the machine several times
 * what the hub does that is to be measured. Keys, boxes and handshake are the real ones. One
 * thread; descriptors are in the caller's epoll, edge-triggered.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

enum { ZMTP_KEY_BYTES = 32 };

typedef enum ZmtpState {
    ZMTP_WAITING, /* for its next try */
    ZMTP_CONNECTING,
    ZMTP_GREETING,
    ZMTP_WELCOME,
    ZMTP_READY,
    ZMTP_UP,
} ZmtpState;

/** ZmtpPeer - what many connections share */
typedef struct ZmtpPeer {
    struct sockaddr_in address;
    uint8_t server[ZMTP_KEY_BYTES]; /* its public key */
    const char *socket_type;        /* ours: "XPUB", "SUB" */
    int epoll_fd;
    void (*on_up)(void *userdata);
    void (*on_down)(void *userdata);
    /* one part of a message; the bytes are gone when it returns */
    void (*on_part)(void *userdata, const uint8_t *bytes, size_t size, bool more);
} ZmtpPeer;

typedef struct Zmtp {
    const ZmtpPeer *peer;
    const uint8_t *keys[2]; /* public, secret; the caller's */
    void *userdata;
    uint64_t id; /* as epoll's data */
    struct sockaddr_in source;
    int fd;
    ZmtpState state;
    unsigned n_tries;
    uint64_t due_ms; /* the next try, or when this one is given up */
    uint64_t nonce;
    uint8_t short_keys[2][ZMTP_KEY_BYTES];
    uint8_t hello_key[ZMTP_KEY_BYTES], shared[ZMTP_KEY_BYTES];
    Buffer in, out; /* what is not whole yet, what did not go out yet */
} Zmtp;

/** zmtp_tend() - now and then: begins a try that is due, ends one that takes too long */
void zmtp_tend(Zmtp *zmtp, uint64_t now_ms);

/** zmtp_serve() - its descriptor has something to tell */
void zmtp_serve(Zmtp *zmtp, uint64_t now_ms);

/** zmtp_send() - one message; false: the line is not up, or full */
bool zmtp_send(Zmtp *zmtp, const void *const parts[], const size_t sizes[], size_t n);

/** zmtp_ping() - a heartbeat; the answer is taken and forgotten */
bool zmtp_ping(Zmtp *zmtp);
