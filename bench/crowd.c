/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Crowd
 *
 * Many probes in one thread, for measuring what a hub bears: each with a key, sockets, handshakes
 * and delivery of its own, as in channel/probe_link.c but without its threads. Everybody says
 * hello and sends a pulse each second, and delivers a batch when told to. The marked ones deliver
 * a batch each second while they are told to; the last packet of these flows is the moment when
 * they were handed over as a spool's commit would have been, so that who asks the hub for them sees
 * how long it took.
 *
 *     crowd DATA EVENTS KEY_Z85 PROBES quiet|busy MARKED
 *
 * Reads commands from standard input, a character each: b, a batch of everybody; m and n begin and
 * end the marked flows; at its end the crowd ends. Prints a JSON line each 200 ms.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <zmq.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/json.h"
#include "channel/frame.h"
#include "codec/batch.h"
#include "flow/record.h"
#include "zmtp.h"

enum {
    TURN_MS = 5,
    EVENTS_MAX = 256,
    REPORT_MS = 200,
    AN_ADDRESS = 50,  /* probes behind one source address */
    STARTS_TURN = 16, /* probes that begin in one turn */
    TEND_MS = 20,
    PING_S = 5,
    KEPT = 256, /* batches a probe keeps */
    FLOWS = 20,
    PACKETS_EACH = 10,
    OCTETS_EACH = 4000,
    MARK_PORT = 61234,
    SYNCED_MS = 3000,
};

enum { DATA, EVENTS, N_SIDES };

typedef struct Kept {
    EpochId epoch;
    uint64_t sequence; /* 0: free */
    Buffer payload;
} Kept;

typedef struct Crowd Crowd;

typedef struct Member {
    Crowd *crowd;
    size_t i;
    Zmtp lines[N_SIDES];
    uint8_t keys[2][ZMTP_KEY_BYTES];
    char topic[41];
    DeliverySender *sender;
    bool session;
    bool expects_state; /* the topic was read */
    EpochId epoch;
    uint64_t sequence;
    Kept *kept;
    size_t n_kept; /* the ring's length: who is not marked delivers one batch */
    uint64_t state_ms;
    char hello[400];
} Member;

struct Crowd {
    ZmtpPeer peers[N_SIDES];
    int epoll_fd;
    Member *members;
    size_t n, n_started, n_marked;
    Buffer tail; /* of a pulse, behind its time */
    Buffer pulse, header;
    BatchCodec *codec;
    bool marking;
    uint64_t turn; /* pulses said, of all */
    uint64_t begun_ms;
    uint64_t tended_ms;
    uint64_t n_flows, n_blocked, n_malformed, n_pulses, n_sessions, n_states;
};

