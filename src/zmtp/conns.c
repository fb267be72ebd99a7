/* SPDX-License-Identifier: Apache-2.0 */

/* Where each connection stands, and who has to go */

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "zmtp/server_inner.h"

enum { LOOK = 64, SCAN_MS = 1000, BUCKETS_FIRST = 256 };

/* -------------------------------------------------------------------------------------- lists */

static void leave(ZmtpServer *server, Conn *conn) {
    List *list = &server->lists[conn->place];
    *(conn->before ? &conn->before->after : &list->first) = conn->after;
    *(conn->after ? &conn->after->before : &list->last) = conn->before;
    list->n--;
}

static void enter(ZmtpServer *server, Conn *conn, Place place) {
    List *list = &server->lists[place];
    conn->place = place;
    conn->before = list->last;
    conn->after = NULL;
    *(list->last ? &list->last->after : &list->first) = conn;
    list->last = conn;
    list->n++;
}

void conns_move(ZmtpServer *server, Conn *conn, Place place) {
    leave(server, conn);
    enter(server, conn, place);
}

/* ---------------------------------------------------------------------------------- strangers */

uint16_t conns_slot(const ZmtpServer *server, const char *address) {
    struct in6_addr v6; /* whoever has one has 2^64 */
    const uint64_t hash = inet_pton(AF_INET6, address, &v6) == 1
                              ? hash_bytes(&v6, sizeof(v6) / 2, server->seed)
                              : hash_bytes(address, strlen(address), server->seed);
    return (uint16_t)(hash % ADDRESS_SLOTS);
}

/** n_begun() - strangers that have greeted */
static size_t n_begun(const ZmtpServer *server) {
    return server->n_strangers - server->lists[PLACE_FRESH].n;
}

/** is_trusted() - of an address from which somebody spoke, and that does not make too much of it */
static bool is_trusted(const ZmtpServer *server, const Conn *conn) {
    return server->known[conn->slot] && server->strangers[conn->slot] <= ZMTP_STRANGERS_KNOWN_MAX;
}

bool conns_crowded(const ZmtpServer *server, const Conn *conn) {
    const size_t fd = (size_t)conn->peer.fd;
    return fd >= server->n_fds / 2 && (fd + ZMTP_FDS_RESERVE >= server->n_fds ||
                                       server->strangers[conn->slot] > ZMTP_STRANGERS_SILENT_MAX);
}

static void no_stranger(ZmtpServer *server, const Conn *conn) {
    server->strangers[conn->slot]--;
    server->n_strangers--;
}

bool conns_strange(const ZmtpServer *server, const Conn *conn) {
    return !conn->known && server->callbacks.knows;
}

/** n_partial_of() - which of the two this one is counted in */
static size_t *n_partial_of(ZmtpServer *server, const Conn *conn) {
    return conns_strange(server, conn) ? &server->n_partial_strangers : &server->n_partial;
}

void conns_known(ZmtpServer *server, Conn *conn) {
    if (conn->known)
        return;
    no_stranger(server, conn);
    *n_partial_of(server, conn) -= conn->partial;
    conn->known = true;
    *n_partial_of(server, conn) += conn->partial;
    server->known[conn->slot] = true;
    conn->line.frame_max = ZMTP_FRAME_MAX_BYTES;
}

void conns_add(ZmtpServer *server, Conn *conn) {
    conn->slot = conns_slot(server, conn->peer.address);
    conn->since_ms = conn->peer.heard_ms = server->now_ms;
    server->strangers[conn->slot]++;
    server->n_strangers++;
    enter(server, conn, PLACE_FRESH);
}

