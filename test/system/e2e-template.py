#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""What collectors of others are told with -T and in options records, read back by our eyes (every
field that there is, against --json), by weir's own collector, tshark, nfcapd and nfacctd; sampling
applied; how long a message waits (-l) and how long it may be (MTU)."""
import collections
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time

from _collector import REVERSE, Collector, packet, write_capture
from _e2e import PROBE, SOURCE, captures, check, free_ports, in_namespace, main, same, wait_for

NTOP = 35632
ROW = re.compile(r'FLOW_FIELD\(\s*(\w+),\s*(\w+),\s*(\w+),\s*(\d+),\s*(\d+),\s*(\d+),\s*(\w+),\s*(\w+),'
                 r'\s*"([^"]*)"', re.S)
Field = collections.namedtuple("Field", "id name kind pen element element_v6 way show nprobe")
# their own name is one that nProbe has for something else
SPECIAL = {"tcp_flags", "icmp_type", "icmp_code"}


def fields():
    with open(os.path.join(SOURCE, "src", "flow", "fields.def")) as file:
        rows = [Field(*(int(x) if x.isdigit() else x for x in row)) for row in ROW.findall(file.read())]
    check(len(rows) > 60, f"{len(rows)} rows of fields.def")
    return [f for f in rows if f.element]


def golden(*wanted):
    return [c for c in captures() if os.path.basename(c).split(".")[0] in wanted]


def run_probe(lab, capture, *options):
    run = subprocess.run([PROBE, "-i", capture, "--json", "-", "--data-dir", lab.path("data"), "--license",
                          lab.path("no.license"), *options], capture_output=True, text=True, timeout=100)
    same(run.returncode, 0, f"exit code, having said\n{run.stderr[-1000:]}\n")
    return [json.loads(line) for line in run.stdout.splitlines()]


def number(value):
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value


def address(raw):
    if not isinstance(raw, bytes):  # of four bytes, read as a number
        raw = raw.to_bytes(4, "big") if isinstance(raw, int) else raw
    if isinstance(raw, str):
        return raw
    if len(raw) == 16 and raw[:12] == bytes(10) + b"\xff\xff":
        raw = raw[12:]
    if not any(raw):
        return None
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def as_json(field, record):
    """What --json would have for the field, None where it is not in the record."""
    key = (field.pen, field.element)
    if key not in record and field.element_v6:
        key = (field.pen, field.element_v6)
    raw = record[key]
    if field.kind == "ADDRESS":
        return address(raw)
    if field.kind == "TEXT":
        return (raw if isinstance(raw, bytes) else raw.to_bytes(8, "big").lstrip(b"\0")).decode()
    if field.kind == "MAC":
        return ":".join(f"{b:02x}" for b in number(raw).to_bytes(6, "big"))
    return number(raw)


def received(lab, capture, *options):
    collector = Collector()
    flows = run_probe(lab, capture, "-n", f"127.0.0.1:{collector.port}", *options)
    wait_for("records", lambda: collector.records() >= len(flows), 5)
    time.sleep(0.1)
    collector.stop()
    return flows, collector.decoder


def usable(flows):
    return [f for f in flows if "src_ip" in f and "dst_ip" in f]


def same_values(what, flow, record, rows):
    for field in rows:
        value = as_json(field, record)
        expected = flow.get(field.name)
        if expected is None:  # not shown in JSON where it is zero or empty
            expected = {"TEXT": "", "ADDRESS": None, "MAC": "00:00:00:00:00:00"}.get(field.kind, 0)
        same(value, expected, f"{what}: {field.name}")


def test_every_field(lab):
    """IPFIX with all that there is: each value as --json has it; by their own and nProbe's names."""
    rows = [f for f in fields() if f.name not in SPECIAL]
    template = " ".join("%" + f.name for f in rows)
    seen = set()
    for capture in golden("tls", "tcp", "icmp", "udp", "vlan", "tunnels", "sctp", "ipv6"):
        what = os.path.basename(capture)
        flows, decoder = received(lab, capture, "-V", "10", "-T", template)
        flows = usable(flows)
        same(len(decoder.records), len(flows), f"{what}: records")
        for flow, record in zip(flows, decoder.records):
            same_values(what, flow, record, rows)
            seen |= {f.name for f in rows if f.name in flow}
    check(len(seen) > 35, f"set in no capture but: {sorted(seen)}")


