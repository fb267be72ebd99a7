/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/remote.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

struct Remote {
    RemoteConfig config;
    char path[PATH_MAX];
    Configuration wanted;  /* by the hub, as it came: the one in force, or that being settled */
    Configuration settled; /* the one in force, as it came */
    ConfigurationReport report;

    pthread_mutex_t lock; /* of what follows */
    char *offered;
    atomic_bool waiting;
};

/* ------------------------------------------------------------------------------------- on disk */

static void load(Remote *remote) {
    Buffer text = {0};
    Reason reason = {""};
    if (access(remote->path, F_OK) != 0)
        return;
    int r = file_read(&text, remote->path, CONFIGURATION_TEXT_MAX, &reason);
    if (r == 0)
        r = configuration_read(&remote->settled, buffer_text(&text), text.size, &reason);
    if (r) {
        log_warning("what the hub had set is not used: %s: %s", remote->path, reason.text);
        remote->settled = (Configuration){0};
    }
    buffer_deinit(&text);
}

/* it is in force either way; the hub says it again after a restart */
static void keep(const Remote *remote) {
    const Configuration *settled = &remote->settled;
    Buffer text = {0};
    Reason reason = {""};
    int r = 0;
    if (!settled->version && !settled->set) {
        if (unlink(remote->path) < 0 && errno != ENOENT)
            reason_set(&reason, "%s: %s", remote->path, strerror(errno));
    } else {
        Json json = json_make(&text);
        configuration_write(&json, NULL, settled);
        r = file_write(remote->path, text.bytes, text.size, 0600, &reason);
    }
    if (r || *reason.text)
        log_warning("the configuration of the hub is in force, and not kept for the next start: %s",
                    reason.text);
    buffer_deinit(&text);
}

/* -------------------------------------------------------------------------------------- settle */

static void merge(const Remote *remote, const Configuration *hub, Configuration *to) {
    *to = remote->config.given;
    configuration_over(to, hub);
    to->version = hub->version;
    to->id = hub->id;
}

static void report_settled(Remote *remote) {
    ConfigurationReport *report = &remote->report;
    merge(remote, &remote->settled, &report->running);
    report->version = remote->settled.version;
    report->id = remote->settled.id;
    report->state = remote->settled.version ? CONFIGURATION_APPLIED : CONFIGURATION_NONE;
    *report->reason = 0;
}

static void report_refused(Remote *remote, const Configuration *what, const char *why) {
    ConfigurationReport *report = &remote->report;
    report->version = what->version;
    report->id = what->id;
    report->state = CONFIGURATION_REFUSED;
    (void)snprintf(report->reason, sizeof(report->reason), "%s", why);
    log_warning("configuration %llu of the hub is refused, what was before goes on: %s",
                (unsigned long long)what->version, why);
}

int remote_new(Remote **remotep, const RemoteConfig *config) {
    cleanup(remote_freep) Remote *remote = calloc(1, sizeof(*remote));
    if (!remote)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&remote->lock, NULL);
    remote->config = *config;
    int n = snprintf(remote->path, sizeof(remote->path), "%s/" REMOTE_FILE, config->folder);
    if (n < 0 || (size_t)n >= sizeof(remote->path))
        return error_origin(-ENAMETOOLONG);
    if (!config->refuse)
        load(remote);
    remote->report.given = config->given;
    report_settled(remote);
    *remotep = remote;
    remote = NULL;
    return 0;
}

Remote *remote_free(Remote *remote) {
    if (!remote)
        return NULL;
    free(remote->offered);
    (void)pthread_mutex_destroy(&remote->lock);
    free(remote);
    return NULL;
}

const Configuration *remote_running(const Remote *remote) {
    return &remote->report.running;
}

const ConfigurationReport *remote_report(const Remote *remote) {
    return &remote->report;
}

bool remote_fall_back(Remote *remote, const char *why) {
    if (configuration_same(&remote->report.running, &remote->config.given))
        return false;
    const Configuration what = remote->settled;
    remote->settled = (Configuration){0};
    report_settled(remote);
    report_refused(remote, &what, why);
    return true;
}

void remote_offer(Remote *remote, const char *json) {
    (void)pthread_mutex_lock(&remote->lock);
    free(remote->offered);
    remote->offered = strdup(json); /* else it comes again */
    atomic_store(&remote->waiting, remote->offered != NULL);
    (void)pthread_mutex_unlock(&remote->lock);
}

static char *take_offer(Remote *remote) {
    (void)pthread_mutex_lock(&remote->lock);
    char *offered = remote->offered;
    remote->offered = NULL;
    atomic_store(&remote->waiting, false);
    (void)pthread_mutex_unlock(&remote->lock);
    return offered;
}

bool remote_next(Remote *remote, Configuration *to) {
    Reason reason = {""};
    if (!atomic_load(&remote->waiting))
        return false;
    char *text = take_offer(remote);
    if (!text)
        return false;
    const int r = configuration_read(&remote->wanted, text, strlen(text), &reason);
    free(text);
    const Configuration *wanted = &remote->wanted;
    if (wanted->id == remote->report.id && wanted->version == remote->report.version)
        return false; /* it has its answer */
    if (r || remote->config.refuse) {
        report_refused(remote, wanted,
                       r ? reason.text : "the probe was started with --no-remote-config");
        return false;
    }
    merge(remote, wanted, to);
    return true;
}

void remote_settle(Remote *remote, const char *refused) {
    if (refused) {
        report_refused(remote, &remote->wanted, refused);
        return;
    }
    const Configuration before = remote->report.running;
    Reason changes = {""};
    remote->settled = remote->wanted;
    report_settled(remote);
    keep(remote);
    configuration_differences(&changes, &remote->report.running, &before);
    if (remote->settled.version)
        log_notice("configuration %llu of the hub: %s", (unsigned long long)remote->settled.version,
                   changes.text);
    else
        log_notice("the hub sets nothing any more: %s", changes.text);
}
