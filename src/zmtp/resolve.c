/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Question {
    pthread_mutex_t lock;
    unsigned holders;
    bool answered;
    char host[256], port[8];
    ResolveAnswer answer;
};

static int look_up(const Question *question, int flags, ResolveAnswer *answer) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    const int r = getaddrinfo(question->host, question->port, &hints, &found);
    answer->n = 0;
    if (r) {
        (void)snprintf(answer->trouble, sizeof(answer->trouble), "%s", gai_strerror(r));
        return r;
    }
    for (const struct addrinfo *at = found; at && answer->n < RESOLVE_ADDRESSES_MAX;
         at = at->ai_next) {
        if (at->ai_addrlen > sizeof(struct sockaddr_storage))
            continue;
        Address *address = &answer->addresses[answer->n++];
        memcpy(&address->bytes, at->ai_addr, at->ai_addrlen);
        address->size = at->ai_addrlen;
    }
    freeaddrinfo(found);
    return 0;
}

Question *question_leave(Question *question) {
    (void)pthread_mutex_lock(&question->lock);
    const bool last = --question->holders == 0;
    (void)pthread_mutex_unlock(&question->lock);
    if (last) {
        (void)pthread_mutex_destroy(&question->lock);
        free(question);
    }
    return NULL;
}

static void *ask(void *arg) {
    Question *question = arg;
    ResolveAnswer answer = {0};
    (void)look_up(question, 0, &answer);
    (void)pthread_mutex_lock(&question->lock);
    question->answer = answer;
    question->answered = true;
    (void)pthread_mutex_unlock(&question->lock);
    (void)question_leave(question);
    return NULL;
}

Question *question_ask(const char *host, uint16_t port) {
    Question *question = calloc(1, sizeof(*question));
    pthread_t thread;
    if (!question)
        return NULL;
    (void)pthread_mutex_init(&question->lock, NULL);
    question->holders = 1;
    (void)snprintf(question->host, sizeof(question->host), "%s", host);
    (void)snprintf(question->port, sizeof(question->port), "%u", port);
    question->answered = look_up(question, AI_NUMERICHOST, &question->answer) == 0;
    if (question->answered)
        return question;
    question->holders = 2;
    if (pthread_create(&thread, NULL, ask, question) != 0) {
        question->holders = 1;
        return question_leave(question);
    }
    (void)pthread_detach(thread);
    return question;
}

bool question_answered(Question *question, ResolveAnswer *answer) {
    (void)pthread_mutex_lock(&question->lock);
    const bool answered = question->answered;
    if (answered)
        *answer = question->answer;
    (void)pthread_mutex_unlock(&question->lock);
    return answered;
}
