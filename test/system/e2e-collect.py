#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Flow collection: what exporters send, read from captures and received at a port, each record as it
was sent; the way to the hub; exporters of Debian (softflowd, pmacct) where they are installed."""
import collections
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time

import _exporter
from _accounts import account, sums
from _causes import shim
from _collector import Collector
from _e2e import PROBE, SLOW, SOURCE, check, comparable, main, offline, same, wait_for

GOLDEN = os.path.join(SOURCE, "test", "golden")


def subset(record, expected):
    return all(record.get(k) == v for k, v in expected.items())


def all_there(records, expected, what):
    """Each expected record once, with at least these fields, and no others."""
    left = list(records)
    for want in expected:
        found = next((r for r in left if subset(r, want)), None)
        check(found, f"{what}: no record {want} in {left[:3]}")
        left.remove(found)
    same(left, [], f"{what}: records that nobody sent")


def interpret(lab, name, datagrams, **more):
    path = lab.path(name.replace(" ", "-") + ".pcap")
    _exporter.pcap(path, datagrams, **more)
    return offline(lab, path, "--interpret-flow-packets")


def test_each_version_in_a_capture(lab):
    for name, datagrams, expected in _exporter.cases():
        all_there(interpret(lab, name, datagrams), expected, name)


def test_data_before_its_template(lab):
    datagrams, expected = _exporter.late()
    all_there(interpret(lab, "late", datagrams), expected, "data before its template")


def counters(lab, path, *options):
    out = subprocess.run([os.path.join(os.environ.get("WEIR_BUILD", "build"), "weir-probe"), "-i",
                          path, "--interpret-flow-packets", "--json", lab.path("x.json"),
                          "--counters", "-", *options], capture_output=True, text=True, timeout=60)
    same(out.returncode, 0, f"exit ({out.stderr[-500:]})")
    return dict(re.findall(r"^weir_probe_collect_(\S+) (\d+)$", out.stdout, re.M))


def test_damaged_datagrams_are_counted(lab):
    """Cut, stretched and changed at random: never an error, and what is whole is still read."""
    dice = random.Random(7)
    seeds = [d for _, ds, _ in _exporter.cases() for d in ds] + _exporter.late()[0]
    damaged = []
    for _ in range(3000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 0x7f, 0xff, dice.randrange(256)))
        damaged.append(bytes(data[:dice.randrange(1, len(data) + 1)]))
    path = lab.path("damaged.pcap")
    _exporter.pcap(path, damaged)
    seen = counters(lab, path)
    same(seen["datagrams_total"], "3000", "datagrams")
    check(sum(int(v) for k, v in seen.items() if k.startswith("malformed")) > 100, seen)


class Collecting:
    """A probe with a port, and if wanted a hub behind it."""

    def __init__(self, lab, *options, data_dir=None):
        self.json = lab.path("flows.json")
        self.counters_path = lab.path("counters.txt")
        options = options or ("--json", self.json, "--counters", self.counters_path)
        self.probe = lab.probe("--collector-port", "127.0.0.1:0", *options, data_dir=data_dir)
        said = wait_for("the port", lambda: re.search(r"on port (\d+)", self.probe.log()))
        self.to = ("127.0.0.1", int(said[1]))

    def send(self, datagrams, source="127.0.0.1"):
        """From a port of its own each: exporters are known by their address."""
        for datagram in datagrams:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind((source, 0))
                s.sendto(datagram, self.to)

    def records(self):
        with open(self.json) as file:
            return [json.loads(line) for line in file]

    def end(self):
        same(self.probe.stop(), 0, "exit")
        return self.records()


def test_one_port_for_all(lab):
    port = Collecting(lab)
    expected = []
    for _, datagrams, records in _exporter.cases():
        port.send(datagrams)
        expected += records
    late, records = _exporter.late()
    port.send(late)
    # IPFIX by TCP, in pieces, and something else that is thrown out
    tcp = [_exporter.flow(i, rev_octets=1, rev_packets=1) for i in range(100, 150)]
    stream = _exporter.ipfix([_exporter.template(400, _exporter.IPFIX_ELEMENTS)])
    for f in tcp:
        stream += _exporter.ipfix([_exporter.a_set(400, _exporter.ipfix_data([f]))])
    with socket.create_connection(port.to, 10) as s:
        for at in range(0, len(stream), 333):
            s.sendall(stream[at:at + 333])
    with socket.create_connection(port.to, 10) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        same(s.recv(10), b"", "answer to what is no IPFIX")
    all_there(port.end(), expected + records + tcp, "all versions")
    with open(port.counters_path) as file:
        text = file.read()
    check('malformed_total{reason="stream"} 1\n' in text, "the wrong connection is not counted")


def exporters(n):
    return [f"127.0.0.{i + 1}" for i in range(n)]


def test_several_workers(lab):
    """What each of 40 exporters says in datagrams from many ports meets one decoder."""
    json_path, folder = lab.path("flows.json"), lab.path("state")
    os.mkdir(folder, 0o700)
    port = Collecting(lab, "--json", json_path, "--collector-workers", "4", data_dir=folder)
    port.json = json_path
    expected = []
    for step in range(5):  # in turn, so that all of them wait for templates at once
        for source in exporters(40):
            port.send(_exporter.late()[0][step:step + 1], source)
    for source in exporters(40):
        expected += [f | {"exporter_ip": source} for f in _exporter.late()[1]]
    all_there(port.end(), expected, "several workers")
    check(os.path.exists(os.path.join(folder, "collector.state")), "nothing was kept")


def test_templates_over_a_restart(lab):
    """Of another number of workers, too; a damaged file is told of and does not matter."""
    folder, json_path = lab.path("state"), lab.path("flows.json")
    kept = os.path.join(folder, "collector.state")
    os.mkdir(folder, 0o700)
    datagrams, expected = _exporter.late()

    def run(datagrams, workers):
        port = Collecting(lab, "--json", json_path, "--collector-workers", str(workers),
                          data_dir=folder)
        port.json = json_path
        for source in exporters(8):
            port.send(datagrams, source)
        return port.end(), port.probe.log()

    same(run(datagrams[2:4], 3)[0], [], "records of templates")
    for workers in (1, 4):
        all_there(run(datagrams[4:], workers)[0],
                  [f | {"exporter_ip": e} for e in exporters(8) for f in expected[4:]], "restart")
    with open(kept, "r+b") as file:
        file.seek(40)
        file.write(b"?")
    records, log = run(datagrams[4:], 1)
    same(records, [], "records of a damaged file")
    check("collector.state is not used: it is damaged" in log, log)
    # nobody's folder: said, and collected all the same
    os.rename(folder, folder + "-gone")
    records, log = run(datagrams[2:], 1)
    same(len(records), 16, "records without a folder")
    check("templates of exporters are not kept over a restart: there is no folder" in log, log)


def test_checksum_of_a_load(lab):
    """bench/exporter's load, each field of each flow, by --json none."""
    exporter = os.path.join(os.environ.get("WEIR_BUILD", "build"), "bench", "exporter")
    for kind, run in (("5", "64"), ("9", "64"), ("9", "1"), ("ipfix", "64"), ("sflow", "64")):
        counters_path = lab.path(f"counters-{kind}-{run}")
        port = Collecting(lab, "--json", "none", "--counters", counters_path,
                          "--collector-workers", "2")
        out = subprocess.run([exporter, "-v", kind, "-r", "100000", "-n", "20000", "-k", "5000", "-e",
                              "5", "-b", run, port.to[0], str(port.to[1])], capture_output=True, text=True,
                             timeout=60)
        same(out.returncode, 0, out.stderr)
        same(port.probe.stop(), 0, "exit")
        sent = json.loads(out.stdout)
        with open(counters_path) as file:
            text = file.read()
        check(f"weir_probe_collect_flows_total {sent['flows']}\n" in text, f"{kind}: {sent} {text}")
        check(f"weir_probe_collect_datagrams_total {sent['datagrams']}\n" in text, f"{kind}: {sent} {text}")
        check(f"weir_probe_collect_checksum {sent['checksum']}\n" in text, f"{kind}: {sent} {text}")
        check("weir_probe_collect_sequence_lost_total 0\n" in text or kind == "sflow", text)