void conns_place(ZmtpServer *server, Conn *conn) {
    static const Place places[] = {[ZMTP_GREETING] = PLACE_FRESH,
                                   [ZMTP_HELLO] = PLACE_SHAKING,
                                   [ZMTP_INITIATE] = PLACE_SHAKING,
                                   [ZMTP_REFUSED] = PLACE_SHAKING,
                                   [ZMTP_UP] = PLACE_QUIET};
    if (conn->place == PLACE_DOOMED)
        return;
    const bool partial = conn->line.state == ZMTP_UP && (conn->line.have || conn->line.n_parts);
    size_t *n_partial = n_partial_of(server, conn);
    if (partial && !conn->partial)
        conn->part_ms = server->now_ms;
    *n_partial = *n_partial - conn->partial + partial;
    conn->partial = partial;
    const Place place = conn->known ? PLACE_LIVE : places[conn->line.state];
    if (place == PLACE_LIVE || place == PLACE_QUIET || place != conn->place)
        conns_move(server, conn, place);
    const bool full =
        place == PLACE_SHAKING && n_begun(server) > ZMTP_STRANGERS_MAX && !is_trusted(server, conn);
    if (full || (partial && conns_strange(server, conn) && *n_partial > ZMTP_STRANGERS_PARTIAL_MAX))
        conns_doom(server, conn, ZMTP_TOO_MANY);
}

/* -------------------------------------------------------------------------------------- by key */

static size_t bucket_of(const ZmtpServer *server, const uint8_t *key) {
    return hash_bytes(key, CURVE_KEY_BYTES, server->seed) & (server->n_buckets - 1);
}

static int grow(ZmtpServer *server) {
    const size_t before = server->n_buckets, n = before ? before * 2 : BUCKETS_FIRST;
    Conn **buckets = calloc(n, sizeof(*buckets)), **old = server->buckets;
    if (!buckets)
        return error_origin(-ENOMEM);
    server->buckets = buckets;
    server->n_buckets = n;
    for (size_t i = 0; i < before; i++)
        for (Conn *conn = old[i], *next = NULL; conn; conn = next) {
            next = conn->next_of_bucket;
            Conn **place = &buckets[bucket_of(server, conn->peer.key)];
            conn->next_of_bucket = *place;
            *place = conn;
        }
    free(old);
    return 0;
}

static Conn *same_key(Conn *conn, const uint8_t *key) {
    while (conn && (conn->place == PLACE_DOOMED ||
                    sodium_memcmp(conn->peer.key, key, CURVE_KEY_BYTES) != 0))
        conn = conn->next_of_bucket;
    return conn;
}

Conn *conns_first(const ZmtpServer *server, const uint8_t key[CURVE_KEY_BYTES]) {
    return server->n_buckets ? same_key(server->buckets[bucket_of(server, key)], key) : NULL;
}

Conn *conns_next(const Conn *conn) {
    return same_key(conn->next_of_bucket, conn->peer.key);
}

/** keep_few() - a key needs one connection a side; some more for those that are gone and not yet
 * known to be, and for its clones */
static void keep_few(ZmtpServer *server, const Conn *newest) {
    Conn *oldest = NULL;
    size_t n = 0;
    for (Conn *conn = conns_first(server, newest->peer.key); conn; conn = conns_next(conn)) {
        if (conn->peer.side != newest->peer.side)
            continue;
        n++;
        if (conn != newest && (!oldest || conn->peer.heard_ms < oldest->peer.heard_ms))
            oldest = conn;
    }
    if (n <= ZMTP_KEY_MAX)
        return;
    server->callbacks.on_twins(server->callbacks.userdata, &newest->peer, &oldest->peer);
    conns_doom(server, oldest, ZMTP_TWIN);
}

int conns_up(ZmtpServer *server, Conn *conn) {
    const int r = server->n_in_table < server->n_buckets ? 0 : grow(server);
    if (r && !server->n_buckets)
        return error_trace(r);
    Conn **place = &server->buckets[bucket_of(server, conn->peer.key)];
    conn->next_of_bucket = *place;
    *place = conn;
    conn->in_table = true;
    server->n_in_table++;
    keep_few(server, conn);
    return 0;
}

static void out_of_table(ZmtpServer *server, Conn *conn) {
    Conn **place = &server->buckets[bucket_of(server, conn->peer.key)];
    while (*place != conn)
        place = &(*place)->next_of_bucket;
    *place = conn->next_of_bucket;
    server->n_in_table--;
}

/* ------------------------------------------------------------------------------------ the end */

