/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who has a seat. While there are as many seats as probes each is given its own as it comes; else
 * all are given anew, by the rule.
 */

#include <stdlib.h>
#include <string.h>

#include "hub/licensing-inside.h"
#include "licence/seats.h"

enum { LINES_MAX = 20 }; /* of the log, each time */

/** Place - one admitted probe, while seats are given */
typedef struct Place {
    PeerKey key;
    SeatProbe seat;
    uint32_t number;
    char own_id[sizeof(((Licence *)0)->id)]; /* of a licence of its own that holds */
} Place;

typedef struct Giving {
    Licensing *licensing;
    const LicensingTime *now;
    Place *places;
    size_t n, capacity;
    size_t n_lines;
} Giving;

/* ------------------------------------------------------------------------------ what is known */

static bool own_holds(const Licensing *licensing, const ProbeSeat *seat) {
    Reason ignored;
    return seat->shows &&
           licence_unlocks(holder_judge(licensing->holder, &seat->own, true, &seat->at, &ignored));
}

/** note_presence() - since when it is gone is counted from here on */
static void note_presence(Probe *probe, const LicensingTime *now) {
    ProbeSeat *seat = &probe->seat;
    if (probe->connected)
        seat->gone_ms = 0;
    else if (seat->there)
        seat->gone_ms = now->mono_ms;
    seat->there = probe->connected;
}

/** note_place() - ProbesChange */
static void note_place(void *context, Probe *probe) {
    Giving *giving = context;
    if (probe->enrolment.admission != HUB_ADMITTED) {
        /* of one that is restored soon a seat is kept, as of any that was gone so long */
        const bool revoked = probe->enrolment.admission == HUB_REVOKED;
        const uint64_t gone_ms = probe->seat.there ? giving->now->mono_ms : probe->seat.gone_ms;
        probe->seat.state = PROBE_SEAT_NONE;
        probe->seat.told = HUB_UNKNOWN;
        probe->seat.there = false;
        probe->seat.since_ms = 0;
        probe->seat.gone_ms = revoked ? gone_ms : 0;
        return;
    }
    note_presence(probe, giving->now);
    if (giving->n == giving->capacity)
        return; /* came meanwhile, or no memory: the next time */
    Place *place = &giving->places[giving->n++];
    *place = (Place){.key = probe->key, .number = probe->number};
    place->seat = (SeatProbe){.enrolled = probe->enrolment.enrolled_ms,
                              .pinned = probe->seat.pinned,
                              .exempt = own_holds(giving->licensing, &probe->seat),
                              .connected = probe->connected,
                              .gone_ms = probe->seat.gone_ms};
    if (place->seat.exempt)
        memcpy(place->own_id, probe->seat.own.id, sizeof(place->own_id));
}

/* the order in which they were admitted, always the same; licences of their own together */
static int by_enrolment(const void *a, const void *b) {
    const Place *x = a;
    const Place *y = b;
    const int own = strcmp(x->own_id, y->own_id);
    if (own)
        return own;
    if (x->seat.enrolled != y->seat.enrolled)
        return x->seat.enrolled < y->seat.enrolled ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->key.z85, y->key.z85);
}

/** one_each() - a probe's licence is for one probe: of those that show the same, the first there */
static void one_each(Giving *giving) {
    const char *taken = "";
    for (size_t i = 0; i < giving->n; i++) {
        Place *place = &giving->places[i];
        if (!*place->own_id || !place->seat.connected)
            continue;
        if (strcmp(place->own_id, taken) == 0)
            place->seat.exempt = false;
        taken = place->own_id;
    }
}

/* ------------------------------------------------------------------------------- what is told */

