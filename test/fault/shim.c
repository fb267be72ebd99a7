/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fault shim, preloaded into a probe or a hub by the fault campaign
 *
 * Watches what the program does with files under one folder ($FAULT_FOLDER), from outside of the
 * program, so that none of its own code has a say:
 *
 * - The ledger. When fdatasync() or fsync() of a file has returned 0, the bytes that have become
 *   durable by it are copied into $FAULT_LEDGER, which lies elsewhere: N.data holds them, and
 *   `log` says in order what happened:
 *
 *       sync N FROM TO NAME     bytes FROM..TO of the file are durable, and are in N.data
 *       made N NAME             a new file; its name is not durable before the folder's `dir`
 *       cut N SIZE NAME         truncated
 *       gone N NAME             unlinked; it may come back unless a `dir` follows
 *       moved NAME TO           renamed
 *       dir NAME                fsync of a folder returned 0
 *
 * - Faults on request, by a page shared with the campaign ($FAULT_CONTROL): failing writes and
 *   syncs, slow syncs, a death at a chosen place, another clock, batches that are garbage.
 *
 * The file as it was when the sync began counts: what is appended meanwhile may not be durable.
 */

#undef _FILE_OFFSET_BITS /* open() and open64() are both wanted; off_t has 64 bits here anyway */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    FILES_MAX = 4096,
    COPY_BYTES = 1 << 16,
    NAME_BYTES = 64,
    LIMBO_MAX = 64,
};

typedef enum Crash {
    CRASH_NEVER,
    CRASH_AFTER_UNLINK, /* before the folder is synced */
    CRASH_BEFORE_SYNC,
    CRASH_AFTER_SYNC, /* durable, and the program does not know it yet */
    CRASH_IN_WRITE,   /* half of the bytes are written: a torn record */
} Crash;

/* as test/fault/world.py has it */
typedef struct Control {
    int64_t clock_step_ms;
    int32_t write_errno, write_n; /* the next n fail; -1: all */
    int32_t sync_errno, sync_n;
    int32_t sync_delay_ms;
    int32_t crash; /* Crash; once */
    int32_t garbage_n;
    int32_t done;    /* faults that acted */
    char suffix[16]; /* crashes and failures only at files whose name ends so */
} Control;

typedef struct File {
    dev_t device;
    ino_t inode;
    off_t durable;
    bool used;
} File;

