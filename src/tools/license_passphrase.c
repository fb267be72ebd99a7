/* SPDX-License-Identifier: Apache-2.0 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "tools/license.h"

static void cut_line(char *text) {
    text[strcspn(text, "\r\n")] = '\0';
}

static int from_file(char text[PASSPHRASE_MAX], const char *path, Reason *reason) {
    cleanup(fclosep) FILE *file = fopen(path, "re");
    if (!file || !fgets(text, PASSPHRASE_MAX, file)) {
        reason_set(reason, "--passphrase-file %s: %s", path, file ? "it is empty" : "no such file");
        return LICENSE_REFUSED;
    }
    cut_line(text);
    return 0;
}

/* without an echo; the terminal is as it was afterwards */
static bool ask(FILE *terminal, const char *prompt, char text[PASSPHRASE_MAX]) {
    struct termios as_it_was;
    int fd = fileno(terminal);
    if (tcgetattr(fd, &as_it_was) < 0)
        return false;
    struct termios silent = as_it_was;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    (void)fputs(prompt, terminal);
    (void)fflush(terminal);
    (void)tcsetattr(fd, TCSAFLUSH, &silent);
    bool got = fgets(text, PASSPHRASE_MAX, terminal);
    (void)tcsetattr(fd, TCSAFLUSH, &as_it_was);
    (void)fputc('\n', terminal);
    cut_line(text);
    return got;
}

static int from_terminal(char text[PASSPHRASE_MAX], bool is_new, Reason *reason) {
    char again[PASSPHRASE_MAX];
    cleanup(fclosep) FILE *terminal = fopen("/dev/tty", "r+e");
    if (!terminal || !ask(terminal, "Passphrase of the vendor's key: ", text)) {
        reason_set(reason,
                   "there is no terminal to ask for the passphrase: --passphrase-file FILE");
        return LICENSE_REFUSED;
    }
    if (!is_new)
        return 0;
    bool same = ask(terminal, "The same again: ", again) && strcmp(text, again) == 0;
    explicit_bzero(again, sizeof(again));
    if (!same)
        reason_set(reason, "the two were not the same; nothing was written");
    return same ? 0 : LICENSE_REFUSED;
}

int license_passphrase(char text[PASSPHRASE_MAX], const char *file, bool is_new, Reason *reason) {
    int r = file ? from_file(text, file, reason) : from_terminal(text, is_new, reason);
    if (r == 0 && !text[0]) {
        reason_set(reason, "the passphrase is empty: whoever has the file could sign licences");
        return LICENSE_REFUSED;
    }
    return r;
}
