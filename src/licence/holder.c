/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/holder.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

enum { DAY_S = 86400, WARN_DAYS = 30, MARK_STEP_S = 60, N_PLACES = 2, CLOCK_MAX = 128 };

/*
 * By which a file is seen to be as it was, so that it is not read and verified again at each look.
 * One that was changed just before it was read may change again in the same tick: it is not settled
 * and is read again
 */
typedef struct Stamp {
    bool settled;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
} Stamp;

/* what was read of a file last; `line` are the bytes that were verified */
typedef struct Known {
    Stamp stamp;
    bool verified;
    Licence licence;
    Buffer line;
    Reason trouble; /* "": there is none, or there is no file */
} Known;

/* where a licence may stand; the upload's is the second */
typedef struct Place {
    char path[PATH_MAX];
    char list[PATH_MAX];
    Known known;
    Stamp list_stamp;
    Reason list_trouble; /* "": its list counts, or there is none */
} Place;

struct Holder {
    HolderConfig config;
    Place places[N_PLACES];
    char last_path[PATH_MAX];  /* the line that unlocked last */
    char clock_path[PATH_MAX]; /* two times, and since when the file is gone */
    char list_path[PATH_MAX];
    Known last; /* of last_path */
    Stamp list_stamp;
    Reason list_trouble;
    LicenceClock clock;
    bool synchronised; /* at the last look */
    LicenceClock clock_saved;
    int64_t gone_s; /* no file unlocks since then; 0: one does */
    int64_t gone_saved_s;
    Revocations *revoked;
    Buffer list_line;  /* as it came */
    Reason unwritten;  /* what cannot be written, and why; "": all is */
    bool list_unsaved; /* in force, and not yet in list_path: its going would bring things back */
    HolderView view;
};

/* --- files that stay as they are ------------------------------------------------------------ */

static bool stamp_of(Stamp *stamp, const char *path) {
    enum { SETTLED_S = 2 };
    struct stat st;
    struct timespec now;
    *stamp = (Stamp){0};
    if (stat(path, &st) != 0 || clock_gettime(CLOCK_REALTIME, &now) != 0)
        return false;
    *stamp = (Stamp){.settled = st.st_ctim.tv_sec + SETTLED_S < now.tv_sec,
                     .device = st.st_dev,
                     .inode = st.st_ino,
                     .size = st.st_size,
                     .modified = st.st_mtim,
                     .changed = st.st_ctim};
    return true;
}

static bool same_time(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool unchanged(const Stamp *before, const Stamp *now) {
    return before->settled && before->device == now->device && before->inode == now->inode &&
           before->size == now->size && same_time(&before->modified, &now->modified) &&
           same_time(&before->changed, &now->changed);
}

/* --- the little state --------------------------------------------------------------------- */

static void load_clock(Holder *holder) {
    Reason ignored;
    cleanup(buffer_deinit) Buffer text = {0};
    if (file_read(&text, holder->clock_path, CLOCK_MAX, &ignored) != 0)
        return; /* a first start */
    int64_t *const to[] = {&holder->clock.latest_s, &holder->clock.issued_s, &holder->gone_s};
    char *at = (char *)(uintptr_t)buffer_text(&text);
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        long long v = strtoll(at, &at, 10);
        *to[i] = v > 0 ? v : 0;
    }
    holder->clock_saved = holder->clock;
    holder->gone_saved_s = holder->gone_s;
}

/* what fails is told, and tried again with the next look */
static int keep(Holder *holder, const char *path, const void *bytes, size_t size, mode_t mode,
                bool *keptp) {
    const int r = file_write(path, bytes, size, mode, &holder->unwritten);
    *keptp = r == 0;
    return r < 0 ? error_trace(r) : 0;
}

/* once a minute, or when something other than the time has changed */
static int save_clock(Holder *holder) {
    const LicenceClock *now = &holder->clock;
    const LicenceClock *saved = &holder->clock_saved;
    char text[CLOCK_MAX];
    if (holder->config.look_only)
        return 0;
    if (now->issued_s == saved->issued_s && holder->gone_s == holder->gone_saved_s &&
        now->latest_s >= saved->latest_s && now->latest_s - saved->latest_s < MARK_STEP_S)
        return 0;
    int n = snprintf(text, sizeof(text), "%lld %lld %lld\n", (long long)now->latest_s,
                     (long long)now->issued_s, (long long)holder->gone_s);
    bool kept = false;
    const int r = keep(holder, holder->clock_path, text, (size_t)n, 0600, &kept);
    if (!kept)
        return error_trace(r);
    holder->clock_saved = holder->clock;
    holder->gone_saved_s = holder->gone_s;
    return 0;
}

