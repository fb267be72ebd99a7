/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded by system tests: the wall clock off by WEIR_SHIM_CLOCK_S seconds, names that take
 * WEIR_SHIM_RESOLVE_S seconds to resolve, and a disk that stands still: while a file
 * WEIR_SHIM_STALL exists, no sync of a file returns.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long setting(const char *name) {
    const char *value = getenv(name);
    return value ? strtol(value, NULL, 10) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int r = (int)syscall(SYS_clock_gettime, id, at);
    if (r == 0 && id == CLOCK_REALTIME)
        at->tv_sec += setting("WEIR_SHIM_CLOCK_S");
    return r;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int r = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return r;
}

time_t time(time_t *at) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof(real));
    const int only_address = hints && hints->ai_flags & AI_NUMERICHOST;
    if (node && !only_address && strstr(node, ".slow."))
        sleep((unsigned)setting("WEIR_SHIM_RESOLVE_S"));
    return real(node, service, hints, found);
}

static void stall(void) {
    const char *flag = getenv("WEIR_SHIM_STALL");
    while (flag && access(flag, F_OK) == 0)
        usleep(20000);
}

static int sync_later(const char *name, int fd) {
    int (*real)(int);
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(&real, &symbol, sizeof(real));
    stall();
    return real(fd);
}

int fsync(int fd) {
    return sync_later("fsync", fd);
}

int fdatasync(int fd) {
    return sync_later("fdatasync", fd);
}
