/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/door.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/queue.h"
#include "probe/datagrams.h"
#include "probe/resolve.h"

enum {
    STEP_MS = 100, /* it looks so often whether it is to end */
    IDLE_MS = 500,
    CONNECT_MS = 5000,
    WELL_MS = 3000,
    STALLED_MS = 30000, /* a connection that takes nothing for so long is given up */
    AGAIN_FIRST_MS = 1000,
    AGAIN_MOST_MS = 10000,
    PATIENCE_MS = 10000,   /* of who reads a file, for a queue that does not move */
    BURST = DATAGRAMS_MAX, /* datagrams a call; then a pause, when the source has no pace */
    BURST_PAUSE_MS = 2,
};

typedef struct Letter {
    size_t size;
    size_t records;
    BatchCounts counts;
    bool farewell;
    uint8_t bytes[];
} Letter;

struct Door {
    DoorAddress address;
    NetflowStream stream;
    bool patient;
    bool stuck;          /* of the sender: waiting was in vain */
    Letter *kept[BURST]; /* the sender's, not handed over yet */
    size_t n_kept;
    Queue *queue;
    pthread_t thread;
    bool running;
    _Atomic uint64_t end_ms; /* monotonic; 0: not yet */
    _Atomic uint64_t sent_messages, sent_records;
    _Atomic uint64_t failed_messages, failed_records;
    _Atomic uint64_t failed_flows, failed_packets, failed_octets;
    _Atomic size_t room_bytes;

    /* the thread's */
    int fd;
    int family;
    uint64_t again_ms; /* not tried before */
    uint64_t pause_ms;
    bool join;            /* datagrams, as far as the kernel does */
    size_t doubt_letters; /* the last ones: the kernel may still hear that they were refused */
    size_t doubt_records;
    BatchCounts doubt_counts;
    size_t burst;
    bool told; /* that something is wrong */
    uint64_t trouble_ms;
    Buffer introduction;
};

/* --- the thread --------------------------------------------------------------------------- */

static bool is_over(const void *userdata) {
    const Door *door = userdata;
    const uint64_t end_ms = door->end_ms;
    return end_ms && clock_monotonic_ms() >= end_ms;
}

static void nap(unsigned ms) {
    const struct timespec step = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&step, NULL);
}

static void trouble(Door *door, const char *what) {
    if (!door->told)
        log_warning("-n %s: %s; tried again, what cannot be sent meanwhile is counted",
                    door->address.text, what);
    door->told = true;
    door->trouble_ms = clock_monotonic_ms();
}

/* a refusal comes after the datagram: one that is not refused at once tells little */
static void well(Door *door) {
    door->pause_ms = 0;
    if (!door->told || (!door->address.tcp && clock_monotonic_ms() - door->trouble_ms < WELL_MS))
        return;
    log_notice("-n %s: flows are exported again", door->address.text);
    door->told = false;
}

static void count(Door *door, bool sent, size_t letters, size_t records,
                  const BatchCounts *counts) {
    if (sent) {
        door->sent_messages += letters;
        door->sent_records += records;
    } else {
        door->failed_messages += letters;
        door->failed_records += records;
        door->failed_flows += counts->flows;
        door->failed_packets += counts->packets;
        door->failed_octets += counts->octets;
    }
}

static void count_letter(Door *door, bool sent, const Letter *letter) {
    if (!letter->farewell)
        count(door, sent, 1, letter->records, &letter->counts);
}

static void shut(Door *door) {
    if (door->fd >= 0)
        (void)close(door->fd);
    door->fd = -1;
    door->pause_ms = door->pause_ms ? door->pause_ms * 2 : AGAIN_FIRST_MS;
    if (door->pause_ms > AGAIN_MOST_MS)
        door->pause_ms = AGAIN_MOST_MS;
    door->again_ms = clock_monotonic_ms() + door->pause_ms;
}

/* 0, or errno of what came of it within the time */
static int await(Door *door, short events, unsigned timeout_ms) {
    const uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
    while (clock_monotonic_ms() < end_ms && !is_over(door)) {
        struct pollfd one = {.fd = door->fd, .events = events};
        if (poll(&one, 1, STEP_MS) > 0)
            return 0;
    }
    return ETIMEDOUT;
}

