/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Makes captures for `bench/run meter`, the same bytes each time:
 *
 *   traffic small FLOWS OUT    TCP flows of 8 frames of 60 bytes, all of them alive at once: the
 *                              first frame of each, in a mixed order, then the second of each...
 *   traffic local FLOWS OUT    the same flows, 2000 alive at a time
 *   traffic flood SYNS OUT     1000 connections that talk on, and SYNs from random sources to one
 *                              server: 1 M a second
 *   traffic elephants FRAMES OUT   8 TCP flows: two frames of 1514 bytes, one of 54 back
 *
 * Classic pcap, microseconds, Ethernet. Checksums are left 0: nobody who is measured looks at them.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_MAX = 1514, HEADERS = 54, FIN = 1, SYN = 2, PSH = 8, ACK = 16 };

typedef struct Sent {
    uint32_t from, to;
    uint16_t sport, dport;
    uint32_t seq;
    uint8_t flags;
    uint16_t frame_bytes;
} Sent;

static FILE *out;
static uint64_t time_us = UINT64_C(1700000000) * 1000000;

static void put16(uint8_t *at, uint32_t v) {
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v) {
    put16(at, v >> 16);
    put16(at + 2, v);
}

/* Ethernet, IPv4, TCP; the payload is a pattern that is no known protocol */
static void send(Sent s) {
    static uint8_t frame[FRAME_MAX];
    if (!frame[12]) {
        for (size_t i = HEADERS; i < FRAME_MAX; i++)
            frame[i] = (uint8_t)(i * 151 + 7);
        memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
        frame[14] = 0x45;
        frame[22] = 64;
        frame[23] = 6;
        frame[46] = 0x50;
        put16(frame + 48, 8192);
    }
    /* a frame of 60 bytes is padded; only a push has a payload */
    const uint32_t ip_bytes = s.flags & PSH ? s.frame_bytes - 14u : 40u;
    put16(frame + 16, ip_bytes);
    put32(frame + 26, s.from);
    put32(frame + 30, s.to);
    put16(frame + 34, s.sport);
    put16(frame + 36, s.dport);
    put32(frame + 38, s.seq);
    frame[47] = s.flags;
    const uint32_t head[4] = {(uint32_t)(time_us / 1000000), (uint32_t)(time_us % 1000000),
                              s.frame_bytes, s.frame_bytes};
    if (fwrite(head, sizeof(head), 1, out) != 1 || fwrite(frame, s.frame_bytes, 1, out) != 1) {
        perror("traffic");
        exit(1);
    }
}

/* the step-th frame of the eight of a connection */
static void talk(uint32_t flow, unsigned step) {
    static const struct {
        bool back;
        uint8_t flags;
    } steps[8] = {{false, SYN},      {true, SYN | ACK}, {false, ACK},       {false, PSH | ACK},
                  {true, PSH | ACK}, {true, ACK},       {false, FIN | ACK}, {true, FIN | ACK}};
    const uint32_t client = 0x0a000000 + flow % 100003;
    const uint32_t server = 0xc0a80000 + flow % 509;
    const uint16_t port = (uint16_t)(1024 + flow / 100003 * 7 + flow % 3001);
    if (steps[step].back)
        send((Sent){server, client, 8443, port, step, steps[step].flags, 60});
    else
        send((Sent){client, server, port, 8443, step, steps[step].flags, 60});
}

static void small(uint32_t flows, uint32_t alive) {
    for (uint32_t first = 0; first < flows; first += alive) {
        const uint32_t n = flows - first < alive ? flows - first : alive;
        for (unsigned step = 0; step < 8; step++)
            for (uint32_t i = 0; i < n; i++) {
                /* 2654435761 is prime, so every flow has its turn */
                talk(first + (uint32_t)(((uint64_t)i * 2654435761u + step * 7919u) % n), step);
                time_us++;
            }
    }
}

static uint64_t next_random(uint64_t *x) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

static void flood(uint32_t syns) {
    enum { CONNECTIONS = 1000 };
    uint64_t x = 88172645463325252u;
    for (uint32_t flow = 0; flow < CONNECTIONS; flow++)
        for (unsigned step = 0; step < 3; step++, time_us++)
            talk(flow, step);
    for (uint32_t i = 0; i < syns; i++, time_us++) {
        const uint64_t r = next_random(&x);
        send((Sent){(uint32_t)r, 0xc0a80001, (uint16_t)(r >> 32), 80, (uint32_t)r, SYN, 60});
        if (i % 1000 == 0)
            talk(i / 1000 % CONNECTIONS, 3 + i / 1000 / CONNECTIONS % 2);
    }
    for (uint32_t flow = 0; flow < CONNECTIONS; flow++)
        for (unsigned step = 6; step < 8; step++, time_us++)
            talk(flow, step);
}

static void elephants(uint32_t frames) {
    uint32_t seq[8] = {0};
    for (uint32_t i = 0; i < frames; i++, time_us += 3) {
        const uint32_t flow = i / 3 % 8;
        const uint32_t client = 0x0a000001 + flow;
        if (i % 3 == 2) {
            send((Sent){0xc0a80001, client, 443, (uint16_t)(50000 + flow), 1, ACK, HEADERS});
            continue;
        }
        send((Sent){client, 0xc0a80001, (uint16_t)(50000 + flow), 443, seq[flow], PSH | ACK,
                    FRAME_MAX});
        seq[flow] += FRAME_MAX - HEADERS;
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        (void)fputs("usage: traffic small|local|flood|elephants NUMBER OUT.pcap\n", stderr);
        return 2;
    }
    const uint32_t n = (uint32_t)strtoul(argv[2], NULL, 10);
    const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
    out = fopen(argv[3], "we");
    if (!out || fwrite(head, sizeof(head), 1, out) != 1) {
        perror(argv[3]);
        return 1;
    }
    if (strcmp(argv[1], "small") == 0)
        small(n, n);
    else if (strcmp(argv[1], "local") == 0)
        small(n, 2000);
    else if (strcmp(argv[1], "flood") == 0)
        flood(n);
    else
        elephants(n);
    return fclose(out) == 0 ? 0 : 1;
}