def test_every_name_of_nprobe(lab):
    """Each field's nProbe name alone is a template, of v9 too but for those that it cannot say."""
    capture = golden("tls")[0]
    command = [PROBE, "-i", capture, "--json", lab.path("x"), "--data-dir", lab.path("data"), "--license",
               lab.path("no.license"), "-n", "127.0.0.1:9"]
    names = " ".join("%" + f.nprobe for f in fields() if f.nprobe)
    run = subprocess.run([*command, "-V", "10", "-T", names], capture_output=True, text=True)
    same(run.returncode, 0, run.stderr[-500:])
    check("left out" not in run.stderr, run.stderr)
    with open(os.path.join(SOURCE, "docs", "collectors.md")) as file:
        told = file.read()
    with open(os.path.join(SOURCE, "src", "codec", "netflow-names.def")) as file:
        more = re.findall(r'^NETFLOW_\w+\("(\w+)"', file.read(), re.M)
    check(len(more) > 50, f"{len(more)} names beside the fields")
    known = {f.nprobe for f in fields()}
    same([n for n in more if n not in known and n not in told], [], "names that docs/collectors.md lacks")
    run = subprocess.run([*command, "-T", " ".join(more)], capture_output=True, text=True)
    same((run.returncode, "left out" in run.stderr), (0, False), run.stderr[-500:])
    run = subprocess.run([*command, "-T", "%IPV4_SRC_ADDR %RTP_MOS %IN_BYTES"], capture_output=True, text=True)
    same(run.returncode, 0, run.stderr[-500:])
    check("left out: %RTP_MOS" in run.stderr, run.stderr)
    for template, words in (("%IPV4_SRC_ADRR", "no field %IPV4_SRC_ADRR; near it: %IPV4_SRC_ADDR"),
                            ("%tunnel_type", "%tunnel_type has no element in NetFlow v9; take -V 10"),
                            ("@ALL@", "@NTOPNG@ is the one list")):
        run = subprocess.run([*command, "-T", template], capture_output=True, text=True)
        same(run.returncode, 2, f"exit code of -T {template}")
        same(run.stderr.count("\n"), 1, f"lines said of -T {template}")
        check(words in run.stderr, run.stderr)


