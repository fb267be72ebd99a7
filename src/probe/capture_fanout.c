/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/capture_fanout.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include "base/error.h"

#ifndef PACKET_FANOUT_FLAG_UNIQUEID
#define PACKET_FANOUT_FLAG_UNIQUEID 0x2000
#endif

enum {
    PROGRAM_MAX = 256,
    TAGS = 3,   /* looked through; what is deeper goes to the first worker */
    LABELS = 6, /* of MPLS */
    PPP_IPV4 = 0x0021,
    PPP_IPV6 = 0x0057,
    ETH_P_QINQ_OLD = 0x9100,
};

/* --- the program: X is where the next header begins, A its ethertype until that is told ------ */

typedef struct Program {
    struct sock_filter lines[PROGRAM_MAX];
    unsigned n;
    unsigned to_ipv4[PROGRAM_MAX]; /* jumps whose targets are put in at the end */
    unsigned n_ipv4;
    unsigned to_ipv6[PROGRAM_MAX];
    unsigned n_ipv6;
} Program;

static unsigned line(Program *p, uint16_t code, uint32_t k) {
    assert(p->n < PROGRAM_MAX);
    p->lines[p->n] = (struct sock_filter){.code = code, .k = k};
    return p->n++;
}

/* if A is k: over the next so many lines, else on */
static void skip_unless(Program *p, uint32_t k, uint8_t lines) {
    const unsigned at = line(p, BPF_JMP | BPF_JEQ | BPF_K, k);
    p->lines[at].jf = lines;
}

static void jump_if(Program *p, uint32_t k, unsigned *list, unsigned *n) {
    skip_unless(p, k, 1);
    list[(*n)++] = line(p, BPF_JMP | BPF_JA, 0);
}

static void load(Program *p, uint16_t size, uint32_t at) {
    (void)line(p, (uint16_t)(BPF_LD | size | BPF_IND), at);
}

static void advance(Program *p, uint32_t bytes) {
    (void)line(p, BPF_MISC | BPF_TXA, 0);
    (void)line(p, BPF_ALU | BPF_ADD, bytes); /* BPF_K, which is 0 */
    (void)line(p, BPF_MISC | BPF_TAX, 0);
}

static void give(Program *p, uint32_t value) {
    (void)line(p, BPF_RET | BPF_K, value);
}

/* a tag: the ethertype is behind its two bytes */
static void skip_tag(Program *p) {
    const unsigned first = line(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_8021Q);
    const unsigned second = line(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_8021AD);
    const unsigned third = line(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_QINQ_OLD);
    load(p, BPF_H, 2);
    (void)line(p, BPF_ST, 0);
    advance(p, 4);
    (void)line(p, BPF_LD | BPF_MEM, 0);
    p->lines[first].jt = 2;
    p->lines[second].jt = 1;
    p->lines[third].jf = (uint8_t)(p->n - third - 1);
}

static void find_ip(Program *p) {
    jump_if(p, ETH_P_IP, p->to_ipv4, &p->n_ipv4);
    jump_if(p, ETH_P_IPV6, p->to_ipv6, &p->n_ipv6);
}

/* PPPoE: six bytes and the protocol of PPP (RFC 2516 section 4) */
static void look_into_pppoe(Program *p) {
    const unsigned other = line(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_PPP_SES);
    load(p, BPF_H, 6);
    (void)line(p, BPF_ST, 0);
    advance(p, 8);
    (void)line(p, BPF_LD | BPF_MEM, 0);
    jump_if(p, PPP_IPV4, p->to_ipv4, &p->n_ipv4);
    jump_if(p, PPP_IPV6, p->to_ipv6, &p->n_ipv6);
    give(p, 0);
    p->lines[other].jf = (uint8_t)(p->n - other - 1);
}

/* labels until the one at the bottom, then what the first four bits say (RFC 4928) */
static void look_into_mpls(Program *p) {
    unsigned bottom[LABELS];
    (void)line(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_MPLS_UC);
    const unsigned at = p->n - 1;
    const unsigned other = line(p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_MPLS_MC);
    p->lines[at].jt = 1;
    for (unsigned i = 0; i < LABELS; i++) {
        load(p, BPF_B, 2);
        (void)line(p, BPF_ST, 0);
        advance(p, 4);
        (void)line(p, BPF_LD | BPF_MEM, 0);
        bottom[i] = line(p, BPF_JMP | BPF_JSET | BPF_K, 1);
    }
    give(p, 0);
    for (unsigned i = 0; i < LABELS; i++)
        p->lines[bottom[i]].jt = (uint8_t)(p->n - bottom[i] - 1);
    load(p, BPF_B, 0);
    (void)line(p, BPF_ALU | BPF_RSH | BPF_K, 4);
    jump_if(p, 4, p->to_ipv4, &p->n_ipv4);
    jump_if(p, 6, p->to_ipv6, &p->n_ipv6);
    give(p, 0);
    p->lines[other].jf = (uint8_t)(p->n - other - 1);
}

