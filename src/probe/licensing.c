/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/licensing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "probe/doors.h"
#include "probe/kept_lease.h"
#include "probe/run.h"

enum { TOKEN_MAX = 4096 }; /* a licence is some 500 bytes; a hello has room for 64 KB */

struct Licensing {
    LicensingConfig config;
    Holder *holder;
    KeptLease lease;
    int64_t passed_s; /* monotonic, at the last look */
    char system_id[SYSTEM_ID_CHARS];
    char token[TOKEN_MAX];
    bool unlocked;
    bool cannot_keep; /* the lease; told */
    bool unwritten;   /* what else is to be remembered; told */
    char told[1200];  /* of the licence, last */
};

/* --- what is held ------------------------------------------------------------------------- */

/* a licence in force whose line could not be read yet, is shown as soon as it can be */
static bool lacks_token(const Licensing *licensing) {
    return !licensing->token[0] && holder_view(licensing->holder)->unlocks;
}

/* the line as it stands in the file; gone in this moment: the next look sees that */
static void read_token(Licensing *licensing) {
    const HolderView *view = holder_view(licensing->holder);
    cleanup(buffer_deinit) Buffer text = {0};
    licensing->token[0] = '\0';
    if (!view->unlocks || file_read(&text, view->from, TOKEN_MAX - 1, NULL) != 0)
        return;
    const char *at = buffer_text(&text);
    at += strspn(at, " \t\r\n");
    (void)snprintf(licensing->token, TOKEN_MAX, "%.*s", (int)strcspn(at, " \t\r\n"), at);
}

static bool has_unlocked(const Licensing *licensing) {
    return holder_view(licensing->holder)->unlocks || kept_lease_counts(&licensing->lease);
}

void licensing_describe(const Licensing *licensing, Reason *line) {
    const HolderView *view = holder_view(licensing->holder);
    const unsigned days = holder_days_warned(view->days_left);
    *line = (Reason){""};
    if (view->has)
        reason_set(line, "licence %s of %s (%s): %s", view->licence.id, view->licence.customer,
                   view->from, view->why.text);
    if (view->has && days && view->state == LICENCE_VALID)
        reason_append(line, "; that is within %u day%s", days, days == 1 ? "" : "s");
    if (view->trouble.text[0])
        reason_append(line, "%s%s", line->text[0] ? "; " : "licence ", view->trouble.text);
}

/* once a change of what a person would notice */
static void tell_licence(Licensing *licensing) {
    const HolderView *view = holder_view(licensing->holder);
    const bool warns = !view->unlocks || view->trouble.text[0] || view->state != LICENCE_VALID ||
                       holder_days_warned(view->days_left);
    Reason line;
    licensing_describe(licensing, &line);
    if (strcmp(line.text, licensing->told) == 0)
        return;
    if (!line.text[0])
        log_warning("there is no licence any more");
    else
        log_write(warns ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, "%s", line.text);
    (void)snprintf(licensing->told, sizeof(licensing->told), "%s", line.text);
}

void licensing_line(const Licensing *licensing, Reason *line) {
    const HolderView *view = holder_view(licensing->holder);
    if (view->unlocks)
        reason_set(line, "no limit, by licence %s", view->licence.id);
    else if (kept_lease_counts(&licensing->lease))
        reason_set(line, "no limit, by a hub's lease (licence %s), for %lld hours more without it",
                   licensing->lease.licence, (long long)(licensing->lease.left_s + 3599) / 3600);
    else
        reason_set(line,
                   "neither a licence (--license) nor a hub's lease: a run exports %d records to "
                   "collectors and then no more; hubs, --json and the spool have no limit",
                   DOORS_LIMIT_RECORDS);
}

static void tell_limit(const Licensing *licensing) {
    Reason line;
    if (!licensing->config.exports)
        return;
    licensing_line(licensing, &line);
    log_write(licensing->unlocked ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "-n: %s", line.text);
}

/* --- life --------------------------------------------------------------------------------- */

LicensingTime licensing_now(void) {
    return (LicensingTime){.wall_s = (int64_t)(clock_wall_ms() / 1000),
                           .monotonic_s = (int64_t)(clock_monotonic_ms() / 1000),
                           .synchronised = holder_clock_synchronised()};
}

LicensingConfig licensing_config(const ProbeConfig *config) {
    LicensingConfig licensing = {.path = config->license,
                                 .folder = config->data_dir,
                                 .keys = vendor_keys(),
                                 .exports = doors_wanted(&config->collectors)};
    system_id_look(&licensing.here, "", SYSTEM_ID_CACHE);
    return licensing;
}