def test_v9_both_directions(lab):
    """@NTOPNG@ in v9: one record a flow, the way back as 23 and 24; without it one a direction."""
    flows, decoder = received(lab, golden("tls")[0], "-V", "9", "-T", "@NTOPNG@")
    same(len(decoder.records), len(flows), "records")
    flow, record = flows[0], decoder.records[0]
    for element, name in ((1, "octets"), (2, "packets"), (23, "rev_octets"), (24, "rev_packets"),
                          (7, "src_port"), (11, "dst_port"), (4, "protocol"), (57550, "tcp_flags"),
                          (57551, "rev_tcp_flags"), (57590, "app_id"), (57981, "app_risk")):
        same(record[0, element], flow[name], f"type {element}, {name}")
    same(record[0, 57660].rstrip(b"\0").decode(), flow["server_name"], "TLS_SERVER_NAME")
    same((record[0, 60], record[0, 61], record[0, 34]), (4, 0, 1), "version, direction, sampling")
    flows, decoder = received(lab, golden("tls")[0], "-V", "9", "-T",
                              "%IPV4_SRC_ADDR %IPV4_DST_ADDR %IN_BYTES %IN_PKTS %DIRECTION %FLOW_START_SEC")
    same([(r[0, 8], r[0, 1], r[0, 61]) for r in decoder.records],
         [(flow["src_ip"], flow["octets"], 0), (flow["dst_ip"], flow["rev_octets"], 1)], "directions")
    same(decoder.records[0][0, 150], flow["first_ms"] // 1000, "FLOW_START_SEC")


# ----------------------------------------------------------------------------- weir's own collector

def test_through_our_collector(lab):
    """A probe collects what another one sends, and sends it on: nothing is changed on the way, in
    IPFIX all fields there are, in v9 all that it can say."""
    v10 = [f for f in fields() if f.name not in SPECIAL]
    # what the collecting probe says of its own: who sent it, and when, for old captures look like a
    # clock that is wrong
    own = {"exporter_ip", "observation_domain", "times_mended", "first_ms", "last_ms"}
    recent = lab.path("recent.pcap")
    write_capture(recent, (packet(n, payload=n) for n in range(50)), start_s=int(time.time()) - 60)
    template = " ".join("%" + f.name for f in v10)
    for version, usual in (("10", False), ("10", True), ("9", True)):
        port = free_ports(1)
        last = Collector()
        middle = lab.probe("--collector-port", f"127.0.0.1:{port}", "--no-dpi", "-n",
                           f"127.0.0.1:{last.port}", "-V", "10", "-T", template, "--license",
                           lab.path("no.license"))
        wait_for("the collecting probe is ready", lambda: "collecting NetFlow" in middle.log())
        for capture in [*golden("tls", "tcp", "vlan", "tunnels", "ipv6", "udp"), recent]:
            what = f"v{version}, {os.path.basename(capture)}, {'usual fields' if usual else 'all fields'}"
            before = last.records()
            flows = usable(run_probe(lab, capture, "-n", f"127.0.0.1:{port}", "-V", version,
                                     *([] if usual else ["-T", template])))
            n = (len(flows) if version == "10" else
                 sum((f["packets"] > 0 or not f["rev_packets"]) + (f["rev_packets"] > 0) for f in flows))
            wait_for(what, lambda: last.records() >= before + n, 10)
            got = last.decoder.records[before:]
            same(len(got), n, f"{what}: records")
            if version == "9":
                same(sum(r[0, 1] + r[REVERSE, 1] for r in got),
                     sum(f["octets"] + f["rev_octets"] for f in flows), f"{what}: octets")
                continue
            now = {"first_ms", "last_ms"} if capture == recent else set()
            known = [f for f in v10 if f.name not in own - now and (not usual or f.name in USUAL)]
            for flow, record in zip(flows, got):
                same_values(what, flow, record, known)
        same(middle.stop(), 0, "exit code")
        last.stop()


USUAL = ("first_ms last_ms src_ip dst_ip protocol octets packets rev_octets rev_packets tos rev_tos vlan "
         "src_mac dst_mac end_reason biflow_direction flow_id app_name server_name tunnel_type tunnel_id "
         "rev_tunnel_id tunnel_src_ip tunnel_dst_ip inner_vlan").split()


def test_json_of_our_collector(lab):
    """What the collecting probe prints; sampling is applied, names of interfaces are told."""
    port, path = free_ports(1), lab.path("collected.json")
    middle = lab.probe("--collector-port", f"127.0.0.1:{port}", "--no-dpi", "--json", path)
    wait_for("the collecting probe is ready", lambda: "collecting NetFlow" in middle.log())
    for version in ("5", "9", "10"):
        before = lines(path)
        flows = run_probe(lab, sampled_capture(lab), "-S", "10", "--no-dpi", "-n", f"127.0.0.1:{port}", "-V",
                          version)
        n = sum(version != "5" or ":" not in f["src_ip"] for f in flows)
        wait_for(f"v{version}", lambda: lines(path) >= before + n, 10)
        with open(path) as file:
            got = [json.loads(line) for line in file][before:]
        same(len(got), n, f"v{version}: records")
        same({r["sampling_rate"] for r in got}, {10}, f"v{version}: rates")
    same(middle.stop(), 0, "exit code")


def lines(path):
    if not os.path.exists(path):
        return 0
    with open(path) as file:
        return sum(1 for _ in file)


def sampled_capture(lab):
    """Sixty flows of a hundred packets."""
    path = lab.path("sampled.pcap")
    write_capture(path, (packet(n, payload=100) for n in range(60) for _ in range(100)))
    return path


# --------------------------------------------------------------------------------- options records

def options_of(decoder, scope):
    return [r for _, _, r in decoder.options if scope in r]


def test_options(lab):
    """Sampler, exporter and metering: said at first and at the end, with what happened between."""
    capture = lab.path("mixed.pcap")
    arp = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\x06" + bytes(28)
    write_capture(capture, [packet(n) for n in range(100)] + [arp] * 7)
    flows, decoder = received(lab, capture, "-S", "4", "-V", "10", "--probe-name", "branch-7", "--no-dpi")
    exporter = options_of(decoder, (0, 144))
    check(len(exporter) >= 2, f"{len(exporter)} records of the exporter")
    same((exporter[0][0, 42], exporter[0][0, 41]), (0, 0), "records and messages before the first one")
    same(exporter[-1][0, 42], len(flows), "exportedFlowRecordTotalCount at the end")
    # messages before the one that says so
    same(exporter[-1][0, 41] + 1, decoder.messages, "exportedMessageTotalCount")
    same([exporter[-1][0, k] for k in (166, 167, 168)], [0, 0, 0], "not sent")
    same(name(exporter[0][0, 300]), "branch-7", "observationDomainName")
    check(abs(exporter[0][0, 160] / 1000 - time.time()) < 60, "systemInitTimeMilliseconds")
    metering = options_of(decoder, (0, 143))[-1]
    same(metering[0, 163], len(flows), "observedFlowTotalCount")
    check(metering[0, 164] <= 7 and metering[0, 135] == 0, f"ignored {metering}")
    sampler = options_of(decoder, (0, 302))[-1]
    same([sampler[0, k] for k in (302, 304, 305, 306, 309, 310)], [1, 3, 1, 3, 1, 4], "selector")
    same({(r[0, 302], r[0, 34]) for r in decoder.records}, {(1, 4)}, "sampler and rate in records")
    # what could not be sent is said: IPv6 with a v4 address does not happen, but a limit does
    flows, decoder = received(lab, capture, "-S", "4", "-V", "9", "--no-dpi")
    system = [r for _, _, r in decoder.options if (0, 50) in r]
    same([system[-1][0, k] for k in (48, 49, 50)], [1, 2, 4], "v9: sampler id, mode, interval")
    same({(r[0, 48], r[0, 34]) for r in decoder.records}, {(1, 4)}, "v9: in records")
    totals = [r for _, _, r in decoder.options if (0, 42) in r][-1]
    same(totals[0, 42], len(decoder.records), "v9: TOTAL_FLOWS_EXP")


def name(raw):
    return raw.decode() if isinstance(raw, bytes) else raw.to_bytes(8, "big").lstrip(b"\0").decode()


def test_not_sent_is_said(lab):
    """The limit of a run without licence: flows that were withheld are counted to the collector."""
    capture = lab.path("limit.pcap")
    n = 25500
    write_capture(capture, (packet(k) for k in range(n)), step_us=10)
    collector = Collector(counting=False)
    run_probe(lab, capture, "-n", f"127.0.0.1:{collector.port}", "-V", "10", "--no-dpi", "-M", "65536")
    wait_for("records", lambda: collector.records() >= 25000, 20)
    time.sleep(0.3)
    collector.stop()
    last = options_of(collector.decoder, (0, 144))[-1]
    same((last[0, 42], last[0, 166], last[0, 167]), (25000, n - 25000, n - 25000), "sent, and not sent")


# ------------------------------------------------------------------------------------- their eyes

def udp_bound(port):
    with open("/proc/net/udp") as file:
        return f":{port:04X} " in file.read()


def test_nfacctd_applies_sampling(lab):
    if not shutil.which("nfacctd"):
        print("nfacctd is not installed")
        return
    for version in ("5", "9", "10"):
        port, out, conf = free_ports(1), lab.path(f"acct{version}.json"), lab.path(f"acct{version}.conf")
        with open(conf, "w") as file:
            file.write(f"nfacctd_ip: 127.0.0.1\nnfacctd_port: {port}\nplugins: print\nprint_output: json\n"
                       "aggregate: proto\nprint_refresh_time: 1\nnfacctd_renormalize: true\n"
                       f"print_output_file: {out}\nprint_output_file_append: true\nnfacctd_time_new: true\n"
                       "plugin_buffer_size: 1\n")
        acct = lab.start(f"nfacctd{version}", "nfacctd", "-f", conf)
        wait_for("nfacctd listens", lambda: udp_bound(port))
        time.sleep(1)
        flows = run_probe(lab, sampled_capture(lab), "-S", "10", "--no-dpi", "-n", f"127.0.0.1:{port}", "-V",
                          version)
        wanted = 10 * sum(f["packets"] for f in flows if version != "5" or ":" not in f["src_ip"])
        wait_for(f"nfacctd, v{version}: {wanted} packets", lambda: packets_in(out) == wanted, 8)
        acct.kill()


def packets_in(path):
    if not os.path.exists(path):
        return 0
    with open(path) as file:
        return sum(json.loads(line)["packets"] for line in file)


def nfdump_reads(lab, tag, capture, columns, *options):
    port, folder = free_ports(1), lab.path("nf" + tag)
    os.mkdir(folder)
    nfcapd = lab.start("nfcapd" + tag, "nfcapd", "-b", "127.0.0.1", "-p", str(port), "-w", folder, "-t",
                       "600", "-B", "8000000")
    wait_for("nfcapd listens", lambda: udp_bound(port))
    flows = run_probe(lab, capture, "-n", f"127.0.0.1:{port}", *options)
    time.sleep(0.5)
    nfcapd.stop()
    run = subprocess.run(["nfdump", "-R", folder, "-q", "-N", "-6", "-o", "fmt:" + ",".join(columns)],
                         capture_output=True, text=True)
    rows = [[p.strip() for p in line.split(",")] for line in run.stdout.splitlines()]
    return usable(flows), [r for r in rows if len(r) == len(columns)]


def clock(ms):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms // 1000)) + f".{ms % 1000:03}"


def test_nfcapd_biflow(lab):
    """What nfdump shows of both directions in one record, in v9 and IPFIX."""
    columns = ["%sa", "%da", "%sp", "%dp", "%pr", "%ipkt", "%ibyt", "%opkt", "%obyt", "%svln", "%stos",
               "%dtos", "%in", "%out", "%ismc", "%ts", "%te"]
    for version in ("9", "10"):
        for i, capture in enumerate(golden("tls", "tcp", "vlan")):
            what = f"nfdump, v{version}, {os.path.basename(capture)}"
            flows, rows = nfdump_reads(lab, f"{version}-{i}", capture, columns, "-V", version, "-T",
                                       "@NTOPNG@ %IN_DST_MAC")
            expected = [[f["src_ip"], f["dst_ip"], f["src_port"], f["dst_port"], f["protocol"], f["packets"],
                         f["octets"], f["rev_packets"], f["rev_octets"], f.get("vlan", 0), f.get("tos", 0),
                         f.get("rev_tos", 0), f.get("input_if", 0), f.get("output_if", 0),
                         f.get("src_mac", "00:00:00:00:00:00"), clock(f["first_ms"]), clock(f["last_ms"])]
                        for f in flows]
            same(sorted(rows), sorted([str(x) for x in row] for row in expected), what)


# as tshark shows them; hexadecimal where it does
TSHARK = {"srcaddr": "src_ip", "dstaddr": "dst_ip", "srcport": "src_port", "dstport": "dst_port",
          "protocol": "protocol", "octets": "octets", "packets": "packets", "tcpflags": "tcp_flags",
          "vlanid": "vlan", "srcmac": "src_mac", "dstmac": "dst_mac", "flow_end_reason": "end_reason",
          "tos": "tos", "inputint": "input_if", "outputint": "output_if"}
TSHARK_9 = {"post_octets": "rev_octets", "post_packets": "rev_packets", "ttl_min": "ttl_min", "ttl_max": "ttl_max",
            "pie.ntop.l7_proto": "app_id", "pie.ntop.ssl_server_name": "server_name",
            "pie.ntop.tcp_win_max_in": "tcp_window_max", "pie.ntop.tcp_win_max_out": "rev_tcp_window_max",
            "pie.ntop.retransmitted_in_pkts": "retransmitted", "pie.ntop.ooorder_in_pkts": "out_of_order"}
TSHARK_10 = {"biflow_direction": "biflow_direction", "flow_id": "flow_id", "pie.ntop.l7_proto_name": "app_name"}


def test_tshark_fields(lab):
    """tshark shows each field that it knows as --json has it, and finds nothing odd."""
    more = "@NTOPNG@ %TCP_FLAGS %IN_DST_MAC %FLOW_END_REASON %MIN_TTL %MAX_TTL"
    for version, options, columns in (("9", ["-T", more], {**TSHARK, **TSHARK_9}),
                                      ("10", [], {**TSHARK, **TSHARK_10})):
        what = f"tshark, v{version}"
        collector = Collector(keep=True)
        flows = run_probe(lab, golden("tls")[0], "-n", f"127.0.0.1:{collector.port}", "-V", version, *options)
        wait_for("records", lambda: collector.records() >= len(flows), 5)
        time.sleep(0.2)
        collector.stop()
        path = lab.path("seen.pcap")
        write_capture(path, (datagram(m) for m in collector.raw))
        command = ["tshark", "-r", path, "-d", "udp.port==2055,cflow", "-T", "fields", "-E", "separator=;"]
        names = ["cflow." + c for c in columns] + ["_ws.expert.message", "_ws.malformed"]
        for column in names:
            command += ["-e", column]
        run = subprocess.run(command, capture_output=True, text=True)
        seen = [dict(zip(names, line.split(";"))) for line in run.stdout.splitlines()]
        odd = [line[k] for line in seen for k in names[-2:] if line.get(k)]
        check(not odd, f"{what}: {odd}")
        row, flow = next(line for line in seen if line["cflow.srcaddr"]), flows[0]
        for column, member in columns.items():
            first = row["cflow." + column].split(",")[0]  # of IPFIX the way back comes behind, or is equal
            expected = flow.get(member, 0)
            if first.startswith("0x"):
                first = str(int(first, 16))
            if version == "10" and column == "tcpflags":
                expected = flow["rev_tcp_flags"]
            same(first, str(expected), f"{what}: {column}")


def test_nfacctd_fields(lab):
    """nfacctd's keys, of v9 and IPFIX; of a flow's two directions in IPFIX it takes one."""
    if not shutil.which("nfacctd"):
        print("nfacctd is not installed")
        return
    more = ["-T", "@NTOPNG@ %TCP_FLAGS %IN_DST_MAC"]
    for version, options in (("9", more), ("10", more), ("10", [])):
        tag = f"keys{version}-{len(options)}"
        port, out, conf = free_ports(1), lab.path(tag + ".json"), lab.path(tag + ".conf")
        with open(conf, "w") as file:
            file.write(f"nfacctd_ip: 127.0.0.1\nnfacctd_port: {port}\nplugins: print\nprint_output: json\n"
                       "aggregate: src_host,dst_host,src_port,dst_port,proto,vlan,tcpflags,in_iface,out_iface,"
                       "src_mac,dst_mac\nprint_refresh_time: 1\n"
                       f"print_output_file: {out}\nprint_output_file_append: true\nnfacctd_time_new: true\n"
                       "plugin_buffer_size: 1\n")
        acct = lab.start(tag, "nfacctd", "-f", conf)
        wait_for("nfacctd listens", lambda: udp_bound(port))
        time.sleep(1)
        flow = run_probe(lab, golden("tls")[0], "-n", f"127.0.0.1:{port}", "-V", version, *options)[0]
        wait_for(f"nfacctd, v{version}", lambda: packets_in(out) >= flow["packets"], 8)
        with open(out) as file:
            row = json.loads(file.readline())
        keys = {"ip_src": "src_ip", "ip_dst": "dst_ip", "port_src": "src_port", "port_dst": "dst_port",
                "vlan": "vlan", "tcp_flags": "tcp_flags", "iface_in": "input_if", "iface_out": "output_if",
                "mac_src": "src_mac", "mac_dst": "dst_mac", "packets": "packets", "bytes": "octets"}
        for key, member in keys.items():
            same(str(row[key]), str(flow.get(member, 0)), f"nfacctd, v{version}: {key}")
        acct.kill()


def datagram(payload):
    udp = struct.pack(">HHHH", 2055, 2055, 8 + len(payload), 0) + payload
    return (bytes(12) + b"\x08\x00" + struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                                                  b"\x7f\0\0\1", b"\x7f\0\0\1") + udp)


