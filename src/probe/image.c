/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/image.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "channel/keystring.h"
#include "probe/deliver.h"
#include "probe/kept_lease.h"
#include "probe/remote.h"
#include "probe/run.h"

/* what is ours in a folder, by the end of its name; files that were being written too */
typedef struct Kind {
    const char *name;
    bool is_end; /* else the whole name */
    const char *what;
} Kind;

static const Kind state_kinds[] = {
    {"zmq-key.pub", false, "the probe's public key"},
    {"zmq-key.priv", false, "the probe's private key"},
    {"zmq-key.pub.new", false, "a public key, half written"},
    {"zmq-key.priv.new", false, "a private key, half written"},
    {REMOTE_FILE, false, "what the hub had set"},
    {REMOTE_FILE ".new", false, "what the hub was setting"},
    {KEPT_LEASE_FILE, false, "what a hub had lent"},
    {KEPT_LEASE_FILE ".new", false, "what a hub was lending"},
    {"licence.clock", false, "how far the licence's clock had come"},
    {"licence.verified", false, "the licence in force last"},
    {"licence.revoked", false, "the list of revoked licences"},
    {"lock", false, NULL},
};

static const Kind spool_kinds[] = {
    {".ipfix.zst", true, "flows"},
    {".bad", true, "damaged flows, set aside"},
    {"cursors", false, "how far hubs had come"},
    {"cursors.new", false, "how far hubs had come"},
    {"lock", false, NULL},
};

typedef struct Folder {
    const char *path;
    const Kind *kinds;
    size_t n_kinds;
    bool gone; /* with all that is ours it goes, too */
} Folder;

typedef struct Image {
    const ProbeConfig *config;
    char spool[PATH_MAX];
    uint64_t removed;
    bool failed;
} Image;

static const Kind *kind_of(const Folder *folder, const char *name) {
    const size_t size = strlen(name);
    for (size_t i = 0; i < folder->n_kinds; i++) {
        const Kind *kind = &folder->kinds[i];
        const size_t n = strlen(kind->name);
        if (kind->is_end ? size > n && strcmp(name + size - n, kind->name) == 0
                         : strcmp(name, kind->name) == 0)
            return kind;
    }
    return NULL;
}

static void fail(Image *image, const char *path) {
    (void)fprintf(stderr, "weir-probe: %s cannot be removed: %s\n", path, strerror(errno));
    image->failed = true;
}

/* the lock comes last of all: until then nobody else may have the folder */
static void clear_file(Image *image, const Folder *folder, const char *name) {
    char path[PATH_MAX];
    const Kind *kind = kind_of(folder, name);
    (void)snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    if (!kind) {
        if (strcmp(path, image->spool) != 0)
            (void)printf("stays   %s: left as it is\n", path);
    } else if (kind->what && unlink(path) < 0) {
        fail(image, path);
    } else if (kind->what) {
        (void)printf("removed %s: %s\n", path, kind->what);
        image->removed++;
    }
}

static void clear(Image *image, const Folder *folder) {
    DIR *dir = opendir(folder->path);
    const struct dirent *entry = NULL;
    if (!dir && errno != ENOENT)
        fail(image, folder->path);
    while (dir && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            clear_file(image, folder, entry->d_name);
    if (dir)
        (void)closedir(dir);
}

static void unlock(const Folder *folder) {
    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof(path), "%s/lock", folder->path);
    (void)unlink(path);
    if (folder->gone) /* what else is in it stays */
        (void)rmdir(folder->path);
}

/* --- what would be lost ------------------------------------------------------------------- */

static bool has_segments(const char *path) {
    const Folder folder = {.path = path, .kinds = spool_kinds, .n_kinds = 1};
    DIR *dir = opendir(path);
    bool found = false;
    const struct dirent *entry = NULL;
    while (dir && !found && (entry = readdir(dir)) != NULL)
        found = kind_of(&folder, entry->d_name) != NULL;
    if (dir)
        (void)closedir(dir);
    return found;
}

