/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/custom_protos.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ndpi_main.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"

enum { FILE_BYTES_MAX = 16 << 20, NAME_MAX_BYTES = 63, HOST_MAX_BYTES = 253, SHOWN_BYTES = 60 };

typedef struct Span {
    const char *at;
    size_t size;
} Span;

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static Span trimmed(Span s) {
    while (s.size && blank(*s.at))
        s = (Span){s.at + 1, s.size - 1};
    while (s.size && blank(s.at[s.size - 1]))
        s.size--;
    return s;
}

/* what is before the first c, which is cut off with it */
static Span before(Span *s, char c) {
    const char *found = memchr(s->at, c, s->size);
    Span first = {s->at, found ? (size_t)(found - s->at) : s->size};
    const size_t cut = first.size + (found != NULL);
    *s = (Span){s->at + cut, s->size - cut};
    return first;
}

static bool take_prefix(Span *s, const char *prefix) {
    const size_t size = strlen(prefix);
    if (s->size < size || memcmp(s->at, prefix, size) != 0)
        return false;
    *s = (Span){s->at + size, s->size - size};
    return true;
}

/* digits only, and from least to most */
static bool is_number(Span s, unsigned long least, unsigned long most) {
    unsigned long n = 0;
    for (size_t i = 0; i < s.size; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        const unsigned long digit = (unsigned long)(s.at[i] - '0');
        if (n > (most - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    return s.size > 0 && n >= least && n <= most;
}

static bool is_port(Span s) {
    return is_number(s, 1, UINT16_MAX);
}

static unsigned long number(Span s) {
    unsigned long n = 0;
    for (size_t i = 0; i < s.size; i++)
        n = n * 10 + (unsigned long)(s.at[i] - '0');
    return n;
}

static bool right_ports(Span s) {
    const bool range = memchr(s.at, '-', s.size) != NULL;
    const Span from = before(&s, '-');
    if (!range)
        return is_port(from);
    return is_port(from) && is_port(s) && number(from) <= number(s);
}

static bool is_ipv4(Span s) {
    char text[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    if (s.size >= sizeof(text))
        return false;
    memcpy(text, s.at, s.size);
    return inet_pton(AF_INET, text, &address) == 1;
}

static bool right_network(Span s) {
    const bool bits = memchr(s.at, '/', s.size) != NULL;
    const Span address = before(&s, '/');
    return is_ipv4(address) && (!bits || is_number(s, 0, 32));
}

static bool right_ip(Span s) {
    const bool port = memchr(s.at, ':', s.size) != NULL;
    const Span network = before(&s, ':');
    return right_network(network) && (!port || is_port(s));
}

static Span unquoted(Span s) {
    if (s.size >= 2 && s.at[0] == '"' && s.at[s.size - 1] == '"')
        return (Span){s.at + 1, s.size - 2};
    return s;
}

static bool right_host(Span s) {
    const Span name = unquoted(s);
    for (size_t i = 0; i < name.size; i++)
        if (blank(name.at[i]) || strchr("\"'@,", name.at[i]))
            return false;
    return name.size > 0 && name.size <= HOST_MAX_BYTES;
}

static bool split_mask(Span *s) {
    const char *equals = memrchr(s->at, '=', s->size);
    if (!equals)
        return false;
    const size_t size = (size_t)(equals - s->at);
    const Span mask = {equals + 1, s->size - size - 1};
    s->size = size;
    return is_number(mask, 0, INT64_MAX);
}

static bool right_ip_mask(Span s) {
    return split_mask(&s) && right_network(s);
}

static bool right_host_mask(Span s) {
    return split_mask(&s) && right_host(s);
}

static bool right_issuer(Span s) {
    const Span text = unquoted(s);
    return text.size > 0 && text.size == s.size - 2 && !memchr(text.at, '"', text.size);
}

typedef struct Kind {
    const char *prefix;
    bool (*right)(Span value);
    const char *accepted;
} Kind;

#define PORTS "a port, or two with - between them, the lower first, from 1 to 65535"

static const Kind elements[] = {
    {"tcp:", right_ports, PORTS},
    {"udp:", right_ports, PORTS},
    {"ip:", right_ip, "an IPv4 address, with /BITS and :PORT where wanted; nDPI has no IPv6 here"},
    {"host:", right_host, "a name in quotes, without blanks, commas and quotes in it"},
    {NULL, NULL, "tcp:PORT, udp:PORT, ip:ADDRESS and host:\"NAME\" are accepted before @PROTOCOL"},
};

static const Kind others[] = {
    {"ip_risk_mask:", right_ip_mask, "IPv4-ADDRESS[/BITS]=NUMBER, decimal"},
    {"host_risk_mask:", right_host_mask, "\"NAME\"=NUMBER, decimal"},
    {"trusted_issuer_dn:", right_issuer, "a text in quotes"},
    {NULL, NULL,
     "a rule is tcp:PORT, udp:PORT, ip:ADDRESS or host:\"NAME\", several with commas between them, "
     "and then @PROTOCOL"},
};

/* of a line that may be anything only what can be shown */
static int refuse(Reason *reason, Span text, const char *accepted) {
    char shown[SHOWN_BYTES + 1] = "";
    const size_t size = text.size < SHOWN_BYTES ? text.size : SHOWN_BYTES;
    for (size_t i = 0; i < size; i++)
        shown[i] = text.at[i] < ' ' || text.at[i] > '~' ? '?' : text.at[i];
    reason_set(reason, "'%s'%s is not right: %s", shown, text.size > size ? "..." : "", accepted);
    return CUSTOM_PROTOS_E_REFUSED;
}

static int check_kind(const Kind *kinds, Span text, Reason *reason) {
    const Kind *kind = kinds;
    Span value = text;
    while (kind->prefix && !take_prefix(&value, kind->prefix))
        kind++;
    if (kind->prefix && kind->right(value))
        return 0;
    return refuse(reason, text, kind->accepted);
}

/* as nDPI itself changes it, so that it is found again by its name */
static void put_name(Buffer *rules, Span name) {
    for (size_t i = 0; i < name.size; i++)
        buffer_put_u8(rules, (uint8_t)(strchr("/&^:;'\" ", name.at[i]) ? '_' : name.at[i]));
}

static int take_rule(Buffer *rules, Span line, Span name, Reason *reason) {
    line.size = (size_t)(name.at - line.at) - 1;
    name = trimmed(name);
    if (name.size == 0 || name.size > NAME_MAX_BYTES)
        return refuse(reason, name, "behind @ a protocol's name of 1 to 63 characters is accepted");
    bool more = true;
    for (bool first = true; more; first = false) {
        more = memchr(line.at, ',', line.size) != NULL;
        const Span element = trimmed(before(&line, ','));
        int r = check_kind(elements, element, reason);
        if (r)
            return r;
        buffer_put_text(rules, first ? "" : ",");
        buffer_put(rules, element.at, element.size);
    }
    buffer_put_text(rules, "@");
    put_name(rules, name);
    return 0;
}

static bool readable(Span line) {
    for (size_t i = 0; i < line.size; i++)
        if ((line.at[i] < ' ' && line.at[i] != '\t') || line.at[i] == 0x7f)
            return false;
    return true;
}

static int take_line(Buffer *rules, Span line, Reason *reason) {
    if (line.size == 0 || *line.at == '#')
        return 0;
    if (!readable(line))
        return refuse(reason, line, "a file of text is accepted");
    const char *at = memrchr(line.at, '@', line.size);
    if (at)
        return take_rule(rules, line, (Span){at + 1, line.size - (size_t)(at + 1 - line.at)},
                         reason);
    int r = check_kind(others, line, reason);
    if (r == 0)
        buffer_put(rules, line.at, line.size);
    return r;
}

int custom_protos_check(Buffer *rules, const char *text, size_t size, Reason *reason) {
    Span left = {text, size};
    for (size_t n = 1; left.size; n++) {
        Reason why = {""};
        int r = take_line(rules, trimmed(before(&left, '\n')), &why);
        if (r) {
            reason_set(reason, "line %zu: %s", n, why.text);
            return r;
        }
        buffer_put_text(rules, "\n");
    }
    return 0;
}

/* nDPI has places for so many protocols and leaves out others, saying it to nobody */
static int check_room(struct ndpi_detection_module_struct *module, Span rules, Reason *reason) {
    for (size_t n = 1; rules.size; n++) {
        const Span line = before(&rules, '\n');
        const char *at = memrchr(line.at, '@', line.size);
        char name[NAME_MAX_BYTES + 1] = "";
        if (!at)
            continue;
        memcpy(name, at + 1, line.size - (size_t)(at + 1 - line.at));
        if (ndpi_get_proto_by_name(module, name) == NDPI_PROTOCOL_UNKNOWN &&
            strcasecmp(name, "Unknown") != 0) {
            reason_set(reason, "line %zu: nDPI has room for %d protocols of one's own, not for %s",
                       n, NDPI_MAX_NUM_CUSTOM_PROTOCOLS - 1, name);
            return CUSTOM_PROTOS_E_REFUSED;
        }
    }
    return 0;
}

static int give(struct ndpi_detection_module_struct *module, int fd) {
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    (void)fflush(stdout);
    cleanup(closep) int kept = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    cleanup(closep) int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept < 0 || nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0)
        return error_origin(-errno);
    errno = 0;
    int r = ndpi_load_protocols_file(module, path) ? -(errno ? errno : EIO) : 0;
    (void)fflush(stdout);
    if (dup2(kept, STDOUT_FILENO) < 0)
        return error_origin(-errno);
    return error_trace(r);
}

/* as a file, for nDPI takes only such; what was checked is what it reads */
static int hand_over(struct ndpi_detection_module_struct *module, const Buffer *rules,
                     Reason *reason) {
    cleanup(closep) int fd = memfd_create("protos", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : 0;
    if (r == 0 && write(fd, rules->bytes, rules->size) != (ssize_t)rules->size)
        r = -EIO;
    if (r == 0)
        r = give(module, fd);
    if (r < 0) {
        reason_set(reason, "it cannot be handed to nDPI: %s", strerror(-r));
        return CUSTOM_PROTOS_E_REFUSED;
    }
    return check_room(module, (Span){(const char *)rules->bytes, rules->size}, reason);
}

int custom_protos_load(struct ndpi_detection_module_struct *module, const char *path,
                       Reason *reason) {
    Buffer text = {0};
    Buffer rules = {0};
    Reason why = {""};
    int r = file_read_any(&text, path, FILE_BYTES_MAX, &why);
    if (r > 0) {
        reason_set(reason, "--ndpi-custom-protos: %s", why.text);
        r = CUSTOM_PROTOS_E_REFUSED;
    } else if (r == 0) {
        r = custom_protos_check(&rules, buffer_text(&text), text.size, &why);
        if (r == 0 && rules.failed)
            r = error_origin(-ENOMEM);
        if (r == 0 && rules.size)
            r = hand_over(module, &rules, &why);
        if (r > 0)
            reason_set(reason, "--ndpi-custom-protos %s, %s", path, why.text);
    }
    buffer_deinit(&text);
    buffer_deinit(&rules);
    return error_trace(r);
}