/* how long a datagram the way takes: the kernel's route, and what routers said */
static void measure_room(Door *door, int family) {
    enum { V4_UDP_BYTES = 28, V6_UDP_BYTES = 48 };
    const bool v6 = family == AF_INET6;
    int mtu = 0;
    socklen_t size = sizeof(mtu);
    if (door->address.tcp ||
        getsockopt(door->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size))
        return;
    const int room = mtu - (v6 ? V6_UDP_BYTES : V4_UDP_BYTES);
    door->room_bytes = room > DOOR_DATAGRAM_MAX   ? DOOR_DATAGRAM_MAX
                       : room < DOOR_DATAGRAM_MIN ? DOOR_DATAGRAM_MIN
                                                  : (size_t)room;
    door->family = family;
}

static int try_address(Door *door, const struct addrinfo *at) {
    door->fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->fd < 0)
        return errno;
    int error = connect(door->fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    socklen_t size = sizeof(error);
    if (error == EINPROGRESS)
        error = await(door, POLLOUT, CONNECT_MS);
    if (error == 0 && getsockopt(door->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        (void)close(door->fd);
        door->fd = -1;
    } else {
        door->join = true;
        measure_room(door, at->ai_family);
    }
    return error;
}

/* names are asked for anew each time: a collector may move. NULL, or what is wrong */
static const char *reach(Door *door) {
    struct addrinfo *found = NULL;
    const char *what = NULL;
    int r = resolve_name(&found, door->address.host, door->address.port,
                         door->address.tcp ? SOCK_STREAM : SOCK_DGRAM, is_over, door);
    if (r) {
        what = r == RESOLVE_GIVEN_UP ? "no name server answered in time" : gai_strerror(r);
    } else {
        int error = EHOSTUNREACH;
        for (const struct addrinfo *at = found; at && error; at = at->ai_next)
            error = try_address(door, at);
        what = error ? strerror(error) : NULL;
        freeaddrinfo(found);
    }
    return what;
}

static bool open_door(Door *door) {
    const char *what = reach(door);
    if (!what)
        return true;
    trouble(door, what);
    shut(door);
    return false;
}

int door_try(const DoorAddress *address, Reason *reason) {
    Door door = {.address = *address, .fd = -1};
    const char *what = reach(&door);
    if (door.fd >= 0)
        (void)close(door.fd);
    if (what)
        reason_set(reason, "%s", what);
    return what ? DOOR_E_UNREACHED : 0;
}

/* --- UDP ---------------------------------------------------------------------------------- */

static void settle(Door *door, bool refused) {
    if (door->doubt_letters)
        count(door, !refused, door->doubt_letters, door->doubt_records, &door->doubt_counts);
    door->doubt_letters = door->doubt_records = 0;
    door->doubt_counts = (BatchCounts){0};
    if (refused)
        trouble(door, "nothing listens there");
}

/* has the kernel heard that the last ones were refused? */
static void settle_last(Door *door) {
    int error = 0;
    socklen_t size = sizeof(error);
    if (!door->doubt_letters)
        return;
    (void)getsockopt(door->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    settle(door, error == ECONNREFUSED);
}

/* they are under way; of the last ones, which went as one, it may still be heard that they were
 * refused */
static void went(Door *door, Letter *const *letters, const DatagramsSent *sent) {
    if (door->doubt_letters)
        well(door);
    settle(door, false);
    for (size_t i = 0; i < sent->n; i++) {
        if (i + sent->together < sent->n) {
            count_letter(door, true, letters[i]);
            continue;
        }
        door->doubt_letters++;
        door->doubt_records += letters[i]->records;
        door->doubt_counts = batch_counts_add(door->doubt_counts, letters[i]->counts);
    }
}

/* one that the kernel does not take */
static void did_not_go(Door *door, const Letter *letter, int error) {
    settle(door, false);
    trouble(door, strerror(error));
    count_letter(door, false, letter);
    if (error != EAGAIN && error != EMSGSIZE && error != ENOBUFS)
        shut(door); /* another route or address may do */
}

static DatagramsSent send_some(Door *door, Letter *const *letters, size_t n) {
    struct iovec parts[BURST];
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct iovec){.iov_base = letters[i]->bytes, .iov_len = letters[i]->size};
    return datagrams_send(door->fd, parts, n, &door->join);
}

static void send_datagrams(Door *door, Letter *const *letters, size_t n) {
    bool again = false;
    for (size_t at = 0; at < n;) {
        if (door->fd < 0 && (clock_monotonic_ms() < door->again_ms || !open_door(door))) {
            count_letter(door, false, letters[at++]);
            continue;
        }
        const DatagramsSent sent = send_some(door, letters + at, n - at);
        if (sent.n) {
            went(door, letters + at, &sent);
            at += sent.n;
            again = false;
        } else if (errno == ECONNREFUSED && !again) { /* the one before was; these were not tried */
            settle(door, true);
            again = true;
        } else if (errno == EAGAIN && !again && await(door, POLLOUT, STEP_MS) == 0) {
            again = true;
        } else {
            did_not_go(door, letters[at++], errno);
            again = false;
        }
    }
    if (door->fd >= 0)
        measure_room(door, door->family);
    door->burst += n;
    if (door->patient && door->burst >= BURST) {
        door->burst = 0;
        nap(BURST_PAUSE_MS);
    }
}

/* --- TCP ---------------------------------------------------------------------------------- */

/* all of it, or the connection is of no use any more; errno */
static int send_all(Door *door, const uint8_t *bytes, size_t size) {
    while (size) {
        ssize_t n = send(door->fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errno;
        if (n > 0) {
            bytes += n;
            size -= (size_t)n;
        } else {
            int error = await(door, POLLOUT, STALLED_MS);
            if (error)
                return error;
        }
    }
    return 0;
}

/* a collector says nothing; what can be read is its end, or nonsense */
static bool has_hung_up(Door *door) {
    uint8_t waste[256];
    ssize_t n = 1;
    while (n > 0)
        n = recv(door->fd, waste, sizeof(waste), MSG_DONTWAIT);
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

static bool connect_for(Door *door, const Letter *letter) {
    while (clock_monotonic_ms() < door->again_ms) {
        if (is_over(door))
            return false;
        nap(STEP_MS);
    }
    if (!open_door(door))
        return false;
    buffer_clear(&door->introduction);
    netflow_introduce(&door->stream, letter->bytes, &door->introduction);
    int error = door->introduction.failed
                    ? ENOMEM
                    : send_all(door, door->introduction.bytes, door->introduction.size);
    if (!error)
        return true;
    trouble(door, strerror(error));
    shut(door);
    return false;
}

/* waits for a collector that is not there; a message cut in the middle is not sent again */
static void send_stream(Door *door, const Letter *letter) {
    if (door->fd >= 0 && has_hung_up(door)) {
        trouble(door, "the collector closed the connection");
        shut(door);
    }
    if (door->fd < 0 && letter->farewell)
        return;
    while (door->fd < 0 && !connect_for(door, letter)) {
        if (is_over(door)) {
            count_letter(door, false, letter);
            return;
        }
    }
    int error = send_all(door, letter->bytes, letter->size);
    count_letter(door, error == 0, letter);
    if (error) {
        trouble(door, strerror(error));
        shut(door);
    } else {
        well(door);
    }
}

static void deliver_letters(Door *door, Letter *const *letters, size_t n) {
    if (!door->address.tcp && !is_over(door)) {
        send_datagrams(door, letters, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_over(door))
            count_letter(door, false, letters[i]);
        else
            send_stream(door, letters[i]);
    }
}

static void *door_run(void *userdata) {
    Door *door = userdata;
    for (;;) {
        Letter *letters[BURST];
        const size_t n = queue_pop_all(door->queue, (void **)letters, BURST, IDLE_MS);
        if (n)
            deliver_letters(door, letters, n);
        else if (!door->address.tcp)
            settle_last(door);
        if (!n && queue_closed(door->queue))
            return NULL;
        for (size_t i = 0; i < n; i++)
            free(letters[i]);
    }
}

/* --- life --------------------------------------------------------------------------------- */

/* a socket of a numeric address, connected: nothing is sent by that. -1: none */
static int look(const char *host, const char *port, Door *door) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found))
        return -1;
    (void)try_address(door, found);
    freeaddrinfo(found);
    return door->fd;
}