/* --- revocations -------------------------------------------------------------------------- */

/* what counts of a signed line */
static void trim(const char **textp, size_t *sizep) {
    static const char blank[] = " \t\r\n";
    for (; *sizep && memchr(blank, (*textp)[0], sizeof(blank)); --*sizep)
        ++*textp;
    while (*sizep && memchr(blank, (*textp)[*sizep - 1], sizeof(blank)))
        --*sizep;
}

static bool same_line(const Buffer *a, const char *b, size_t b_size) {
    const char *text = (const char *)a->bytes;
    size_t size = a->size;
    trim(&text, &size);
    trim(&b, &b_size);
    return size == b_size && (!size || memcmp(text, b, size) == 0);
}

/* each list is read anew, for how it stands to the one that is known now */
static void forget_stamps(Holder *holder) {
    holder->list_stamp = (Stamp){0};
    for (size_t i = 0; i < N_PLACES; i++)
        holder->places[i].list_stamp = (Stamp){0};
}

static int take_list(Holder *holder, const char *path, Stamp *stamp, Reason *trouble) {
    Reason why = {""};
    Stamp now;
    cleanup(buffer_deinit) Buffer text = {0};
    cleanup(revocations_freep) Revocations *list = NULL;
    const bool there = stamp_of(&now, path);
    if (there && unchanged(stamp, &now))
        return 0;
    *trouble = (Reason){""};
    *stamp = (Stamp){0};
    if (!there)
        return 0;
    int r = file_read(&text, path, TOKEN_BYTES_MAX, trouble);
    if (r == 0) {
        r = revocations_parse(&list, (const char *)text.bytes, text.size, &holder->config.keys,
                              &why);
        if (r > 0)
            reason_set(trouble, "%.200s: %.200s", path, why.text);
    }
    if (r < 0)
        return error_trace(r);
    if (r == 0 && revocations_newer(list, holder->revoked)) {
        const Buffer before = holder->list_line;
        holder->list_line = text;
        text = before;
        holder->list_unsaved = strcmp(path, holder->list_path) != 0;
        revocations_free(holder->revoked);
        holder->revoked = list;
        list = NULL;
        forget_stamps(holder);
    } else if (r == 0 && stamp != &holder->list_stamp &&
               !same_line(&holder->list_line, (const char *)text.bytes, text.size)) {
        reason_set(trouble,
                   "%.200s: this list of revoked licences, number %llu, is not newer than the one "
                   "known, number %llu, which counts",
                   path, (unsigned long long)revocations_number(list),
                   (unsigned long long)revocations_number(holder->revoked));
    }
    *stamp = now;
    return 0;
}

/* so that its going brings nothing back */
static int save_list(Holder *holder) {
    bool kept = false;
    if (!holder->list_unsaved || holder->config.look_only)
        return 0;
    const int r = keep(holder, holder->list_path, holder->list_line.bytes, holder->list_line.size,
                       0644, &kept);
    holder->list_unsaved = !kept;
    return error_trace(r);
}

static int look_at_lists(Holder *holder) {
    int r = take_list(holder, holder->list_path, &holder->list_stamp, &holder->list_trouble);
    for (size_t i = 0; r == 0 && i < N_PLACES; i++) {
        Place *place = &holder->places[i];
        r = take_list(holder, place->list, &place->list_stamp, &place->list_trouble);
    }
    return r ? error_trace(r) : error_trace(save_list(holder));
}

/* behind what is wrong with the licence */
static void say_lists(const Holder *holder, HolderView *view) {
    const Reason *const all[] = {&holder->list_trouble, &holder->places[0].list_trouble,
                                 &holder->places[1].list_trouble};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i]->text[0])
            reason_append(&view->trouble, "%s%s", view->trouble.text[0] ? "; " : "", all[i]->text);
}

/* --- licences ----------------------------------------------------------------------------- */

typedef struct Found {
    Licence licence;
    LicenceState state;
    const char *from;
    Reason why;
} Found;

static int64_t issued_max_s(const Holder *holder, int64_t now_s) {
    return holder->synchronised ? now_s + DAY_S : 0;
}

LicenceState holder_judge(const Holder *holder, const Licence *licence, bool probe,
                          const SystemId *at, Reason *why) {
    const int64_t now_s = holder->view.now_s;
    const LicencePlace place = {.probe = probe,
                                .now_s = now_s,
                                .issued_max_s = issued_max_s(holder, now_s),
                                .here = at,
                                .revoked = holder->revoked};
    return licence_judge(licence, &place, why);
}

