/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/options.h"

#include <stddef.h>
#include <string.h>

#include "channel/configuration.h"
#include "flow/fieldset.h"
#include "licence/system_id.h"
#include "probe/collect_ports.h"
#include "probe/outside.h"

#define AT(member) .at = offsetof(ProbeConfig, member)

/* options that nProbe documents and that need nothing here */
#define IGNORED(long_name, short_name, value, why)                                                 \
    {                                                                                              \
        .name = (long_name), .letter = (short_name), .type = (value) ? OPTION_TEXT : OPTION_FLAG,  \
        .use = OPTION_IGNORED, .takes_value = (value), .group = "Accepted for nProbe's sake",      \
        .help = (why), .note = (why)                                                               \
    }

/* options that nProbe documents and whose effect would be missed */
#define REPLACED(long_name, short_name, value, instead)                                            \
    {                                                                                              \
        .name = (long_name), .letter = (short_name), .type = (value) ? OPTION_TEXT : OPTION_FLAG,  \
        .use = OPTION_REPLACED, .takes_value = (value), .group = "Refused, with what to use",      \
        .help = (instead), .note = (instead)                                                       \
    }

/* in the order of MeterVlan */
static const char *const vlan_keys[] = {"all", "outer", "none", NULL};

static const Option probe_options[] = {
    /* input */
    {.name = "interface",
     .letter = 'i',
     .type = OPTION_LIST,
     AT(inputs),
     .metavar = "INTERFACE|FILE",
     .group = "Input",
     .help = "Interface to capture from, or a pcap or pcapng file; - reads a capture from standard "
             "input. One a process so far."},
    {.name = "bpf-filter",
     .letter = 'f',
     .type = OPTION_TEXT,
     AT(filter),
     .metavar = "FILTER",
     .group = "Input",
     .help = "Meter only packets that match this filter (pcap-filter(7))."},
    {.name = "sample-rate",
     .letter = 'S',
     .alias = "sampling",
     .type = OPTION_U32,
     AT(sampling),
     .unset = "1",
     .min = 1,
     .max = CONFIGURATION_SAMPLING_MAX,
     .metavar = "N",
     .group = "Input",
     .help = "Meter one of N packets, drawn at random. Counts stay those of the packets metered, "
             "and every flow carries N as sampling."},
    {.name = "snaplen",
     .letter = 's',
     .type = OPTION_U32,
     AT(snaplen),
     .unset = "0",
     .max = 262144,
     .unit = "bytes",
     .group = "Input",
     .help = "Bytes looked at of each packet, whose length is always that on the wire; 0 is 1536 "
             "of a live packet and all of one in a file."},
    {.name = "no-promisc",
     .type = OPTION_FLAG,
     AT(no_promisc),
     .group = "Input",
     .help = "Leave the interface out of promiscuous mode."},
    {.name = "ring-size",
     .type = OPTION_U64,
     AT(ring_bytes),
     .unset = "64M",
     .min = 1 << 20,
     .max = UINT64_C(4) << 30,
     .unit = "bytes",
     .group = "Input",
     .help = "Memory in which the kernel keeps packets until they are metered."},
    {.name = "in-iface-idx",
     .letter = 'u',
     .type = OPTION_U32,
     AT(input_if),
     .max = UINT32_MAX,
     .group = "Input",
     .help = "Interface index written into flows; 0 takes that of the captured interface."},
    {.name = "collector-port",
     .letter = '3',
     .type = OPTION_LIST,
     AT(collector_ports),
     .metavar = "[ADDRESS:]PORT",
     .group = "Input",
     .help = "Collect what routers and switches export to this port: NetFlow v1, v5, v7, v9, IPFIX "
             "(UDP and TCP) and sFlow v5, told apart by themselves."},
    {.name = "interpret-flow-packets",
     .type = OPTION_FLAG,
     AT(interpret_flow_packets),
     .group = "Input",
     .help = "Take the packets of -i for what exporters sent (NetFlow, IPFIX, sFlow), and deliver "
             "the flows that they tell of."},

    /* flows */
    {.name = "lifetime-timeout",
     .letter = 't',
     .type = OPTION_U32,
     AT(active_s),
     .unset = "60",
     .min = 1,
     .max = 86400,
     .unit = "s",
     .group = "Flows",
     .help = "A flow that goes on is reported this often, always under the same id."},
    {.name = "idle-timeout",
     .letter = 'd',
     .type = OPTION_U32,
     AT(idle_s),
     .unset = "15",
     .min = 1,
     .max = 86400,
     .unit = "s",
     .group = "Flows",
     .help = "A flow without packets for so long has ended."},
    {.name = "max-flows",
     .letter = 'M',
     .alias = "max-num-flows",
     .type = OPTION_U32,
     AT(max_flows),
     .unset = "0",
     .max = 64 << 20,
     .unit = "flows",
     .group = "Flows",
     .help = "Flows held at a time, 216 bytes each; 0 is 1048576, or what fits an eighth of the "
             "memory. When the table is full, idle flows are reported early."},
    {.name = "no-tunnel",
     .type = OPTION_FLAG,
     AT(no_tunnel),
     .group = "Flows",
     .help = "Meter the tunnels themselves. Without it the packets in them are the flows, and the "
             "tunnel's type, id and addresses are fields of theirs."},
    {.name = "vlan-key",
     .type = OPTION_WORD,
     AT(vlan_key),
     .unset = "all",
     .words = vlan_keys,
     .group = "Flows",
     .help = "VLAN tags that tell flows apart which are alike else: all of them, the outer one, or "
             "none. Flows have their tags as fields in each case."},
    {.name = "no-dpi",
     .type = OPTION_FLAG,
     AT(no_dpi),
     .group = "Flows",
     .help = "Do not detect applications."},
    {.name = "max-dpi-flows",
     .type = OPTION_U32,
     AT(max_dpi_flows),
     .unset = "131072",
     .min = 1,
     .max = 16 << 20,
     .unit = "flows",
     .group = "Flows",
     .help = "Flows whose application is being detected at a time, 700 bytes each; those beyond "
             "are told by port."},

    /* output */
    {.name = "ntopng",
     .alias = "zmq",
     .type = OPTION_LIST,
     AT(hubs),
     .metavar = "ENDPOINT",
     .group = "Output",
     .help = "Hub to deliver flows to: tcp://HOST:PORT, or with --zmq-probe-mode left out the "
             "address to bind, tcp://*:PORT."},
    {.name = "zmq-publish-events",
     .type = OPTION_LIST,
     AT(events),
     .metavar = "ENDPOINT",
     .group = "Output",
     .help = "The hub's events endpoint, one for each --ntopng; left out: same host, port + 1."},
    {.name = "zmq-probe-mode",
     .type = OPTION_FLAG,
     AT(probe_mode),
     .group = "Output",
     .help = "Connect to the hub; without it the probe binds and the hub connects."},
    {.name = "zmq-fanout",
     .type = OPTION_FLAG,
     AT(fanout),
     .group = "Output",
     .help = "Deliver every flow to every hub; without it several hubs share the flows."},
    {.name = "zmq-encryption-key",
     .type = OPTION_LIST,
     AT(keys),
     .metavar = "KEY",
     .group = "Output",
     .help = "The hub's public key, as its interface page shows it; with several hubs one for all "
             "of them, or one for each --ntopng, in the same order."},
    {.name = "template",
     .type = OPTION_WORD,
     AT(template),
     .unset = FIELDSET_USUAL,
     .words = fieldset_names,
     .group = "Output",
     .help = "Fields of a flow that are exported: all of them, or v9, what NetFlow v9 usually has, "
             "without applications, names and MAC addresses."},
    {.name = "no-remote-config",
     .type = OPTION_FLAG,
     AT(no_remote_config),
     .group = "Output",
     .help = "Refuse what the hub wants to set (filter, sampling, timeouts, template); without it "
             "the hub's word goes over the command line's."},
    {.name = "probe-id",
     .type = OPTION_TEXT,
     AT(probe_id),
     .metavar = "ID",
     .group = "Output",
     .help = "What makes this probe the same after a rebuild; left out: host name and machine id."},
    {.name = "probe-name",
     .type = OPTION_TEXT,
     AT(probe_name),
     .metavar = "NAME",
     .group = "Output",
     .help = "Name that the hub shows first; left out: the host name."},
    {.name = "data-dir",
     .type = OPTION_TEXT,
     AT(data_dir),
     .unset = "/var/lib/weir-probe",
     .metavar = "FOLDER",
     .group = "Output",
     .help = "Folder of the probe's own key pair, and of its spool."},
    {.name = "spool-dir",
     .type = OPTION_TEXT,
     AT(spool_dir),
     .metavar = "FOLDER",
     .group = "Output",
     .help = "Folder in which flows wait until the hub has stored them; left out: spool in the "
             "--data-dir."},
    {.name = "spool-size",
     .type = OPTION_U64,
     AT(spool_bytes),
     .unset = "8G",
     .max = UINT64_C(1) << 40,
     .unit = "bytes",
     .group = "Output",
     .help = "Most that waits there for a hub that is away; then the oldest flows go, counted. "
             "8G is never more than a tenth of the file system. 0 keeps flows in memory only, "
             "and they end with the process."},
    {.name = "spool-memory",
     .type = OPTION_U64,
     AT(spool_memory_bytes),
     .unset = "256M",
     .min = 1 << 20,
     .max = UINT64_C(1) << 40,
     .unit = "bytes",
     .group = "Output",
     .help =
         "Most that waits in memory, with --spool-size 0 or when the folder cannot be written."},
    {.name = "json",
     .type = OPTION_TEXT,
     AT(json),
     .metavar = "FILE",
     .group = "Output",
     .help = "Write flows as JSON, one a line; - is standard output."},
    {.name = "counters",
     .type = OPTION_TEXT,
     AT(counters),
     .metavar = "FILE",
     .group = "Output",
     .help = "Write the probe's counters at the end, as OpenMetrics text; - is standard output."},
    {.name = "exit-timeout",
     .type = OPTION_U32,
     AT(exit_timeout_s),
     .unset = "30",
     .max = 86400,
     .unit = "s",
     .group = "Output",
     .help = "How long to wait at the end for the hub to have stored everything."},
    {.name = "collector",
     .letter = 'n',
     .type = OPTION_LIST,
     AT(collectors),
     .metavar = "HOST:PORT",
     .group = "Output",
     .help = "Collector of NetFlow or IPFIX, over UDP or as tcp://HOST:PORT over TCP; several "
             "take turns. none is none. Without a licence or a hub's lease a run exports 25,000 "
             "records so, and no more."},
    {.name = "flow-version",
     .letter = 'V',
     .type = OPTION_U32,
     AT(flow_version),
     .unset = "9",
     .min = 5,
     .max = 10,
     .metavar = "VERSION",
     .group = "Output",
     .help = "What collectors are sent: 5 or 9, NetFlow, or 10, IPFIX, which has both directions "
             "of a flow in one record."},
    {.name = "all-collectors",
     .letter = 'a',
     .type = OPTION_FLAG,
     AT(all_collectors),
     .group = "Output",
     .help = "Send every flow to every collector."},
    {.name = "flow-templ-id",
     .letter = 'U',
     .type = OPTION_U32,
     AT(first_template),
     .unset = "256",
     .min = NETFLOW_TEMPLATE_MIN,
     .max = NETFLOW_TEMPLATE_MAX,
     .metavar = "ID",
     .group = "Output",
     .help = "Id of the first of the eight templates that collectors are sent."},
    {.name = "intra-templ",
     .letter = 'o',
     .type = OPTION_U32,
     AT(templates_messages),
     .unset = "20",
     .min = 1,
     .max = 1000000,
     .unit = "messages",
     .group = "Output",
     .help = "Templates are sent again after so many messages over UDP, and every 10 s."},
    {.name = "license",
     .type = OPTION_TEXT,
     AT(license),
     .unset = LICENSING_PATH,
     .metavar = "FILE",
     .group = "Output",
     .help = "This probe's own licence, if it has one; it is looked at every second. With a hub "
             "that has a licence none is needed here."},
    {.name = "check-license",
     .type = OPTION_FLAG,
     AT(check_license),
     .group = "Other",
     .help = "Say whether the licence is valid, or why not, and this machine's System ID, and "
             "exit: 0 it is, 1 it is not or there is none."},
    {.name = "check",
     .type = OPTION_FLAG,
     AT(check),
     .group = "Other",
     .help = "Try key, folder, interface, the hubs' ports, admission, clock and spool, change "
             "nothing, say of each what to mend, and exit: 0 when nothing failed, else 1."},
    {.name = "prepare-image",
     .type = OPTION_FLAG,
     AT(prepare_image),
     .group = "Other",
     .help =
         "Remove what must not be cloned with an image of this machine (the probe's key pair, "
         "its spool, what the hub had set), say what went and what stays, and exit: 0 done, 1 a "
         "probe runs on the folder or something cannot be removed, 3 flows wait that no hub "
         "has stored."},
    {.name = "force",
     .type = OPTION_FLAG,
     AT(force),
     .group = "Other",
     .help = "With --prepare-image: throw away flows that wait."},
    {.name = "verbose",
     .letter = 'b',
     .type = OPTION_U32,
     AT(verbose),
     .unset = "0",
     .max = 2,
     .metavar = "LEVEL",
     .group = "Other",
     .help = "0 what an operator wants to see, 1 more, 2 everything."},

    IGNORED("flow-templ", 'T', true, "every field travels to a hub, the usual ones to a collector"),
    IGNORED("netflow-engine", 'E', true, "the engine, or observation domain, is 0"),
    IGNORED("sender-address", 'q', true, "the system chooses the address it sends from"),
    IGNORED("queue-timeout", 'l', true, "a flow waits 200 ms at most"),
    IGNORED("min-num-flows", 'm', true, "a flow waits 200 ms at most"),
    IGNORED("flow-delay", 'e', true, "the hub says how fast it takes flows"),
    IGNORED("count-delay", 'B', true, "the hub says how fast it takes flows"),
    IGNORED("hash-size", 'w', true, "the table has the size that --max-flows needs"),
    IGNORED("daemon-mode", 'G', false, "the probe stays in the foreground; systemd runs it"),
    IGNORED("pid-file", 'g', true, "systemd knows the process"),
    IGNORED("syslog", 'I', true,
            "messages go to standard error, which systemd puts in the journal"),
    IGNORED("out-iface-idx", 'Q', true, "a probe on a link knows one interface"),
    IGNORED("local-networks", 'L', true, "the hub knows the local networks"),
    IGNORED("local-traffic-direction", 'r', false, "flows tell initiator and responder"),
    IGNORED("as-list", 'A', true, "the hub looks up AS numbers"),
    IGNORED("city-list", 0, true, "the hub looks up places"),
    IGNORED("dump-frequency", 'F', true, "nothing is dumped in intervals"),
    IGNORED("tunnel", 0, false, "tunnels are entered unless --no-tunnel is given"),
    IGNORED("smart-udp-frags", 0, false, "all fragments are counted"),
    IGNORED("account-l2", 0, false, "frame bytes are counted beside IP bytes"),
    IGNORED("minute-expire", 0, false, "live charts do not wait for flows to end"),
    IGNORED("dont-drop-privileges", 0, false, "the unit file sets the privileges"),
    IGNORED("unprivileged-user", 0, true, "the unit file sets the user"),
    IGNORED("disable-startup-checks", 0, false, "there are none that call outside"),
    IGNORED("redis", 0, true, "no data cache is needed"),
    IGNORED("ucloud", 0, false, "no data cache is needed"),
    IGNORED("zmq-format", 0, true, "IPFIX travels to a hub"),
    IGNORED("zmq-disable-compression", 0, false, "batches are always compressed"),
    IGNORED("zmq-disable-buffering", 0, false, "a flow waits 200 ms at most"),
    IGNORED("json-labels", 0, false, "JSON always has names"),
    IGNORED("event-log", 0, true, "messages go to standard error"),
    IGNORED("dump-stats", 0, true, "the hub shows the probe's counters"),
    IGNORED("disable-l7-protocol-guess", 0, false,
            "app_confidence tells guesses from what was detected"),

    REPLACED("dump-path", 'P', true, "use --json FILE"),
    REPLACED("dump-format", 'D', true, "use --json FILE"),
    REPLACED("aggregation", 'p', true, "use the hub's queries, which group by any field"),
    REPLACED("black-list", 0, true, "use -f 'not net ...'"),
    REPLACED("no-ipv6", 'W', false, "use -f 'not ip6'"),
    REPLACED("min-flow-size", 'z', true, "use the hub's filters; every flow is reported"),
    REPLACED("flow-lock", 'C', true, "use the hub's admission of probes"),
    REPLACED("ndpi-protocols", 'O', true, "use the hub's filters on app_name"),
    REPLACED("track-local-hosts", 'c', false, "use -f with the local networks"),
    REPLACED("biflows-export-policy", 0, true, "use the hub's filters on rev_packets"),
    REPLACED("pcap-file-list", 0, true, "use -i FILE for each file in turn"),
    REPLACED("show-version", 'v', false, "use --version"),
};

