/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    GREETING_BYTES = 64,
    FLAG_LONG = 2,
    FLAG_COMMAND = 4,
    BOX_MORE = 1, /* flags inside a box */
    BOX_COMMAND = 2,
    HELLO_BYTES = 200,
    WELCOME_BYTES = 168,
    COOKIE_BYTES = 96,
    MAC = crypto_box_MACBYTES,
    NONCE = crypto_box_NONCEBYTES,
    PART_MAX = 256 * 1024,
    UNSENT_MAX = 256 * 1024, /* more than that is not queued */
    /* as a probe's sockets, src/channel/zsock.c */
    CONNECT_MS = 4000,
    HANDSHAKE_MS = 15000,
    AGAIN_MS = 100,
    AGAIN_LAST_MS = 3000,
    DOUBLINGS = 5,
};

static void put_back(Zmtp *zmtp, uint64_t now_ms) {
    const bool up = zmtp->state == ZMTP_UP;
    uint64_t wait_ms = (uint64_t)(AGAIN_MS + randombytes_uniform(AGAIN_MS)) << zmtp->n_tries;
    if (wait_ms > AGAIN_LAST_MS)
        wait_ms = AGAIN_LAST_MS + randombytes_uniform(1000);
    if (zmtp->n_tries < DOUBLINGS)
        zmtp->n_tries++;
    (void)close(zmtp->fd);
    zmtp->state = ZMTP_WAITING;
    zmtp->due_ms = now_ms + wait_ms;
    buffer_deinit(&zmtp->in);
    buffer_deinit(&zmtp->out);
    if (up)
        zmtp->peer->on_down(zmtp->userdata);
}

/* ------------------------------------------------------------------------------------- sending */