static LicenceState judge(const Holder *holder, const Licence *licence, int64_t now_s,
                          Reason *why) {
    const LicencePlace place = {.probe = holder->config.probe,
                                .now_s = now_s,
                                .issued_max_s = issued_max_s(holder, now_s),
                                .here = &holder->config.here,
                                .revoked = holder->revoked};
    return licence_judge(licence, &place, why);
}

/* one in force before one that is not, then the one that was issued later; issued in one second:
 * that of the later place, the uploaded one, which was said to be taken */
static bool better(const Found *a, const Found *b) {
    if (licence_unlocks(a->state) != licence_unlocks(b->state))
        return licence_unlocks(a->state);
    return a->licence.issued_s >= b->licence.issued_s;
}

/* the file as it is now: nothing is read when it is as before */
static int read_known(const Holder *holder, Known *known, const char *path) {
    Reason why = {""};
    Stamp now;
    const bool there = stamp_of(&now, path);
    if (there && unchanged(&known->stamp, &now))
        return 0;
    known->stamp = (Stamp){0};
    known->verified = false;
    known->trouble = (Reason){""};
    buffer_clear(&known->line);
    if (!there)
        return 0;
    int r = file_read(&known->line, path, TOKEN_BYTES_MAX, &known->trouble);
    if (r == 0) {
        r = licence_parse(&known->licence, (const char *)known->line.bytes, known->line.size,
                          &holder->config.keys, &why);
        if (r > 0)
            reason_set(&known->trouble, "%s: %s", path, why.text);
    }
    if (r < 0)
        return error_trace(r);
    known->stamp = now;
    known->verified = r == 0;
    return 0;
}

static int remember(Holder *holder, const Buffer *line) {
    const Buffer *before = &holder->last.line;
    bool kept = false;
    if (holder->config.look_only)
        return 0;
    const int r = read_known(holder, &holder->last, holder->last_path);
    if (r || (before->size == line->size && memcmp(before->bytes, line->bytes, line->size) == 0))
        return error_trace(r);
    return error_trace(keep(holder, holder->last_path, line->bytes, line->size, 0600, &kept));
}

/* the one in force last, for a day; beside a file that is another's only as long as it unlocks */
static int find_last(Holder *holder, int64_t now_s, const Found *wrong, Found *last,
                     HolderView *view) {
    if (!holder->gone_s || holder->gone_s > now_s) /* the clock was ahead when the file went */
        holder->gone_s = now_s;
    const int r = read_known(holder, &holder->last, holder->last_path);
    view->until_s = holder->gone_s + HOLDER_KEPT_S;
    view->kept = !r && holder->last.verified && now_s < view->until_s;
    if (view->kept) {
        *last = (Found){.licence = holder->last.licence, .from = holder->last_path};
        last->state = judge(holder, &last->licence, now_s, &last->why);
    }
    if (wrong && view->kept && !licence_unlocks(last->state))
        view->kept = false;
    if (wrong && view->kept) {
        const Reason damaged = view->trouble;
        reason_set(&view->trouble, "%.100s: licence %s is not in force: %.150s%s%.80s", wrong->from,
                   wrong->licence.id, wrong->why.text, damaged.text[0] ? "; " : "", damaged.text);
    }
    return error_trace(r);
}

typedef struct Now {
    int64_t wall_s;
    bool synchronised;
} Now;

/* the clock with what the licence says of the time, unless a clock that is right knows better */
static LicenceClock clock_with(const Holder *holder, const Licence *licence, const Now *now) {
    LicenceClock clock = holder->clock;
    if (!now->synchronised || licence->issued_s <= now->wall_s + DAY_S)
        licence_clock_see(&clock, licence);
    return clock;
}

/* one newer than any before may say that the clock was wrong, if it is in force by what it says */
static void see(Holder *holder, const Licence *licence, const Now *now) {
    Reason ignored;
    LicenceClock clock = clock_with(holder, licence, now);
    const int64_t now_s = licence_clock_now(&clock, now->wall_s, now->synchronised);
    if (licence_unlocks(judge(holder, licence, now_s, &ignored)))
        holder->clock = clock;
}

