#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Server Scene
 *
 * For tests of server.c: a server with one listener of each kind, its peers at the other end of
 * socketpairs, and a clock that only the test moves. Include after cmocka.h.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zmtp/client.h"
#include "zmtp/server.h"

#define SCENE_MAY __attribute__((unused)) static

enum { DATA, CONTROL, SIDES };

typedef struct Scene {
    ZmtpServer *server;
    uint16_t ports[SIDES];
    ZmtpListener *listeners[SIDES];
    CurveKeys keys;
    uint64_t now_ms;
    Buffer said; /* of messages: parts, '|' between, '.' at the end */
    unsigned n_up, n_messages, n_on, n_off, n_down[ZMTP_FAULTS];
    bool last_was_up; /* of who went down last: was its handshake over? */
    uint8_t last_key[32];
    char last_address[64];
    char twins[128];        /* addresses: the newest, and who goes for it */
    const uint8_t *refused; /* a key */
    bool knows;             /* it is asked whose key is known: `friend` */
    const uint8_t *friend;
} Scene;

typedef struct Peer {
    Client client;
    int fd;
    unsigned side;
    Buffer in; /* what came and was not looked at yet */
    uint64_t nonce_in;
} Peer;

/* ------------------------------------------------------------------------------ what is called */

static bool on_admits(void *userdata, const uint8_t key[32]) {
    const Scene *scene = userdata;
    return !scene->refused || memcmp(key, scene->refused, 32) != 0;
}

static bool on_knows(void *userdata, const uint8_t key[32]) {
    const Scene *scene = userdata;
    return scene->friend && memcmp(key, scene->friend, 32) == 0;
}

static void on_up(void *userdata, const ZmtpPeer *peer) {
    Scene *scene = userdata;
    assert_false(sodium_is_zero(peer->key, 32));
    scene->n_up++;
}

static void on_message(void *userdata, const ZmtpPeer *peer, const ZmtpMessage *message) {
    Scene *scene = userdata;
    assert_int_equal(peer->side, DATA);
    scene->n_messages++;
    buffer_put(&scene->said, message->first, message->first_size);
    for (size_t i = 1; i < message->n_parts; i++)
        buffer_put_text(&scene->said, "|");
    if (message->n_parts > 1)
        buffer_put(&scene->said, message->last, message->last_size);
    buffer_put_text(&scene->said, ".");
}

static bool on_topic(void *userdata, const ZmtpPeer *peer, const uint8_t *topic, size_t size,
                     bool on) {
    Scene *scene = userdata;
    assert_int_not_equal(peer->side, DATA);
    scene->n_on += on;
    scene->n_off += !on;
    return !size || topic[0] != 'x';
}

static void on_twins(void *userdata, const ZmtpPeer *newest, const ZmtpPeer *other) {
    Scene *scene = userdata;
    (void)snprintf(scene->twins, sizeof(scene->twins), "%s %s", newest->address, other->address);
}

static void on_down(void *userdata, const ZmtpPeer *peer, ZmtpFault fault, bool up) {
    Scene *scene = userdata;
    scene->n_down[fault]++;
    scene->last_was_up = up;
    memcpy(scene->last_key, peer->key, 32);
    (void)snprintf(scene->last_address, sizeof(scene->last_address), "%s:%u", peer->address,
                   peer->port);
}

/* --------------------------------------------------------------------------------- the scene */

/** scene_start() - with the keys it has, and the ports it had */
static void scene_start(Scene *scene) {
    const ZmtpCallbacks callbacks = {.userdata = scene,
                                     .admits = on_admits,
                                     .knows = scene->knows ? on_knows : NULL,
                                     .on_up = on_up,
                                     .on_message = on_message,
                                     .on_topic = on_topic,
                                     .on_twins = on_twins,
                                     .on_down = on_down};
    assert_int_equal(zmtp_server_new(&scene->server, &callbacks), 0);
    for (unsigned side = 0; side < SIDES; side++) {
        const struct sockaddr_in at = {.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons(scene->ports[side])};
        const ZmtpListen what = {.side = side,
                                 .kind = side == DATA ? ZMTP_SUB : ZMTP_XPUB,
                                 .topic = "weir",
                                 .keys = scene->keys};
        assert_int_equal(zmtp_listen(scene->server, &what, (const struct sockaddr *)&at, sizeof(at),
                                     &scene->listeners[side]),
                         0);
        scene->ports[side] = zmtp_listener_port(scene->listeners[side]);
    }
}

static bool scene_knows; /* of the scenes that are opened */

static void scene_open(Scene *scene) {
    *scene = (Scene){.now_ms = 1000000, .knows = scene_knows};
    assert_int_equal(crypto_box_keypair(scene->keys.public, scene->keys.secret), 0);
    scene_start(scene);
}

/** turn() - until there is nothing to be done */
static void turn(Scene *scene) {
    struct pollfd more = {.fd = zmtp_server_fd(scene->server), .events = POLLIN};
    while (zmtp_server_turn(scene->server, scene->now_ms) || poll(&more, 1, 0) > 0)
        ;
}

