/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sends UDP frames of 60 bytes into an interface as fast as it goes, or at a pace: 64 a call of
 * sendmmsg(), past the queue of the interface (PACKET_QDISC_BYPASS). The flows take turns in an
 * order that a cache cannot guess; each has an address of its own, so they are shared out among
 * workers.
 *
 *     blast INTERFACE FLOWS SECONDS PACKETS_A_SECOND(0: all it can)
 *
 * Prints the packets sent and the seconds that took, as JSON.
 */

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, FRAME_BYTES = 60, STEP = 40503 /* odd, so all flows get their turn */ };

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void make_frame(uint8_t frame[FRAME_BYTES]) {
    static const uint8_t head[] = {
        2,    0,    0, 0,  0, 2,  2, 0, 0,  0,  0, 1, 0x08, 0x00, /* Ethernet */
        0x45, 0,    0, 46, 0, 0,  0, 0, 64, 17, 0, 0, 10,   0,    0, 0, 172, 16, 0, 1, /* IPv4 */
        0x30, 0x39, 0, 53, 0, 26, 0, 0,                                                /* UDP */
    };
    memset(frame, 'x', FRAME_BYTES);
    memcpy(frame, head, sizeof(head));
}

/* 10.0.0.0/8, and the checksum of the header */
static void set_flow(uint8_t frame[FRAME_BYTES], uint32_t flow) {
    uint32_t sum = 0;
    frame[27] = (uint8_t)(flow >> 16);
    frame[28] = (uint8_t)(flow >> 8);
    frame[29] = (uint8_t)flow;
    frame[24] = frame[25] = 0;
    for (unsigned i = 14; i < 34; i += 2)
        sum += (uint32_t)frame[i] << 8 | frame[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16));
    frame[24] = (uint8_t)(sum >> 8);
    frame[25] = (uint8_t)sum;
}

static int open_wire(const char *name) {
    const int fd = socket(AF_PACKET, SOCK_RAW, 0);
    const struct sockaddr_ll to = {.sll_family = AF_PACKET,
                                   .sll_protocol = htons(ETHERTYPE_IP),
                                   .sll_ifindex = (int)if_nametoindex(name)};
    const int one = 1;
    const int room = 8 << 20;
    if (fd < 0 || bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0) {
        perror(name);
        exit(1);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        (void)fprintf(stderr, "blast INTERFACE FLOWS SECONDS PACKETS_A_SECOND\n");
        return 2;
    }
    static uint8_t frames[BATCH][FRAME_BYTES];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    const int fd = open_wire(argv[1]);
    const uint32_t flows = (uint32_t)strtoul(argv[2], NULL, 10);
    const double seconds = strtod(argv[3], NULL);
    const double pace = strtod(argv[4], NULL);
    memset(messages, 0, sizeof(messages));
    for (unsigned i = 0; i < BATCH; i++) {
        make_frame(frames[i]);
        parts[i] = (struct iovec){.iov_base = frames[i], .iov_len = FRAME_BYTES};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    const uint64_t begin_ns = now_ns();
    uint64_t at_ns = begin_ns;
    uint64_t sent = 0;
    uint64_t next = 0;
    while ((double)(at_ns - begin_ns) < seconds * 1e9) {
        if (pace == 0 || (double)sent < pace * (double)(at_ns - begin_ns) / 1e9) {
            for (unsigned i = 0; i < BATCH; i++)
                set_flow(frames[i], (uint32_t)(next++ * STEP % flows));
            const int n = sendmmsg(fd, messages, BATCH, 0);
            sent += n > 0 ? (uint64_t)n : 0;
        }
        at_ns = now_ns();
    }
    (void)printf("{\"sent\":%llu,\"seconds\":%.3f}\n", (unsigned long long)sent,
                 (double)(at_ns - begin_ns) / 1e9);
    return 0;
}