static void write_reason(const LicensingView *view, uint32_t ahead, char reason[HUB_REASON_BYTES]) {
    static const char *const whose[] = {
        [LICENSING_EVALUATION] = "seats of this hub's evaluation",
        [LICENSING_CLOUD] = "seats of the licence",
        [LICENSING_HUB] = "seats that come with the hub's licence",
    };
    char before[48] = "it is the next";
    if (ahead)
        (void)snprintf(before, sizeof(before), "%u before it", ahead);
    if (view->limit == 1)
        (void)snprintf(reason, HUB_REASON_BYTES,
                       "the only seat of the licence is taken by an earlier or pinned probe (%s)",
                       before);
    else
        (void)snprintf(reason, HUB_REASON_BYTES,
                       "all %u %s are taken by earlier or pinned probes (%s)", view->limit,
                       whose[view->mode], before);
}

static void say(Giving *giving, const Probe *probe, ProbeSeatState before) {
    const ProbeSeat *seat = &probe->seat;
    const bool news = seat->state == PROBE_SEAT_WAITING || before == PROBE_SEAT_WAITING ||
                      seat->state == PROBE_SEAT_OWN ||
                      (before == PROBE_SEAT_HELD && !probe->connected);
    if (!news || giving->n_lines++ > LINES_MAX)
        return;
    const char *name = probes_name(probe);
    Licensing *licensing = giving->licensing;
    if (giving->n_lines > LINES_MAX)
        licensing_news(licensing, LOG_LEVEL_NOTICE, "and more probes, see the page Licence");
    else if (seat->state == PROBE_SEAT_WAITING)
        licensing_news(licensing, LOG_LEVEL_WARNING, "probe %s waits: %s; key %s", name,
                       seat->reason, probe->key.z85);
    else if (seat->state == PROBE_SEAT_OWN)
        licensing_news(licensing, LOG_LEVEL_NOTICE,
                       "probe %s has a licence of its own, %s, and takes no seat", name,
                       seat->own.id);
    else if (seat->state == PROBE_SEAT_HELD)
        licensing_news(licensing, LOG_LEVEL_NOTICE, "probe %s has a seat now", name);
    else if (before == PROBE_SEAT_HELD)
        licensing_news(licensing, LOG_LEVEL_NOTICE,
                       "probe %s has been gone for 10 minutes, its seat is free", name);
}

/** set_seat() - of a probe, locked; what is to be told, HUB_UNKNOWN when it is not yet decided */
static HubAdmission set_seat(Giving *giving, Probe *probe, ProbeSeatState state, uint32_t ahead,
                             bool enough) {
    ProbeSeat *seat = &probe->seat;
    const ProbeSeatState before = seat->state;
    seat->ahead = state == PROBE_SEAT_WAITING ? ahead : 0;
    if (state == PROBE_SEAT_WAITING)
        write_reason(&giving->licensing->view, ahead, seat->reason);
    else
        seat->reason[0] = '\0';
    seat->state = state;
    if (before == PROBE_SEAT_WAITING && state != before)
        probe->pulse_ms = 0; /* who waits is not asked for reports: none is late */
    if (state != before) {
        seat->since_ms = state == PROBE_SEAT_NONE ? 0 : giving->now->wall_ms;
        probe->enrolment.dirty = true;
        say(giving, probe, before);
    }
    if (state == PROBE_SEAT_WAITING)
        return HUB_PENDING;
    return state == PROBE_SEAT_NONE && !enough ? HUB_UNKNOWN : HUB_ADMITTED;
}

static ProbeSeatState state_of(const SeatProbe *seat) {
    if (seat->seated)
        return PROBE_SEAT_HELD;
    if (!seat->connected)
        return PROBE_SEAT_NONE;
    return seat->exempt ? PROBE_SEAT_OWN : PROBE_SEAT_WAITING;
}