static void fail(const char *what) {
    (void)fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ------------------------------------------------------------------------- what a spool would do
 */

static const BatchCounts counts = {FLOWS, 2 * FLOWS *PACKETS_EACH, 2 * FLOWS *OCTETS_EACH};

static Kept *find_kept(const Member *member, const EpochId *epoch, uint64_t sequence) {
    for (size_t i = 0; i < member->n_kept; i++)
        if (member->kept[i].sequence == sequence && epoch_equal(&member->kept[i].epoch, epoch))
            return &member->kept[i];
    return NULL;
}

static int load(void *userdata, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    const Kept *kept = find_kept(userdata, epoch, sequence);
    if (!kept)
        return DELIVERY_E_UNKNOWN;
    *batch = (DeliveryBatch){
        .epoch = *epoch,
        .first = sequence,
        .last = sequence,
        .bytes = (uint32_t)kept->payload.size,
        .counts = counts,
        .totals = {counts.flows * sequence, counts.packets * sequence, counts.octets * sequence}};
    return 0;
}

static void release(void *userdata, const EpochId *epoch, uint64_t last,
                    const BatchCounts *totals) {
    const Member *member = userdata;
    (void)totals;
    for (size_t i = 0; i < member->n_kept; i++) {
        Kept *kept = &member->kept[i];
        if (kept->sequence && kept->sequence <= last && epoch_equal(&kept->epoch, epoch)) {
            kept->sequence = 0;
            buffer_deinit(&kept->payload);
        }
    }
}

static void make_flow(const Member *member, FlowRecord *flow, size_t i, uint64_t now_ms) {
    *flow = (FlowRecord){
        .src_ip = net_address_v4((uint8_t[]){10, (uint8_t)(member->i >> 8), (uint8_t)member->i, 1}),
        .dst_ip = net_address_v4((uint8_t[]){198, 18, (uint8_t)i, 1}),
        .src_port = (uint16_t)(32768 + i),
        .dst_port = i == 0 && member->n_kept > 1 ? MARK_PORT : 443,
        .protocol = 6,
        .packets = PACKETS_EACH,
        .octets = OCTETS_EACH,
        .rev_packets = PACKETS_EACH,
        .rev_octets = OCTETS_EACH,
        .first_ms = now_ms - 1000,
        .last_ms = now_ms,
        .end_reason = FLOW_END_IDLE,
        .flow_id = (uint64_t)randombytes_random() << 21 | randombytes_uniform(1 << 21),
    };
}

static void append(Member *member) {
    Crowd *crowd = member->crowd;
    static FlowRecord flows[FLOWS];
    const uint64_t now_ms = clock_wall_ms();
    if (!member->sequence || delivery_sender_wants_epoch(member->sender)) {
        randombytes_buf(member->epoch.bytes, sizeof(member->epoch.bytes));
        member->sequence = 0;
    }
    Kept *kept = &member->kept[member->sequence % member->n_kept];
    buffer_clear(&kept->payload);
    for (size_t i = 0; i < FLOWS; i++)
        make_flow(member, &flows[i], i, now_ms);
    size_t taken = 0;
    BatchCounts sums;
    if (batch_encode(crowd->codec, &kept->payload, flows, FLOWS, now_ms, &taken, &sums) ||
        taken != FLOWS)
        fail("encoding");
    kept->epoch = member->epoch;
    kept->sequence = ++member->sequence;
    DeliveryBatch batch;
    (void)load(member, &kept->epoch, kept->sequence, &batch);
    if (delivery_sender_append(member->sender, &batch, clock_monotonic_ms()))
        fail("appending");
    crowd->n_flows += FLOWS;
}

/* ------------------------------------------------------------------------------------- sending */

static bool send_frame(Member *member, const Frame *frame, const void *payload, size_t size) {
    Crowd *crowd = member->crowd;
    buffer_clear(&crowd->header);
    frame_write(&crowd->header, frame);
    if (zmtp_send(&member->lines[DATA], (const void *[]){crowd->header.bytes, payload},
                  (size_t[]){crowd->header.size, size}, 2))
        return true;
    crowd->n_blocked++;
    return false;
}

static bool send_item(Member *member, const DeliveryItem *item) {
    Frame frame = {.kind = FRAME_HELLO, .batch = item->batch};
    if (item->kind == DELIVERY_ITEM_HELLO) {
        delivery_sender_hello(member->sender, &frame.hello);
        return send_frame(member, &frame, member->hello, strlen(member->hello));
    }
    frame.kind = item->kind == DELIVERY_ITEM_GAP ? FRAME_GAP : FRAME_BATCH;
    const Kept *kept = find_kept(member, &item->batch.epoch, item->batch.last);
    if (frame.kind == FRAME_GAP || !kept)
        return send_frame(member, &frame, "", 0);
    frame.crc32c = crc32c(0, kept->payload.bytes, kept->payload.size);
    return send_frame(member, &frame, kept->payload.bytes, kept->payload.size);
}

static void send_due(Member *member) {
    DeliveryItem item;
    const uint64_t now_ms = clock_monotonic_ms();
    while (delivery_sender_next(member->sender, &item, now_ms)) {
        if (!send_item(member, &item))
            return;
        delivery_sender_sent(member->sender, &item, now_ms);
    }
}

static void send_pulse(Member *member) {
    Crowd *crowd = member->crowd;
    if (!member->session)
        return;
    buffer_clear(&crowd->pulse);
    buffer_printf(&crowd->pulse, "{\"v\":1,\"time_ms\":%" PRIu64 ",", clock_wall_ms());
    buffer_put(&crowd->pulse, crowd->tail.bytes, crowd->tail.size);
    const Frame frame = {.kind = FRAME_PULSE};
    crowd->n_pulses += send_frame(member, &frame, crowd->pulse.bytes, crowd->pulse.size);
}

/* ----------------------------------------------------------------------------------- receiving */

static void end_session(void *userdata) {
    Member *member = userdata;
    if (member->session)
        delivery_sender_session_end(member->sender);
    member->session = false;
}

/** on_subscription() - the hub's to our data begins a session */
static void on_subscription(void *userdata, const uint8_t *bytes, size_t size, bool more) {
    Member *member = userdata;
    if (more || size != 1 + strlen(FRAME_TOPIC))
        return;
    if (bytes[0] != 1) {
        end_session(member);
        return;
    }
    member->session = true;
    member->state_ms = 0;
    member->crowd->n_sessions++;
    delivery_sender_session_begin(member->sender, randombytes_random() + UINT64_C(1),
                                  clock_monotonic_ms());
}

static void subscribe(void *userdata) {
    Member *member = userdata;
    uint8_t text[1 + FRAME_STATE_TOPIC_BYTES] = {1};
    member->expects_state = false;
    memcpy(text + 1, member->topic, FRAME_STATE_TOPIC_BYTES);
    (void)zmtp_send(&member->lines[EVENTS], (const void *[]){text}, (size_t[]){sizeof(text)}, 1);
}

static void on_state(void *userdata, const uint8_t *bytes, size_t size, bool more) {
    static ControlState state;
    Member *member = userdata;
    const bool expected = member->expects_state;
    member->expects_state = more;
    if (!expected)
        return;
    if (control_read(&state, bytes, size)) {
        member->crowd->n_malformed++;
        return;
    }
    member->crowd->n_states++;
    member->state_ms = clock_monotonic_ms();
    delivery_sender_state(member->sender, &state.delivery);
}

static void ignore(void *userdata) {
    (void)userdata;
}

/* --------------------------------------------------------------------------------- the members */

static void write_hello(Member *member) {
    (void)snprintf(member->hello, sizeof(member->hello),
                   "{\"name\":\"crowd-%zu\",\"probe_id\":\"crowd-%zu\",\"version\":\"%s\","
                   "\"instance\":\"%016" PRIx64 "\",\"mode\":\"live\",\"interfaces\":[\"eth0\"]}",
                   member->i, member->i, WEIR_VERSION,
                   (uint64_t)randombytes_random() << 32 | randombytes_random());
}

/** open_line() - from one of many addresses of loopback */
static void open_line(Member *member, unsigned side) {
    const uint32_t address = (uint32_t)(member->i / AN_ADDRESS);
    member->lines[side] = (Zmtp){
        .peer = &member->crowd->peers[side],
        .keys = {member->keys[0], member->keys[1]},
        .userdata = member,
        .id = member->i * N_SIDES + side,
        .source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001u + address)},
    };
}