int licensing_new(Licensing **licensingp, const LicensingConfig *config, LicensingTime now) {
    cleanup(licensing_freep) Licensing *licensing = calloc(1, sizeof(*licensing));
    const HolderConfig holder = {.path = config->path,
                                 .folder = config->folder,
                                 .probe = true,
                                 .look_only = config->look_only,
                                 .keys = config->keys,
                                 .here = config->here};
    if (!licensing)
        return error_origin(-ENOMEM);
    licensing->config = *config;
    licensing->passed_s = now.monotonic_s;
    (void)system_id_text(&config->here, licensing->system_id);
    int r = token_init();
    if (r == 0)
        r = holder_new(&licensing->holder, &holder, now.wall_s, now.synchronised);
    if (r < 0)
        return error_trace(r);
    kept_lease_load(&licensing->lease, config->folder, holder_view(licensing->holder)->now_s);
    licensing->unlocked = has_unlocked(licensing);
    read_token(licensing);
    if (!config->look_only) {
        tell_licence(licensing);
        tell_limit(licensing);
    }
    *licensingp = licensing;
    licensing = NULL;
    return 0;
}

Licensing *licensing_free(Licensing *licensing) {
    if (!licensing)
        return NULL;
    holder_free(licensing->holder);
    free(licensing);
    return NULL;
}

/* --- each second -------------------------------------------------------------------------- */

static void keep_lease(Licensing *licensing) {
    Reason reason = {""};
    const bool kept = kept_lease_save(&licensing->lease, licensing->config.folder, &reason);
    if (!kept && !licensing->cannot_keep)
        log_warning("the hub's lease is not remembered for the next start: %s", reason.text);
    licensing->cannot_keep = !kept;
}

/* once: the view is right all the same */
static void tell_unwritten(Licensing *licensing, int r) {
    char text[256];
    const Reason *unwritten = &holder_view(licensing->holder)->unwritten;
    if (r && !licensing->unwritten)
        log_warning("what is to be remembered of the licence is not, and a restart would not know "
                    "it: %s",
                    r > 0 ? unwritten->text : error_describe(r, text, sizeof(text)));
    licensing->unwritten = r != 0;
}

bool licensing_second(Licensing *licensing, const LeaseWord *word, LicensingTime now) {
    const bool was = licensing->unlocked;
    bool changed = false;
    const int r = holder_look(licensing->holder, now.wall_s, now.synchronised, &changed);
    tell_unwritten(licensing, r);
    const int64_t now_s = holder_view(licensing->holder)->now_s;
    kept_lease_pass(&licensing->lease, now_s, now.monotonic_s - licensing->passed_s);
    licensing->passed_s = now.monotonic_s;
    if (word)
        kept_lease_hear(&licensing->lease, word, now_s);
    keep_lease(licensing);
    licensing->unlocked = has_unlocked(licensing);
    const bool lacked = lacks_token(licensing);
    if (changed || lacked)
        read_token(licensing);
    if (changed)
        tell_licence(licensing);
    if (licensing->unlocked != was)
        tell_limit(licensing);
    return changed || licensing->unlocked != was || (lacked && licensing->token[0]);
}

bool licensing_unlocked(const Licensing *licensing) {
    return licensing->unlocked;
}

const char *licensing_token(const Licensing *licensing) {
    return licensing->token;
}

const char *licensing_system_id(const Licensing *licensing) {
    return licensing->system_id;
}

const HolderView *licensing_view(const Licensing *licensing) {
    return holder_view(licensing->holder);
}

/* --- on the command line ------------------------------------------------------------------ */

/* nobody can read a file: that is not the same as that there is none */
static void say_none(const LicensingConfig *config, const HolderView *view) {
    if (view->trouble.text[0])
        (void)printf("invalid: %s\n", view->trouble.text);
    else if (access(config->path, F_OK) == 0)
        (void)printf("invalid: %s cannot be read: %s\n", config->path, strerror(EACCES));
    else
        (void)printf("none: there is no licence at %s\n", config->path);
}

int licensing_check(const ProbeConfig *config) {
    cleanup(licensing_freep) Licensing *licensing = NULL;
    LicensingConfig look = licensing_config(config);
    look.look_only = true;
    int r = licensing_new(&licensing, &look, licensing_now());
    if (r < 0) {
        char text[256];
        (void)fprintf(stderr, "weir-probe: %s\n", error_describe(r, text, sizeof(text)));
        return RUN_FAILED;
    }
    const HolderView *view = licensing_view(licensing);
    Reason line;
    licensing_describe(licensing, &line);
    if (view->has)
        (void)printf("%s: %s\n", view->unlocks ? "valid" : "invalid", line.text);
    else
        say_none(&look, view);
    (void)printf("System ID %s\n", licensing->system_id);
    licensing_line(licensing, &line);
    (void)printf("export to collectors (-n): %s\n", line.text);
    return view->unlocks ? RUN_DONE : RUN_FAILED;
}
