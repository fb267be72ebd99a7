/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/resolve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"

enum { STEP_MS = 100 };

typedef struct Lookup {
    atomic_int holders; /* who asks, and the thread: the last one frees it */
    Queue *answered;
    char *host;
    char *port;
    struct addrinfo hints;
    struct addrinfo *found;
    int answer;
} Lookup;

static void drop(Lookup *lookup) {
    if (atomic_fetch_sub(&lookup->holders, 1) > 1)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    queue_free(lookup->answered);
    free(lookup->host);
    free(lookup->port);
    free(lookup);
}

static void *look_up(void *userdata) {
    Lookup *lookup = userdata;
    lookup->answer = getaddrinfo(lookup->host, lookup->port, &lookup->hints, &lookup->found);
    (void)queue_push(lookup->answered, lookup);
    drop(lookup);
    return NULL;
}

/* by two holders; NULL: for want of memory or threads */
static Lookup *begin(const char *host, const char *port, const struct addrinfo *hints) {
    pthread_t thread;
    Lookup *lookup = calloc(1, sizeof(*lookup));
    if (!lookup)
        return NULL;
    lookup->hints = *hints;
    lookup->host = strdup(host);
    lookup->port = strdup(port);
    atomic_init(&lookup->holders, 2);
    if (lookup->host && lookup->port && queue_new(&lookup->answered, 1) == 0 &&
        pthread_create(&thread, NULL, look_up, lookup) == 0) {
        (void)pthread_detach(thread);
        return lookup;
    }
    atomic_store(&lookup->holders, 1);
    drop(lookup);
    return NULL;
}

int resolve_name(struct addrinfo **foundp, const char *host, const char *port, int socktype,
                 bool (*is_over)(const void *userdata), const void *userdata) {
    struct addrinfo hints = {.ai_socktype = socktype, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST};
    int answer = getaddrinfo(host, port, &hints, foundp);
    if (answer != EAI_NONAME)
        return answer;
    hints.ai_flags = AI_NUMERICSERV;
    Lookup *lookup = begin(host, port, &hints);
    if (!lookup)
        return EAI_MEMORY;
    answer = RESOLVE_GIVEN_UP;
    while (answer == RESOLVE_GIVEN_UP && !is_over(userdata)) {
        if (!queue_pop(lookup->answered, STEP_MS))
            continue;
        answer = lookup->answer;
        *foundp = lookup->found;
        lookup->found = NULL;
    }
    drop(lookup);
    return answer;
}