static void start_member(Crowd *crowd, Member *member, size_t i) {
    const DeliveryOwner owner = {.userdata = member, .load = load, .release = release};
    member->crowd = crowd;
    member->i = i;
    /* all over the second in which each has its turn */
    const bool marked = crowd->n_marked && i % (crowd->n / crowd->n_marked) == 0;
    member->n_kept = marked ? KEPT : 1;
    member->kept = calloc(member->n_kept, sizeof(*member->kept));
    (void)crypto_box_keypair(member->keys[0], member->keys[1]);
    if (!member->kept || delivery_sender_new(&member->sender, &owner) ||
        !zmq_z85_encode(member->topic, member->keys[0], ZMTP_KEY_BYTES))
        fail("a probe");
    write_hello(member);
    open_line(member, DATA);
    open_line(member, EVENTS);
}

static void write_rows(Json *json, const char *list, size_t n, bool pair) {
    char text[40];
    json_array_begin(json, list);
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        (void)snprintf(text, sizeof(text), "10.0.%zu.%zu", i, i * 7 % 250);
        json_text(json, pair ? "src_ip" : "ip", text);
        (void)snprintf(text, sizeof(text), "198.18.%zu.%zu", i, i * 3 % 250);
        if (pair)
            json_text(json, "dst_ip", text);
        if (pair)
            json_text(json, "app_name", "TLS.Example");
        json_u64(json, pair ? "octets" : "octets_in", 123456 + i);
        json_u64(json, pair ? "rev_octets" : "octets_out", 654321 - i);
        json_u64(json, "packets", 512 + i);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_apps(Json *json, size_t n) {
    char text[40];
    json_array_begin(json, "apps");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        (void)snprintf(text, sizeof(text), "TLS.Service%zu", i);
        json_text(json, "name", text);
        json_text(json, "category", "Web");
        json_u64(json, "octets", 765432 - i);
        json_u64(json, "packets", 1024 - i);
        json_object_end(json);
    }
    json_array_end(json);
}

