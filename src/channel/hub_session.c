/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void sessions_deinit(Sessions *sessions) {
    for (size_t i = 0; i < sessions->n; i++)
        free(sessions->sessions[i].hello);
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
    const char *plain = strncmp(address, "::ffff:", 7) == 0 ? address + 7 : address;
    if (strcmp(plain, session->address) != 0)
        (void)snprintf(session->address, sizeof(session->address), "%s", plain);
    return news;
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