SCENE_MAY void later(Scene *scene, uint64_t ms) {
    scene->now_ms += ms;
    turn(scene);
}

static void scene_close(Scene *scene) {
    scene->server = zmtp_server_free(scene->server);
    buffer_deinit(&scene->said);
}

SCENE_MAY void expect_said(Scene *scene, const char *text) {
    turn(scene);
    assert_string_equal(buffer_text(&scene->said), text);
    buffer_clear(&scene->said);
}

/* ------------------------------------------------------------------------------------- peers */

/** adopt() - a connection of this address; what the peer is, is left as it was */
static void adopt(Scene *scene, Peer *peer, unsigned side, const char *address) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    peer->fd = fds[0];
    peer->side = side;
    assert_int_equal(zmtp_listener_adopt(scene->listeners[side], fds[1], address, 7, scene->now_ms),
                     0);
}

SCENE_MAY void peer_open(Scene *scene, Peer *peer, unsigned side, const char *address) {
    *peer = (Peer){0};
    client_init(&peer->client, scene->keys.public);
    adopt(scene, peer, side, address);
}

SCENE_MAY void peer_close(Peer *peer) {
    (void)close(peer->fd);
    buffer_deinit(&peer->in);
}

/** put() - `step` bytes at a time, with a turn of the server after each */
SCENE_MAY void put(Scene *scene, const Peer *peer, const void *bytes, size_t size, size_t step) {
    const uint8_t *at = bytes, *end = at + size;
    while (at < end) {
        const size_t n = (size_t)(end - at) < step ? (size_t)(end - at) : step;
        const ssize_t sent = send(peer->fd, at, n, MSG_NOSIGNAL);
        assert_true(sent > 0 || (sent < 0 && (errno == EAGAIN || errno == EPIPE)));
        turn(scene);
        if (sent < 0 && errno == EPIPE)
            return;
        at += sent > 0 ? sent : 0;
    }
}

/** hear() - what is there, but no more than `most` bytes; false: the server has closed */
static bool hear(Peer *peer, size_t most) {
    uint8_t bytes[4096];
    for (;;) {
        const ssize_t n = recv(peer->fd, bytes, most < sizeof(bytes) ? most : sizeof(bytes), 0);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        buffer_put(&peer->in, bytes, (size_t)n);
        most -= (size_t)n;
        if (!most)
            return true;
    }
}

static void took(Peer *peer, size_t size) {
    memmove(peer->in.bytes, peer->in.bytes + size, peer->in.size - size);
    peer->in.size -= size;
}

/** open_box() - of a body behind its name; the counter has to rise */
static void open_box(Peer *peer, const char *prefix, const uint8_t *body, size_t size,
                     uint8_t *to) {
    uint8_t nonce[24];
    uint64_t counter = 0;
    for (int i = 0; i < 8; i++)
        counter = counter << 8 | body[i];
    assert_true(counter > peer->nonce_in);
    peer->nonce_in = counter;
    client_nonce(nonce, prefix, counter);
    assert_int_equal(
        crypto_box_open_easy_afternm(to, body + 8, size - 8, nonce, peer->client.shared), 0);
}

/**
 * next_said() - the next MESSAGE of what came, opened: its flags first; how many bytes of it were
 * taken, 0 when none is whole
 */
static size_t next_said(Peer *peer, uint8_t *to, size_t room, size_t *np) {
    const uint8_t *at = peer->in.bytes;
    size_t head = 2, size = 0;
    if (peer->in.size < 2)
        return 0;
    if (at[0] & 2) {
        head = 9;
        if (peer->in.size < head)
            return 0;
        for (int i = 1; i < 9; i++)
            size = size << 8 | at[i];
    } else {
        size = at[1];
    }
    assert_true(size <= ZMTP_FRAME_MAX_BYTES && size >= 33 && size - 32 <= room);
    if (peer->in.size < head + size)
        return 0;
    assert_memory_equal(at + head, "\x07MESSAGE", 8);
    open_box(peer, "CurveZMQMESSAGES", at + head + 8, size - 8, to);
    *np = size - 32;
    took(peer, head + size);
    return head + size;
}

/** expect() - that the next it is told is this, with these flags */
SCENE_MAY void expect(Scene *scene, Peer *peer, uint8_t flags, const void *text, size_t size) {
    static uint8_t plain[ZMTP_FRAME_MAX_BYTES];
    size_t n = 0;
    turn(scene);
    (void)hear(peer, SIZE_MAX);
    assert_true(next_said(peer, plain, sizeof(plain), &n) > 0);
    assert_int_equal(plain[0], flags);
    assert_int_equal(n - 1, size);
    assert_memory_equal(plain + 1, text, size);
}

/** expect_nothing() - neither a word nor an end */
SCENE_MAY void expect_nothing(Scene *scene, Peer *peer) {
    turn(scene);
    assert_true(hear(peer, SIZE_MAX));
    assert_int_equal(peer->in.size, 0);
}

