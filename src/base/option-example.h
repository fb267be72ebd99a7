#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Option Example
 *
 * A small table with a row of every kind, for test-option.c and fuzz-option-file.c.
 */

#include "base/option.h"

typedef struct Example {
    bool verbose, probe_mode;
    const char *interface;
    const char *key;
    OptionList hubs;
    uint32_t idle_s;
    uint64_t spool_bytes;
    int format;
} Example;

enum { EXAMPLE_AUTO, EXAMPLE_TLV, EXAMPLE_IPFIX };

static const char *const example_formats[] = {"auto", "tlv", "ipfix", NULL};

static const Option example_options[] = {
    {.name = "interface",
     .letter = 'i',
     .type = OPTION_TEXT,
     .at = offsetof(Example, interface),
     .metavar = "NAME",
     .group = "Input",
     .help = "Interface or capture file to read."},
    {.name = "verbose",
     .letter = 'v',
     .type = OPTION_FLAG,
     .at = offsetof(Example, verbose),
     .group = "Other",
     .help = "Say more."},
    {.name = "zmq-probe-mode",
     .letter = 'p',
     .type = OPTION_FLAG,
     .at = offsetof(Example, probe_mode),
     .group = "Output",
     .help = "Connect instead of binding."},
    {.name = "ntopng",
     .alias = "zmq",
     .type = OPTION_LIST,
     .at = offsetof(Example, hubs),
     .metavar = "ENDPOINT",
     .group = "Output",
     .help = "Hub to deliver to."},
    {.name = "zmq-encryption-key",
     .type = OPTION_TEXT,
     .at = offsetof(Example, key),
     .metavar = "KEY",
     .group = "Output",
     .help = "Public key of the hub."},
    {.name = "idle-timeout",
     .letter = 'd',
     .type = OPTION_U32,
     .at = offsetof(Example, idle_s),
     .unset = "15",
     .min = 1,
     .max = 3600,
     .unit = "s",
     .group = "Flows",
     .help = "Silence after which a flow ends."},
    {.name = "spool-size",
     .type = OPTION_U64,
     .at = offsetof(Example, spool_bytes),
     .unset = "1G",
     .min = 1024,
     .max = 1ULL << 42,
     .unit = "bytes",
     .group = "Output",
     .help = "Most that may wait for a hub."},
    {.name = "zmq-format",
     .type = OPTION_WORD,
     .at = offsetof(Example, format),
     .unset = "auto",
     .words = example_formats,
     .group = "Output",
     .help = "What is spoken to the peer."},
    {.name = "hash-size",
     .letter = 'w',
     .use = OPTION_IGNORED,
     .takes_value = true,
     .note = "the flow table has a fixed size"},
    {.name = "dump-path",
     .letter = 'P',
     .use = OPTION_REPLACED,
     .takes_value = true,
     .note = "use --json FILE"},
};

static const OptionProgram example_program = {
    .name = "weir-example",
    .summary = "shows what options can be",
    .usage = "weir-example -i NAME --ntopng ENDPOINT",
    .options = example_options,
    .n_options = sizeof(example_options) / sizeof(example_options[0]),
    .config_bytes = sizeof(Example),
};
