/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Capture files one after the other, as if they were one. Each has a link type of its own. The next
 * is opened when the one before is done, so there may be more than a process may have open; that
 * all are there is looked at first.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "probe/capture.h"

typedef struct Files {
    CaptureConfig config; /* of the next ones */
    char *filter;         /* a copy: it may be set anew */
    size_t at;            /* the one that is open */
    Capture *file;
} Files;

static void files_close(Capture *capture) {
    Files *files = capture->state;
    if (!files)
        return;
    capture_free(files->file);
    free(files->filter);
    free(files);
    capture->state = NULL;
}

static int open_next(Capture *capture, Reason *reason) {
    Files *files = capture->state;
    CaptureConfig one = files->config;
    one.input = files->config.inputs[files->at];
    one.filter = files->filter;
    files->file = capture_free(files->file);
    int r = capture_open(&files->file, &one, reason);
    if (r == 0)
        capture->link_type = files->file->link_type;
    return error_trace(r);
}

static int look_at_all(const CaptureConfig *config, Reason *reason) {
    struct stat st;
    for (size_t i = 1; i < config->n_inputs; i++)
        if (strcmp(config->inputs[i], "-") != 0 && stat(config->inputs[i], &st) < 0) {
            reason_set(reason, "-i %s: %s", config->inputs[i], strerror(errno));
            return CAPTURE_E_REFUSED;
        }
    return 0;
}

static int files_open(Capture *capture, const CaptureConfig *config, Reason *reason) {
    Files *files = calloc(1, sizeof(*files));
    if (!files)
        return error_origin(-ENOMEM);
    capture->state = files; /* closed by whoever closes the capture */
    files->config = *config;
    files->filter = strdup(config->filter ? config->filter : "");
    if (!files->filter)
        return error_origin(-ENOMEM);
    int r = look_at_all(config, reason);
    return error_trace(r ? r : open_next(capture, reason));
}

static int files_read(Capture *capture, Frame *frames, size_t max, size_t *np, unsigned timeout_ms,
                      Reason *reason) {
    Files *files = capture->state;
    for (;;) {
        int r = capture_read(files->file, frames, max, np, timeout_ms, reason);
        if (r != CAPTURE_E_END || files->at + 1 == files->config.n_inputs)
            return error_trace(r);
        files->at++;
        r = open_next(capture, reason);
        if (r)
            return r < 0 ? error_trace(r) : CAPTURE_E_BROKEN;
    }
}

static void files_stats(Capture *capture, CaptureStats *stats) {
    const Files *files = capture->state;
    *stats = (CaptureStats){0};
    if (files->file)
        capture_stats(files->file, stats);
}

static int files_filter(Capture *capture, const char *filter, Reason *reason) {
    Files *files = capture->state;
    char *copy = strdup(filter ? filter : "");
    if (!copy)
        return error_origin(-ENOMEM);
    int r = capture_filter(files->file, filter, reason);
    free(r ? copy : files->filter);
    if (r == 0)
        files->filter = copy;
    return error_trace(r);
}

const CaptureBackend capture_files = {
    .name = "files",
    .open = files_open,
    .close = files_close,
    .read = files_read,
    .stats = files_stats,
    .filter = files_filter,
};