/** expect_end() - that the server has closed it, for this and nothing else */
SCENE_MAY void expect_end(Scene *scene, Peer *peer, ZmtpFault fault, bool up) {
    turn(scene);
    const bool open = hear(peer, SIZE_MAX);
    if (open || scene->n_down[fault] != 1 || scene->last_was_up != up)
        fail_msg("%s; fault %d came %u times; its handshake was%s over",
                 open ? "still open" : "closed", (int)fault, scene->n_down[fault],
                 scene->last_was_up ? "" : " not");
    for (ZmtpFault other = 0; other < ZMTP_FAULTS; other++)
        assert_int_equal(scene->n_down[other], other == fault);
    memset(scene->n_down, 0, sizeof(scene->n_down));
}

/* ---------------------------------------------------------------------------------- handshake */

static void greet(Scene *scene, Peer *peer, uint8_t minor, size_t step) {
    uint8_t greeting[64];
    client_greeting(greeting, "CURVE");
    greeting[11] = minor;
    put(scene, peer, greeting, 64, step);
    assert_true(hear(peer, SIZE_MAX));
    assert_int_equal(peer->in.size, 64);
    assert_memory_equal(peer->in.bytes, "\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE\0\0\0", 20);
    assert_int_equal(peer->in.bytes[32], 1); /* the server */
    took(peer, 64);
}

/** initiate() - HELLO said and WELCOME taken: the INITIATE, not sent; how many bytes */
static size_t initiate(Scene *scene, Peer *peer, const char *type, size_t step, uint8_t to[512]) {
    uint8_t hello[202];
    client_hello(&peer->client, hello);
    put(scene, peer, hello, 202, step);
    assert_true(hear(peer, SIZE_MAX));
    assert_int_equal(peer->in.size, 170);
    const size_t n = client_initiate(&peer->client, peer->in.bytes, type, to);
    assert_true(n > 0);
    took(peer, 170);
    return n;
}

static const char *type_for(const Peer *peer) {
    return peer->side == DATA ? "PUB" : "SUB";
}

/** expect_ready() - what the server says of itself, and that it wants "weir" if it is the SUB */
static void expect_ready(Scene *scene, Peer *peer, uint8_t minor) {
    uint8_t plain[64];
    const size_t n = peer->side == DATA ? 16 + 3 : 16 + 4;
    assert_true(hear(peer, SIZE_MAX));
    assert_true(peer->in.size >= 2 + 30 + n);
    assert_int_equal(peer->in.bytes[0], 4);
    assert_int_equal(peer->in.bytes[1], 30 + n);
    assert_memory_equal(peer->in.bytes + 2, "\5READY", 6);
    open_box(peer, "CurveZMQREADY---", peer->in.bytes + 8, 24 + n, plain);
    assert_memory_equal(
        plain, peer->side == DATA ? "\x0bSocket-Type\0\0\0\3SUB" : "\x0bSocket-Type\0\0\0\4XPUB",
        n);
    took(peer, 2 + 30 + n);
    if (peer->side == DATA && minor)
        expect(scene, peer, 2, "\x09SUBSCRIBEweir", 14);
    else if (peer->side == DATA)
        expect(scene, peer, 0, "\1weir", 5);
    assert_int_equal(peer->in.size, 0);
}

SCENE_MAY void shake(Scene *scene, Peer *peer, uint8_t minor, size_t step) {
    uint8_t bytes[512];
    const unsigned before = scene->n_up;
    greet(scene, peer, minor, step);
    const size_t n = initiate(scene, peer, type_for(peer), step, bytes);
    put(scene, peer, bytes, n, step);
    assert_int_equal(scene->n_up, before + 1);
    expect_ready(scene, peer, minor);
}

/** peer_up() - one that is through the handshake */
SCENE_MAY void peer_up(Scene *scene, Peer *peer, unsigned side, const char *address) {
    peer_open(scene, peer, side, address);
    shake(scene, peer, 1, 999);
}

/** say() - a message, or part of one, or a command; `step` as put() */
SCENE_MAY void say(Scene *scene, Peer *peer, uint8_t flags, const void *bytes, size_t size,
                   size_t step) {
    static uint8_t frame[2 * ZMTP_FRAME_MAX_BYTES];
    const size_t n = client_message(&peer->client, flags, bytes, size, frame);
    put(scene, peer, frame, n, step);
}

SCENE_MAY void subscribe(Scene *scene, Peer *peer, const char *topic) {
    uint8_t text[80] = "\x09SUBSCRIBE";
    memcpy(text + 10, topic, strlen(topic));
    say(scene, peer, 2, text, 10 + strlen(topic), 999);
}

/** send_to() - of two parts to the holder of this key; how many connections took it */
SCENE_MAY size_t send_to(Scene *scene, const Peer *peer, const char *topic, const void *bytes,
                         size_t size) {
    const void *const parts[] = {topic, bytes};
    const size_t sizes[] = {strlen(topic), size};
    return zmtp_server_send(scene->server, CONTROL, peer->client.keys[0], parts, sizes, 2);
}