/** make_pulse() - behind its time; as long as the probe's own: the tables are empty, or full */
static void make_pulse(Crowd *crowd, bool busy) {
    Buffer text = {0};
    Json json = json_make(&text);
    json_object_begin(&json, NULL);
    static const char *const numbers[] = {
        "packets",        "octets",        "drops",         "flows_active",
        "flows_exported", "flows_waiting", "flows_metered", "flows_export_dropped"};
    json_u64(&json, "interval_ms", 1000);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_u64(&json, numbers[i], busy ? 54321 : 0);
    static const char *const spool[] = {"flows",         "batches",     "bytes",
                                        "limit_bytes",   "oldest_ms",   "flows_appended",
                                        "flows_dropped", "batches_torn"};
    json_object_begin(&json, "spool");
    json_u64(&json, "hubs", 2); /* which is not reconciled: these numbers are made up */
    json_text(&json, "disk", "good");
    for (size_t i = 0; i < sizeof(spool) / sizeof(spool[0]); i++)
        json_u64(&json, spool[i], busy ? 54321 : 0);
    json_object_end(&json);
    json_array_begin(&json, "causes");
    json_array_end(&json);
    write_apps(&json, busy ? 32 : 0);
    write_rows(&json, "hosts", busy ? 20 : 0, false);
    write_rows(&json, "conversations", busy ? 20 : 0, true);
    json_object_end(&json);
    buffer_put(&crowd->tail, text.bytes + 1, text.size - 1);
    buffer_deinit(&text);
}

/* ------------------------------------------------------------------------------------- the crowd
 */

static void serve(Crowd *crowd) {
    struct epoll_event events[EVENTS_MAX];
    const int n = epoll_wait(crowd->epoll_fd, events, EVENTS_MAX, TURN_MS);
    const uint64_t now_ms = clock_monotonic_ms();
    for (int i = 0; i < n; i++) {
        Member *member = &crowd->members[events[i].data.u64 / N_SIDES];
        zmtp_serve(&member->lines[events[i].data.u64 % N_SIDES], now_ms);
        send_due(member);
    }
    if (now_ms - crowd->tended_ms < TEND_MS)
        return;
    crowd->tended_ms = now_ms;
    for (size_t i = 0; i < crowd->n_started; i++)
        for (unsigned side = 0; side < N_SIDES; side++)
            zmtp_tend(&crowd->members[i].lines[side], now_ms);
}

/** take_turns() - each has one a second, evenly spread */
static void take_turns(Crowd *crowd) {
    const uint64_t due = (clock_monotonic_ms() - crowd->begun_ms) * crowd->n / 1000;
    for (; crowd->turn < due; crowd->turn++) {
        Member *member = &crowd->members[crowd->turn % crowd->n];
        if (!member->sender)
            continue;
        if (crowd->marking && member->n_kept > 1)
            append(member);
        send_due(member);
        send_pulse(member);
        if (crowd->turn / crowd->n % PING_S == member->i % PING_S)
            for (unsigned side = 0; side < N_SIDES; side++)
                (void)zmtp_ping(&member->lines[side]);
    }
}

