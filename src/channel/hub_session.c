/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_session.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "channel/version.h"

static void session_deinit(Session *session) {
    free(session->hello);
    free(session->configuration);
}

void sessions_deinit(Sessions *sessions) {
    for (size_t i = 0; i < sessions->n; i++)
        session_deinit(&sessions->sessions[i]);
    free(sessions->sessions);
    *sessions = (Sessions){0};
}

int sessions_get(Sessions *sessions, size_t i, const PeerKey *key, Session **sessionp) {
    if (i >= sessions->capacity) {
        size_t capacity = (i + 1) * 2;
        Session *grown = realloc(sessions->sessions, capacity * sizeof(*grown));
        if (!grown)
            return error_origin(-ENOMEM);
        memset(grown + sessions->capacity, 0, (capacity - sessions->capacity) * sizeof(*grown));
        sessions->sessions = grown;
        sessions->capacity = capacity;
    }
    if (i >= sessions->n)
        sessions->n = i + 1;
    sessions->sessions[i].key = *key;
    *sessionp = &sessions->sessions[i];
    return 0;
}

void session_address(char to[64], const char *address) {
    const char *plain = strncmp(address, "::ffff:", 7) == 0 ? address + 7 : address;
    if (strcmp(plain, to) != 0)
        (void)snprintf(to, 64, "%s", plain);
}

bool session_heard(Session *session, unsigned interface, const char *address, uint64_t now_ms,
                   uint64_t wall_ms) {
    bool news = !session->up;
    session->up = true;
    session->interface = interface;
    session->heard_ms = now_ms;
    session->heard_wall_ms = wall_ms;
    session->leaving_ms = 0;
    if (news)
        session->begin_ms = wall_ms;
    session_address(session->address, address);
    return news;
}

SessionLine *session_line(Session *session, const SessionLine *from, uint64_t now_ms) {
    SessionLine *line = &session->lines[0];
    for (size_t i = 0; i < SESSION_LINES; i++) {
        SessionLine *each = &session->lines[i];
        /* of one that was closed meanwhile no port can be told any more */
        if (each->fd == from->fd && (!from->port || each->port == from->port)) {
            each->heard_ms = now_ms;
            return each;
        }
        if (each->heard_ms < line->heard_ms)
            line = each;
    }
    *line = *from;
    line->since_ms = line->heard_ms = now_ms;
    return line;
}

void session_line_ended(Session *session, const SessionLine *from) {
    for (size_t i = 0; i < SESSION_LINES; i++)
        if (session->lines[i].fd == from->fd && session->lines[i].port == from->port)
            session->lines[i] = (SessionLine){0};
}

void session_line_hello(Session *session, SessionLine *line, const char *json, uint64_t hello_id,
                        uint64_t now_ms) {
    json_t *hello = json_loads(json, 0, NULL);
    const char *text = json_string_value(json_object_get(hello, "instance"));
    char instance[sizeof(line->instance)];
    (void)snprintf(instance, sizeof(instance), "%s", text ? text : "");
    text = json_string_value(json_object_get(hello, "version"));
    (void)snprintf(session->version, sizeof(session->version), "%s", text ? text : "");
    session->unserved = version_judge(WEIR_VERSION, session->version);
    json_decref(hello);
    if (strcmp(instance, line->instance) != 0)
        line->since_ms = now_ms;
    memcpy(line->instance, instance, sizeof(instance));
    line->hello_id = hello_id;
    for (size_t i = 0; i < SESSION_LINES; i++) {
        SessionLine *other = &session->lines[i];
        /* a copy of a running process says the same until it finds out: who speaks is not over */
        if (other != line && strcmp(other->instance, instance) == 0 &&
            now_ms - other->heard_ms >= SESSION_LINE_SILENT_MS)
            *other = (SessionLine){0};
    }
}

const SessionLine *session_other(const Session *session, const SessionLine *line, uint64_t now_ms) {
    for (size_t i = 0; i < SESSION_LINES; i++) {
        const SessionLine *other = &session->lines[i];
        if (other == line || !other->fd || !*other->instance || !*line->instance)
            continue;
        /* a process that was started anew: what its predecessor had sent may still come */
        const uint64_t both_ms =
            line->since_ms > other->since_ms ? line->since_ms : other->since_ms;
        const bool same = strcmp(other->instance, line->instance) == 0;
        const uint64_t beside_ms = both_ms + (same ? SESSION_COPY_MS : SESSION_CLONE_MS);
        if (now_ms - other->heard_ms < SESSION_LINE_SILENT_MS && other->heard_ms > beside_ms &&
            line->heard_ms > beside_ms)
            return other;
    }
    return NULL;
}

bool session_over(Session *session, uint64_t now_ms) {
    if (!session->up)
        return false;
    bool left = session->leaving_ms && now_ms - session->leaving_ms > SESSION_LEAVING_MS;
    if (!left && now_ms - session->heard_ms <= SESSION_SILENT_MS)
        return false;
    session->up = false;
    return true;
}