# ------------------------------------------------------------------------------- -l and the MTU

def test_messages_wait(lab):
    """A flow a moment: without -l a message each, with it one for all."""
    counts = []
    for options in ([], ["-l", "60"]):
        ns = lab.namespace()
        lab.cable((ns, "out", None), (ns, "in", None))
        log = lab.path(f"lengths{len(counts)}")
        probe = lab.probe("-i", "in", "-d", "1", "-n", "127.0.0.1:2055", "-V", "10", "--no-dpi", *options,
                          "--license", lab.path("no.license"), "--counters", lab.path("numbers"), namespace=ns)
        sink = lab.start(f"sink{len(counts)}", *SINK, log, namespace=ns)
        wait_for("the probe is ready", lambda: "exports 25000" in probe.log())
        time.sleep(0.5)
        for n in range(5):
            path = lab.path("one.pcap")
            write_capture(path, [packet(3 * n)])
            subprocess.run(in_namespace(ns, ["tcpreplay", "-q", "-i", "out", path]), check=True,
                           capture_output=True)
            time.sleep(0.6)
        time.sleep(1.5)
        same(probe.stop(), 0, "exit code")
        time.sleep(0.3)
        with open(log) as file:
            counts.append([int(line.split()[1]) for line in file])
        sink.kill()
        with open(lab.path("numbers")) as file:
            check('collector_records_total{result="sent"} 5\n' in file.read(), "five records were sent")
    data = [sum(1 for c in one if c) for one in counts]
    check(data[0] >= 4 and data[1] == 1, f"messages with flows: {data} of {counts}")