static Control *control;
static char folder[PATH_MAX];
static size_t folder_size;
static int ledger = -1; /* folder of the ledger */
static int ledger_log = -1;
static char limbo[PATH_MAX]; /* hard links to what was unlinked and may come back */
static File files[FILES_MAX];
static unsigned limbo_from, limbo_to;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (!real)                                                                                     \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("FAULT_FOLDER");
    const char *page = getenv("FAULT_CONTROL");
    const char *book = getenv("FAULT_LEDGER");
    const char *links = getenv("FAULT_LIMBO");
    if (!where || !realpath(where, folder))
        return;
    folder_size = strlen(folder);
    if (links)
        (void)snprintf(limbo, sizeof(limbo), "%s", links);
    if (book) {
        ledger = open(book, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ledger_log = openat(ledger, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    int fd = page ? open(page, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        control = at == MAP_FAILED ? NULL : at;
        (void)close(fd);
    }
}

/* ----------------------------------------------------------------------------------- faults */

static void die(void) {
    __atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

static bool ends(const char *path) {
    const size_t n = strnlen(control->suffix, sizeof(control->suffix));
    const size_t size = strlen(path);
    return size >= n && memcmp(path + size - n, control->suffix, n) == 0;
}

static void crash_at(Crash place, const char *path) {
    if (!control || __atomic_load_n(&control->crash, __ATOMIC_SEQ_CST) != (int32_t)place ||
        !ends(path))
        return;
    control->crash = CRASH_NEVER;
    die();
}

/* 0, or the error with which this call is to fail */
static int fail_of(const int32_t *number, int32_t *n, const char *path) {
    if (!control || !ends(path))
        return 0;
    const int32_t left = __atomic_load_n(n, __ATOMIC_SEQ_CST);
    if (left == 0)
        return 0;
    if (left > 0)
        (void)__atomic_sub_fetch(n, 1, __ATOMIC_SEQ_CST);
    (void)__atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
    return *number;
}

/* ----------------------------------------------------------------------------------- ledger */

/* the name below the folder, or NULL; "" is the folder itself */
static const char *inside(const char *path) {
    if (!folder_size || strncmp(path, folder, folder_size) != 0)
        return NULL;
    if (path[folder_size] == 0)
        return "";
    return path[folder_size] == '/' ? path + folder_size + 1 : NULL;
}

static const char *inside_fd(int fd, char path[PATH_MAX]) {
    char link[NAME_BYTES];
    if (!folder_size)
        return NULL;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0)
        return NULL;
    path[n] = 0;
    return inside(path);
}

/* of a path as a program gives it */
static const char *inside_at(int at, const char *name, char path[PATH_MAX]) {
    char base[PATH_MAX] = "";
    if (!folder_size)
        return NULL;
    if (name[0] == '/') {
        (void)snprintf(path, PATH_MAX, "%s", name);
        return inside(path);
    }
    if (at == AT_FDCWD ? !getcwd(base, sizeof(base)) : !inside_fd(at, base))
        return NULL;
    if (strlen(base) + strlen(name) + 2 > PATH_MAX)
        return NULL;
    (void)stpcpy(stpcpy(stpcpy(path, base), "/"), name);
    return inside(path);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    REAL(write);
    char line[PATH_MAX + 128];
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    if (ledger_log >= 0 && n > 0 && (size_t)n < sizeof(line))
        (void)!real(ledger_log, line, (size_t)n);
}

static int file_of(const struct stat *status, bool make) {
    int free_slot = -1;
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i].used && files[i].inode == status->st_ino && files[i].device == status->st_dev)
            return i;
    }
    static int next; /* never one number for two files, as long as there are numbers */
    if (make && next < FILES_MAX)
        free_slot = next++;
    if (free_slot >= 0)
        files[free_slot] = (File){.device = status->st_dev, .inode = status->st_ino, .used = true};
    return free_slot;
}

static bool copy_range(int from, int to, off_t at, off_t end) {
    static uint8_t bytes[COPY_BYTES];
    REAL(pwrite);
    while (at < end) {
        const size_t want = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        const ssize_t n = pread(from, bytes, want, at);
        if (n <= 0 || real(to, bytes, (size_t)n, at) != n)
            return false;
        at += n;
    }
    return true;
}