const OptionProgram probe_program = {
    .name = "weir-probe",
    .summary = "Meters the packets of an interface or a capture file and delivers the flows.",
    .usage = "weir-probe -i eno1 --ntopng tcp://HUB:5556 --zmq-publish-events tcp://HUB:5557 "
             "--zmq-probe-mode --zmq-encryption-key KEY\n"
             "weir-probe -i capture.pcap --json -\n"
             "weir-probe -i eno1 -n HOST:2055 -V 10\n"
             "weir-probe /etc/weir/probe.conf\n",
    .options = probe_options,
    .n_options = sizeof(probe_options) / sizeof(probe_options[0]),
    .config_bytes = sizeof(ProbeConfig),
    .version_more = system_id_print,
};

enum { HUBS_MAX = 16 };

const char *options_key(const ProbeConfig *config, size_t i) {
    return config->keys.values[config->keys.n > 1 ? i : 0];
}

static int check_keys(const ProbeConfig *config, Reason *reason) {
    const size_t n = config->keys.n;
    if (n <= 1 || config->hubs.n == 0 || n == config->hubs.n)
        return 0;
    reason_set(reason,
               "--zmq-encryption-key is given %zu times and --ntopng %zu times; give one key for "
               "all hubs, or one for each, in the same order",
               n, config->hubs.n);
    return OPTIONS_E_USAGE;
}

