/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a peer may say that has not shown who it is. It goes through as much of the handshake as the
 * input says, the last step of it with some of its bytes changed, and then says what the input has
 * left. Nobody is let in but who said each byte of the handshake right; the same bytes in other
 * pieces come to the same.
 *
 * input: 1 (kind, refused, how far), 1 pieces, 1 how many changes of 3 (where 2, how 1), bytes
 */

#include "zmtp/fuzz-line.h"

enum { CHANGES_MAX = 8, HELLO_PADDING = 10, HELLO_PADDING_END = 82 };

typedef enum Step { NOTHING, GREETING, HELLO, INITIATE } Step;

typedef struct Plan {
    ZmtpKind kind;
    bool refuses;
    Step last;
    uint8_t pieces;
    size_t n_changes;
    uint16_t where[CHANGES_MAX];
    uint8_t how[CHANGES_MAX];
    const uint8_t *rest;
    size_t n_rest;
} Plan;

static bool read_plan(Plan *plan, const uint8_t *data, size_t size) {
    Cursor c = cursor_make(data, size);
    const uint8_t first = cursor_u8(&c);
    *plan = (Plan){.kind = first & 1 ? ZMTP_XPUB : ZMTP_SUB,
                   .refuses = first & 2,
                   .last = (Step)(first >> 2 & 3),
                   .pieces = cursor_u8(&c)};
    plan->n_changes = cursor_u8(&c) % (CHANGES_MAX + 1);
    for (size_t i = 0; i < plan->n_changes; i++) {
        plan->where[i] = cursor_u16(&c);
        plan->how[i] = cursor_u8(&c);
    }
    plan->n_rest = cursor_left(&c);
    plan->rest = cursor_take(&c, plan->n_rest);
    return !c.failed;
}

/** write_step() - as it is to be said; how many bytes, 0: it was not told what it needs for it */
static size_t write_step(Fuzzed *fuzzed, Step step, uint8_t to[512]) {
    const size_t at = ZMTP_GREETING_BYTES;
    switch (step) {
    case GREETING:
        client_greeting(to, "CURVE");
        return ZMTP_GREETING_BYTES;
    case HELLO:
        client_hello(&fuzzed->client, to);
        return 2 + CURVE_HELLO_BYTES;
    case INITIATE:
        must(fuzzed->out.size == at + 2 + CURVE_WELCOME_BYTES);
        return client_initiate(&fuzzed->client, fuzzed->out.bytes + at,
                               fuzzed->host.kind == ZMTP_SUB ? "PUB" : "SUB", to);
    case NOTHING:
        break;
    }
    return 0;
}

/** change() - true: not what was meant. A first byte may say that more frames come; nobody minds */
static bool change(const Plan *plan, Step step, uint8_t *bytes, size_t size) {
    uint8_t before[512];
    memcpy(before, bytes, size);
    for (size_t i = 0; i < plan->n_changes; i++)
        bytes[plan->where[i] % size] ^= plan->how[i];
    if (step != GREETING)
        before[0] = bytes[0] == (before[0] | 1) ? bytes[0] : before[0];
    if (step == HELLO)
        memcpy(before + HELLO_PADDING, bytes + HELLO_PADDING, HELLO_PADDING_END - HELLO_PADDING);
    return memcmp(before, bytes, size) != 0;
}

static void run(Fuzzed *fuzzed, const Plan *plan, uint32_t pieces) {
    uint8_t bytes[512];
    bool changed = false;
    fuzz_open(fuzzed, plan->kind, plan->refuses);
    for (Step step = GREETING; step <= plan->last; step++) {
        const size_t n = write_step(fuzzed, step, bytes);
        must(n > 0);
        if (step == plan->last)
            changed = change(plan, step, bytes, n);
        fuzz_take(fuzzed, bytes, n, pieces);
    }
    const bool good = plan->last == INITIATE && !changed && !plan->refuses;
    must(fuzzed->n_up == good);
    if (plan->last == HELLO && !changed)
        must(!fuzzed->fault && fuzzed->line.state == ZMTP_INITIATE);
    if (plan->last == HELLO && changed)
        must(fuzzed->line.state == ZMTP_HELLO);
    fuzz_take(fuzzed, plan->rest, plan->n_rest, pieces);
    must(fuzzed->n_up == good); /* nor by anything that it says then */
    must(!fuzzed->told.size && !fuzzed->line.n_topics);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Plan plan;
    Fuzzed whole, other;
    if (!read_plan(&plan, data, size))
        return 0;
    run(&whole, &plan, 0);
    run(&other, &plan, 2 + (uint32_t)plan.pieces);
    fuzz_same(&whole, &other);
    fuzz_close(&other);
    if (plan.n_rest < 2000) {
        run(&other, &plan, 1);
        fuzz_same(&whole, &other);
        fuzz_close(&other);
    }
    fuzz_close(&whole);
    return 0;
}
