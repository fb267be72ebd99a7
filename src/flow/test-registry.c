/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "flow/field.h"
#include "flow/registry.h"

/* what an element must be for a field of a kind */
static FlowAbstract type_of(FlowKind kind, bool v6) {
    static const FlowAbstract types[] = {
        [FLOW_KIND_U8] = FLOW_ABSTRACT_UNSIGNED8,
        [FLOW_KIND_U16] = FLOW_ABSTRACT_UNSIGNED16,
        [FLOW_KIND_U32] = FLOW_ABSTRACT_UNSIGNED32,
        [FLOW_KIND_U64] = FLOW_ABSTRACT_UNSIGNED64,
        [FLOW_KIND_TIME_MS] = FLOW_ABSTRACT_DATE_TIME_MILLISECONDS,
        [FLOW_KIND_ADDRESS] = FLOW_ABSTRACT_IPV4_ADDRESS,
        [FLOW_KIND_MAC] = FLOW_ABSTRACT_MAC_ADDRESS,
        [FLOW_KIND_TEXT] = FLOW_ABSTRACT_STRING,
    };
    return kind == FLOW_KIND_ADDRESS && v6 ? FLOW_ABSTRACT_IPV6_ADDRESS : types[kind];
}

static void check(const FlowField *field, uint16_t number, bool v6) {
    const FlowElement *element = flow_element_find(field->pen, number);
    if (!element) {
        fail_msg("%s: there is no element %u of PEN %u", field->name, number, field->pen);
        return;
    }
    if (element->type != type_of(field->kind, v6))
        fail_msg("%s: %s is of another type", field->name, element->name);
    if (field->pen == FLOW_PEN_REVERSE && !element->reversible)
        fail_msg("%s: %s has no reverse", field->name, element->name);
}

static void test_fields_name_real_elements(void **state) {
    (void)state;
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        if (field->element) /* an address with one element only is IPv6, or IPv4 mapped into it */
            check(field, field->element, field->kind == FLOW_KIND_ADDRESS && !field->element_v6);
        if (field->element_v6)
            check(field, field->element_v6, true);
        /* the way back has the reverse PEN, or an element of its own where an enterprise has one */
        if (field->pen == FLOW_PEN_REVERSE || field->pen == FLOW_PEN_IANA)
            assert_true((field->pen == FLOW_PEN_REVERSE) == (field->direction == FLOW_REVERSE));
    }
}

static void test_known_elements(void **state) {
    (void)state;
    assert_string_equal(flow_element_find(0, 1)->name, "octetDeltaCount");
    assert_true(flow_element_find(0, 1)->reversible);
    assert_false(flow_element_find(0, 148)->reversible); /* flowId: RFC 5103 section 6.1 */
    assert_string_equal(flow_element_find(FLOW_PEN_REVERSE, 2)->name, "packetDeltaCount");
    assert_int_equal(flow_element_find(0, 152)->type, FLOW_ABSTRACT_DATE_TIME_MILLISECONDS);
    assert_int_equal(flow_element_find(0, 293)->type, FLOW_ABSTRACT_SUB_TEMPLATE_MULTI_LIST);
    assert_null(flow_element_find(0, 0));
    assert_null(flow_element_find(0, 40000));
    assert_null(flow_element_find(9, 1));
}

static void test_services(void **state) {
    (void)state;
    assert_string_equal(flow_service_name(6, 443), "https");
    assert_string_equal(flow_service_name(17, 53), "domain");
    assert_string_equal(flow_service_name(132, 5672), "amqp");
    assert_null(flow_service_name(17, 22));
    assert_null(flow_service_name(1, 80));
    assert_null(flow_service_name(6, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_name_real_elements),
        cmocka_unit_test(test_known_elements),
        cmocka_unit_test(test_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