/** flush() - false: the connection is over */
static bool flush(Zmtp *zmtp) {
    while (zmtp->out.size) {
        ssize_t n = send(zmtp->fd, zmtp->out.bytes, zmtp->out.size, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        memmove(zmtp->out.bytes, zmtp->out.bytes + n, zmtp->out.size - (size_t)n);
        zmtp->out.size -= (size_t)n;
    }
    buffer_deinit(&zmtp->out); /* thousands of them: none keeps memory that it does not use */
    return true;
}

static void put_frame(Buffer *to, unsigned flags, const void *bytes, size_t size) {
    if (size > 255) {
        buffer_put_u8(to, (uint8_t)(flags | FLAG_LONG));
        buffer_put_u64(to, size);
    } else {
        buffer_put_u8(to, (uint8_t)flags);
        buffer_put_u8(to, (uint8_t)size);
    }
    buffer_put(to, bytes, size);
}

static void make_nonce(uint8_t nonce[NONCE], const char *prefix, uint64_t counter) {
    memcpy(nonce, prefix, 16);
    for (int i = 0; i < 8; i++)
        nonce[16 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

/** put_box() - behind a name, the counter and the box, as HELLO, INITIATE and MESSAGE have it */
static void put_box(Buffer *to, Zmtp *zmtp, const char *prefix, const uint8_t *key,
                    const uint8_t *plain, size_t size) {
    uint8_t nonce[NONCE];
    make_nonce(nonce, prefix, ++zmtp->nonce);
    buffer_put(to, nonce + 16, 8);
    uint8_t *at = buffer_reserve(to, size + MAC);
    if (!at)
        abort();
    (void)crypto_box_easy_afternm(at, plain, size, nonce, key);
    to->size += size + MAC;
}

static void put_part(Zmtp *zmtp, unsigned flags, const void *bytes, size_t size) {
    static Buffer plain, body;
    buffer_clear(&plain);
    buffer_put_u8(&plain, (uint8_t)flags);
    buffer_put(&plain, bytes, size);
    buffer_clear(&body);
    buffer_put_text(&body, "\x07MESSAGE");
    put_box(&body, zmtp, "CurveZMQMESSAGEC", zmtp->shared, plain.bytes, plain.size);
    put_frame(&zmtp->out, 0, body.bytes, body.size);
}

bool zmtp_send(Zmtp *zmtp, const void *const parts[], const size_t sizes[], size_t n) {
    if (zmtp->state != ZMTP_UP || zmtp->out.size > UNSENT_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        put_part(zmtp, i + 1 < n ? BOX_MORE : 0, parts[i], sizes[i]);
    return flush(zmtp); /* of one that is over epoll tells */
}

bool zmtp_ping(Zmtp *zmtp) {
    static const uint8_t ping[] = {4, 'P', 'I', 'N', 'G', 0, 0}; /* the hub sets no timer for it */
    if (zmtp->state != ZMTP_UP || zmtp->out.size > UNSENT_MAX)
        return false;
    put_part(zmtp, BOX_COMMAND, ping, sizeof(ping));
    return flush(zmtp);
}

/* ----------------------------------------------------------------------------------- handshake */

static void say_greeting(Zmtp *zmtp) {
    uint8_t greeting[GREETING_BYTES] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0};
    memcpy(greeting + 12, "CURVE", 5);
    buffer_put(&zmtp->out, greeting, sizeof(greeting));
    zmtp->state = ZMTP_GREETING;
}

static void say_hello(Zmtp *zmtp) {
    static const uint8_t zeros[72];
    Buffer body = {0};
    (void)crypto_box_keypair(zmtp->short_keys[0], zmtp->short_keys[1]);
    if (crypto_box_beforenm(zmtp->hello_key, zmtp->peer->server, zmtp->short_keys[1]))
        abort();
    buffer_put_text(&body, "\x05HELLO");
    buffer_put_u16(&body, 0x0100);
    buffer_put(&body, zeros, sizeof(zeros));
    buffer_put(&body, zmtp->short_keys[0], ZMTP_KEY_BYTES);
    zmtp->nonce = 0;
    put_box(&body, zmtp, "CurveZMQHELLO---", zmtp->hello_key, zeros, 64);
    put_frame(&zmtp->out, FLAG_COMMAND, body.bytes, body.size);
    buffer_deinit(&body);
    zmtp->state = ZMTP_WELCOME;
}

static void put_property(Buffer *to, const char *name, const char *value) {
    buffer_put_u8(to, (uint8_t)strlen(name));
    buffer_put_text(to, name);
    buffer_put_u32(to, (uint32_t)strlen(value));
    buffer_put_text(to, value);
}

static bool say_initiate(Zmtp *zmtp, const uint8_t *welcome, size_t size) {
    uint8_t nonce[NONCE], plain[ZMTP_KEY_BYTES + COOKIE_BYTES], vouch[2 * ZMTP_KEY_BYTES];
    Buffer inner = {0}, body = {0};
    if (size != WELCOME_BYTES || memcmp(welcome, "\x07WELCOME", 8) != 0)
        return false;
    memcpy(nonce, "WELCOME-", 8);
    memcpy(nonce + 8, welcome + 8, 16);
    if (crypto_box_open_easy_afternm(plain, welcome + 24, size - 24, nonce, zmtp->hello_key))
        return false;

    memcpy(vouch, zmtp->short_keys[0], ZMTP_KEY_BYTES);
    memcpy(vouch + ZMTP_KEY_BYTES, zmtp->peer->server, ZMTP_KEY_BYTES);
    memcpy(nonce, "VOUCH---", 8);
    randombytes_buf(nonce + 8, 16);
    buffer_put(&inner, zmtp->keys[0], ZMTP_KEY_BYTES);
    buffer_put(&inner, nonce + 8, 16);
    uint8_t *at = buffer_reserve(&inner, sizeof(vouch) + MAC);
    if (!at || crypto_box_easy(at, vouch, sizeof(vouch), nonce, plain, zmtp->keys[1]) ||
        crypto_box_beforenm(zmtp->shared, plain, zmtp->short_keys[1]))
        abort();
    inner.size += sizeof(vouch) + MAC;
    put_property(&inner, "Socket-Type", zmtp->peer->socket_type);
    put_property(&inner, "Identity", "");

    buffer_put_text(&body, "\x08INITIATE");
    buffer_put(&body, plain + ZMTP_KEY_BYTES, COOKIE_BYTES);
    put_box(&body, zmtp, "CurveZMQINITIATE", zmtp->shared, inner.bytes, inner.size);
    put_frame(&zmtp->out, FLAG_COMMAND, body.bytes, body.size);
    buffer_deinit(&inner);
    buffer_deinit(&body);
    zmtp->state = ZMTP_READY;
    return true;
}

/* ----------------------------------------------------------------------------------- receiving */

static bool take_part(Zmtp *zmtp, const uint8_t *frame, size_t size) {
    static uint8_t plain[PART_MAX];
    uint8_t nonce[NONCE];
    if (size < 16 + MAC + 1 || size > PART_MAX || memcmp(frame, "\x07MESSAGE", 8) != 0)
        return false;
    memcpy(nonce, "CurveZMQMESSAGES", 16);
    memcpy(nonce + 16, frame + 8, 8);
    if (crypto_box_open_easy_afternm(plain, frame + 16, size - 16, nonce, zmtp->shared))
        return false;
    if (!(plain[0] & BOX_COMMAND)) /* else the answer to a ping */
        zmtp->peer->on_part(zmtp->userdata, plain + 1, size - 16 - MAC - 1, plain[0] & BOX_MORE);
    return true;
}

static bool take_frame(Zmtp *zmtp, const uint8_t *frame, size_t size) {
    if (zmtp->state == ZMTP_UP)
        return take_part(zmtp, frame, size);
    if (zmtp->state == ZMTP_WELCOME)
        return say_initiate(zmtp, frame, size);
    if (size < 6 || memcmp(frame, "\x05READY", 6) != 0)
        return false;
    zmtp->state = ZMTP_UP;
    zmtp->n_tries = 0;
    zmtp->peer->on_up(zmtp->userdata);
    return true;
}

/** frame_size() - of the whole; 0: not known yet */
static size_t frame_size(const uint8_t *bytes, size_t left, size_t *headp) {
    uint64_t size = 0;
    *headp = left && bytes[0] & FLAG_LONG ? 9 : 2;
    if (left < *headp)
        return 0;
    for (size_t i = 1; i < *headp; i++)
        size = size << 8 | bytes[i];
    return size > PART_MAX ? SIZE_MAX : (size_t)size + *headp;
}

/** take_bytes() - all that is whole; false: the connection is over */
static bool take_bytes(Zmtp *zmtp, const uint8_t *bytes, size_t size, size_t *takenp) {
    size_t at = 0;
    if (zmtp->state == ZMTP_GREETING && size >= GREETING_BYTES) {
        if (bytes[0] != 0xff || memcmp(bytes + 12, "CURVE", 6) != 0)
            return false;
        at = GREETING_BYTES;
        say_hello(zmtp);
    }
    while (zmtp->state > ZMTP_GREETING) {
        size_t head;
        const size_t whole = frame_size(bytes + at, size - at, &head);
        if (!whole || (whole != SIZE_MAX && whole > size - at))
            break;
        if (whole == SIZE_MAX || !take_frame(zmtp, bytes + at + head, whole - head))
            return false;
        at += whole;
    }
    *takenp = at;
    return true;
}

static bool receive(Zmtp *zmtp) {
    static uint8_t bytes[65536];
    for (;;) {
        ssize_t n = recv(zmtp->fd, bytes, sizeof(bytes), 0);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        size_t taken = 0;
        if (!zmtp->in.size) {
            if (!take_bytes(zmtp, bytes, (size_t)n, &taken))
                return false;
            buffer_put(&zmtp->in, bytes + taken, (size_t)n - taken);
        } else {
            buffer_put(&zmtp->in, bytes, (size_t)n);
            if (!take_bytes(zmtp, zmtp->in.bytes, zmtp->in.size, &taken))
                return false;
            memmove(zmtp->in.bytes, zmtp->in.bytes + taken, zmtp->in.size - taken);
            zmtp->in.size -= taken;
        }
        if (!zmtp->in.size)
            buffer_deinit(&zmtp->in);
    }
}

void zmtp_serve(Zmtp *zmtp, uint64_t now_ms) {
    if (zmtp->state == ZMTP_WAITING)
        return; /* an event from before it was closed */
    if (zmtp->state == ZMTP_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(zmtp->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
            put_back(zmtp, now_ms);
            return;
        }
        zmtp->due_ms = now_ms + HANDSHAKE_MS;
        say_greeting(zmtp);
    }
    if (!receive(zmtp) || !flush(zmtp))
        put_back(zmtp, now_ms);
}

static bool begin(Zmtp *zmtp) {
    const int one = 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = zmtp->id};
    return setsockopt(zmtp->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) == 0 &&
           bind(zmtp->fd, (const struct sockaddr *)&zmtp->source, sizeof(zmtp->source)) == 0 &&
           (connect(zmtp->fd, (const struct sockaddr *)&zmtp->peer->address,
                    sizeof(zmtp->peer->address)) == 0 ||
            errno == EINPROGRESS) &&
           epoll_ctl(zmtp->peer->epoll_fd, EPOLL_CTL_ADD, zmtp->fd, &event) == 0;
}

void zmtp_tend(Zmtp *zmtp, uint64_t now_ms) {
    if (zmtp->state == ZMTP_UP || now_ms < zmtp->due_ms)
        return;
    if (zmtp->state != ZMTP_WAITING) {
        put_back(zmtp, now_ms);
        return;
    }
    zmtp->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (zmtp->fd < 0)
        return; /* tried again with the next turn */
    zmtp->state = ZMTP_CONNECTING;
    zmtp->due_ms = now_ms + CONNECT_MS;
    if (!begin(zmtp))
        put_back(zmtp, now_ms);
}
