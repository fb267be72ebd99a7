/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

enum { DEPTH_MAX = 4 /* folders in each other; the spool has one */ };

/* --- the user ----------------------------------------------------------------------------- */

static const struct passwd *find_user(const Privileges *privileges) {
    static const char *const names[] = {PRIVILEGES_USERS};
    const struct passwd *user = privileges->user ? getpwnam(privileges->user) : NULL;
    for (size_t i = 0; !privileges->user && !user && i < sizeof(names) / sizeof(names[0]); i++)
        user = getpwnam(names[i]);
    return user;
}

static int user_of(const Privileges *privileges, const struct passwd **userp, Reason *reason) {
    *userp = NULL;
    if (privileges->keep || geteuid() != 0)
        return 0;
    const struct passwd *user = find_user(privileges);
    if (!user) {
        reason_set(reason,
                   "--unprivileged-user %s: there is no such user; name one that there is, or "
                   "--dont-drop-privileges stays root",
                   privileges->user ? privileges->user : "nobody");
        return PRIVILEGES_E_REFUSED;
    }
    if (user->pw_uid != 0)
        *userp = user;
    return 0;
}

int privileges_user(const Privileges *privileges, const char **namep, Reason *reason) {
    const struct passwd *user = NULL;
    int r = user_of(privileges, &user, reason);
    if (r == 0)
        *namep = user ? user->pw_name : NULL;
    return r;
}

/* --- folders ------------------------------------------------------------------------------ */

/* by descriptors, so that nothing that lies there leads elsewhere; a file that has a second name
 * may be somebody else's */
static void hand_over(int fd, uid_t uid, gid_t gid, unsigned depth) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return;
    const bool is_folder = S_ISDIR(st.st_mode);
    if (st.st_uid == 0 && (is_folder || (S_ISREG(st.st_mode) && st.st_nlink == 1)))
        (void)fchown(fd, uid, gid);
    DIR *folder = is_folder && depth < DEPTH_MAX ? fdopendir(dup(fd)) : NULL;
    const struct dirent *entry = NULL;
    while (folder && (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        cleanup(closep) int one =
            openat(fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (one >= 0)
            hand_over(one, uid, gid, depth + 1);
    }
    if (folder)
        (void)closedir(folder);
}

/* one that everybody may write (/tmp) is not the probe's own */
static void hand_over_folder(const char *path, uid_t uid, gid_t gid) {
    struct stat st;
    cleanup(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && !(st.st_mode & S_IWOTH))
        hand_over(fd, uid, gid, 0);
}

static int look_at_folder(const char *path, const char *user, Reason *reason) {
    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    reason_set(
        reason,
        "folder %s: %s for user %s, as whom a probe that root started goes on: let that user "
        "reach and write it, or name another folder or --unprivileged-user",
        path, strerror(errno), user);
    return PRIVILEGES_E_REFUSED;
}

/* --- giving up ---------------------------------------------------------------------------- */

static int become(const struct passwd *user, Reason *reason) {
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0) {
        reason_set(reason, "cannot go on as user %s: %s; --dont-drop-privileges stays root",
                   user->pw_name, strerror(errno));
        return PRIVILEGES_E_REFUSED;
    }
    return 0;
}

/* of those that there are only CAP_NET_RAW, or none */
static int keep_capabilities(bool net_raw) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, caps) < 0)
        return error_origin(-errno);
    const uint32_t kept = net_raw ? caps[0].permitted & (UINT32_C(1) << CAP_NET_RAW) : 0;
    memset(caps, 0, sizeof(caps));
    caps[0].permitted = caps[0].effective = kept;
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, caps) < 0)
        return error_origin(-errno);
    return 0;
}

/* what nobody can have any more; root alone may say so */
static void bound_capabilities(bool net_raw) {
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!net_raw || cap != CAP_NET_RAW)
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

int privileges_drop(const Privileges *privileges, Reason *reason) {
    const struct passwd *user = NULL;
    int r = user_of(privileges, &user, reason);
    if (r)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_origin(-errno);
    if (!user && geteuid() == 0)
        return 0; /* root it stays, by its own wish */
    if (user) {
        for (size_t i = 0; i < privileges->n_folders; i++)
            if (privileges->folders[i])
                hand_over_folder(privileges->folders[i], user->pw_uid, user->pw_gid);
        bound_capabilities(privileges->net_raw);
        r = become(user, reason);
    }
    if (r == 0)
        r = keep_capabilities(privileges->net_raw);
    for (size_t i = 0; user && r == 0 && i < privileges->n_folders; i++)
        if (privileges->folders[i])
            r = look_at_folder(privileges->folders[i], user->pw_name, reason);
    return error_trace(r);
}
