/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"

enum {
    FILE_BYTES_MAX = 16 << 20,
    COLUMNS_MAX = 4,
    NAME_MAX_BYTES = 64, /* of an exporter, a site, an interface: more is cut */
    RATE_MAX = 1 << 24,
    TEXTS_BYTES = 4096,
};

typedef struct Network {
    uint8_t family;
    uint8_t bits;
    uint8_t bytes[16];
} Network;

struct CollectPolicy {
    Arena *texts;
    CollectPolicyExporter *exporters; /* in the order of addresses */
    size_t n_exporters, room_exporters;
    CollectPolicyInterface *interfaces; /* in the order of address, index */
    size_t n_interfaces, room_interfaces;
    Network *black;
    size_t n_black;
    uint32_t usual_rate;
};

/* --- rows in order --- */

/* where an item of this key is or would be; *foundp: it is */
static size_t place(const void *items, size_t n, size_t size, const void *key,
                    int (*compare)(const void *key, const void *item), bool *foundp) {
    size_t low = 0;
    size_t high = n;
    *foundp = false;
    while (low < high && !*foundp) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare(key, (const uint8_t *)items + middle * size);
        if (order == 0) {
            *foundp = true;
            low = middle;
        } else if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* room for one more at `at`; NULL: no memory */
static void *insert(void **itemsp, size_t *np, size_t *roomp, size_t size, size_t at) {
    if (*np == *roomp) {
        const size_t room = *roomp ? 2 * *roomp : 64;
        void *more = realloc(*itemsp, room * size);
        if (!more)
            return NULL;
        *itemsp = more;
        *roomp = room;
    }
    uint8_t *item = (uint8_t *)*itemsp + at * size;
    memmove(item + size, item, (*np - at) * size);
    memset(item, 0, size);
    (*np)++;
    return item;
}

static int compare_exporter(const void *key, const void *item) {
    return memcmp(key, &((const CollectPolicyExporter *)item)->address, sizeof(NetAddress));
}

static int compare_interface(const void *key, const void *item) {
    const CollectPolicyInterface *a = key;
    const CollectPolicyInterface *b = item;
    const int order = memcmp(&a->exporter, &b->exporter, sizeof(a->exporter));
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static CollectPolicyExporter *exporter_of(CollectPolicy *policy, const NetAddress *address) {
    bool found = false;
    const size_t at = place(policy->exporters, policy->n_exporters, sizeof(*policy->exporters),
                            address, compare_exporter, &found);
    if (found)
        return &policy->exporters[at];
    void *items = policy->exporters;
    CollectPolicyExporter *row = insert(&items, &policy->n_exporters, &policy->room_exporters,
                                        sizeof(*policy->exporters), at);
    policy->exporters = items;
    if (row)
        row->address = *address;
    return row;
}

/* --- files --- */

typedef struct Line {
    CollectPolicy *policy;
    const char *option, *path;
    size_t number;
    char *columns[COLUMNS_MAX];
    size_t n;
    Reason *reason;
} Line;

static int refuse(const Line *line, const char *what, const char *text) {
    reason_set(line->reason, "--%s %s, line %zu: '%s' is %s", line->option, line->path,
               line->number, text, what);
    return COLLECT_POLICY_E_USAGE;
}

static int keep_text(Line *line, const char *text, const char **to) {
    size_t size = strnlen(text, NAME_MAX_BYTES);
    char *copy = arena_alloc(line->policy->texts, size + 1);
    if (!copy)
        return error_origin(-ENOMEM);
    memcpy(copy, text, size);
    copy[size] = '\0';
    *to = copy;
    return 0;
}

static bool parse_u32(const char *text, uint32_t *to) {
    char *end = NULL;
    errno = 0;
    const unsigned long v = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || v > UINT32_MAX)
        return false;
    *to = (uint32_t)v;
    return true;
}

static int compare_u32(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int take_allowed(Line *line, CollectPolicyExporter *row, char *text) {
    if (strcmp(text, "*") == 0)
        return 0;
    size_t n = 1;
    for (const char *c = text; *c; c++)
        n += *c == ',';
    uint32_t *allowed = arena_alloc(line->policy->texts, n * sizeof(*allowed));
    if (!allowed)
        return error_origin(-ENOMEM);
    char *rest = NULL;
    n = 0;
    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest))
        if (!parse_u32(one, &allowed[n++]))
            return refuse(line, "no number of an interface", one);
    qsort(allowed, n, sizeof(*allowed), compare_u32);
    row->allowed = allowed;
    row->n_allowed = n;
    return 0;
}