static int check_hubs(const ProbeConfig *config, Reason *reason) {
    if (config->hubs.n == 0) {
        if (config->events.n == 0)
            return 0;
        reason_set(reason, "--zmq-publish-events is given without --ntopng, the hub's data "
                           "endpoint, for example --ntopng tcp://HUB:5556");
        return OPTIONS_E_USAGE;
    }
    if (config->hubs.n > HUBS_MAX) {
        reason_set(reason, "--ntopng is given %zu times; %d hubs are the most", config->hubs.n,
                   HUBS_MAX);
        return OPTIONS_E_USAGE;
    }
    if (config->events.n > config->hubs.n) {
        reason_set(reason,
                   "--zmq-publish-events is given %zu times and --ntopng %zu times; each hub has "
                   "one events endpoint",
                   config->events.n, config->hubs.n);
        return OPTIONS_E_USAGE;
    }
    if (config->keys.n == 0) {
        reason_set(reason, "--ntopng needs --zmq-encryption-key, the hub's public key: a hub talks "
                           "to probes encrypted only; its interface page shows the key to copy");
        return OPTIONS_E_USAGE;
    }
    return check_keys(config, reason);
}

enum { SPOOL_MIN_BYTES = 1 << 20 };

/* packets, or what exporters send: one of them. nProbe's `-i none` says that there are no packets
 */
