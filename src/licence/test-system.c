/* SPDX-License-Identifier: Apache-2.0 */

/* what a machine is known by */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "licence/system_id.h"
#include "licence/token.h"

static SystemId of(unsigned facts, const char *salt) {
    SystemId id = {0};
    for (unsigned i = 0; i < _SYSTEM_FACT_N; i++)
        if (facts & 1u << i)
            system_fact_hash(id.hashes[i], (SystemFact)i, salt);
    return id;
}

/* all sixteen sets of facts that stayed, the others having changed or gone */
static void test_two_of_four(void **state) {
    (void)state;
    const SystemId licensed = of(15, "then");
    for (unsigned same = 0; same < 16; same++) {
        SystemId gone = of(same, "then");
        SystemId changed = of(15, "now");
        for (unsigned i = 0; i < _SYSTEM_FACT_N; i++)
            if (same & 1u << i)
                memcpy(changed.hashes[i], licensed.hashes[i], sizeof(changed.hashes[i]));
        bool enough = __builtin_popcount(same) >= 2;
        assert_int_equal(system_id_is(&licensed, &gone), enough);
        assert_int_equal(system_id_is(&licensed, &changed), enough);
    }
    const SystemId nothing = {0};
    assert_false(system_id_is(&nothing, &nothing));
}

static void test_text(void **state) {
    (void)state;
    for (unsigned facts = 0; facts < 16; facts++) {
        char text[SYSTEM_ID_CHARS];
        Reason reason = {""};
        SystemId read;
        SystemId id = of(facts, "x");
        memset(&read, 0xff, sizeof(read));
        (void)system_id_text(&id, text);
        assert_int_equal(system_id_parse(&read, text, &reason), 0);
        for (unsigned i = 0; i < _SYSTEM_FACT_N; i++)
            assert_string_equal(read.hashes[i], id.hashes[i]);
        for (size_t i = 0; text[i]; i++) { /* a slip in any place */
            char kept = text[i];
            text[i] = kept == '7' ? '8' : '7';
            assert_int_equal(system_id_parse(&read, text, &reason), SYSTEM_ID_E_REFUSED);
            text[i] = '\0';
            assert_int_equal(system_id_parse(&read, text, &reason), SYSTEM_ID_E_REFUSED);
            text[i] = kept;
        }
    }
}

/* --- a machine made of files -------------------------------------------------------------- */

static void put(const char *root, const char *path, const char *text) {
    char full[256];
    int n = snprintf(full, sizeof(full), "%s", root);
    for (const char *at = path; *at;) {
        size_t part = 1 + strcspn(at + 1, "/");
        n += snprintf(full + n, sizeof(full) - (size_t)n, "%.*s", (int)part, at);
        at += part;
        if (*at)
            (void)mkdir(full, 0755);
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_all(const char *root) {
    assert_int_equal(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static const char machine_id[] = "0123456789abcdef0123456789abcdef";
static const char dmi[] = "4C4C4544-0042-3510-8052-B4C04F564E31";

static void test_machine(void **state) {
    (void)state;
    char root[] = "/tmp/weir-system-XXXXXX";
    char text[SYSTEM_ID_CHARS];
    char line[256];
    SystemId here;
    assert_non_null(mkdtemp(root));
    system_id_here(&here, root, NULL);
    assert_int_equal(system_id_facts(&here), 0);

    (void)snprintf(line, sizeof(line), "%s\n", machine_id);
    put(root, "/etc/machine-id", line);
    put(root, "/sys/class/dmi/id/product_uuid", dmi);
    system_id_here(&here, root, NULL);
    assert_int_equal(system_id_facts(&here), 2);
    assert_true(here.hashes[SYSTEM_MACHINE_ID][0] && here.hashes[SYSTEM_DMI_UUID][0]);
    (void)system_id_text(&here, text);
    for (size_t i = 0; i + 8 <= strlen(machine_id); i++) { /* nothing of it shows */
        char part[9] = "";
        memcpy(part, machine_id + i, 8);
        assert_null(strstr(text, part));
    }
    SystemId lower = here;
    put(root, "/sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8052-b4c04f564e31\n");
    system_id_here(&here, root, NULL);
    assert_memory_equal(&here, &lower, sizeof(here));

    /* what thousands of machines have is no fact */
    put(root, "/etc/machine-id", "uninitialized\n");
    put(root, "/sys/class/dmi/id/product_uuid", "00000000-0000-0000-0000-000000000000\n");
    system_id_here(&here, root, NULL);
    assert_int_equal(system_id_facts(&here), 0);
    remove_all(root);
}

/* root leaves what only root can read */
static void test_cache(void **state) {
    (void)state;
    char root[] = "/tmp/weir-system-XXXXXX";
    char cache[128];
    char line[256];
    SystemId as_root;
    SystemId as_user;
    assert_non_null(mkdtemp(root));
    assert_int_equal(chmod(root, 0755), 0);
    (void)snprintf(cache, sizeof(cache), "%s/cache", root);
    put(root, "/etc/machine-id", machine_id);
    put(root, "/sys/class/dmi/id/product_uuid", dmi);
    if (geteuid() != 0)
        skip();
    system_id_here(&as_root, root, cache);
    assert_int_equal(system_id_facts(&as_root), 2);
    (void)snprintf(line, sizeof(line), "%s/sys/class/dmi/id/product_uuid", root);
    assert_int_equal(chmod(line, 0400), 0);
    assert_int_equal(seteuid(65534), 0);
    system_id_here(&as_user, root, cache);
    SystemId without;
    system_id_here(&without, root, NULL);
    assert_int_equal(seteuid(0), 0);
    assert_memory_equal(&as_user, &as_root, sizeof(as_root));
    assert_int_equal(system_id_facts(&without), 1);

    /* a look leaves nothing, and less of the same machine is no news; other facts are */
    assert_int_equal(unlink(cache), 0);
    system_id_look(&as_root, root, cache);
    assert_int_equal(access(cache, F_OK), -1);
    system_id_here(&as_root, root, cache);
    (void)snprintf(line, sizeof(line), "%s/etc/machine-id", root);
    assert_int_equal(unlink(line), 0);
    SystemId less;
    system_id_here(&less, root, cache);
    assert_int_equal(system_id_facts(&less), 1);
    put(root, "/etc/machine-id", machine_id);
    assert_int_equal(seteuid(65534), 0);
    system_id_look(&as_user, root, cache);
    assert_int_equal(seteuid(0), 0);
    assert_memory_equal(&as_user, &as_root, sizeof(as_root));

    /* a cache that came with a disk from another machine says nothing */
    put(root, "/etc/machine-id", "ffffffffffffffffffffffffffffffff");
    assert_int_equal(chmod(cache, 0644), 0);
    assert_int_equal(seteuid(65534), 0);
    system_id_here(&as_user, root, cache);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(system_id_facts(&as_user), 1);
    remove_all(root);
}

static int start(void **state) {
    (void)state;
    (void)umask(022);
    return token_init();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_of_four),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