def test_to_the_hub(lab):
    hub = lab.hub()
    port = Collecting(lab, *hub.options_for_probe())
    name, datagrams, expected = list(_exporter.cases())[1]  # v5
    port.send(datagrams)
    cases = {name: datagrams for name, datagrams, _ in _exporter.cases()}
    port.send(cases["sflow"])
    port.send(cases["sflow discards"])
    flows = wait_for("the flows in the hub", lambda: (lambda f: f if len(f) >= 9 else None)(
        hub.flows()), 30)
    same(len(flows), 9, "flows")
    v5 = [f for f in flows if f["exporter_ip"] == "127.0.0.1"]
    # the exporter's clock is years away: its flows are put where they belong, and marked
    names = ("src_ip", "dst_ip", "src_port", "dst_port", "packets", "octets", "input_if")
    all_there(v5, [{k: f[k] for k in names} | {"sampling": 100, "times_mended": 1}
                   for f in expected], name)
    check(all(f["last_ms"] - f["first_ms"] == 4000 for f in v5), v5[0])
    same({f["exporter_ip"] for f in flows}, {"127.0.0.1", "203.0.113.9"}, "exporters")
    same([f["dst_port"] for f in hub.flows("exporter_ip = 203.0.113.9")], [443] * 6, "by filter")
    # what was dropped, by the name of the reason; it is not scaled as samples are
    same([(f["src_ip"], f["forwarding_status"], f.get("sampling", 0)) for f in hub.flows('drop_reason = "acl"')],
         [("192.0.2.1", 128, 0)], "by reason")
    same(sorted(f["drop_reason"] for f in hub.flows("forwarding_status >= 128 and forwarding_status < 192")),
         ["acl", "no_buffer_space", "ttl_exceeded"], "dropped packets")
    same(port.probe.stop(), 0, "exit")


