/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/capture.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "probe/collect_policy.h"

static void list_interfaces(Reason *reason) {
    struct if_nameindex *all = if_nameindex();
    for (size_t i = 0; all && all[i].if_index; i++)
        reason_append(reason, "%s%s", i ? ", " : "; the interfaces here are: ", all[i].if_name);
    if_freenameindex(all);
}

/* the input says itself what it is; a file named like an interface is written ./NAME */
static int choose(const CaptureConfig *config, const CaptureBackend **backendp, Reason *reason) {
    struct stat st;
    if (strcmp(config->input, "-") == 0) {
        *backendp = &capture_pcapfile;
    } else if (!strchr(config->input, '/') && if_nametoindex(config->input)) {
        *backendp = &capture_afpacket;
    } else if (stat(config->input, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            reason_set(reason, "-i %s is a folder; a capture file or an interface is needed",
                       config->input);
            return CAPTURE_E_REFUSED;
        }
        *backendp = &capture_pcapfile;
    } else if (strchr(config->input, '/') || strstr(config->input, ".pcap")) {
        reason_set(reason, "-i %s: %s", config->input, strerror(errno));
        return CAPTURE_E_REFUSED;
    } else {
        reason_set(reason, "-i %s: there is no such interface and no such file", config->input);
        list_interfaces(reason);
        return CAPTURE_E_REFUSED;
    }
    return 0;
}

int capture_open(Capture **capturep, const CaptureConfig *config, Reason *reason) {
    const CaptureBackend *backend = NULL;
    int r = choose(config, &backend, reason);
    if (r)
        return error_trace(r);
    cleanup(capture_freep) Capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return error_origin(-ENOMEM);
    capture->backend = backend;
    capture->black_list = config->black_list;
    CaptureConfig filtered = *config;
    char *filter = collect_policy_black_filter(config->black_list, config->filter);
    if (!filter)
        return error_origin(-ENOMEM);
    filtered.filter = filter;
    r = backend->open(capture, &filtered, reason);
    free(filter);
    if (r)
        return error_trace(r);
    *capturep = capture;
    capture = NULL;
    return 0;
}

int capture_filter(Capture *capture, const char *filter, Reason *reason) {
    char *both = collect_policy_black_filter(capture->black_list, filter);
    if (!both)
        return error_origin(-ENOMEM);
    int r = capture->backend->filter(capture, both, reason);
    free(both);
    return error_trace(r);
}

Capture *capture_free(Capture *capture) {
    if (!capture)
        return NULL;
    capture->backend->close(capture);
    free(capture);
    return NULL;
}