static int take_reforge(Line *line, const NetAddress *address) {
    NetAddress to = {0};
    if (strcmp(line->columns[1], "*") != 0 && !net_address_parse(&to, line->columns[1]))
        return refuse(line, "no address, and not *", line->columns[1]);
    CollectPolicyExporter *row = exporter_of(line->policy, address);
    if (!row)
        return error_origin(-ENOMEM);
    row->reforged = to;
    return error_trace(line->n > 2 ? take_allowed(line, row, line->columns[2]) : 0);
}

static int take_name(Line *line, const NetAddress *address) {
    CollectPolicyExporter *row = exporter_of(line->policy, address);
    if (!row)
        return error_origin(-ENOMEM);
    int r = keep_text(line, line->columns[1], &row->name);
    if (r == 0 && line->n > 2)
        r = keep_text(line, line->columns[2], &row->site);
    return error_trace(r);
}

static int take_interface(Line *line, const NetAddress *address) {
    CollectPolicy *policy = line->policy;
    CollectPolicyInterface key = {.exporter = *address};
    if (line->n < 3 || !parse_u32(line->columns[1], &key.index))
        return refuse(line, "no number of an interface and a name behind it", line->columns[1]);
    int r = keep_text(line, line->columns[2], &key.name);
    if (r)
        return error_trace(r);
    bool found = false;
    const size_t at = place(policy->interfaces, policy->n_interfaces, sizeof(key), &key,
                            compare_interface, &found);
    void *items = policy->interfaces;
    CollectPolicyInterface *row =
        found ? &policy->interfaces[at]
              : insert(&items, &policy->n_interfaces, &policy->room_interfaces, sizeof(key), at);
    policy->interfaces = items;
    if (!row)
        return error_origin(-ENOMEM);
    *row = key;
    return 0;
}

/* the columns of a line; the last one has what is left */
static void split(Line *line, char *text, size_t wanted) {
    const char *blanks = strchr(text, '\t') ? "\t" : " ";
    line->n = 0;
    while (*text && line->n < wanted) {
        text += strspn(text, blanks);
        if (!*text)
            break;
        line->columns[line->n++] = text;
        if (line->n == wanted)
            break;
        text += strcspn(text, blanks);
        if (*text)
            *text++ = '\0';
    }
    for (size_t i = 0; i < line->n; i++) { /* blanks beside tabs */
        char *column = line->columns[i] + strspn(line->columns[i], " ");
        for (size_t size = strlen(column); size > 0 && strchr(" \t\r", column[size - 1]); size--)
            column[size - 1] = '\0';
        line->columns[i] = column;
    }
}

static int take_line(Line *line, char *text, int (*take)(Line *line, const NetAddress *address)) {
    NetAddress address;
    text[strcspn(text, "\r")] = '\0';
    if (text[strspn(text, " \t")] == '#')
        return 0;
    split(line, text, 3);
    if (line->n == 0)
        return 0;
    if (!net_address_parse(&address, line->columns[0]))
        return refuse(line, "no address", line->columns[0]);
    if (line->n < 2)
        return refuse(line, "alone: there is no second column", line->columns[0]);
    return error_trace(take(line, &address));
}

static int read_rows(CollectPolicy *policy, const char *option, const char *path,
                     int (*take)(Line *line, const NetAddress *address), Reason *reason) {
    if (!path)
        return 0;
    Buffer text = {0};
    Reason why = {""};
    Line line = {.policy = policy, .option = option, .path = path, .reason = reason};
    int r = file_read_any(&text, path, FILE_BYTES_MAX, &why);
    if (r > 0) {
        reason_set(reason, "--%s: %s", option, why.text);
        r = COLLECT_POLICY_E_USAGE;
    }
    buffer_put_u8(&text, '\0');
    if (r == 0 && text.failed)
        r = error_origin(-ENOMEM);
    for (char *at = (char *)text.bytes, *next = NULL; r == 0 && at && *at; at = next) {
        const size_t size = strcspn(at, "\n");
        next = at + size + (at[size] == '\n');
        at[size] = '\0';
        line.number++;
        r = take_line(&line, at, take);
    }
    buffer_deinit(&text);
    return error_trace(r);
}