/* the best of the places; an error with view->has: only that it could not be remembered */
static int find(Holder *holder, const Now *now, HolderView *view) {
    Found best = {0};
    Found last = {0};
    const Known *any = NULL;
    for (size_t i = 0; i < N_PLACES; i++) {
        Known *known = &holder->places[i].known;
        const int r = read_known(holder, known, holder->places[i].path);
        if (r)
            return error_trace(r);
        if (known->trouble.text[0])
            view->trouble = known->trouble;
        if (known->verified)
            see(holder, &known->licence, now);
    }
    const int64_t now_s = licence_clock_now(&holder->clock, now->wall_s, now->synchronised);
    view->now_s = now_s;
    for (size_t i = 0; i < N_PLACES; i++) {
        const Known *known = &holder->places[i].known;
        Found found = {.licence = known->licence, .from = holder->places[i].path};
        if (!known->verified)
            continue;
        found.state = judge(holder, &found.licence, now_s, &found.why);
        if (!any || better(&found, &best)) {
            best = found;
            any = known;
        }
    }
    if (any && licence_unlocks(best.state))
        holder->gone_s = 0;
    int r = any && licence_unlocks(best.state) ? remember(holder, &any->line) : 0;
    if (!any || !licence_unlocks(best.state))
        r = find_last(holder, now_s, any ? &best : NULL, &last, view);
    if (view->kept)
        best = last;
    view->has = any || view->kept;
    if (!view->has)
        return error_trace(r);
    view->licence = best.licence;
    view->state = best.state;
    view->why = best.why;
    view->unlocks = licence_unlocks(best.state);
    (void)snprintf(view->from, sizeof(view->from), "%s", best.from); /* as large as a path */
    return error_trace(r);
}

static void say_kept(HolderView *view, const char *path) {
    char until[24];
    if (!view->kept)
        return;
    Reason damaged = view->trouble;
    reason_set(&view->trouble, "%.400s%s; the one in force last stays in force until %s",
               damaged.text[0] ? damaged.text : path, damaged.text[0] ? "" : " is gone",
               licence_date(until, view->until_s));
}

static unsigned days_left(const HolderView *view) {
    int64_t left_s = view->licence.expiry_s - view->now_s;
    if (!view->has || !view->licence.expiry_s || left_s <= 0 || left_s > WARN_DAYS * DAY_S)
        return 0;
    return (unsigned)((left_s + DAY_S - 1) / DAY_S);
}

unsigned holder_days_warned(unsigned days) {
    static const unsigned steps[] = {1, 7, 14, 30};
    for (size_t i = 0; days && i < sizeof(steps) / sizeof(steps[0]); i++)
        if (days <= steps[i])
            return steps[i];
    return 0;
}

static bool same_licence(const Licence *a, const Licence *b) {
    return strcmp(a->id, b->id) == 0 && strcmp(a->kid, b->kid) == 0 && a->kind == b->kind &&
           strcmp(a->customer, b->customer) == 0 && a->max_probes == b->max_probes &&
           a->issued_s == b->issued_s && a->not_before_s == b->not_before_s &&
           a->expiry_s == b->expiry_s && a->grace_days == b->grace_days && a->bound == b->bound &&
           memcmp(a->system.hashes, b->system.hashes, sizeof(a->system.hashes)) == 0;
}

/* what a person would notice: not the passing of time */
static bool same_view(const HolderView *a, const HolderView *b) {
    return a->has == b->has && a->unlocks == b->unlocks && a->kept == b->kept &&
           a->state == b->state && a->revoked == b->revoked && a->days_left == b->days_left &&
           same_licence(&a->licence, &b->licence) &&
           strcmp(a->trouble.text, b->trouble.text) == 0 && strcmp(a->from, b->from) == 0;
}

int holder_look(Holder *holder, int64_t wall_s, bool synchronised, bool *changedp) {
    HolderView view = {0};
    holder->unwritten = (Reason){""};
    holder->synchronised = synchronised;
    int r = look_at_lists(holder);
    if (r)
        return error_trace(r);
    r = find(holder, &(Now){wall_s, synchronised}, &view);
    if (r && !view.has)
        return error_trace(r);
    say_kept(&view, holder->config.path);
    say_lists(holder, &view);
    view.days_left = days_left(&view);
    view.revoked = holder->revoked ? revocations_number(holder->revoked) : 0;
    *changedp = !same_view(&view, &holder->view);
    holder->view = view;
    const int saved = save_clock(holder);
    holder->view.unwritten = holder->unwritten;
    if (r || saved)
        return r ? error_trace(r) : error_trace(saved);
    return holder->unwritten.text[0] ? HOLDER_E_UNWRITTEN : 0;
}

const HolderView *holder_view(const Holder *holder) {
    return &holder->view;
}

/* --- installing --------------------------------------------------------------------------- */

