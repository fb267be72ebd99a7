/* SPDX-License-Identifier: Apache-2.0 */

#include "query/filter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/error.h"

enum {
    ARENA_CHUNK_BYTES = 2048,
    LIST_MAX = 1024,
    TESTS_MAX = 256,
};

struct QueryFilter {
    Arena *arena;
    const QueryNode *root;
};

/* tokens */

typedef enum TokenKind {
    TOKEN_END,
    TOKEN_WORD,   /* names, numbers, addresses, MACs */
    TOKEN_TEXT,   /* quoted */
    TOKEN_SYMBOL, /* operators and punctuation */
    TOKEN_BAD,
} TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *at;
    size_t size; /* of a text: without its quotes */
} Token;

typedef struct Parser {
    const char *text;
    const char *at;
    Token token; /* the one to look at next */
    Arena *arena;
    Reason *reason;
    QueryValue *values; /* LIST_MAX of them, while a list is read */
    unsigned depth;
    unsigned tests;
    int error; /* sticky: QUERY_E_REFUSED or fatal */
} Parser;

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("_.:/-%*", c)) || (unsigned char)c >= 0x80;
}

static void next(Parser *p) {
    static const char *const symbols[] = {"==", "!=", "<=", ">=", "&&", "||", "=",
                                          "<",  ">",  "~",  "!",  "(",  ")",  ","};
    while (*p->at && strchr(" \t\r\n", *p->at))
        p->at++;
    p->token = (Token){.kind = TOKEN_END, .at = p->at};
    if (!*p->at)
        return;
    if (*p->at == '"' || *p->at == '\'') {
        const char *end = strchr(p->at + 1, *p->at);
        p->token.kind = end ? TOKEN_TEXT : TOKEN_BAD;
        p->token.at = p->at + 1;
        p->token.size = end ? (size_t)(end - p->at - 1) : 0;
        p->at = end ? end + 1 : p->at;
        return;
    }
    while (is_word(p->at[p->token.size]))
        p->token.size++;
    p->token.kind = p->token.size ? TOKEN_WORD : TOKEN_BAD;
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]) && !p->token.size; i++) {
        if (strncmp(p->at, symbols[i], strlen(symbols[i])) == 0) {
            p->token.kind = TOKEN_SYMBOL;
            p->token.size = strlen(symbols[i]);
        }
    }
    p->at += p->token.size;
}

static bool is(const Parser *p, const char *word) {
    return (p->token.kind == TOKEN_WORD || p->token.kind == TOKEN_SYMBOL) &&
           p->token.size == strlen(word) && strncasecmp(p->token.at, word, p->token.size) == 0;
}

static bool take(Parser *p, const char *word) {
    if (p->error || !is(p, word))
        return false;
    next(p);
    return true;
}

/* refusals: the first one stays */

__attribute__((format(printf, 2, 3))) static void *refuse(Parser *p, const char *format, ...) {
    if (p->error)
        return NULL;
    char text[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    p->error = QUERY_E_REFUSED;
    const Token *t = &p->token;
    size_t position = (size_t)(t->at - p->text) + 1;
    if (t->kind == TOKEN_END)
        reason_set(p->reason, "filter, at its end: %s", text);
    else if (t->kind == TOKEN_TEXT)
        reason_set(p->reason, "filter, character %zu, at \"%.*s\": %s", position - 1,
                   (int)(t->size < 40 ? t->size : 40), t->at, text);
    else if (t->kind == TOKEN_BAD && t->size == 0 && t->at > p->text &&
             (t->at[-1] == '"' || t->at[-1] == '\''))
        reason_set(p->reason, "filter, character %zu: this text has no closing quote",
                   position - 1);
    else
        reason_set(p->reason, "filter, character %zu, at %.*s: %s", position,
                   (int)(t->size == 0   ? 1
                         : t->size < 40 ? t->size
                                        : 40),
                   t->at, text);
    return NULL;
}

static void *no_memory(Parser *p) {
    if (!p->error)
        p->error = error_origin(-ENOMEM);
    return NULL;
}

static void *refuse_field(Parser *p) {
    char known[320] = "";
    size_t n = 0;
    for (size_t i = 0; i < _QUERY_FIELD_N && n < sizeof(known) - 32; i++) {
        /* the ones that look at both sides first */
        QueryField field = (QueryField)((i + _FLOW_FIELD_N) % _QUERY_FIELD_N);
        n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "",
                              query_field_name(field));
    }
    return refuse(p, "expected a field: %s, ...", known);
}