static int check_input(const ProbeConfig *config, Reason *reason) {
    const size_t n = config->inputs.n;
    if (config->collector_ports.n) {
        if (n == 0 || (n == 1 && strcmp(config->inputs.values[0], "none") == 0))
            return collect_ports_check(&config->collector_ports, reason) ? OPTIONS_E_USAGE : 0;
        reason_set(reason,
                   "-i %s and --collector-port are both given; one input a process: start "
                   "a second probe for the other",
                   config->inputs.values[0]);
        return OPTIONS_E_USAGE;
    }
    if (n == 0) {
        reason_set(reason, "nothing to meter: give -i INTERFACE or -i FILE, or --collector-port "
                           "PORT to collect what exporters send");
        return OPTIONS_E_USAGE;
    }
    if (n > 1) {
        reason_set(reason, "-i is given %zu times; one input a process so far", n);
        return OPTIONS_E_USAGE;
    }
    return 0;
}

int options_check(const ProbeConfig *config, Reason *reason) {
    if (config->prepare_image || config->check_license)
        return check_keys(config, reason); /* there may be no configuration yet */
    if (config->force) {
        reason_set(reason, "--force is given without --prepare-image, which it belongs to");
        return OPTIONS_E_USAGE;
    }
    const int input = check_input(config, reason);
    if (input)
        return input;
    const DoorsConfig doors = outside_doors(config);
    if (doors_check(&doors, reason))
        return OPTIONS_E_USAGE;
    if (config->hubs.n == 0 && config->events.n == 0 && !config->json &&
        !doors_wanted(&config->collectors)) {
        reason_set(reason, "nowhere to deliver flows: give --ntopng ENDPOINT and "
                           "--zmq-encryption-key KEY for a hub, -n HOST:PORT for a collector, or "
                           "--json FILE (- is standard output)");
        return OPTIONS_E_USAGE;
    }
    if (config->spool_bytes && config->spool_bytes < SPOOL_MIN_BYTES) {
        reason_set(reason,
                   "--spool-size %llu: at least 1M bytes, or 0 to keep flows in memory only",
                   (unsigned long long)config->spool_bytes);
        return OPTIONS_E_USAGE;
    }
    return check_hubs(config, reason);
}
