/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sends what an exporter would send that meters much (bench/load.h), at a steady rate, to find out
 * how much a collector and its machine can take.
 *
 *     exporter [-v 5|9|10|sflow] [-r FLOWS_A_SECOND] [-n FLOWS] [-k DISTINCT] [-e EXPORTERS]
 *              [-b DATAGRAMS] [-s SEED] [-t SECONDS_SINCE_1970] ADDRESS PORT
 *
 *     -r    of all exporters together; 0, or none: as fast as it goes
 *     -n    flows in all, about; 1,000,000 when left out
 *     -k    distinct 5-tuples; 100,000 when left out
 *     -e    exporters; each sends from an address of its own, 127.0.1.1 and on, when ADDRESS is
 *           on loopback, else from a port of its own
 *     -b    datagrams that are given to the kernel as one buffer, which it or the network card cuts
 *           up (UDP_SEGMENT, since Linux 4.18); 1: each by itself; left out: as many as it takes
 *     -t    the exporters' clock, which stands still; that of the machine when left out
 *
 * Templates go first and then once a second, which v9 and IPFIX want over UDP. The output is one
 * object of JSON: flows and datagrams sent, seconds, and the checksum that
 *     weir-probe --collector-port PORT --json none --counters -
 * shows as weir_probe_collect_checksum when it has read every flow, each field rightly.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "load.h"

enum {
    EXPORTERS_MAX = 1024,
    BATCH = 32,        /* datagrams a call, when each is by itself */
    RUN_MAX = 64,      /* datagrams that every kernel cuts a buffer into, */
    RUN_BYTES = 65507, /* and the most that one holds */
    SEND_BYTES = 8 << 20,
    TEMPLATE_NS = 1000000000,
};

typedef struct Options {
    LoadConfig load;
    double rate;
    uint64_t flows;
    unsigned exporters;
    unsigned run; /* datagrams a buffer */
    struct sockaddr_in to;
} Options;

typedef struct Exporter {
    int fd;
    uint32_t sequence;
} Exporter;

typedef struct Sent {
    uint64_t flows, datagrams, bytes, checksum;
} Sent;

static int usage(const char *name) {
    (void)fprintf(stderr,
                  "usage: %s [-v 5|9|10|sflow] [-r FLOWS_A_SECOND] [-n FLOWS] [-k DISTINCT]\n"
                  "       [-e EXPORTERS] [-b DATAGRAMS] [-s SEED] [-t SECONDS_SINCE_1970]\n"
                  "       ADDRESS PORT\n",
                  name);
    return 2;
}

static int read_options(Options *o, int argc, char **argv) {
    *o = (Options){.load = {.kind = LOAD_V9,
                            .flows = 100000,
                            .seed = 1,
                            .time_s = (uint32_t)(clock_wall_ms() / 1000)},
                   .flows = 1000000,
                   .exporters = 1,
                   .run = RUN_MAX};
    for (int c = 0; (c = getopt(argc, argv, "v:r:n:k:e:b:s:t:")) != -1;) {
        const double v = c == '?' || c == 'v' ? 0 : strtod(optarg, NULL);
        switch (c) {
        case 'v':
            o->load.kind = load_kind(optarg);
            break;
        case 'r':
            o->rate = v;
            break;
        case 'n':
            o->flows = (uint64_t)v;
            break;
        case 'k':
            o->load.flows = (uint32_t)v;
            break;
        case 'e':
            o->exporters = (unsigned)v;
            break;
        case 'b':
            o->run = (unsigned)v;
            break;
        case 's':
            o->load.seed = (uint32_t)v;
            break;
        case 't':
            o->load.time_s = (uint32_t)v;
            break;
        default:
            return -1;
        }
    }
    if (argc - optind != 2 || !o->load.kind || o->load.flows == 0 || o->exporters == 0 ||
        o->exporters > EXPORTERS_MAX || o->run == 0 || o->run > RUN_MAX ||
        inet_pton(AF_INET, argv[optind], &o->to.sin_addr) != 1)
        return -1;
    o->to.sin_family = AF_INET;
    o->to.sin_port = htons((uint16_t)strtoul(argv[optind + 1], NULL, 10));
    return 0;
}