/* values */

static bool parse_number(const Token *token, uint64_t *numberp) {
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"k", 1000},
        {"m", 1000000},
        {"g", 1000000000},
        {"t", 1000000000000},
        {"ki", 1ull << 10},
        {"mi", 1ull << 20},
        {"gi", 1ull << 30},
        {"ti", 1ull << 40},
    };
    uint64_t v = 0;
    size_t i = 0;
    for (; i < token->size && token->at[i] >= '0' && token->at[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(token->at[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (i == 0)
        return false;
    for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
        if (strlen(units[u].suffix) != token->size - i ||
            strncasecmp(units[u].suffix, token->at + i, token->size - i) != 0)
            continue;
        if (v > UINT64_MAX / units[u].factor)
            return false;
        *numberp = v * units[u].factor;
        return true;
    }
    return false;
}

static bool same(const Token *token, const char *name) {
    return name && strlen(name) == token->size && strncasecmp(name, token->at, token->size) == 0;
}

/** parse_name() - numbers that have names */
static bool parse_name(QueryField field, const Token *token, uint64_t *numberp) {
    for (unsigned i = 0; i < 256; i++) {
        if ((field == FLOW_PROTOCOL && same(token, flow_protocol_name((uint8_t)i))) ||
            (field == FLOW_END_REASON && same(token, flow_end_reason_name((uint8_t)i)))) {
            *numberp = i;
            return true;
        }
    }
    return false;
}

static uint64_t kind_max(FlowKind kind) {
    return kind == FLOW_KIND_U8    ? UINT8_MAX
           : kind == FLOW_KIND_U16 ? UINT16_MAX
           : kind == FLOW_KIND_U32 ? UINT32_MAX
                                   : UINT64_MAX >> 1;
}

static void mask_address(NetAddress *address, unsigned bits) {
    for (size_t i = 0; i < net_address_bytes(address); i++) {
        unsigned keep = bits >= 8 ? 8 : bits;
        address->bytes[i] &= (uint8_t)(0xff00u >> keep);
        bits -= keep;
    }
}

static bool parse_address(const Token *token, QueryValue *value) {
    char text[NET_ADDRESS_TEXT_MAX + 8];
    if (token->size >= sizeof(text))
        return false;
    memcpy(text, token->at, token->size);
    text[token->size] = 0;
    char *slash = strchr(text, '/');
    if (slash)
        *slash = 0;
    if (!net_address_parse(&value->address, text))
        return false;
    uint64_t bits = net_address_bytes(&value->address) * 8;
    uint64_t max = bits;
    Token tail = {.at = slash ? slash + 1 : NULL, .size = slash ? strlen(slash + 1) : 0};
    if (slash && (!parse_number(&tail, &bits) || bits > max))
        return false;
    value->prefix_bits = (uint8_t)bits;
    mask_address(&value->address, (unsigned)bits);
    return true;
}

static bool parse_mac(const Token *token, uint64_t *numberp) {
    uint64_t v = 0;
    if (token->size != 17)
        return false;
    for (size_t i = 0; i < 17; i++) {
        char c = (char)(token->at[i] | 0x20);
        if (i % 3 == 2) {
            if (token->at[i] != ':' && token->at[i] != '-')
                return false;
        } else if (c >= 'a' && c <= 'f') {
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        } else if (token->at[i] >= '0' && token->at[i] <= '9') {
            v = v << 4 | (uint64_t)(token->at[i] - '0');
        } else {
            return false;
        }
    }
    *numberp = v;
    return true;
}

static bool parse_number_value(Parser *p, QueryField field, QueryValue *value) {
    uint64_t max = kind_max(query_field_kind(field));
    if (!parse_name(field, &p->token, &value->number) && !parse_number(&p->token, &value->number)) {
        (void)refuse(p, "%s takes a number%s", query_field_name(field),
                     field == FLOW_PROTOCOL     ? " or a protocol's name, like 6 or TCP"
                     : field == FLOW_END_REASON ? " or a reason, like 1 or \"idle timeout\""
                                                : ", like 1500, 10K or 1Mi");
        return false;
    }
    if (value->number > max) {
        (void)refuse(p, "%s takes 0 to %" PRIu64, query_field_name(field), max);
        return false;
    }
    return true;
}

/** parse_value() - the token as a value of the field; false: refused */
static bool parse_value(Parser *p, QueryField field, bool fold, QueryValue *value) {
    *value = (QueryValue){0};
    if (p->token.kind != TOKEN_WORD && p->token.kind != TOKEN_TEXT) {
        (void)refuse(p, "expected a value for %s", query_field_name(field));
        return false;
    }
    switch (query_field_kind(field)) {
    case FLOW_KIND_TEXT: {
        char *text = arena_strndup(p->arena, p->token.at, p->token.size);
        if (!text)
            return no_memory(p) != NULL;
        for (size_t i = 0; fold && i < p->token.size; i++)
            if (text[i] >= 'A' && text[i] <= 'Z')
                text[i] = (char)(text[i] + 32);
        value->text = (FlowText){.text = text, .size = (uint32_t)p->token.size};
        break;
    }
    case FLOW_KIND_ADDRESS:
        if (!parse_address(&p->token, value))
            return refuse(p, "%s takes an address or a prefix, like 10.0.0.0/8 or 2001:db8::/32",
                          query_field_name(field)) != NULL;
        break;
    case FLOW_KIND_MAC:
        if (!parse_mac(&p->token, &value->number))
            return refuse(p, "%s takes a MAC address, like 00:1b:21:aa:00:01",
                          query_field_name(field)) != NULL;
        break;
    default:
        if (!parse_number_value(p, field, value))
            return false;
    }
    next(p);
    return true;
}

/* the tree */

static QueryNode *node_new(Parser *p, QueryNode node) {
    QueryNode *made = p->error ? NULL : arena_alloc(p->arena, sizeof(node));
    if (!made)
        return no_memory(p);
    *made = node;
    return made;
}

static QueryNode *negate(Parser *p, bool yes, QueryNode *node) {
    return yes && node ? node_new(p, (QueryNode){.op = QUERY_NOT, .left = node}) : node;
}

static QueryNode *parse_list(Parser *p, QueryNode test, bool negated) {
    if (!p->values)
        p->values = arena_alloc(p->arena, LIST_MAX * sizeof(*p->values));
    if (!p->values)
        return no_memory(p);
    bool many = take(p, "(");
    do {
        if (test.n == LIST_MAX)
            return refuse(p, "at most %d values", LIST_MAX);
        if (!parse_value(p, test.field, false, &p->values[test.n]))
            return NULL;
        test.n++;
    } while (many && take(p, ","));
    if (many && !take(p, ")"))
        return refuse(p, "expected , or )");
    QueryValue *values = arena_alloc(p->arena, test.n * sizeof(*values));
    if (!values)
        return no_memory(p);
    memcpy(values, p->values, test.n * sizeof(*values));
    test.values = values;
    return negate(p, negated, node_new(p, test));
}

static bool parse_compare(Parser *p, QueryCompare *comparep, bool *negatedp) {
    static const struct {
        const char *text;
        QueryCompare compare;
        bool negated;
    } compares[] = {
        {"=", QUERY_EQUAL, false},          {"==", QUERY_EQUAL, false},
        {"!=", QUERY_EQUAL, true},          {"<", QUERY_LESS, false},
        {"<=", QUERY_LESS_EQUAL, false},    {">", QUERY_GREATER, false},
        {">=", QUERY_GREATER_EQUAL, false}, {"~", QUERY_CONTAINS, false},
    };
    for (size_t i = 0; i < sizeof(compares) / sizeof(compares[0]); i++) {
        if (take(p, compares[i].text)) {
            *comparep = compares[i].compare;
            *negatedp = compares[i].negated;
            return true;
        }
    }
    return false;
}

static QueryNode *parse_test(Parser *p) {
    QueryNode test = {.op = QUERY_TEST, .compare = QUERY_EQUAL};
    if (p->token.kind != TOKEN_WORD || !query_field_find(&test.field, p->token.at, p->token.size))
        return refuse_field(p);
    if (++p->tests > TESTS_MAX)
        return refuse(p, "at most %d tests in one filter", TESTS_MAX);
    FlowKind kind = query_field_kind(test.field);
    next(p);
    bool negated = take(p, "not");
    if (take(p, "in"))
        return parse_list(p, test, negated);
    Token sign = p->token;
    if (negated || !parse_compare(p, &test.compare, &negated))
        return refuse(p, "expected %s after %s", negated ? "in" : "= != < <= > >= ~ or in",
                      query_field_name(test.field));
    bool ordered = test.compare != QUERY_EQUAL && test.compare != QUERY_CONTAINS;
    if ((ordered &&
         (kind == FLOW_KIND_ADDRESS || kind == FLOW_KIND_TEXT || kind == FLOW_KIND_MAC)) ||
        (test.compare == QUERY_CONTAINS && kind != FLOW_KIND_TEXT)) {
        p->token = sign;
        return refuse(p, "%s takes %s", query_field_name(test.field),
                      kind == FLOW_KIND_TEXT ? "= != ~ and in"
                      : kind == FLOW_KIND_ADDRESS || kind == FLOW_KIND_MAC
                          ? "= != and in"
                          : "= != < <= > >= and in");
    }
    QueryValue *value = arena_alloc(p->arena, sizeof(*value));
    if (!value)
        return no_memory(p);
    if (!parse_value(p, test.field, test.compare == QUERY_CONTAINS, value))
        return NULL;
    test.values = value;
    test.n = 1;
    return negate(p, negated, node_new(p, test));
}

static QueryNode *parse_or(Parser *p);

static QueryNode *parse_unary(Parser *p) {
    if (++p->depth > QUERY_FILTER_DEPTH_MAX)
        return refuse(p, "nested more than %d deep", QUERY_FILTER_DEPTH_MAX);
    QueryNode *node = NULL;
    if (take(p, "not") || take(p, "!")) {
        node = negate(p, true, parse_unary(p));
    } else if (take(p, "(")) {
        node = parse_or(p);
        if (node && !take(p, ")"))
            return refuse(p, "expected and, or or )");
    } else {
        node = parse_test(p);
    }
    p->depth--;
    return node;
}

static QueryNode *parse_and(Parser *p) {
    QueryNode *left = parse_unary(p);
    while (left && (take(p, "and") || take(p, "&&"))) {
        QueryNode *right = parse_unary(p);
        left =
            right ? node_new(p, (QueryNode){.op = QUERY_AND, .left = left, .right = right}) : NULL;
    }
    return left;
}

static QueryNode *parse_or(Parser *p) {
    QueryNode *left = parse_and(p);
    while (left && (take(p, "or") || take(p, "||"))) {
        QueryNode *right = parse_and(p);
        left =
            right ? node_new(p, (QueryNode){.op = QUERY_OR, .left = left, .right = right}) : NULL;
    }
    return left;
}

int query_filter_new(QueryFilter **filterp, const char *text, Reason *reason) {
    if (strlen(text) > QUERY_FILTER_BYTES_MAX) {
        reason_set(reason, "the filter is longer than %d characters", QUERY_FILTER_BYTES_MAX);
        return QUERY_E_REFUSED;
    }
    cleanup(query_filter_freep) QueryFilter *filter = calloc(1, sizeof(*filter));
    if (!filter || arena_new(&filter->arena, ARENA_CHUNK_BYTES))
        return error_origin(-ENOMEM);
    Parser p = {.text = text, .at = text, .arena = filter->arena, .reason = reason};
    next(&p);
    if (p.token.kind != TOKEN_END) {
        filter->root = parse_or(&p);
        if (p.token.kind != TOKEN_END)
            (void)refuse(&p, "expected and, or, or the end");
    }
    if (p.error)
        return error_trace(p.error);
    *filterp = filter;
    filter = NULL;
    return 0;
}

QueryFilter *query_filter_free(QueryFilter *filter) {
    if (!filter)
        return NULL;
    arena_free(filter->arena);
    free(filter);
    return NULL;
}

const QueryNode *query_filter_root(const QueryFilter *filter) {
    return filter ? filter->root : NULL;
}