/* the sum of so many words is the same whichever address comes first; then spread over all bits,
 * for the kernel takes the rest of a division by the number of sockets */
static void sum_words(Program *p, uint32_t from, uint32_t words) {
    load(p, BPF_W, from);
    for (uint32_t i = 1; i < words; i++) {
        (void)line(p, BPF_ST, 0);
        load(p, BPF_W, from + i * 4);
        (void)line(p, BPF_ST, 1);
        (void)line(p, BPF_MISC | BPF_TXA, 0);
        (void)line(p, BPF_ST, 2);
        (void)line(p, BPF_LDX | BPF_MEM, 1);
        (void)line(p, BPF_LD | BPF_MEM, 0);
        (void)line(p, BPF_ALU | BPF_ADD | BPF_X, 0);
        (void)line(p, BPF_LDX | BPF_MEM, 2);
    }
    (void)line(p, BPF_ALU | BPF_MUL | BPF_K, 0x9e3779b1);
    (void)line(p, BPF_ST, 0);
    (void)line(p, BPF_ALU | BPF_RSH | BPF_K, 15);
    (void)line(p, BPF_LDX | BPF_MEM, 0);
    (void)line(p, BPF_ALU | BPF_XOR | BPF_X, 0);
    (void)line(p, BPF_RET | BPF_A, 0);
}

static void land(Program *p, const unsigned *list, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        p->lines[list[i]].k = p->n - list[i] - 1;
}

/* a packet that comes in begins with its network header here, one that goes out with that of the
 * link (packet(7) puts it right later) */
static void program_make(Program *p, bool ethernet) {
    *p = (Program){.n = 0};
    (void)line(p, BPF_LDX | BPF_IMM, 0);
    (void)line(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
    skip_unless(p, PACKET_OUTGOING, 1);
    (void)line(p, BPF_LDX | BPF_IMM, ethernet ? ETH_HLEN : 0);
    (void)line(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL));
    for (unsigned i = 0; i < TAGS; i++)
        skip_tag(p);
    find_ip(p);
    look_into_pppoe(p);
    look_into_mpls(p);
    give(p, 0);
    land(p, p->to_ipv4, p->n_ipv4);
    sum_words(p, 12, 2);
    land(p, p->to_ipv6, p->n_ipv6);
    sum_words(p, 8, 8);
}

/* --- joining ------------------------------------------------------------------------------ */

void capture_fanout_init(CaptureFanout *fanout, unsigned members) {
    *fanout = (CaptureFanout){.members = members};
    (void)pthread_mutex_init(&fanout->lock, NULL);
}

void capture_fanout_deinit(CaptureFanout *fanout) {
    (void)pthread_mutex_destroy(&fanout->lock);
}

/* the first one asks for a number that no other group has */
static int join(CaptureFanout *fanout, int fd, bool ethernet) {
    const bool first = fanout->joined == 0;
    const unsigned mode = PACKET_FANOUT_CBPF | (first ? PACKET_FANOUT_FLAG_UNIQUEID : 0);
    unsigned argument = (first ? 0 : fanout->id) | mode << 16;
    Program program;
    if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &argument, sizeof(argument)) < 0)
        return errno == EINVAL ? CAPTURE_FANOUT_E_DOWN : error_origin(-errno);
    socklen_t size = sizeof(argument);
    if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &argument, &size) < 0)
        return error_origin(-errno);
    fanout->id = (uint16_t)argument;
    program_make(&program, ethernet);
    const struct sock_fprog filter = {.len = (unsigned short)program.n, .filter = program.lines};
    if (first && setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &filter, sizeof(filter)) < 0)
        return error_origin(-errno);
    return 0;
}

bool capture_fanout_turn(CaptureFanout *fanout, unsigned member, int index) {
    (void)pthread_mutex_lock(&fanout->lock);
    const bool turn = member == 0 || (fanout->index == index && fanout->joined == member);
    (void)pthread_mutex_unlock(&fanout->lock);
    return turn;
}

int capture_fanout_join(CaptureFanout *fanout, unsigned member, int fd, int index, bool ethernet) {
    int r = CAPTURE_FANOUT_E_EARLY;
    (void)pthread_mutex_lock(&fanout->lock);
    if (member == 0 || fanout->index != index) {
        fanout->index = index;
        fanout->joined = 0;
    }
    if (fanout->joined == member) {
        r = join(fanout, fd, ethernet);
        if (r == 0)
            fanout->joined++;
    }
    (void)pthread_mutex_unlock(&fanout->lock);
    return error_trace(r);
}

bool capture_fanout_complete(CaptureFanout *fanout, int index) {
    (void)pthread_mutex_lock(&fanout->lock);
    const bool complete = fanout->index == index && fanout->joined == fanout->members;
    (void)pthread_mutex_unlock(&fanout->lock);
    return complete;
}
