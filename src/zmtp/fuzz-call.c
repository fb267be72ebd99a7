/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What may come to the end that calls: of whoever listens there, or sits in between. A server of
 * ours goes through as much of the handshake as the input says, the last step of it with some of
 * its bytes changed; the rest of the input follows as it is, or sealed as the server does it. The
 * line is up only when each byte was the server's; the same bytes in other pieces come to the same.
 *
 * input: 1 (kind, sealed, how far), 1 pieces, 1 how many changes of 3 (where 2, how 1), then bytes;
 *        sealed: 1 flags, 1 size, bytes, again and again
 */

#include "zmtp/fuzz-line.h"

enum { CHANGES_MAX = 4, STEPS = 4, STEP_WELCOME = 2, STREAM_MAX = 1 << 18 };

typedef struct Callee {
    Fuzzed at;       /* the server, which has no part in what is tested */
    size_t taken;    /* of what the caller has said */
    size_t answered; /* of what the server has */
} Callee;

typedef struct Plan {
    ZmtpKind kind;
    bool sealed;
    unsigned last; /* step of the handshake */
    uint32_t pieces;
    size_t n_changes;
    uint16_t where[CHANGES_MAX];
    uint8_t how[CHANGES_MAX];
    Cursor rest;
} Plan;

static bool read_plan(Plan *plan, const uint8_t *data, size_t size) {
    Cursor c = cursor_make(data, size);
    const uint8_t first = cursor_u8(&c);
    *plan = (Plan){.kind = first & 1 ? ZMTP_XPUB : ZMTP_SUB,
                   .sealed = first & 2,
                   .last = first >> 2 & (STEPS - 1),
                   .pieces = cursor_u8(&c)};
    plan->n_changes = cursor_u8(&c) % (CHANGES_MAX + 1);
    for (size_t i = 0; i < plan->n_changes; i++) {
        plan->where[i] = cursor_u16(&c);
        plan->how[i] = cursor_u8(&c);
    }
    plan->rest = c;
    return !c.failed;
}

static bool admits_all(void *userdata, const uint8_t key[CURVE_KEY_BYTES]) {
    const Callee *callee = userdata;
    must(memcmp(key, callee->at.client.keys[0], CURVE_KEY_BYTES) == 0);
    return true;
}

static void no_up(void *userdata, ZmtpLine *line) {
    (void)userdata;
    (void)line;
}

static void no_message(void *userdata, ZmtpLine *line, const ZmtpMessage *message) {
    (void)userdata;
    (void)line;
    (void)message;
}

static bool any_topic(void *userdata, ZmtpLine *line, const uint8_t *topic, size_t size, bool on) {
    (void)userdata;
    (void)line;
    (void)topic;
    (void)size;
    return on;
}

/** open_both() - the caller's keys are those of the test's client; its call is the caller's own */
static void open_both(Callee *callee, Fuzzed *caller, CurveCall *call, ZmtpKind kind) {
    fuzz_open(&callee->at, kind == ZMTP_SUB ? ZMTP_XPUB : ZMTP_SUB, false);
    callee->at.host.userdata = callee;
    callee->at.host.admits = admits_all;
    callee->at.host.on_up = no_up;
    callee->at.host.on_message = no_message;
    callee->at.host.on_topic = any_topic;
    callee->taken = callee->answered = 0;
    fuzz_open(caller, kind, false);
    zmtp_line_end(&caller->line);
    buffer_clear(&caller->out);
    *call = (CurveCall){0};
    memcpy(call->keys.public, callee->at.client.keys[0], CURVE_KEY_BYTES);
    memcpy(call->keys.secret, callee->at.client.keys[1], CURVE_KEY_BYTES);
    memcpy(call->server, callee->at.keys.public, CURVE_KEY_BYTES);
    caller->host.call = call;
    zmtp_line_begin(&caller->line, &caller->host, 0);
}

/** answer() - what the server has to say to what the caller has said */
static size_t answer(Callee *callee, const Fuzzed *caller, const uint8_t **bytesp) {
    Fuzzed *at = &callee->at;
    fuzz_take(at, caller->out.bytes + callee->taken, caller->out.size - callee->taken, 0);
    must(!at->fault);
    callee->taken = caller->out.size;
    const size_t n = at->out.size - callee->answered;
    *bytesp = at->out.bytes + callee->answered;
    callee->answered = at->out.size;
    return n;
}

/** shake() - in as many steps; true: nothing was changed on the way */
static bool shake(Callee *callee, Fuzzed *caller, const Plan *plan) {
    bool honest = true;
    for (unsigned step = 0; step <= plan->last && !caller->fault; step++) {
        const uint8_t *said = NULL;
        uint8_t bytes[1024];
        const size_t n = answer(callee, caller, &said);
        must(n <= sizeof(bytes));
        if (n)
            memcpy(bytes, said, n);
        for (size_t i = 0; i < plan->n_changes && step == plan->last && n; i++)
            bytes[plan->where[i] % n] ^= plan->how[i];
        if (step >= STEP_WELCOME && n)
            bytes[0] &= (uint8_t)~1u; /* may say that more frames come; nobody minds */
        /* the first frame; a subscription may follow READY, when the line is up already */
        const size_t frame = step >= STEP_WELCOME && n > 1 ? 2 + (size_t)said[1] : n;
        honest = honest && (!n || memcmp(bytes, said, frame < n ? frame : n) == 0);
        fuzz_take(caller, bytes, n, plan->pieces);
    }
    return honest;
}

/** seal() - the rest, as messages and commands of the server */
static size_t seal(Callee *callee, const Plan *plan, uint8_t *to) {
    Cursor c = plan->rest;
    size_t size = 0;
    while (cursor_left(&c) && size < STREAM_MAX - 600) {
        const uint8_t flags = cursor_u8(&c);
        size_t n = cursor_u8(&c);
        n = n < cursor_left(&c) ? n : cursor_left(&c);
        const uint8_t *text = cursor_take(&c, n);
        const size_t body = n + CURVE_BOX_BYTES + 1;
        to[size] = 2;
        memset(to + size + 1, 0, 6);
        to[size + 7] = (uint8_t)(body >> 8);
        to[size + 8] = (uint8_t)body;
        curve_seal(&callee->at.line.curve, flags, text, n, to + size + 9);
        size += 9 + body;
    }
    return size;
}

static void run(Callee *callee, Fuzzed *caller, CurveCall *call, const Plan *plan) {
    static uint8_t stream[STREAM_MAX];
    open_both(callee, caller, call, plan->kind);
    const bool honest = shake(callee, caller, plan);
    /* a byte of WELCOME or READY that is changed shows; of a greeting only some mean anything */
    must(honest || plan->last < STEP_WELCOME || !caller->n_up);
    if (caller->fault)
        return;
    if (plan->sealed && caller->line.state == ZMTP_UP && callee->at.line.state == ZMTP_UP)
        fuzz_take(caller, stream, seal(callee, plan, stream), plan->pieces);
    else
        fuzz_take(caller, plan->rest.at, cursor_left(&plan->rest), plan->pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Callee callee;
    Fuzzed whole, other;
    CurveCall calls[2];
    Plan plan;
    if (size > STREAM_MAX / 64 || !read_plan(&plan, data, size))
        return 0;
    Plan once = plan;
    once.pieces = 0;
    run(&callee, &whole, &calls[0], &once);
    fuzz_close(&callee.at);
    run(&callee, &other, &calls[1], &plan);
    fuzz_close(&callee.at);
    fuzz_same(&whole, &other);
    fuzz_close(&other);
    fuzz_close(&whole);
    return 0;
}