/* RUN_DONE: nothing is lost, or it may be */
static int check_spool(const Image *image) {
    const ProbeConfig *config = image->config;
    Reason reason = {""};
    char text[256];
    uint64_t flows = 0;
    if (config->force || !has_segments(image->spool))
        return RUN_DONE;
    if (config->hubs.n == 0 || config->keys.n == 0) {
        (void)fprintf(
            stderr,
            "weir-probe: flows are in %s, and without the hub's address and key it cannot "
            "be told whether it has stored them: give the probe's configuration file, or "
            "--force to throw them away; nothing is removed\n",
            image->spool);
        return RUN_LEFT;
    }
    const int r = deliver_held(&flows, config, &reason);
    if (r) {
        (void)fprintf(stderr, "weir-probe: %s\n",
                      r > 0 ? reason.text : error_describe(r, text, sizeof(text)));
        return RUN_FAILED;
    }
    if (flows == 0)
        return RUN_DONE;
    (void)fprintf(stderr,
                  "weir-probe: %" PRIu64
                  " flows wait in %s that no hub has stored: start the probe "
                  "until they are delivered, or give --force to throw them away; nothing is "
                  "removed\n",
                  flows, image->spool);
    return RUN_LEFT;
}

/* --- what stays --------------------------------------------------------------------------- */

static void say_machine_id(const ProbeConfig *config) {
    Buffer id = {0};
    if (!config->probe_id && file_read(&id, "/etc/machine-id", 256, NULL) == 0 && id.size > 1)
        (void)printf(
            "note    /etc/machine-id: with the same one and the same host name, probes say "
            "they are the same probe; empty it in the image (truncate -s 0 "
            "/etc/machine-id)\n");
    if (config->probe_id)
        (void)printf("note    --probe-id %s: every probe made from the image says it is this one; "
                     "leave it out of the image\n",
                     config->probe_id);
    buffer_deinit(&id);
}

/** say_key() - true: it carries a join token */
static bool say_key(const char *text) {
    KeyString key = {0};
    Reason reason = {""};
    if (keystring_parse(&key, text, &reason) != 0)
        (void)printf("note    --zmq-encryption-key: %s\n", reason.text);
    else
        (void)printf("stays   the probe's configuration, with the hub's public key, which is the "
                     "same in every image\n");
    return key.token[0] != '\0';
}

static void say_keys(const ProbeConfig *config) {
    bool token = false;
    if (config->keys.n == 0)
        (void)printf("note    no --zmq-encryption-key was given: the image needs the hub's public "
                     "key in the probe's configuration\n");
    for (size_t i = 0; i < config->keys.n; i++)
        token = say_key(config->keys.values[i]) || token;
    if (token)
        (void)printf("note    the key string carries a join token: the image is a secret, and the "
                     "token must be good for as many probes as are made from it\n");
    say_machine_id(config);
}

/* --- all of it ---------------------------------------------------------------------------- */

static int own(int *fdp, const char *path) {
    Reason reason = {""};
    if (access(path, F_OK) < 0)
        return RUN_DONE;
    const int r = dir_own(fdp, path, &reason);
    if (r == 0)
        return RUN_DONE;
    (void)fprintf(stderr, "weir-probe: %s; stop the probe first. Nothing is removed\n",
                  reason.text);
    return RUN_FAILED;
}

int image_prepare(const ProbeConfig *config) {
    Image image = {.config = config};
    cleanup(closep) int state_lock = -1;
    cleanup(closep) int spool_lock = -1;
    (void)snprintf(image.spool, sizeof(image.spool), "%s%s",
                   config->spool_dir ? config->spool_dir : config->data_dir,
                   config->spool_dir ? "" : "/spool");
    const Folder state = {.path = config->data_dir,
                          .kinds = state_kinds,
                          .n_kinds = sizeof(state_kinds) / sizeof(state_kinds[0])};
    const Folder spool = {.path = image.spool,
                          .kinds = spool_kinds,
                          .n_kinds = sizeof(spool_kinds) / sizeof(spool_kinds[0]),
                          .gone = true};
    int code = own(&state_lock, config->data_dir);
    if (code == RUN_DONE)
        code = check_spool(&image);
    if (code == RUN_DONE)
        code = own(&spool_lock, image.spool);
    if (code != RUN_DONE)
        return code;
    clear(&image, &spool);
    clear(&image, &state);
    unlock(&spool);
    unlock(&state);
    if (!image.removed && !image.failed)
        (void)printf("nothing of a probe is in %s\n", config->data_dir);
    say_keys(config);
    return image.failed ? RUN_FAILED : RUN_DONE;
}