static int exporter_open(Exporter *exporter, const Options *o, const Load *load, unsigned i) {
    const int bytes = SEND_BYTES;
    const int each = (int)load->datagrams[0].size;
    struct sockaddr_in from = {.sin_family = AF_INET};
    const bool loopback = ntohl(o->to.sin_addr.s_addr) >> 24 == 127;
    if (loopback && o->exporters > 1)
        from.sin_addr.s_addr = htonl(0x7f000101 + i / 254 * 256 + i % 254);
    exporter->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (exporter->fd < 0)
        return -1;
    (void)setsockopt(exporter->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    if (o->run > 1 && setsockopt(exporter->fd, IPPROTO_UDP, UDP_SEGMENT, &each, sizeof(each)) != 0)
        return -1;
    if (bind(exporter->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
        return -1;
    return connect(exporter->fd, (const struct sockaddr *)&o->to, sizeof(o->to));
}

static int send_templates(const Load *load, Exporter *exporters, unsigned n, Sent *sent) {
    uint8_t bytes[sizeof(load->definition)];
    memcpy(bytes, load->definition, sizeof(bytes));
    for (unsigned i = 0; load->definition_bytes && i < n; i++) {
        exporters[i].sequence = load_number(load, bytes, 0, exporters[i].sequence);
        if (send(exporters[i].fd, bytes, load->definition_bytes, 0) < 0 && errno != ECONNREFUSED)
            return -1;
        sent->datagrams++;
        sent->bytes += load->definition_bytes;
    }
    return 0;
}

/* numbers n datagrams of the load, which will have been sent */
static void number(Load *load, Exporter *exporter, size_t at, size_t n, Sent *sent) {
    for (size_t i = at; i < at + n; i++) {
        const LoadDatagram *d = &load->datagrams[i];
        exporter->sequence = load_number(load, load->bytes + d->at, d->flows, exporter->sequence);
        sent->flows += d->flows;
        sent->bytes += d->size;
        sent->checksum += d->checksum;
    }
    sent->datagrams += n;
}

static bool is_over(ssize_t r) {
    return r < 0 && errno != ECONNREFUSED && errno != EINTR;
}

/* they stand one behind the other, all of one size, as the socket knows */
static int send_run(const Load *load, const Exporter *exporter, size_t at, size_t n) {
    const LoadDatagram *d = &load->datagrams[at];
    return is_over(send(exporter->fd, load->bytes + d->at, n * d->size, 0)) ? -1 : 0;
}

static int send_each(const Load *load, const Exporter *exporter, size_t at, size_t n) {
    struct mmsghdr messages[BATCH] = {0};
    struct iovec iov[BATCH];
    for (size_t i = 0; i < n; i++) {
        const LoadDatagram *d = &load->datagrams[at + i];
        iov[i] = (struct iovec){.iov_base = load->bytes + d->at, .iov_len = d->size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    for (size_t done = 0; done < n;) {
        const int r = sendmmsg(exporter->fd, messages + done, (unsigned)(n - done), 0);
        if (is_over(r))
            return -1;
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

/* the next ones of the load, as one exporter */
static int send_batch(const Options *o, Load *load, Exporter *exporter, size_t *atp, Sent *sent) {
    const size_t most = RUN_BYTES / load->datagrams[0].size;
    const size_t left = load->n - *atp;
    size_t n = o->run == 1 ? BATCH : o->run < most ? o->run : most;
    n = n < left ? n : left;
    number(load, exporter, *atp, n, sent);
    if (o->run == 1 ? send_each(load, exporter, *atp, n) : send_run(load, exporter, *atp, n))
        return -1;
    *atp = (*atp + n) % load->n;
    return 0;
}

static void keep_pace(const Options *o, const Sent *sent, uint64_t begun_ns) {
    if (o->rate <= 0)
        return;
    const uint64_t due_ns = begun_ns + (uint64_t)((double)sent->flows / o->rate * 1e9);
    const uint64_t now_ns = clock_monotonic_ns();
    if (due_ns > now_ns) {
        const struct timespec wait = {.tv_sec = (time_t)((due_ns - now_ns) / 1000000000),
                                      .tv_nsec = (long)((due_ns - now_ns) % 1000000000)};
        (void)nanosleep(&wait, NULL);
    }
}

static int send_all(const Options *o, Load *load, Exporter *exporters, Sent *sent) {
    const uint64_t begun_ns = clock_monotonic_ns();
    uint64_t templates_ns = 0;
    size_t at = 0;
    for (unsigned turn = 0; sent->flows < o->flows; turn++) {
        const uint64_t now_ns = clock_monotonic_ns();
        if (now_ns - templates_ns >= TEMPLATE_NS) {
            templates_ns = now_ns;
            if (send_templates(load, exporters, o->exporters, sent))
                return -1;
        }
        if (send_batch(o, load, &exporters[turn % o->exporters], &at, sent))
            return -1;
        keep_pace(o, sent, begun_ns);
    }
    const double s = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    (void)printf("{\"flows\":%" PRIu64 ",\"datagrams\":%" PRIu64 ",\"bytes\":%" PRIu64
                 ",\"seconds\":%.3f,\"checksum\":\"%" PRIu64 "\"}\n",
                 sent->flows, sent->datagrams, sent->bytes, s, sent->checksum);
    return 0;
}

int main(int argc, char **argv) {
    static Exporter exporters[EXPORTERS_MAX];
    Options o;
    Load load;
    Sent sent = {0};
    if (read_options(&o, argc, argv))
        return usage(argv[0]);
    if (load_make(&load, &o.load)) {
        (void)fprintf(stderr, "no memory\n");
        return 1;
    }
    int failed = 0;
    for (unsigned i = 0; !failed && i < o.exporters; i++)
        failed = exporter_open(&exporters[i], &o, &load, i);
    if (!failed)
        failed = send_all(&o, &load, exporters, &sent);
    if (failed)
        perror("exporter");
    load_deinit(&load);
    return failed != 0;
}
