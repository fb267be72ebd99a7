/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "licence/token.h"
#include "tools/license.h"

static const LicenseCommand commands[] = {
    {"keygen", 0, "", " key! kid! passphrase-file ", license_keygen},
    {"issue", 0, "",
     " key! kind! customer! expires! probes grace not-before system-id id output "
     "passphrase-file ",
     license_issue},
    {"inspect", 1, " FILE", " vendor-key json ", license_inspect},
    {"verify", 1, " FILE", " vendor-key revocations system-id at json ", license_verify},
    {"revoke", 2, " LIST ID", " key! passphrase-file vendor-key ", license_revoke},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const LicenseCommand *find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse_command(const char *name, Reason *reason) {
    reason_set(reason, "'%s' is no command; there are", name);
    for (size_t i = 0; i < N_COMMANDS; i++)
        reason_append(reason, "%s %s", i ? "," : "", commands[i].name);
    reason_append(reason, " (weir-license --help)");
    return LICENSE_USAGE;
}

/* does the command take it, and must it be there? */
static bool takes(const LicenseCommand *command, const char *name, char end) {
    char word[64];
    (void)snprintf(word, sizeof(word), " %s%c", name, end);
    return strstr(command->takes, word);
}

static int check_options(const LicenseCommand *command, const OptionSet *set, Reason *reason) {
    for (size_t i = 0; i < license_program.n_options; i++) {
        const char *name = license_program.options[i].name;
        bool given = option_given(set, name);
        bool needed = takes(command, name, '!');
        if (given && !needed && !takes(command, name, ' ')) {
            reason_set(reason, "%s does not take --%s", command->name, name);
            return LICENSE_USAGE;
        }
        if (needed && !given) {
            reason_set(reason, "%s needs --%s (%s)", command->name, name,
                       license_program.options[i].help);
            return LICENSE_USAGE;
        }
    }
    return 0;
}

static int run(int argc, char **argv, Reason *reason) {
    cleanup(option_set_freep) OptionSet *set = NULL;
    LicenseConfig config;
    const LicenseCommand *command = argc > 1 && argv[1][0] != '-' ? find_command(argv[1]) : NULL;
    if (argc > 1 && argv[1][0] != '-' && !command)
        return refuse_command(argv[1], reason);
    size_t before = command ? 1 + command->n_operands : 0;
    if ((size_t)argc < 1 + before) {
        reason_set(reason, "weir-license %s%s: something is missing behind %s", command->name,
                   command->operands, command->name);
        return LICENSE_USAGE;
    }
    char **rest = argv + before;
    const char **operands = (const char **)(void *)(argv + 2);
    int r = option_read(&set, &license_program, &config, argc - (int)before, rest, stdout, reason);
    if (r == OPTION_E_DONE)
        return LICENSE_DONE;
    if (r)
        return r == OPTION_E_USAGE ? LICENSE_USAGE : error_trace(r);
    if (!command)
        return refuse_command("", reason);
    config.operands = (OptionList){.values = operands, .n = command->n_operands};
    r = check_options(command, set, reason);
    if (r == 0)
        r = token_init();
    return r ? error_trace(r) : command->run(&config, reason);
}

int main(int argc, char **argv) {
    Reason reason = {""};
    int r = run(argc, argv, &reason);
    if (r < 0)
        (void)fprintf(stderr, "weir-license: %s\n",
                      error_describe(r, reason.text, sizeof(reason.text)));
    else if (r > 0 && reason.text[0])
        (void)fprintf(stderr, "weir-license: %s\n", reason.text);
    return r < 0 ? LICENSE_REFUSED : r;
}