# writes the length of each datagram, and how many sets of flows (templates 256 to 271) are in it
SINK = ["python3", "-c", """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 2055))
out = open(sys.argv[1], "w")
while True:
    data, at, flows = s.recv(65536), 16, 0
    while at + 4 <= len(data):
        number, size = struct.unpack(">HH", data[at:at + 4])
        flows += 256 <= number < 272
        at += size
    print(len(data), flows, file=out, flush=True)
"""]


def test_mtu(lab):
    """Datagrams fit the way to the collector: with an MTU of 800 none is longer, and none is lost."""
    ns = lab.namespace()
    subprocess.run(["ip", "-n", ns, "link", "set", "lo", "mtu", "800"], check=True)
    log, capture = lab.path("lengths"), lab.path("many.pcap")
    write_capture(capture, (packet(k) for k in range(600)))
    sink = lab.start("sink", *SINK, log, namespace=ns)
    time.sleep(0.5)
    for options in ([], ["-T", "@NTOPNG@"]):
        run = subprocess.run(in_namespace(ns, [PROBE, "-i", capture, "-n", "127.0.0.1:2055", "-V", "10", *options,
                                               "--data-dir", lab.path("data"), "--license", lab.path("no")]),
                             capture_output=True, text=True, timeout=60)
        same(run.returncode, 0, run.stderr[-500:])
    time.sleep(0.3)
    sink.kill()
    with open(log) as file:
        lengths = [int(line.split()[0]) for line in file]
    check(len(lengths) > 60 and max(lengths) <= 772, f"{len(lengths)} datagrams, the longest {max(lengths)}")
    check(max(lengths) > 600, f"the longest {max(lengths)}")


if __name__ == "__main__":
    main([v for k, v in list(globals().items()) if k.startswith("test_")])
