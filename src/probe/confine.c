/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/confine.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sanitized.h"

enum { CALLS_MAX = 512, NAME_BYTES = 24, EXIT_CODE = 1 };

/* a handler may not ask for it */
static char names[CALLS_MAX][NAME_BYTES];

static const char *const allowed[] = {
#define CALL(name) #name,
#include "probe/confine.def"
#undef CALL
};

static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};

static void tell(const char *text) {
    (void)!write(STDERR_FILENO, text, strlen(text));
}

/* in whatever thread it was; nothing here may need a lock */
static void on_violation(int number, siginfo_t *info, void *context) {
    char digits[12];
    size_t at = sizeof(digits) - 1;
    unsigned call = (unsigned)info->si_syscall;
    (void)number;
    (void)context;
    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + call % 10);
    while ((call /= 10) && at);
    call = (unsigned)info->si_syscall;
    tell("weir-probe error: the system call ");
    tell(call < CALLS_MAX && names[call][0] ? names[call] : "without a name");
    tell(" (number ");
    tell(digits + at);
    tell(") is not among those that weir-probe may make (seccomp), and it ends here; if a library "
         "or "
         "the system is newer than weir-probe, --no-seccomp goes without\n");
    _exit(EXIT_CODE);
}

static void learn_names(void) {
    for (int call = 0; call < CALLS_MAX; call++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
        if (name)
            (void)snprintf(names[call], NAME_BYTES, "%s", name);
        free(name);
    }
}

static int add_rules(scmp_filter_ctx filter) {
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        const int call = seccomp_syscall_resolve_name(allowed[i]);
        const int r = call >= 0 ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) : 0;
        if (r < 0)
            return error_origin(r);
    }
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        const struct scmp_arg_cmp is = {
            .arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)families[i], .datum_b = 0};
        const int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &is);
        if (r < 0)
            return error_origin(r);
    }
    return 0;
}

/* every thread, also those of libraries */
static int load(scmp_filter_ctx filter) {
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
    if (r == 0) /* in the kernel's log, too: threads of ZeroMQ let no signal through */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of a list */
    if (r == 0)
        r = add_rules(filter);
    return r ? r : seccomp_load(filter);
}

int confine(Reason *reason) {
    const struct sigaction action = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO};
    if (WEIR_SANITIZED)
        return 0;
    learn_names();
    if (sigaction(SIGSYS, &action, NULL) < 0)
        return error_origin(-errno);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    if (!filter)
        return error_origin(-ENOMEM);
    const int r = load(filter);
    seccomp_release(filter);
    if (r == 0)
        return 0;
    reason_set(reason, "the filter of system calls cannot be set: %s; --no-seccomp goes without",
               strerror(-r));
    return CONFINE_E_REFUSED;
}