/* --- options --- */

static int read_rates(CollectPolicy *policy, const OptionList *rates, Reason *reason) {
    for (size_t i = 0; rates && i < rates->n; i++) {
        const char *text = rates->values[i];
        const char *equals = strrchr(text, '=');
        char address_text[NET_ADDRESS_TEXT_MAX] = "";
        NetAddress address = {0};
        uint32_t rate = 0;
        const size_t size = equals ? (size_t)(equals - text) : sizeof(address_text);
        if (size < sizeof(address_text))
            memcpy(address_text, text, size);
        const bool usual = strcmp(address_text, "*") == 0;
        if (size >= sizeof(address_text) || !parse_u32(equals + 1, &rate) || rate == 0 ||
            rate > RATE_MAX || (!usual && !net_address_parse(&address, address_text))) {
            reason_set(reason,
                       "--sampling %s: EXPORTER=RATE is accepted, such as 192.0.2.1=1000, and "
                       "*=RATE for exporters that say no rate",
                       text);
            return COLLECT_POLICY_E_USAGE;
        }
        CollectPolicyExporter *row = usual ? NULL : exporter_of(policy, &address);
        if (!usual && !row)
            return error_origin(-ENOMEM);
        *(usual ? &policy->usual_rate : &row->rate) = rate;
    }
    return 0;
}

/* of a mask the number of its ones; false: they do not stand together */
static bool mask_bits(const NetAddress *mask, uint32_t *to) {
    uint32_t n = 0;
    bool over = false;
    for (size_t i = 0; i < 8 * net_address_bytes(mask); i++) {
        const bool one = mask->bytes[i / 8] >> (7 - i % 8) & 1;
        if (one && over)
            return false;
        over |= !one;
        n += one;
    }
    *to = n;
    return true;
}

static bool parse_network(Network *to, const char *text) {
    char buffer[2 * NET_ADDRESS_TEXT_MAX];
    NetAddress address;
    NetAddress mask;
    if (strlen(text) >= sizeof(buffer))
        return false;
    (void)snprintf(buffer, sizeof(buffer), "%s", text);
    char *slash = strchr(buffer, '/');
    if (slash)
        *slash++ = '\0';
    if (!net_address_parse(&address, buffer))
        return false;
    uint32_t bits = (uint32_t)(8 * net_address_bytes(&address));
    const uint32_t most = bits;
    if (slash && !parse_u32(slash, &bits) &&
        !(net_address_parse(&mask, slash) && mask.family == address.family &&
          mask_bits(&mask, &bits)))
        return false;
    if (bits > most)
        return false;
    *to = (Network){.family = address.family, .bits = (uint8_t)bits};
    for (size_t i = 0; i < sizeof(to->bytes); i++) {
        const uint32_t kept = bits > 8 * i ? bits - (uint32_t)(8 * i) : 0;
        to->bytes[i] = (uint8_t)(address.bytes[i] & (kept >= 8 ? 0xff : 0xff00 >> kept));
    }
    return true;
}

static int read_black(CollectPolicy *policy, const OptionList *list, Reason *reason) {
    if (!list || !list->n)
        return 0;
    policy->black = calloc(list->n, sizeof(*policy->black));
    if (!policy->black)
        return error_origin(-ENOMEM);
    for (; policy->n_black < list->n; policy->n_black++)
        if (!parse_network(&policy->black[policy->n_black], list->values[policy->n_black])) {
            reason_set(reason,
                       "--black-list %s: an address or a network is accepted, such as 192.0.2.1, "
                       "192.0.2.0/24 or 192.0.2.0/255.255.255.0",
                       list->values[policy->n_black]);
            return COLLECT_POLICY_E_USAGE;
        }
    return 0;
}

static void put_sources(Buffer *text, const OptionList *list) {
    for (size_t i = 0; i < list->n; i++) {
        Network network = {0};
        char address[NET_ADDRESS_TEXT_MAX];
        if (!parse_network(&network, list->values[i]))
            continue;
        const NetAddress base =
            network.family == 4 ? net_address_v4(network.bytes) : net_address_v6(network.bytes);
        buffer_printf(text, "%ssrc net %s/%u", i ? " or " : "", net_address_format(&base, address),
                      network.bits);
    }
}