void conns_doom(ZmtpServer *server, Conn *conn, ZmtpFault fault) {
    if (conn->place == PLACE_DOOMED)
        return;
    conn->fault = fault;
    conns_move(server, conn, PLACE_DOOMED);
}

static void end(ZmtpServer *server, Conn *conn) {
    const bool up = conn->in_table;
    const ZmtpFault fault = conn->line.state == ZMTP_REFUSED ? ZMTP_UNWANTED : conn->fault;
    leave(server, conn);
    if (up)
        out_of_table(server, conn);
    if (!conn->known)
        no_stranger(server, conn);
    *n_partial_of(server, conn) -= conn->partial;
    server->callbacks.on_down(server->callbacks.userdata, &conn->peer, fault, up);
    (void)close(conn->peer.fd); /* epoll forgets it */
    zmtp_line_end(&conn->line);
    buffer_deinit(&conn->out);
    free(conn);
}

void conns_reap(ZmtpServer *server) {
    while (server->lists[PLACE_DOOMED].first)
        end(server, server->lists[PLACE_DOOMED].first);
}

/* ------------------------------------------------------------------------------ who is overdue */

static void end_slow(ZmtpServer *server, Place place) {
    for (Conn *conn = server->lists[place].first; conn; conn = server->lists[place].first) {
        if (server->now_ms - conn->since_ms < ZMTP_HANDSHAKE_MS)
            return;
        conns_doom(server, conn, ZMTP_SLOW);
    }
}

/** make_room() - who has greeted, has had time and has not gone on, when they are many */
static void make_room(ZmtpServer *server, Place place) {
    Conn *conn = server->lists[place].first;
    for (size_t i = 0; i < LOOK && conn && n_begun(server) > ZMTP_STRANGERS_MAX / 2; i++) {
        Conn *after = conn->after;
        if (server->now_ms - conn->since_ms >= ZMTP_STRANGERS_PATIENCE_MS &&
            !is_trusted(server, conn))
            conns_doom(server, conn, ZMTP_TOO_MANY);
        conn = after;
    }
}

/** end_partial() - others wait: who has a frame under way for long is not waited for */
static void end_partial(ZmtpServer *server) {
    if (!server->lists[PLACE_WAITING].n || server->now_ms - server->scan_ms < SCAN_MS)
        return;
    server->scan_ms = server->now_ms;
    static const Place places[] = {PLACE_QUIET, PLACE_LIVE, PLACE_ASKED};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        for (Conn *conn = server->lists[places[i]].first, *after = NULL; conn; conn = after) {
            after = conn->after;
            if (conn->partial && server->now_ms - conn->part_ms > ZMTP_PARTIAL_MS)
                conns_doom(server, conn, ZMTP_TOO_MANY);
        }
}

/** ask_silent() - who was not heard for a while is asked, and has to answer */
static void ask_silent(ZmtpServer *server, Place place,
                       void (*ask)(ZmtpServer *server, Conn *conn)) {
    for (size_t i = 0; i < LOOK && server->lists[place].first; i++) {
        Conn *conn = server->lists[place].first;
        if (server->now_ms - conn->peer.heard_ms < ZMTP_PING_MS)
            return;
        conn->since_ms = server->now_ms;
        conns_move(server, conn, PLACE_ASKED);
        ask(server, conn);
    }
}

void conns_tend(ZmtpServer *server, void (*ask)(ZmtpServer *server, Conn *conn)) {
    const List *asked = &server->lists[PLACE_ASKED];
    end_slow(server, PLACE_FRESH);
    end_slow(server, PLACE_SHAKING);
    make_room(server, PLACE_SHAKING);
    make_room(server, PLACE_QUIET);
    end_partial(server);
    /* since it was asked: who was not listened to, in a machine that slept, may have much to say */
    while (asked->first && server->now_ms - asked->first->since_ms > ZMTP_SILENT_MS - ZMTP_PING_MS)
        conns_doom(server, asked->first, ZMTP_SILENT);
    ask_silent(server, PLACE_QUIET, ask);
    ask_silent(server, PLACE_LIVE, ask);
}
