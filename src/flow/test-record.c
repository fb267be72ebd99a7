/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/json.h"
#include "flow/field.h"
#include "flow/fieldset.h"

static void test_rows_are_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        assert_int_equal(field->id, i);
        assert_true(field->offset + field->size <= sizeof(FlowRecord));
        assert_true(strlen(field->description) > 10);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(field->name, flow_fields[k].name);
            if (field->nprobe_name[0])
                assert_string_not_equal(field->nprobe_name, flow_fields[k].nprobe_name);
            if (field->element)
                assert_false(field->element == flow_fields[k].element &&
                             field->pen == flow_fields[k].pen);
        }
    }
}

static void test_find(void **state) {
    (void)state;
    assert_ptr_equal(flow_field_find("rev_octets"), &flow_fields[FLOW_REV_OCTETS]);
    assert_ptr_equal(flow_field_find("%IN_BYTES"), &flow_fields[FLOW_OCTETS]);
    assert_ptr_equal(flow_field_find("in_bytes"), &flow_fields[FLOW_OCTETS]);
    assert_null(flow_field_find("nothing"));
    assert_null(flow_field_find(""));
    assert_null(flow_field_find("%"));
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(flow_protocol_name(6), "TCP");
    assert_string_equal(flow_protocol_name(17), "UDP");
    assert_string_equal(flow_protocol_name(58), "IPv6-ICMP");
    assert_string_equal(flow_protocol_name(132), "SCTP");
    assert_null(flow_protocol_name(61));
    assert_null(flow_protocol_name(255));
    assert_string_equal(flow_end_reason_name(FLOW_END_IDLE), "idle timeout");
    assert_null(flow_end_reason_name(0));
    assert_null(flow_end_reason_name(200));
}

static void test_batch_grows_and_clears(void **state) {
    (void)state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 2), 0);
    for (unsigned i = 0; i < 1000; i++) {
        FlowRecord *record = flow_batch_add(batch);
        assert_non_null(record);
        assert_int_equal(record->octets, 0);
        record->octets = i;
        record->app_name.text = arena_strndup(batch->texts, "TLS", 3);
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(batch->records[i].octets, i);
    flow_batch_clear(batch);
    assert_int_equal(batch->n, 0);
    assert_int_equal(flow_batch_add(batch)->octets, 0);
}

static const char *json_of(const FlowRecord *record, Buffer *to) {
    buffer_clear(to);
    Json json = json_make(to);
    flow_record_write_json(record, &json);
    return buffer_text(to);
}

static void test_json_of_a_lean_record(void **state) {
    (void)state;
    Buffer to = {0};
    FlowRecord record = {.first_ms = 1700000000123,
                         .last_ms = 1700000000124,
                         .protocol = 17,
                         .src_ip = net_address_v4((uint8_t[4]){10, 0, 0, 1}),
                         .dst_ip = net_address_v4((uint8_t[4]){10, 0, 0, 2}),
                         .src_port = 53,
                         .dst_port = 40000,
                         .octets = 100,
                         .packets = 1};
    assert_string_equal(json_of(&record, &to),
                        "{\"first_ms\":1700000000123,\"last_ms\":1700000000124,"
                        "\"src_ip\":\"10.0.0.1\",\"dst_ip\":\"10.0.0.2\",\"src_port\":53,"
                        "\"dst_port\":40000,\"protocol\":17,\"octets\":100,\"packets\":1,"
                        "\"rev_octets\":0,\"rev_packets\":0,\"end_reason\":0}");
    buffer_deinit(&to);
}

static void test_json_of_texts_and_macs(void **state) {
    (void)state;
    Buffer to = {0};
    uint8_t address[16] = {0x20, 1, 0xd, 0xb8};
    FlowRecord record = {.src_ip = net_address_v6(address),
                         .vlan = 7,
                         .src_mac = {{0, 0xaa, 0xbb, 1, 2, 0xff}},
                         .app_name = {"a\"\xff", 3}};
    const char *text = json_of(&record, &to);
    assert_non_null(strstr(text, "\"src_ip\":\"2001:db8::\",\"dst_ip\":\"\""));
    assert_non_null(strstr(text, "\"vlan\":7"));
    assert_non_null(strstr(text, "\"src_mac\":\"00:aa:bb:01:02:ff\""));
    assert_null(strstr(text, "dst_mac"));
    assert_non_null(strstr(text, "\"app_name\":\"a\\\"\xef\xbf\xbd\""));
    assert_null(strstr(text, "icmp_type"));
    buffer_deinit(&to);
}