/* `vlan` moves what stands behind it on by a tag: so each is asked twice, last the tagged ones */
char *collect_policy_black_filter(const OptionList *black_list, const char *filter) {
    Buffer text = {0};
    const bool has = filter && *filter;
    if (black_list && black_list->n) {
        buffer_printf(&text, has ? "(%s) and not (" : "not (%s", has ? filter : "");
        put_sources(&text, black_list);
        buffer_put_text(&text, " or (vlan and (");
        put_sources(&text, black_list);
        buffer_put_text(&text, ")))");
    } else {
        buffer_put_text(&text, has ? filter : "");
    }
    char *copy = text.failed ? NULL : strdup(buffer_text(&text));
    buffer_deinit(&text);
    return copy;
}

/* --- life --- */

int collect_policy_new(CollectPolicy **policyp, const CollectPolicyConfig *config, Reason *reason) {
    cleanup(collect_policy_freep) CollectPolicy *policy = calloc(1, sizeof(*policy));
    if (!policy)
        return error_origin(-ENOMEM);
    int r = arena_new(&policy->texts, TEXTS_BYTES);
    if (r == 0)
        r = read_rows(policy, "collector-nf-reforge", config->reforge, take_reforge, reason);
    if (r == 0)
        r = read_rows(policy, "exporter-names", config->names, take_name, reason);
    if (r == 0)
        r = read_rows(policy, "snmp-mappings", config->interfaces, take_interface, reason);
    if (r == 0)
        r = read_rates(policy, config->rates, reason);
    if (r == 0)
        r = read_black(policy, config->black_list, reason);
    if (r)
        return error_trace(r);
    *policyp = policy;
    policy = NULL;
    return 0;
}

int collect_policy_check(const CollectPolicyConfig *config, Reason *reason) {
    cleanup(collect_policy_freep) CollectPolicy *policy = NULL;
    return error_trace(collect_policy_new(&policy, config, reason));
}

CollectPolicy *collect_policy_free(CollectPolicy *policy) {
    if (!policy)
        return NULL;
    arena_free(policy->texts);
    free(policy->exporters);
    free(policy->interfaces);
    free(policy->black);
    free(policy);
    return NULL;
}

/* --- looking up --- */

const CollectPolicyExporter *collect_policy_exporter(const CollectPolicy *policy,
                                                     const NetAddress *address) {
    bool found = false;
    const size_t at = place(policy->exporters, policy->n_exporters, sizeof(*policy->exporters),
                            address, compare_exporter, &found);
    return found ? &policy->exporters[at] : NULL;
}

bool collect_policy_allows(const CollectPolicyExporter *exporter, uint32_t interface) {
    return !exporter || !exporter->allowed ||
           bsearch(&interface, exporter->allowed, exporter->n_allowed, sizeof(interface),
                   compare_u32);
}

uint32_t collect_policy_usual_rate(const CollectPolicy *policy) {
    return policy->usual_rate;
}

static bool in_network(const Network *network, const NetAddress *address) {
    const size_t whole = network->bits / 8;
    const uint8_t rest = (uint8_t)(0xff00 >> network->bits % 8);
    return network->family == address->family &&
           memcmp(network->bytes, address->bytes, whole) == 0 &&
           (network->bits % 8 == 0 ||
            ((network->bytes[whole] ^ address->bytes[whole]) & rest) == 0);
}

bool collect_policy_black(const CollectPolicy *policy, const NetAddress *address) {
    for (size_t i = 0; i < policy->n_black; i++)
        if (in_network(&policy->black[i], address))
            return true;
    return false;
}

bool collect_policy_says_nothing(const CollectPolicy *policy) {
    return !policy->n_exporters && !policy->usual_rate && !policy->n_black;
}

bool collect_policy_has_black(const CollectPolicy *policy) {
    return policy->n_black > 0;
}

size_t collect_policy_interfaces(const CollectPolicy *policy,
                                 const CollectPolicyInterface **rowsp) {
    *rowsp = policy->interfaces;
    return policy->n_interfaces;
}

const char *collect_policy_interface(const CollectPolicy *policy, const NetAddress *exporter,
                                     uint32_t index) {
    bool found = false;
    const CollectPolicyInterface key = {.exporter = *exporter, .index = index};
    const size_t at = place(policy->interfaces, policy->n_interfaces, sizeof(key), &key,
                            compare_interface, &found);
    return found ? policy->interfaces[at].name : NULL;
}