static int install_licence(Holder *holder, const Licence *licence, const char *text, size_t size,
                           int64_t wall_s, bool synchronised, Reason *reason) {
    LicenceClock clock = clock_with(holder, licence, &(Now){wall_s, synchronised});
    holder->synchronised = synchronised;
    int64_t now_s = licence_clock_now(&clock, wall_s, synchronised);
    if (!licence_unlocks(judge(holder, licence, now_s, reason)))
        return HOLDER_E_REFUSED;
    if (holder->view.has && !holder->view.kept && holder->view.unlocks &&
        licence->issued_s < holder->view.licence.issued_s) {
        reason_set(reason,
                   "licence %s was issued before the present one (%s), which stays; to go back to "
                   "it, remove %s first",
                   licence->id, holder->view.licence.id, holder->view.from);
        return HOLDER_E_REFUSED;
    }
    int r = file_write(holder->places[1].path, text, size, 0600, reason);
    return r == FILE_E_REFUSED ? HOLDER_E_REFUSED : error_trace(r);
}

static int install_list(Holder *holder, const Revocations *list, const char *text, size_t size,
                        Reason *reason) {
    const uint64_t number = revocations_number(list);
    const uint64_t held = holder->revoked ? revocations_number(holder->revoked) : 0;
    const bool same = holder->revoked && same_line(&holder->list_line, text, size);
    const bool other = number == held;
    if (!same && number > held && !revocations_newer(list, holder->revoked)) {
        reason_set(reason, "this list of revoked licences was signed before the one that is here, "
                           "which another key signed");
        return HOLDER_E_REFUSED;
    }
    if (!same && !revocations_newer(list, holder->revoked)) {
        reason_set(reason,
                   "this list of revoked licences has the number %llu, and %s %llu is here "
                   "already",
                   (unsigned long long)number, other ? "another with the number" : "number",
                   (unsigned long long)held);
        return HOLDER_E_REFUSED;
    }
    int r = file_write(holder->list_path, text, size, 0644, reason);
    return r == FILE_E_REFUSED ? HOLDER_E_REFUSED : error_trace(r);
}

int holder_install(Holder *holder, const char *text, size_t size, int64_t wall_s, bool synchronised,
                   Reason *reason) {
    Licence licence;
    bool changed = false;
    cleanup(revocations_freep) Revocations *list = NULL;
    int r = licence_parse(&licence, text, size, &holder->config.keys, reason);
    if (r == LICENCE_E_FOREIGN)
        r = revocations_parse(&list, text, size, &holder->config.keys, reason);
    if (r)
        return r > 0 ? HOLDER_E_REFUSED : error_trace(r);
    r = list ? install_list(holder, list, text, size, reason)
             : install_licence(holder, &licence, text, size, wall_s, synchronised, reason);
    if (r)
        return error_trace(r);
    r = holder_look(holder, wall_s, synchronised, &changed);
    return r == HOLDER_E_UNWRITTEN ? 0 : error_trace(r); /* in force all the same */
}

/* --- life --------------------------------------------------------------------------------- */

static void list_beside(char list[PATH_MAX], const char *path) {
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof(copy), "%s", path);
    (void)snprintf(list, PATH_MAX, "%.4000s/revoked.list", dirname(copy));
}

int holder_new(Holder **holderp, const HolderConfig *config, int64_t wall_s, bool synchronised) {
    bool changed = false;
    cleanup(holder_freep) Holder *holder = calloc(1, sizeof(*holder));
    if (!holder)
        return error_origin(-ENOMEM);
    holder->config = *config;
    (void)snprintf(holder->places[0].path, PATH_MAX, "%s", config->path);
    (void)snprintf(holder->places[1].path, PATH_MAX, "%s/licence", config->folder);
    (void)snprintf(holder->last_path, PATH_MAX, "%s/licence.verified", config->folder);
    (void)snprintf(holder->clock_path, PATH_MAX, "%s/licence.clock", config->folder);
    (void)snprintf(holder->list_path, PATH_MAX, "%s/licence.revoked", config->folder);
    for (size_t i = 0; i < N_PLACES; i++)
        list_beside(holder->places[i].list, holder->places[i].path);
    load_clock(holder);
    int r = holder_look(holder, wall_s, synchronised, &changed);
    if (r && r != HOLDER_E_UNWRITTEN)
        return error_trace(r);
    *holderp = holder;
    holder = NULL;
    return 0;
}

Holder *holder_free(Holder *holder) {
    if (!holder)
        return NULL;
    revocations_free(holder->revoked);
    buffer_deinit(&holder->list_line);
    buffer_deinit(&holder->last.line);
    for (size_t i = 0; i < N_PLACES; i++)
        buffer_deinit(&holder->places[i].known.line);
    free(holder);
    return NULL;
}

bool holder_clock_synchronised(void) {
    struct timex answer = {0};
    int state = adjtimex(&answer);
    return state >= 0 && state != TIME_ERROR && !(answer.status & STA_UNSYNC);
}