static void test_icmp_type_0_is_a_value(void **state) {
    (void)state;
    Buffer to = {0};
    FlowRecord record = {.protocol = 1};
    assert_non_null(strstr(json_of(&record, &to), "\"icmp_type\":0,\"icmp_code\":0"));
    record.protocol = 58;
    assert_non_null(strstr(json_of(&record, &to), "\"icmp_type\":0"));
    record.protocol = 6;
    assert_null(strstr(json_of(&record, &to), "icmp"));
    buffer_deinit(&to);
}

static void test_fields_describe_themselves(void **state) {
    (void)state;
    Buffer to = {0};
    Json json = json_make(&to);
    flow_fields_write_json(&json);
    const char *text = buffer_text(&to);
    assert_non_null(strstr(text, "{\"name\":\"vlan\",\"kind\":\"u16\",\"unit\":\"\","
                                 "\"direction\":\"both\",\"always\":false,"
                                 "\"nprobe_name\":\"SRC_VLAN\",\"pen\":0,\"element\":58,"));
    buffer_deinit(&to);
}

static void test_field_sets(void **state) {
    (void)state;
    for (size_t i = 0; i < FIELDSETS_N; i++) {
        assert_string_equal(fieldset_names[i], fieldsets[i].name);
        assert_ptr_equal(fieldset_find(fieldset_names[i]), &fieldsets[i]);
    }
    assert_null(fieldset_names[FIELDSETS_N]);
    assert_null(fieldset_find("v10"));

    /* each field on its own: kept when it is in the set, else empty */
    const FieldSet *v9 = fieldset_find("v9");
    for (size_t id = 0; id < _FLOW_FIELD_N; id++) {
        FlowRecord record = {0};
        bool in = false;
        memset((unsigned char *)&record + flow_fields[id].offset, 1, flow_fields[id].size);
        for (size_t i = 0; i < v9->n_fields; i++)
            in = in || v9->fields[i] == id;
        /* what is always written means something only with its value */
        assert_true(in || !flow_fields[id].always);
        FlowRecord kept = record;
        fieldset_keep(fieldset_find("all"), &kept);
        assert_memory_equal(&kept, &record, sizeof(kept));
        fieldset_keep(v9, &kept);
        const FlowRecord none = {0};
        assert_memory_equal(&kept, in ? &record : &none, sizeof(kept));
    }
}

static void test_rare(void **state) {
    (void)state;
    FlowRecord r = {.src_port = 1, .received_ms = 2, .server_name = {.text = "x", .size = 1}};
    assert_false(flow_record_has_rare(&r));
    for (size_t i = (size_t)FLOW_RARE_FIRST; i < _FLOW_FIELD_N; i++) {
        FlowRecord one = r;
        memset((unsigned char *)&one + flow_fields[i].offset, 1, flow_fields[i].size);
        if (!flow_record_has_rare(&one))
            fail_msg("%s is not seen", flow_fields[i].name);
    }
}

static void test_dns_rcode(void **state) {
    (void)state;
    FlowRecord r = {.rev_packets = 1};
    const FlowField *rcode = &flow_fields[FLOW_DNS_RCODE];
    assert_false(flow_field_is_set(&r, rcode));
    r.dns_type = 28;
    assert_true(flow_field_is_set(&r, rcode)); /* 0 is no error */
    r.rev_packets = 0;
    assert_false(flow_field_is_set(&r, rcode));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_whole),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_batch_grows_and_clears),
        cmocka_unit_test(test_json_of_a_lean_record),
        cmocka_unit_test(test_json_of_texts_and_macs),
        cmocka_unit_test(test_icmp_type_0_is_a_value),
        cmocka_unit_test(test_fields_describe_themselves),
        cmocka_unit_test(test_field_sets),
        cmocka_unit_test(test_rare),
        cmocka_unit_test(test_dns_rcode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
