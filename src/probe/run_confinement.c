/* SPDX-License-Identifier: Apache-2.0 */

/* What a run gives up when all is open, and before any thread of workers or licences begins. */

#include <limits.h>
#include <unistd.h>

#include "base/log.h"
#include "probe/confine.h"
#include "probe/privileges.h"
#include "probe/run_inside.h"

/* the folders that are used, once they are there */
static int drop(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    const char *const folders[] = {
        run->deliver || run->outside.licensing || config->collector_ports.n ? config->data_dir
                                                                            : NULL,
        run->deliver ? config->spool_dir : NULL,
    };
    const char *there[2] = {NULL, NULL};
    for (size_t i = 0; i < 2; i++)
        there[i] = folders[i] && access(folders[i], F_OK) == 0 ? folders[i] : NULL;
    const Privileges privileges = {.user = config->user,
                                   .keep = config->keep_user,
                                   .net_raw = run->live && !config->collector_ports.n,
                                   .folders = there,
                                   .n_folders = 2};
    const char *user = NULL;
    int r = privileges_user(&privileges, &user, reason);
    if (r == 0)
        r = privileges_drop(&privileges, reason);
    if (r == 0 && user)
        log_info("goes on as user %s%s", user,
                 privileges.net_raw ? ", which may open packet sockets and nothing else" : "");
    return r;
}

static int start_confinement(Run *run, Reason *reason) {
    int r = drop(run, reason);
    if (r == 0 && !run->config->no_seccomp)
        r = confine(reason);
    return r;
}

const RunPart run_confinement = {.start = start_confinement};