/* of a name it is known only when it was asked for */
static size_t room_of(const DoorAddress *address) {
    Door door = {.fd = -1, .room_bytes = DOOR_DATAGRAM_MAX};
    const int fd = look(address->host, address->port, &door);
    if (fd >= 0)
        (void)close(fd);
    return door.room_bytes;
}

NetAddress door_self(const DoorAddress *address) {
    union {
        struct sockaddr_storage any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {0};
    socklen_t size = sizeof(at);
    Door door = {.fd = -1};
    int fd = look(address->host, address->port, &door);
    if (fd < 0)
        fd = look("192.0.2.1", address->port, &door); /* as to anywhere (RFC 5737) */
    const bool known = fd >= 0 && getsockname(fd, (struct sockaddr *)&at.any, &size) == 0;
    if (fd >= 0)
        (void)close(fd);
    if (known && at.any.ss_family == AF_INET)
        return net_address_v4((const uint8_t *)&at.v4.sin_addr);
    if (known && at.any.ss_family == AF_INET6)
        return net_address_v6(at.v6.sin6_addr.s6_addr);
    return (NetAddress){0};
}

int door_new(Door **doorp, const DoorAddress *address, const NetflowStream *stream, bool patient) {
    cleanup(door_freep) Door *door = calloc(1, sizeof(*door));
    if (!door)
        return error_origin(-ENOMEM);
    door->address = *address;
    door->stream = *stream;
    door->patient = patient;
    door->fd = -1;
    door->room_bytes = room_of(address);
    int r = queue_new(&door->queue, DOOR_WAITING_MAX);
    if (r == 0)
        r = -pthread_create(&door->thread, NULL, door_run, door);
    if (r < 0)
        return error_trace(r);
    door->running = true;
    *doorp = door;
    door = NULL;
    return 0;
}

void door_finish(Door *door, unsigned timeout_ms) {
    if (!door->running)
        return;
    door->end_ms = clock_monotonic_ms() + timeout_ms;
    door_hand_over(door);
    queue_close(door->queue);
    (void)pthread_join(door->thread, NULL);
    door->running = false;
    settle_last(door);
}

Door *door_free(Door *door) {
    if (!door)
        return NULL;
    door_finish(door, 0);
    if (door->fd >= 0)
        (void)close(door->fd);
    queue_free(door->queue);
    buffer_deinit(&door->introduction);
    free(door);
    return NULL;
}

/* --- the sender's side -------------------------------------------------------------------- */

/* there was no room just now */
static void enqueue(Door *door, Letter *letter) {
    bool queued = queue_push(door->queue, letter);
    if (!queued && door->patient && !door->stuck)
        queued = queue_push_wait(door->queue, letter, PATIENCE_MS);
    door->stuck = !queued;
    if (queued)
        return;
    count_letter(door, false, letter);
    free(letter);
}

void door_hand_over(Door *door) {
    const size_t n = door->n_kept;
    if (!n)
        return;
    size_t done = queue_push_all(door->queue, (void *const *)door->kept, n);
    if (done == n)
        door->stuck = false;
    for (; done < n; done++)
        enqueue(door, door->kept[done]);
    door->n_kept = 0;
}

static void post(Door *door, const uint8_t *bytes, const Letter *like) {
    Letter *letter = malloc(sizeof(*letter) + like->size);
    if (letter) {
        *letter = *like;
        memcpy(letter->bytes, bytes, like->size);
        door->kept[door->n_kept++] = letter;
        if (door->n_kept == BURST)
            door_hand_over(door);
        return;
    }
    count_letter(door, false, like);
}

void door_send(Door *door, const uint8_t *bytes, size_t size, size_t records,
               const BatchCounts *counts) {
    const Letter like = {.size = size, .records = records, .counts = *counts};
    post(door, bytes, &like);
}

void door_farewell(Door *door, const uint8_t *bytes, size_t size) {
    const Letter like = {.size = size, .farewell = true};
    if (door->address.tcp && size)
        post(door, bytes, &like);
}

size_t door_room_bytes(const Door *door) {
    return door->room_bytes;
}

void door_status(Door *door, DoorStatus *status) {
    *status =
        (DoorStatus){.sent_messages = door->sent_messages,
                     .sent_records = door->sent_records,
                     .failed_messages = door->failed_messages,
                     .failed_records = door->failed_records,
                     .waiting_messages = queue_length(door->queue),
                     .failed = {door->failed_flows, door->failed_packets, door->failed_octets}};
}
