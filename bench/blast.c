/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sends UDP frames of 60 bytes into an interface. As fast as it goes: the kernel makes them itself,
 * by a program of a few instructions that it runs on live frames (BPF_F_TEST_XDP_LIVE_FRAMES) and
 * that sends each of them, from an address drawn at random, to the interface; a veth takes them
 * when its other end has GRO on. At a pace, or where the kernel does not have that: 64 a call of
 * sendmmsg(), past the queue of the interface (PACKET_QDISC_BYPASS), the flows in an order that a
 * cache cannot guess. Each flow has an address of its own, so they are shared out among workers.
 *
 *     blast INTERFACE FLOWS SECONDS PACKETS_A_SECOND(0: all it can)
 *
 * Prints the packets sent and the seconds that took, as JSON. What the other end did not take is
 * sent all the same: its own counter tells.
 */

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

/* --- by the kernel ------------------------------------------------------------------------ */

static int bpf(int command, union bpf_attr *attr) {
    return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

#define INSN(c, d, s, o, i)                                                                        \
    { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }

/* write 10.0.0.0 plus a random number below `flows` where the source address is; send it there */
static int load_program(uint32_t flows, int interface) {
    const struct bpf_insn lines[] = {
        INSN(BPF_LDX | BPF_MEM | BPF_W, 7, 1, 0, 0), /* the frame begins, */
        INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0), /* and ends */
        INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 7, 0, 0),
        INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, FRAME_BYTES),
        INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_DROP),
        INSN(BPF_JMP | BPF_JGT | BPF_X, 2, 3, 8, 0),
        INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_prandom_u32),
        INSN(BPF_ALU64 | BPF_MOD | BPF_K, 0, 0, 0, (int)flows),
        INSN(BPF_ALU64 | BPF_ADD | BPF_K, 0, 0, 0, 10 << 24),
        INSN(BPF_ALU | BPF_END | BPF_TO_BE, 0, 0, 0, 32),
        INSN(BPF_STX | BPF_MEM | BPF_W, 7, 0, 26, 0),
        INSN(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, interface),
        INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
        INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect),
        INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    };
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = (uint64_t)(uintptr_t)lines;
    attr.insn_cnt = sizeof(lines) / sizeof(lines[0]);
    attr.license = (uint64_t)(uintptr_t) "GPL";
    return bpf(BPF_PROG_LOAD, &attr);
}

/* false: this kernel does not do it */
static int by_kernel(int interface, uint32_t flows, double seconds, uint64_t *sentp) {
    enum { ROUND = 32768 };
    uint8_t frame[FRAME_BYTES];
    const int program = load_program(flows, interface);
    if (program < 0)
        return 0;
    make_frame(frame);
    for (const uint64_t begin_ns = now_ns(); (double)(now_ns() - begin_ns) < seconds * 1e9;) {
        union bpf_attr attr;
        memset(&attr, 0, sizeof(attr));
        attr.test.prog_fd = (uint32_t)program;
        attr.test.data_in = (uint64_t)(uintptr_t)frame;
        attr.test.data_size_in = FRAME_BYTES;
        attr.test.repeat = ROUND;
        attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
        attr.test.batch_size = BATCH;
        if (bpf(BPF_PROG_TEST_RUN, &attr) < 0)
            return 0;
        *sentp += ROUND;
    }
    return 1;
}

/* --- by a socket -------------------------------------------------------------------------- */

int main(int argc, char **argv) {
    if (argc != 5) {
        (void)fprintf(stderr, "blast INTERFACE FLOWS SECONDS PACKETS_A_SECOND\n");
        return 2;
    }
    const uint64_t all_ns = now_ns();
    uint64_t made = 0;
    if (strtod(argv[4], NULL) == 0 &&
        by_kernel((int)if_nametoindex(argv[1]), (uint32_t)strtoul(argv[2], NULL, 10),
                  strtod(argv[3], NULL), &made)) {
        (void)printf("{\"sent\":%llu,\"seconds\":%.3f}\n", (unsigned long long)made,
                     (double)(now_ns() - all_ns) / 1e9);
        return 0;
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
