/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The filter on records in memory. The stores' answers are tested against this one.
 */

#include <string.h>

#include "query/filter.h"

static bool in_prefix(const NetAddress *address, const QueryValue *prefix) {
    if (address->family != prefix->address.family)
        return false;
    size_t whole = prefix->prefix_bits / 8;
    if (memcmp(address->bytes, prefix->address.bytes, whole) != 0)
        return false;
    unsigned rest = prefix->prefix_bits % 8u;
    return !rest ||
           (address->bytes[whole] & (0xff00u >> rest) & 0xffu) == prefix->address.bytes[whole];
}

static char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool contains(FlowText text, FlowText part) {
    for (size_t i = 0; i + part.size <= text.size; i++) {
        size_t k = 0;
        while (k < part.size && fold(text.text[i + k]) == part.text[k])
            k++;
        if (k == part.size)
            return true;
    }
    return false;
}

static bool equal(FlowKind kind, const QueryValue *value, const QueryValue *wanted) {
    switch (kind) {
    case FLOW_KIND_ADDRESS:
        return in_prefix(&value->address, wanted);
    case FLOW_KIND_TEXT:
        return value->text.size == wanted->text.size &&
               (wanted->text.size == 0 ||
                memcmp(value->text.text, wanted->text.text, wanted->text.size) == 0);
    default:
        return value->number == wanted->number;
    }
}

static bool compare(const QueryNode *test, FlowKind kind, const QueryValue *value) {
    const QueryValue *wanted = test->values;
    switch (test->compare) {
    case QUERY_EQUAL:
        for (size_t i = 0; i < test->n; i++)
            if (equal(kind, value, &wanted[i]))
                return true;
        return false;
    case QUERY_LESS:
        return value->number < wanted->number;
    case QUERY_LESS_EQUAL:
        return value->number <= wanted->number;
    case QUERY_GREATER:
        return value->number > wanted->number;
    case QUERY_GREATER_EQUAL:
        return value->number >= wanted->number;
    case QUERY_CONTAINS:
        return contains(value->text, wanted->text);
    }
    return false;
}

static bool match(const QueryNode *node, const FlowRecord *record) {
    switch (node->op) {
    case QUERY_AND:
        return match(node->left, record) && match(node->right, record);
    case QUERY_OR:
        return match(node->left, record) || match(node->right, record);
    case QUERY_NOT:
        return !match(node->left, record);
    case QUERY_TEST:
        break;
    }
    QueryValue values[2];
    size_t n = query_field_values(record, node->field, values);
    FlowKind kind = query_field_kind(node->field);
    for (size_t i = 0; i < n; i++)
        if (compare(node, kind, &values[i]))
            return true;
    return false;
}

bool query_match(const QueryFilter *filter, const FlowRecord *record) {
    const QueryNode *root = query_filter_root(filter);
    return !root || match(root, record);
}