/** give_to() - one probe: what it has from now on, and the link is told if that is new to it */
static void give_to(Giving *giving, const PeerKey *key, ProbeSeatState state, uint32_t ahead,
                    bool enough) {
    Licensing *licensing = giving->licensing;
    char before[HUB_REASON_BYTES];
    char reason[HUB_REASON_BYTES];
    Probe *probe = probes_lock(licensing->config.probes, key);
    if (!probe)
        return;
    if (probe->enrolment.admission != HUB_ADMITTED) { /* not any more, and the link was told */
        probes_unlock(licensing->config.probes);
        return;
    }
    ProbeSeat *seat = &probe->seat;
    const ProbeSeatState was = seat->state;
    memcpy(before, seat->reason, sizeof(before));
    const HubAdmission verdict = set_seat(giving, probe, state, ahead, enough);
    const bool news = verdict != seat->told || strcmp(before, seat->reason) != 0;
    seat->told = verdict;
    memcpy(reason, seat->reason, sizeof(reason));
    probes_unlock(licensing->config.probes);
    if (was != state)
        probes_touch(licensing->config.probes);
    if (news)
        licensing->config.tell(licensing->config.userdata, key, verdict, reason);
}

/* ------------------------------------------------------------------------------------- giving */

static void count(void *context, const Probe *probe) {
    *(size_t *)context += probe->enrolment.admission == HUB_ADMITTED;
}

static void count_used(LicensingView *view, const SeatProbe *seats, size_t n) {
    view->used = view->waiting = 0;
    for (size_t i = 0; i < n; i++) {
        view->used += seats[i].seated;
        view->waiting += state_of(&seats[i]) == PROBE_SEAT_WAITING;
    }
}

/** give_all() - by the rule; `seats` are room for as many as there are places */
static void give_all(Giving *giving, SeatProbe *seats) {
    Licensing *licensing = giving->licensing;
    const bool enough = giving->n <= licensing->view.limit;
    qsort(giving->places, giving->n, sizeof(*giving->places), by_enrolment);
    one_each(giving);
    for (size_t i = 0; i < giving->n; i++) {
        seats[i] = giving->places[i].seat;
        seats[i].number = (uint32_t)i;
    }
    (void)seats_assign(seats, giving->n, licensing->view.limit, giving->now->mono_ms);
    count_used(&licensing->view, seats, giving->n);
    for (int round = 0; round < 2; round++) /* who goes before who comes */
        for (size_t i = 0; i < giving->n; i++)
            if (seats[i].seated == (round == 1))
                give_to(giving, &giving->places[seats[i].number].key, state_of(&seats[i]),
                        seats[i].ahead, enough);
}

void licensing_give(Licensing *licensing, const LicensingTime *now) {
    size_t n = 0;
    probes_walk(licensing->config.probes, count, &n);
    Giving giving = {.licensing = licensing, .now = now, .capacity = n};
    giving.places = calloc(n + 1, sizeof(*giving.places));
    SeatProbe *seats = calloc(n + 1, sizeof(*seats));
    licensing->n_candidates = 0;
    licensing->given_ms = now->mono_ms;
    licensing->all = !giving.places || !seats; /* for want of memory, again soon */
    if (!licensing->all) {
        probes_change(licensing->config.probes, note_place, &giving);
        licensing->n_enrolled = giving.n;
        give_all(&giving, seats);
    }
    free(giving.places);
    free(seats);
}

bool licensing_give_new(Licensing *licensing, const LicensingTime *now) {
    Giving giving = {.licensing = licensing, .now = now};
    const size_t n = licensing->n_candidates;
    if (licensing->n_enrolled + n > licensing->view.limit)
        return false;
    licensing->n_candidates = 0;
    licensing->n_enrolled += n; /* who was counted before is counted twice, until all are again */
    for (size_t i = 0; i < n; i++) {
        const PeerKey *key = &licensing->candidates[i];
        Probe *probe = probes_lock(licensing->config.probes, key);
        if (!probe)
            continue;
        const bool admitted = probe->enrolment.admission == HUB_ADMITTED;
        const bool own = admitted && own_holds(licensing, &probe->seat);
        note_presence(probe, now);
        const bool there = probe->connected;
        probes_unlock(licensing->config.probes);
        if (own)
            licensing->all = true; /* is it the only one that shows it? */
        else if (admitted && there)
            give_to(&giving, key, PROBE_SEAT_HELD, 0, true);
    }
    return true;
}
