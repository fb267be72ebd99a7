/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_strangers.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    SLOTS = 16384, /* addresses by hash; those that share one count together */
    SPOKE = 1,     /* states of a line: 0 nothing known, 1, or its slot + 2 */
    FIRST_SLOT = 2,
};

/** Line - by descriptor */
typedef struct Line {
    atomic_uint state;
    atomic_bool begun; /* counted as such */
    bool cut;
    uint64_t since_ms;
} Line;

struct Strangers {
    Line *lines;
    size_t n_lines;
    size_t top;  /* no line above it was ever used */
    size_t next; /* to be looked at */
    bool (*begun)(int fd);
    uint64_t seed;
    atomic_uint n, n_begun;
    atomic_uint of[SLOTS];
    atomic_bool known[SLOTS];
};

int strangers_new(Strangers **strangersp, size_t n_fds, bool (*begun)(int fd)) {
    cleanup(strangers_freep) Strangers *strangers = calloc(1, sizeof(*strangers));
    if (!strangers)
        return error_origin(-ENOMEM);
    randombytes_buf(&strangers->seed, sizeof(strangers->seed));
    strangers->n_lines = n_fds;
    strangers->begun = begun;
    strangers->lines = calloc(n_fds + 1, sizeof(*strangers->lines));
    if (!strangers->lines)
        return error_origin(-ENOMEM);
    *strangersp = strangers;
    strangers = NULL;
    return 0;
}

Strangers *strangers_free(Strangers *strangers) {
    if (!strangers)
        return NULL;
    free(strangers->lines);
    free(strangers);
    return NULL;
}

static unsigned slot_of(const Strangers *strangers, const char *address) {
    return (unsigned)(hash_bytes(address, strlen(address), strangers->seed) % SLOTS);
}

/* what it is from now on; a line that counted does so no longer */
static unsigned become(Strangers *strangers, Line *line, unsigned state) {
    const unsigned before = atomic_exchange(&line->state, state);
    if (before < FIRST_SLOT)
        return before;
    (void)atomic_fetch_sub(&strangers->of[before - FIRST_SLOT], 1);
    (void)atomic_fetch_sub(&strangers->n, 1);
    if (atomic_exchange(&line->begun, false))
        (void)atomic_fetch_sub(&strangers->n_begun, 1);
    return before;
}

/* of an address from which somebody spoke, and that does not make too much of it */
static bool is_trusted(const Strangers *strangers, unsigned slot) {
    return atomic_load(&strangers->known[slot]) &&
           atomic_load(&strangers->of[slot]) <= STRANGERS_KNOWN_MAX;
}

void strangers_came(Strangers *strangers, uint32_t fd, const char *address, uint64_t now_ms) {
    if (fd >= strangers->n_lines)
        return;
    Line *line = &strangers->lines[fd];
    const unsigned slot = slot_of(strangers, address);
    unsigned none = 0;
    line->cut = false;
    line->since_ms = now_ms;
    if (strangers->top <= fd)
        strangers->top = (size_t)fd + 1;
    /* counted before it can be taken off; what it said may have been heard before it was seen */
    (void)atomic_fetch_add(&strangers->of[slot], 1);
    (void)atomic_fetch_add(&strangers->n, 1);
    if (!atomic_compare_exchange_strong(&line->state, &none, slot + FIRST_SLOT)) {
        (void)atomic_fetch_sub(&strangers->of[slot], 1);
        (void)atomic_fetch_sub(&strangers->n, 1);
    }
}

/** note_begun() - true: it has begun since it was looked at last */
static bool note_begun(Strangers *strangers, uint32_t fd) {
    Line *line = &strangers->lines[fd];
    if (atomic_load(&line->begun) || !strangers->begun((int)fd))
        return false;
    (void)atomic_fetch_add(&strangers->n_begun, 1);
    atomic_store(&line->begun, true);
    if (atomic_load(&line->state) >= FIRST_SLOT)
        return true;
    /* it spoke meanwhile, and may not have been taken off */
    if (atomic_exchange(&line->begun, false))
        (void)atomic_fetch_sub(&strangers->n_begun, 1);
    return false;
}

/** must_go() - of a stranger that is looked at */
static bool must_go(Strangers *strangers, uint32_t fd, unsigned slot, uint64_t now_ms) {
    const Line *line = &strangers->lines[fd];
    const bool begins = note_begun(strangers, fd);
    if (!begins && !atomic_load(&line->begun))
        return false;
    const unsigned n = atomic_load(&strangers->n_begun);
    const bool had_time = now_ms - line->since_ms >= STRANGERS_PATIENCE_MS;
    return (had_time ? n > STRANGERS_MAX / 2 : begins && n > STRANGERS_MAX) &&
           !is_trusted(strangers, slot);
}

bool strangers_look(Strangers *strangers, uint64_t now_ms, size_t *np, uint32_t *fdp) {
    if (*np > strangers->top)
        *np = strangers->top;
    for (; *np; --*np) {
        const size_t fd = strangers->next < strangers->top ? strangers->next : 0;
        strangers->next = fd + 1;
        const unsigned state = atomic_load(&strangers->lines[fd].state);
        if (state < FIRST_SLOT || !must_go(strangers, (uint32_t)fd, state - FIRST_SLOT, now_ms))
            continue;
        *fdp = (uint32_t)fd;
        --*np;
        return true;
    }
    return false;
}

void strangers_cut(Strangers *strangers, uint32_t fd) {
    if (fd >= strangers->n_lines)
        return;
    (void)become(strangers, &strangers->lines[fd], 0);
    strangers->lines[fd].cut = true;
}

bool strangers_went(Strangers *strangers, uint32_t fd) {
    if (fd >= strangers->n_lines)
        return false;
    Line *line = &strangers->lines[fd];
    (void)become(strangers, line, 0);
    const bool cut = line->cut;
    line->cut = false;
    return cut;
}

void strangers_spoke(Strangers *strangers, int fd) {
    if (fd < 0 || (size_t)fd >= strangers->n_lines)
        return;
    Line *line = &strangers->lines[fd];
    if (atomic_load(&line->state) == SPOKE)
        return;
    const unsigned before = become(strangers, line, SPOKE);
    if (before >= FIRST_SLOT)
        atomic_store(&strangers->known[before - FIRST_SLOT], true);
}

size_t strangers_count(const Strangers *strangers) {
    return atomic_load(&strangers->n);
}

size_t strangers_of(const Strangers *strangers, const char *address) {
    return atomic_load(&strangers->of[slot_of(strangers, address)]);
}