static void book(const char *path, const char *name, const struct stat *status) {
    REAL(open);
    const int i = file_of(status, true);
    if (i < 0 || ledger < 0) {
        say("full 0 %s\n", name);
        return;
    }
    File *file = &files[i];
    if (status->st_size <= file->durable)
        return;
    char data[NAME_BYTES];
    (void)snprintf(data, sizeof(data), "%d.data", i);
    const int to = openat(ledger, data, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const int from = real(path, O_RDONLY | O_CLOEXEC);
    if (to >= 0 && from >= 0 && copy_range(from, to, file->durable, status->st_size)) {
        say("sync %d %lld %lld %s\n", i, (long long)file->durable, (long long)status->st_size,
            name);
        file->durable = status->st_size;
    }
    if (to >= 0)
        (void)close(to);
    if (from >= 0)
        (void)close(from);
}

/* what was unlinked and may come back; a sync of the folder makes it go for good */
static void forget_limbo(unsigned keep) {
    REAL(unlink);
    char path[PATH_MAX + NAME_BYTES];
    for (; limbo_to - limbo_from > keep; limbo_from++) {
        (void)snprintf(path, sizeof(path), "%s/%u", limbo, limbo_from);
        (void)real(path);
    }
}

static void note_removed(const char *path, const char *name, const struct stat *status) {
    char to[PATH_MAX + NAME_BYTES];
    (void)pthread_mutex_lock(&lock);
    const int i = file_of(status, false);
    if (i >= 0)
        files[i].used = false;
    if (*limbo) {
        (void)snprintf(to, sizeof(to), "%s/%u", limbo, limbo_to);
        if (link(path, to) == 0)
            limbo_to++;
        forget_limbo(LIMBO_MAX);
    }
    say("gone %d %u %s\n", i, limbo_to - 1, name);
    (void)pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------------------------ syncs */

static int sync_any(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    struct stat before;
    const char *name = inside_fd(fd, path);
    if (!name || fstat(fd, &before) != 0)
        return sync(fd);
    if (control && control->sync_delay_ms > 0)
        (void)usleep((useconds_t)control->sync_delay_ms * 1000);
    crash_at(CRASH_BEFORE_SYNC, path);
    const int fail = control ? fail_of(&control->sync_errno, &control->sync_n, path) : 0;
    if (fail) {
        errno = fail;
        return -1;
    }
    const int r = sync(fd);
    const int error = errno;
    if (r == 0 && ledger >= 0) {
        (void)pthread_mutex_lock(&lock);
        if (S_ISDIR(before.st_mode)) {
            forget_limbo(0);
            say("dir %s\n", name);
        } else {
            book(path, name, &before);
        }
        (void)pthread_mutex_unlock(&lock);
    }
    if (r == 0)
        crash_at(CRASH_AFTER_SYNC, path);
    errno = error;
    return r;
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return sync_any(fd, real);
}

int fsync(int fd) {
    REAL(fsync);
    return sync_any(fd, real);
}

/* ----------------------------------------------------------------------------------- writes */

/* whether a fault acts on this write; *fail is its error, or 0: half of it is written, and death */
static bool write_fault(int fd, int *fail) {
    char path[PATH_MAX];
    *fail = 0;
    if (!control || (control->write_n == 0 && control->crash != CRASH_IN_WRITE))
        return false;
    if (!inside_fd(fd, path))
        return false;
    *fail = fail_of(&control->write_errno, &control->write_n, path);
    return *fail || (control->crash == CRASH_IN_WRITE && ends(path));
}

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(write);
    int fail;
    if (!write_fault(fd, &fail))
        return real(fd, bytes, n);
    if (!fail) {
        (void)!real(fd, bytes, n / 2);
        die();
    }
    errno = fail;
    return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    REAL(pwrite);
    int fail;
    if (!write_fault(fd, &fail))
        return real(fd, bytes, n, at);
    if (!fail) {
        (void)!real(fd, bytes, n / 2, at);
        die();
    }
    errno = fail;
    return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    return pwrite(fd, bytes, n, at);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    int fail;
    if (!write_fault(fd, &fail))
        return real(fd, parts, n);
    if (!fail) {
        const struct iovec half = {parts[0].iov_base, parts[0].iov_len / (n > 1 ? 1 : 2)};
        (void)!real(fd, &half, 1);
        die();
    }
    errno = fail;
    return -1;
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
    REAL(pwritev);
    int fail;
    if (!write_fault(fd, &fail))
        return real(fd, parts, n, at);
    if (!fail) {
        const int half = n > 1 ? n / 2 : 1;
        (void)!real(fd, parts, half, at);
        die();
    }
    errno = fail;
    return -1;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) {
    return pwritev(fd, parts, n, at);
}

/* ----------------------------------------------------------------------------- files by name */

static void note_made(const char *path, const char *name) {
    struct stat status;
    if (!name || stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    (void)pthread_mutex_lock(&lock);
    say("made %d %s\n", file_of(&status, true), name);
    (void)pthread_mutex_unlock(&lock);
}

static int open_any(int at, const char *file, int flags, mode_t mode) {
    REAL(openat);
    char path[PATH_MAX];
    struct stat status;
    const char *name = flags & O_CREAT && ledger >= 0 ? inside_at(at, file, path) : NULL;
    const bool fresh = name && stat(path, &status) != 0;
    const int fail = fresh && control ? fail_of(&control->write_errno, &control->write_n, path) : 0;
    if (fail) {
        errno = fail;
        return -1;
    }
    const int fd = real(at, file, flags, mode);
    if (fd >= 0 && fresh)
        note_made(path, name);
    return fd;
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

int open(const char *file, int flags, ...) {
    MODE_OF(flags)
    return open_any(AT_FDCWD, file, flags, mode);
}

int open64(const char *file, int flags, ...) {
    MODE_OF(flags)
    return open_any(AT_FDCWD, file, flags, mode);
}

int openat(int at, const char *file, int flags, ...) {
    MODE_OF(flags)
    return open_any(at, file, flags, mode);
}

int openat64(int at, const char *file, int flags, ...) {
    MODE_OF(flags)
    return open_any(at, file, flags, mode);
}

int unlinkat(int at, const char *file, int flags) {
    REAL(unlinkat);
    char path[PATH_MAX];
    struct stat status;
    const char *name = flags == 0 && ledger >= 0 ? inside_at(at, file, path) : NULL;
    if (name && stat(path, &status) == 0 && S_ISREG(status.st_mode))
        note_removed(path, name, &status);
    const int r = real(at, file, flags);
    if (r == 0 && name)
        crash_at(CRASH_AFTER_UNLINK, path);
    return r;
}

int unlink(const char *file) {
    return unlinkat(AT_FDCWD, file, 0);
}

int renameat(int at, const char *from, int to_at, const char *to) {
    REAL(renameat);
    char path[PATH_MAX];
    char target[PATH_MAX];
    const char *name = ledger >= 0 ? inside_at(to_at, to, target) : NULL;
    const char *old = name ? inside_at(at, from, path) : NULL;
    const int r = real(at, from, to_at, to);
    if (r == 0 && name)
        say("moved %s %s\n", old ? old : "-", name);
    return r;
}

int rename(const char *from, const char *to) {
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    char path[PATH_MAX];
    struct stat status;
    const char *name = ledger >= 0 ? inside_fd(fd, path) : NULL;
    const int r = real(fd, size);
    if (r == 0 && name && fstat(fd, &status) == 0) {
        (void)pthread_mutex_lock(&lock);
        const int i = file_of(&status, true);
        if (i >= 0 && files[i].durable > size)
            files[i].used = false; /* another number from here: what was booked stays booked */
        say("cut %d %lld %s\n", i, (long long)size, name);
        (void)pthread_mutex_unlock(&lock);
    }
    return r;
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

/* ---------------------------------------------------------------------------- clock, batches */

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    const int r = real(clock, time);
    const int64_t step_ms = control ? control->clock_step_ms : 0;
    if (r == 0 && step_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        const int64_t ns = time->tv_nsec + step_ms % 1000 * 1000000;
        time->tv_sec += step_ms / 1000 + ns / 1000000000 - (ns < 0 && ns % 1000000000 != 0);
        time->tv_nsec = (ns % 1000000000 + 1000000000) % 1000000000;
    }
    return r;
}

/* Batches that are well framed, whose checksum is right, and that hold no flows. */
size_t ZSTD_compress2(void *context, void *to, size_t room, const void *from, size_t n);
size_t ZSTD_compress2(void *context, void *to, size_t room, const void *from, size_t n) {
    REAL(ZSTD_compress2);
    if (!control || __atomic_load_n(&control->garbage_n, __ATOMIC_SEQ_CST) <= 0)
        return real(context, to, room, from, n);
    (void)__atomic_sub_fetch(&control->garbage_n, 1, __ATOMIC_SEQ_CST);
    (void)__atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
    uint8_t *garbage = malloc(n);
    if (!garbage)
        return real(context, to, room, from, n);
    for (size_t i = 0; i < n; i++)
        garbage[i] = (uint8_t)(((const uint8_t *)from)[i] ^ 0xa5);
    const size_t r = real(context, to, room, garbage, n);
    free(garbage);
    return r;
}
