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

bool capture_is_interface(const char *input) {
    return !strchr(input, '/') && if_nametoindex(input) != 0;
}

/* the input says itself what it is; a file named like an interface is written ./NAME */
static int choose(const CaptureConfig *config, const CaptureBackend **backendp, Reason *reason) {
    struct stat st;
    if (strcmp(config->input, "-") == 0) {
        *backendp = &capture_pcapfile;
    } else if (capture_is_interface(config->input)) {
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

static int open_with(Capture **capturep, const CaptureBackend *backend, const CaptureConfig *config,
                     Reason *reason) {
    cleanup(capture_freep) Capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return error_origin(-ENOMEM);
    capture->backend = backend;
    capture->black_list = config->black_list;
    capture->fd = -1;
    capture->input = config->input;
    CaptureConfig filtered = *config;
    char *filter = collect_policy_black_filter(config->black_list, config->filter);
    if (!filter)
        return error_origin(-ENOMEM);
    filtered.filter = filter;
    filtered.black_list = NULL; /* not once more for each input */
    int r = backend->open(capture, &filtered, reason);
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

int capture_open(Capture **capturep, const CaptureConfig *config, Reason *reason) {
    const CaptureBackend *backend = NULL;
    int r = choose(config, &backend, reason);
    return error_trace(r ? r : open_with(capturep, backend, config, reason));
}

/* an interface that is named twice, as it may have several names; its packets would count twice */
static int check_twice(const char *const *interfaces, size_t n, Reason *reason) {
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (if_nametoindex(interfaces[i]) == if_nametoindex(interfaces[k])) {
                reason_set(reason, "-i %s and -i %s are one interface; give it once", interfaces[k],
                           interfaces[i]);
                return CAPTURE_E_USAGE;
            }
    return 0;
}

/* there is an interface among them: so this one should be one as well */
static int refuse_mixed(const char *input, Reason *reason) {
    const CaptureConfig one = {.input = input};
    const CaptureBackend *backend = NULL;
    int r = choose(&one, &backend, reason);
    if (r)
        return error_trace(r);
    reason_set(reason,
               "-i %s is no interface, and others of -i are; interfaces or files, one kind a "
               "process: start a second probe for the other",
               input);
    return CAPTURE_E_USAGE;
}

/* all of them interfaces, or all files */
static int choose_all(const char *const *inputs, size_t n_inputs, const CaptureBackend **backendp,
                      Reason *reason) {
    size_t live = 0;
    for (size_t i = 0; i < n_inputs; i++)
        live += capture_is_interface(inputs[i]) ? 1 : 0;
    for (size_t i = 0; live && live < n_inputs && i < n_inputs; i++)
        if (!capture_is_interface(inputs[i]))
            return refuse_mixed(inputs[i], reason);
    if (live > CAPTURE_INPUTS_MAX) {
        reason_set(reason, "-i names %zu interfaces; %d a process are the most", live,
                   CAPTURE_INPUTS_MAX);
        return CAPTURE_E_USAGE;
    }
    *backendp = live ? &capture_several : &capture_files;
    return live ? check_twice(inputs, n_inputs, reason) : 0;
}

int capture_open_all(Capture **capturep, const CaptureConfig *config, const char *const *inputs,
                     size_t n_inputs, CaptureFanout *fanouts, Reason *reason) {
    const CaptureBackend *backend = NULL;
    CaptureConfig each = *config;
    each.input = inputs[0];
    each.inputs = inputs;
    each.n_inputs = n_inputs;
    each.fanout = fanouts;
    if (n_inputs == 1)
        return error_trace(capture_open(capturep, &each, reason));
    int r = choose_all(inputs, n_inputs, &backend, reason);
    return error_trace(r ? r : open_with(capturep, backend, &each, reason));
}

Capture *capture_free(Capture *capture) {
    if (!capture)
        return NULL;
    capture->backend->close(capture);
    free(capture);
    return NULL;
}