def test_to_another_collector(lab):
    """-n alone, without a hub: what is collected goes on to it."""
    collector = Collector(counting=True)
    port = Collecting(lab, "-n", f"127.0.0.1:{collector.port}", "-V", "9", "--license", lab.path("none"))
    datagrams, expected = list(_exporter.cases())[1][1:]  # v5
    try:
        port.send(datagrams)
        wait_for("the records at the other collector", lambda: collector.records() >= len(expected), 10)
        same(port.probe.stop(), 0, "exit")
        same(collector.records(), len(expected), "records at the other collector")
    finally:
        collector.stop()


def test_name_without_an_answer(lab):
    """A collector whose name nobody resolves does not keep a probe that is told to stop."""
    env = [f"{k}={v}" for k, v in shim(lab, WEIR_SHIM_RESOLVE_S=40).items()]
    probe = lab.start("slow", "env", *env, PROBE, "--collector-port", "127.0.0.1:0", "-n", "collector.slow.invalid:2055",
                      "--license", lab.path("none"), "--counters", lab.path("counters"))
    said = wait_for("the port", lambda: re.search(r"on port (\d+)", probe.log()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(list(_exporter.cases())[1][1][0], ("127.0.0.1", int(said[1])))
    time.sleep(1.5)
    start = time.monotonic()
    same(probe.stop(30), 0, "exit")
    took_s = time.monotonic() - start
    check(took_s < 5 * SLOW, f"it took {took_s:.1f} s to end")
    with open(lab.path("counters")) as file:
        check(re.search('records_total{result="failed"} [1-9]', file.read()), "what was not sent is counted")


def wire_totals(lab, capture, version):
    """NetFlow v5 has no IPv6."""
    flows = [f for f in offline(lab, capture) if version != "5" or ":" not in f["src_ip"]]
    return {"packets": sum(f["packets"] + f["rev_packets"] for f in flows),
            "octets": sum(f["octets"] + f["rev_octets"] for f in flows)}


def both_ways(records):
    return {"packets": sum(r["packets"] + r.get("rev_packets", 0) for r in records),
            "octets": sum(r["octets"] + r.get("rev_octets", 0) for r in records)}


def test_parts_left_out(lab):
    """-p of packets and of exporters' records: nothing in them, and nothing lost."""
    capture = os.path.join(GOLDEN, "tcp.pcap")
    whole, plain = offline(lab, capture), offline(lab, capture, "-p", "1/1/1/1/1/1/1")
    same(comparable(plain), comparable(whole), "flows of which nothing is left out")
    for parts, names in (("1/1/1/0/1/1/1", ("src_port", "dst_port")), ("1/0/0/1/1/1/1", ("src_ip", "dst_ip", "protocol")),
                         ("0/0/0/0/0/0/0", ("src_ip", "dst_ip", "src_port", "dst_port", "protocol"))):
        flows = offline(lab, capture, "-p", parts)
        nothing = {0, "0.0.0.0", "::"}
        check(all(flow[name] in nothing for flow in flows for name in names), f"-p {parts}: {flows[:2]}")
        same(both_ways(flows)["packets"], both_ways(whole)["packets"], f"-p {parts}, packets")
        same(both_ways(flows)["octets"], both_ways(whole)["octets"], f"-p {parts}, octets")
        check(len(flows) < len(whole), f"-p {parts}: {len(flows)} flows of {len(whole)}")
        check(all("app_name" not in flow and "handshake_us" not in flow for flow in flows), f"-p {parts}: {flows[0]}")
    _, datagrams, expected = list(_exporter.cases())[1]  # v5
    path = lab.path("parts.pcap")
    _exporter.pcap(path, datagrams)
    records = offline(lab, path, "--interpret-flow-packets", "-p", "1/1/0/1/1/1/0")
    all_there(records, [f | {"src_ip": "0.0.0.0", "dst_ip": "0.0.0.0", "exporter_ip": "0.0.0.0"} for f in expected],
              "records without addresses")
    wrong = subprocess.run([PROBE, "-i", capture, "--json", "-", "-p", "1/1/1"], capture_output=True, text=True)
    check(wrong.returncode != 0 and "--aggregation 1/1/1: seven parts, each 0 or 1" in wrong.stderr, wrong.stderr)


# what a record and the hub's flow of it have in common; the hub leaves out what is nothing
SAME = ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "tcp_flags", "exporter_ip", "packets",
        "octets", "rev_packets", "rev_octets", "input_if", "output_if")


def multiset(flows, names):
    return collections.Counter(tuple(f.get(name) or 0 for name in names) for f in flows)


def exported(lab, name, version, make_command):
    """What came out of a collecting probe when this exporter read the capture: as JSON, and as the
    flows of a hub, which are the same; its account agrees."""
    hub = lab.hub()
    json_path = lab.path(f"{name}.json")
    port = Collecting(lab, "--json", json_path, *hub.options_for_probe())
    port.json = json_path
    wait_for("the probe in the hub", lambda: hub.probe(connected=True), 20)
    lab.start(name, *make_command(port.to)).wait(60)
    wait_for("records", lambda: port.records(), 10)
    wait_for("the hub's account of the exporter", lambda: account(hub, version)["flows"] >= len(port.records()), 20)
    one = account(hub, version)
    same((one["lost"], one["malformed"], one["no_template"], one["held"]), (0, 0, 0, 0), f"{name}: its account")
    records = port.end()
    flows = wait_for("all flows in the hub", lambda: (lambda f: f if len(f) >= len(records) else None)(
        hub.flows()), 30)
    same(one["flows"], len(records), f"{name}: flows of its account")
    same(multiset(flows, SAME), multiset(records, SAME), f"{name}: flows of the hub and records")
    return records, flows


def test_softflowd(lab):
    if not shutil.which("softflowd"):
        print("      softflowd is not installed")
        return
    capture = os.path.join(GOLDEN, "tcp.pcap")
    for version, told in (("5", "NetFlow v5"), ("9", "NetFlow v9"), ("10", "IPFIX")):
        records, flows = exported(lab, f"softflowd-{version}", told, lambda to: (
            "softflowd", "-D", "-r", capture, "-v", version, "-n", f"{to[0]}:{to[1]}",
            "-p", lab.path("softflowd.pid"), "-c", "none"))
        same({r["proto_version"] for r in records}, {int(version)}, "version")
        expected = wire_totals(lab, capture, version)
        same(both_ways(records), expected, f"softflowd, version {version}")
        same(both_ways(flows), expected, f"softflowd, version {version}, in the hub")


def pmacctd(lab, plugin, version, capture, to):
    path = lab.path("pmacctd.conf")
    with open(path, "w") as file:
        file.write(f"pcap_savefile: {capture}\nplugins: {plugin}\n"
                   f"aggregate: src_host,dst_host,src_port,dst_port,proto,tos,tcpflags\n"
                   f"pidfile: {lab.path('pmacctd.pid')}\n"
                   f"{plugin}_receiver: {to[0]}:{to[1]}\n" +
                   (f"nfprobe_version: {version}\n" if plugin == "nfprobe" else ""))
    return "pmacctd", "-f", path


def test_pmacctd(lab):
    if not shutil.which("pmacctd"):
        print("      pmacctd is not installed")
        return
    capture = os.path.join(GOLDEN, "tcp.pcap")
    for plugin, version, told in (("nfprobe", "5", "NetFlow v5"), ("nfprobe", "9", "NetFlow v9"),
                                  ("nfprobe", "10", "IPFIX"), ("sfprobe", "sflow", "sFlow v5")):
        records, flows = exported(lab, f"pmacctd-{version}", told,
                                  lambda to: pmacctd(lab, plugin, version, capture, to))
        expected = wire_totals(lab, capture, version)
        if plugin == "sfprobe":
            same(sum(r["packets"] for r in records), expected["packets"], "sfprobe, packets")
            same(sum(r["l3_octets"] for r in records), expected["octets"], "sfprobe, octets")
            same(sums(flows)[0], expected["packets"], "sfprobe, packets in the hub")
        else:
            same(both_ways(records), expected, f"nfprobe, version {version}")
            same(both_ways(flows), expected, f"nfprobe, version {version}, in the hub")


if __name__ == "__main__":
    main([test_each_version_in_a_capture, test_data_before_its_template,
          test_damaged_datagrams_are_counted, test_one_port_for_all, test_several_workers,
          test_templates_over_a_restart, test_checksum_of_a_load, test_to_the_hub,
          test_to_another_collector, test_name_without_an_answer,
          test_parts_left_out, test_softflowd, test_pmacctd])
