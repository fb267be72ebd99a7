/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Live capture: AF_PACKET with a TPACKET_V3 ring (packet(7), and packet_mmap in the kernel's
 * documentation). The kernel fills blocks of 1 MB and hands over a block when it is full or 60 ms
 * old; packets are metered where they lie.
 *
 * A VLAN tag that the card or the kernel took out of the frame stands in the packet's header in the
 * ring. A filter must know that too: libpcap compiles `vlan` for it only on a live handle, so one
 * is opened for as long as that takes.
 *
 * An interface that is taken away and comes back (a USB adapter, a tunnel) is opened again, with
 * all that was set; an interface that only went down needs nothing.
 */

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "probe/capture.h"
#include "probe/capture_fanout.h"

enum {
    BLOCK_BYTES = 1 << 20,
    FRAME_BYTES = 2048,
    RETIRE_MS = 60,
    SNAPLEN = 1536,
    AWAY_LOOK_MS = 250, /* between two looks for an interface that is gone */
    BEGIN_STEP_MS = 5,  /* between two for the other workers */
};

typedef struct AfPacket {
    char name[IF_NAMESIZE];
    CaptureConfig config; /* without its filter */
    uint32_t snaplen;
    struct sock_filter *program; /* what packets pass */
    unsigned program_lines;
    bool begun; /* packets come; not before all workers share them out */
    int fd;     /* -1: the interface is gone */
    uint64_t looked_ms;
    int index;
    bool loopback; /* every packet is seen going out and coming in */
    bool cooked;   /* not Ethernet: the kernel takes the link header away */
    uint8_t *ring;
    size_t ring_bytes;
    uint32_t blocks;
    uint32_t block;  /* the one being read */
    uint32_t left;   /* packets in it that were not handed out */
    bool held;       /* its frames are with the caller: release it next time */
    uint8_t *packet; /* the next one */
    CaptureStats stats;
} AfPacket;

/* what the kernel counted since the last call, which sets its numbers back */
static void count_drops(AfPacket *live) {
    struct tpacket_stats_v3 since = {0};
    socklen_t size = sizeof(since);
    if (live->fd < 0 || getsockopt(live->fd, SOL_PACKET, PACKET_STATISTICS, &since, &size) < 0)
        return;
    live->stats.dropped += since.tp_drops;
    live->stats.frozen += since.tp_freeze_q_cnt;
}

static void let_go(Capture *capture) {
    AfPacket *live = capture->state;
    count_drops(live);
    if (live->ring)
        (void)munmap(live->ring, live->ring_bytes);
    if (live->fd >= 0)
        (void)close(live->fd);
    live->ring = NULL;
    live->fd = capture->fd = -1;
    live->begun = live->held = false;
    live->left = live->block = 0;
}

static void afpacket_close(Capture *capture) {
    AfPacket *live = capture->state;
    if (!live)
        return;
    let_go(capture);
    free(live->program);
    free(live);
    capture->state = NULL;
}

static int refuse(const AfPacket *live, const char *what, int error, Reason *reason) {
    if (error == EPERM || error == EACCES)
        reason_set(reason,
                   "-i %s: capturing needs the capability CAP_NET_RAW: run as root, or give it to "
                   "the service (AmbientCapabilities=CAP_NET_RAW) or the file (setcap "
                   "cap_net_raw+ep)",
                   live->name);
    else
        reason_set(reason, "-i %s: %s: %s", live->name, what, strerror(error));
    return CAPTURE_E_REFUSED;
}

/* what the interface is: Ethernet-like as it is, anything else without its link header */
static int learn_interface(Capture *capture, AfPacket *live, Reason *reason) {
    struct ifreq request = {0};
    memcpy(request.ifr_name, live->name, IF_NAMESIZE);
    if (ioctl(live->fd, SIOCGIFHWADDR, &request) < 0)
        return refuse(live, "its type cannot be read", errno, reason);
    uint16_t type = request.ifr_hwaddr.sa_family;
    live->loopback = type == ARPHRD_LOOPBACK;
    live->cooked = type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK;
    capture->link_type = live->cooked ? FRAME_LINK_RAW : FRAME_LINK_ETHERNET;
    capture->interface_index = (uint32_t)live->index;
    return 0;
}

/* --- filter ------------------------------------------------------------------------------- */