static void report(const Crowd *crowd) {
    const uint64_t now_ms = clock_monotonic_ms();
    size_t up = 0, synced = 0, backlog = 0;
    for (size_t i = 0; i < crowd->n_started; i++) {
        const Member *member = &crowd->members[i];
        DeliverySenderStatus status;
        delivery_sender_status(member->sender, &status);
        up += member->session;
        synced += status.session && status.synced && status.admitted &&
                  now_ms - member->state_ms < SYNCED_MS;
        backlog += (size_t)status.pending_batches;
    }
    (void)printf("{\"started\":%zu,\"up\":%zu,\"synced\":%zu,\"backlog\":%zu,\"flows\":%" PRIu64
                 ",\"pulses\":%" PRIu64 ",\"states\":%" PRIu64 ",\"sessions\":%" PRIu64
                 ",\"blocked\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"pulse_bytes\":%zu}\n",
                 crowd->n_started, up, synced, backlog, crowd->n_flows, crowd->n_pulses,
                 crowd->n_states, crowd->n_sessions, crowd->n_blocked, crowd->n_malformed,
                 crowd->pulse.size);
    (void)fflush(stdout);
}

/** obey() - false: told to end */
static bool obey(Crowd *crowd) {
    char command;
    ssize_t n;
    while ((n = read(STDIN_FILENO, &command, 1)) == 1) {
        if (command == 'm' || command == 'n')
            crowd->marking = command == 'm';
        for (size_t i = 0; command == 'b' && i < crowd->n_started; i++)
            append(&crowd->members[i]);
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void run(Crowd *crowd) {
    uint64_t report_ms = 0;
    crowd->begun_ms = clock_monotonic_ms();
    while (obey(crowd)) {
        for (int i = 0; i < STARTS_TURN && crowd->n_started < crowd->n; i++, crowd->n_started++)
            start_member(crowd, &crowd->members[crowd->n_started], crowd->n_started);
        serve(crowd);
        take_turns(crowd);
        if (clock_monotonic_ms() - report_ms < REPORT_MS)
            continue;
        report_ms = clock_monotonic_ms();
        report(crowd);
    }
}

static void set_peer(Crowd *crowd, unsigned side, const char *port, const char *server_z85) {
    ZmtpPeer *peer = &crowd->peers[side];
    *peer = (ZmtpPeer){
        .address = {.sin_family = AF_INET,
                    .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        .socket_type = side == DATA ? "XPUB" : "SUB",
        .epoll_fd = crowd->epoll_fd,
        .on_up = side == DATA ? ignore : subscribe,
        .on_down = side == DATA ? end_session : ignore,
        .on_part = side == DATA ? on_subscription : on_state,
    };
    if (!zmq_z85_decode(peer->server, server_z85))
        fail("the hub's key");
}

int main(int argc, char **argv) {
    if (argc != 7) {
        (void)fprintf(stderr,
                      "usage: crowd DATA_PORT EVENTS_PORT KEY_Z85 PROBES quiet|busy MARKED\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    Crowd crowd = {.n = strtoul(argv[4], NULL, 10), .n_marked = strtoul(argv[6], NULL, 10)};
    crowd.members = calloc(crowd.n + 1, sizeof(*crowd.members));
    crowd.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (sodium_init() < 0 || !crowd.n || !crowd.members || crowd.epoll_fd < 0 ||
        crowd.n_marked > crowd.n || batch_codec_new(&crowd.codec) ||
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) < 0)
        fail("starting");
    set_peer(&crowd, DATA, argv[1], argv[3]);
    set_peer(&crowd, EVENTS, argv[2], argv[3]);
    make_pulse(&crowd, strcmp(argv[5], "busy") == 0);
    run(&crowd);
    return 0;
}
