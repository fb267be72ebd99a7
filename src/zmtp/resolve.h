#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Resolve
 *
 * The addresses of a name, asked for on a thread of its own: that may take half a minute, and
 * nobody waits for it. A question belongs to who asks and to that thread; who lets go last frees
 * it. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { RESOLVE_ADDRESSES_MAX = 8 };

typedef struct Address {
    struct sockaddr_storage bytes;
    socklen_t size;
} Address;

typedef struct ResolveAnswer {
    size_t n; /* 0: there are none */
    Address addresses[RESOLVE_ADDRESSES_MAX];
    char trouble[128]; /* why */
} ResolveAnswer;

typedef struct Question Question;

/** question_ask() - NULL: not now. What is an address already is answered at once */
Question *question_ask(const char *host, uint16_t port);

/** question_answered() - false: not yet */
bool question_answered(Question *question, ResolveAnswer *answer);

/** question_leave() - NULL, for who asked; the answer is of no use any more */
Question *question_leave(Question *question);