static int attach(AfPacket *live, unsigned n, struct sock_filter *instructions, Reason *reason) {
    struct sock_fprog program = {.len = (unsigned short)n, .filter = instructions};
    if (setsockopt(live->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
        return refuse(live, "the filter cannot be attached", errno, reason);
    return 0;
}

/* a handle on which the filter compiles to what this socket will see */
static pcap_t *compiler(const AfPacket *live) {
    char why[PCAP_ERRBUF_SIZE];
    if (live->cooked)
        return pcap_open_dead(DLT_RAW, (int)live->snaplen);
    /* one that is down cannot be activated: the loopback interface is Ethernet to a filter too */
    const char *const names[] = {live->name, "lo"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        pcap_t *pcap = pcap_create(names[i], why);
        if (!pcap)
            continue;
        (void)pcap_set_snaplen(pcap, (int)live->snaplen);
        (void)pcap_set_buffer_size(pcap, 1 << 20);
        if (pcap_activate(pcap) >= 0)
            return pcap;
        pcap_close(pcap);
    }
    return NULL;
}

/* from now on packets pass that the program lets pass: at once, or when they begin to come */
static int keep_program(AfPacket *live, const struct bpf_insn *lines, unsigned n, Reason *reason) {
    static_assert(sizeof(struct bpf_insn) == sizeof(struct sock_filter), "the same bytes");
    struct sock_filter *copy = malloc(n * sizeof(*copy));
    if (!copy)
        return error_origin(-ENOMEM);
    memcpy(copy, lines, n * sizeof(*copy));
    int r = live->begun ? attach(live, n, copy, reason) : 0;
    if (r) {
        free(copy);
        return error_trace(r);
    }
    free(live->program);
    live->program = copy;
    live->program_lines = n;
    return 0;
}

/* a new one takes the place of the old in one step (socket(7)): no packet passes unjudged */
static int set_filter(AfPacket *live, const char *filter, Reason *reason) {
    /* without a filter: everything, cut to the snaplen */
    const struct bpf_insn all = BPF_STMT(BPF_RET | BPF_K, live->snaplen);
    if (!filter || !*filter)
        return keep_program(live, &all, 1, reason);
    pcap_t *pcap = compiler(live);
    if (!pcap)
        return refuse(live, "the filter cannot be compiled", errno, reason);
    struct bpf_program program;
    int r = 0;
    if (pcap_compile(pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
        reason_set(reason, "the filter '%s' is not valid: %s", filter, pcap_geterr(pcap));
        r = CAPTURE_E_USAGE;
    } else {
        r = keep_program(live, program.bf_insns, program.bf_len, reason);
        pcap_freecode(&program);
    }
    pcap_close(pcap);
    return r;
}

/* --- opening ------------------------------------------------------------------------------ */

static int set_ring(AfPacket *live, size_t ring_bytes, Reason *reason) {
    int version = TPACKET_V3;
    if (setsockopt(live->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
        return refuse(live, "the kernel has no TPACKET_V3", errno, reason);
    live->blocks = (uint32_t)(ring_bytes / BLOCK_BYTES);
    live->ring_bytes = (size_t)live->blocks * BLOCK_BYTES;
    struct tpacket_req3 request = {
        .tp_block_size = BLOCK_BYTES,
        .tp_block_nr = live->blocks,
        .tp_frame_size = FRAME_BYTES,
        .tp_frame_nr = (uint32_t)(live->ring_bytes / FRAME_BYTES),
        .tp_retire_blk_tov = live->config.retire_ms ? live->config.retire_ms : RETIRE_MS,
    };
    if (setsockopt(live->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) < 0)
        return refuse(live, "no memory for the ring; a smaller --ring-size may do", errno, reason);
    void *ring = mmap(NULL, live->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, live->fd, 0);
    if (ring == MAP_FAILED)
        return refuse(live, "the ring cannot be mapped", errno, reason);
    live->ring = ring;
    return 0;
}

/* the kernel shows packets to the socket, whose filter lets none pass so far */
static int start(AfPacket *live, bool promisc, Reason *reason) {
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = live->index};
    if (bind(live->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return refuse(live, "cannot be bound", errno, reason);
    struct packet_mreq member = {.mr_ifindex = live->index, .mr_type = PACKET_MR_PROMISC};
    if (promisc && !live->cooked && !live->loopback &&
        setsockopt(live->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &member, sizeof(member)) < 0)
        return refuse(live, "no promiscuous mode; --no-promisc does without", errno, reason);
    return 0;
}

/* its share of the packets; too early is no reason to refuse: it comes again */
static int share(AfPacket *live, Reason *reason) {
    if (!live->config.fanout)
        return 0;
    const int r = capture_fanout_join(live->config.fanout, live->config.member, live->fd,
                                      live->index, !live->cooked);
    if (r == CAPTURE_FANOUT_E_DOWN)
        reason_set(reason,
                   "-i %s: several workers cannot share it while it is down: set it up first",
                   live->name);
    else if (r < 0)
        return refuse(live, "its packets cannot be shared out among workers", -r, reason);
    else if (r)
        reason_set(reason, "-i %s: another worker has not opened it", live->name);
    return r ? CAPTURE_E_REFUSED : 0;
}

/* from here on packets come, once all workers have their share */
static int begin(AfPacket *live, Reason *reason) {
    if (live->config.fanout && !capture_fanout_complete(live->config.fanout, live->index))
        return 0;
    const int r = attach(live, live->program_lines, live->program, reason);
    live->begun = r == 0;
    return error_trace(r);
}

static int socket_open(AfPacket *live, int type, Reason *reason) {
    if (live->fd >= 0)
        (void)close(live->fd);
    live->fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0); /* protocol 0: nothing before bind() */
    return live->fd < 0 ? refuse(live, "no packet socket", errno, reason) : 0;
}

/* the first time, and each time that it comes back */
static int take(Capture *capture, const char *filter, Reason *reason) {
    AfPacket *live = capture->state;
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    live->index = (int)if_nametoindex(live->name);
    int r = socket_open(live, SOCK_RAW, reason);
    if (r == 0)
        r = learn_interface(capture, live, reason);
    if (r == 0 && live->cooked)
        r = socket_open(live, SOCK_DGRAM, reason);
    if (r == 0 && filter)
        r = set_filter(live, filter, reason);
    if (r == 0)
        r = attach(live, 1, &nothing, reason);
    if (r == 0)
        r = set_ring(live, live->config.ring_bytes, reason);
    if (r == 0)
        r = start(live, live->config.promisc, reason);
    if (r == 0)
        r = share(live, reason);
    if (r == 0)
        r = begin(live, reason);
    capture->fd = live->fd;
    return r;
}

static int afpacket_open(Capture *capture, const CaptureConfig *config, Reason *reason) {
    AfPacket *live = calloc(1, sizeof(*live));
    if (!live)
        return error_origin(-ENOMEM);
    capture->state = live; /* closed by whoever closes the capture */
    live->config = *config;
    live->config.filter = NULL;
    live->fd = -1;
    live->snaplen = config->snaplen ? config->snaplen : SNAPLEN;
    (void)strncpy(live->name, config->input, sizeof(live->name) - 1);
    return take(capture, config->filter ? config->filter : "", reason);
}

/* --- reading ------------------------------------------------------------------------------ */

static struct tpacket_block_desc *block_at(const AfPacket *live, uint32_t block) {
    return (struct tpacket_block_desc *)(void *)(live->ring + (size_t)block * BLOCK_BYTES);
}

/* make the current block readable if the kernel has handed it over */
static bool block_ready(AfPacket *live) {
    struct tpacket_block_desc *block = block_at(live, live->block);
    uint32_t status = __atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE);
    if (!(status & TP_STATUS_USER))
        return false;
    live->left = block->hdr.bh1.num_pkts;
    live->packet = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
    live->held = true;
    return true;
}

static void block_release(AfPacket *live) {
    struct tpacket_block_desc *block = block_at(live, live->block);
    __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    live->block = (live->block + 1) % live->blocks;
    live->held = false;
}

static bool time_to_look(AfPacket *live) {
    const uint64_t now_ms = clock_monotonic_ms();
    if (now_ms - live->looked_ms < AWAY_LOOK_MS)
        return false;
    live->looked_ms = now_ms;
    return true;
}

/* the kernel says that an interface goes down, and no more when it then goes away: a quiet one is
 * looked at now and then */
static void wait_readable(Capture *capture, unsigned timeout_ms) {
    AfPacket *live = capture->state;
    struct pollfd pollfd = {.fd = live->fd, .events = POLLIN | POLLERR};
    const int n = poll(&pollfd, 1, (int)timeout_ms);
    if (n > 0 && (pollfd.revents & (POLLERR | POLLNVAL))) {
        int error = 0;
        socklen_t size = sizeof(error);
        (void)getsockopt(live->fd, SOL_SOCKET, SO_ERROR, &error, &size); /* and takes it away */
    } else if (n > 0) {
        return;
    }
    if (time_to_look(live) && (int)if_nametoindex(live->name) != live->index)
        let_go(capture);
}

/* one that is gone: is it back? Workers take it again in their order */
static void look_for(Capture *capture, unsigned timeout_ms) {
    AfPacket *live = capture->state;
    Reason reason = {""};
    if (!time_to_look(live)) {
        (void)poll(NULL, 0, timeout_ms < BEGIN_STEP_MS ? (int)timeout_ms : BEGIN_STEP_MS);
        return;
    }
    const int index = (int)if_nametoindex(live->name);
    const CaptureConfig *config = &live->config;
    if (index && (!config->fanout || capture_fanout_turn(config->fanout, config->member, index)) &&
        take(capture, NULL, &reason))
        let_go(capture);
}

/* false: no packets yet */
static bool is_here(Capture *capture, unsigned timeout_ms, Reason *reason) {
    AfPacket *live = capture->state;
    if (live->fd < 0)
        look_for(capture, timeout_ms);
    if (live->fd >= 0 && !live->begun) {
        if (begin(live, reason))
            let_go(capture);
        else if (!live->begun)
            (void)poll(NULL, 0, timeout_ms < BEGIN_STEP_MS ? (int)timeout_ms : BEGIN_STEP_MS);
    }
    return live->begun;
}

static void read_frame(const Capture *capture, const struct tpacket3_hdr *header, Frame *frame) {
    *frame = (Frame){
        .bytes = (const uint8_t *)header + header->tp_mac,
        .time_ns = header->tp_sec * UINT64_C(1000000000) + header->tp_nsec,
        .captured_bytes = header->tp_snaplen,
        .wire_bytes = header->tp_len,
        .link_type = capture->link_type,
        .input = ((const AfPacket *)capture->state)->config.number,
    };
    if (!(header->tp_status & TP_STATUS_VLAN_VALID))
        return;
    frame->tag = (uint16_t)header->hv1.tp_vlan_tci;
    frame->tag_type =
        header->tp_status & TP_STATUS_VLAN_TPID_VALID ? header->hv1.tp_vlan_tpid : ETH_P_8021Q;
    frame->wire_bytes += 4;
}

static bool seen_twice(const AfPacket *live, const struct tpacket3_hdr *header) {
    static_assert(sizeof(struct tpacket3_hdr) % TPACKET_ALIGNMENT == 0, "the address follows");
    const struct sockaddr_ll *from = (const void *)(header + 1);
    return live->loopback && from->sll_pkttype == PACKET_OUTGOING;
}

static int afpacket_read(Capture *capture, Frame *frames, size_t max, size_t *np,
                         unsigned timeout_ms, Reason *reason) {
    AfPacket *live = capture->state;
    *np = 0;
    if (!live->begun && !is_here(capture, timeout_ms, reason))
        return 0;
    if (live->left == 0 && live->held)
        block_release(live);
    if (live->left == 0 && !block_ready(live)) {
        wait_readable(capture, timeout_ms);
        if (!live->begun || !block_ready(live))
            return 0;
    }
    size_t n = 0;
    for (; live->left > 0 && n < max; live->left--) {
        const struct tpacket3_hdr *header = (const void *)live->packet;
        if (!seen_twice(live, header)) {
            read_frame(capture, header, &frames[n]);
            live->stats.bytes += frames[n].wire_bytes;
            live->stats.cut += header->tp_snaplen < header->tp_len ? 1 : 0;
            n++;
        }
        live->packet += header->tp_next_offset;
    }
    live->stats.packets += n;
    *np = n;
    return 0;
}

static void afpacket_stats(Capture *capture, CaptureStats *stats) {
    AfPacket *live = capture->state;
    count_drops(live);
    *stats = live->stats;
    stats->away = live->fd < 0;
}

static int afpacket_filter(Capture *capture, const char *filter, Reason *reason) {
    return error_trace(set_filter(capture->state, filter, reason));
}

const CaptureBackend capture_afpacket = {
    .name = "afpacket",
    .live = true,
    .open = afpacket_open,
    .close = afpacket_close,
    .read = afpacket_read,
    .stats = afpacket_stats,
    .filter = afpacket_filter,
};
