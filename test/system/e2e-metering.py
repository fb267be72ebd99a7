#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Options of metering as their effect is seen at the other end: at a hub by its API, at a collector
in what it is sent. -S P:C:E with and without @, --ndpi-custom-protos, -O, interfaces of flows; and
-U, -o, -l of each version."""
import json
import os
import random
import socket
import struct
import subprocess
import time

import _exporter
from _collector import Collector, many_flows, packet, write_capture
from _e2e import PROBE, SLOW, captures, check, free_ports, main, offline, same, wait_for

FLOWS = 4000


def golden(name):
    return [c for c in captures() if os.path.basename(c).split(".")[0] == name][0]


def finished(lab, *options, code=0):
    """A probe that runs to its end; its counters."""
    counters = lab.path("counters")
    probe = lab.probe("--counters", counters, "--license", lab.path("no.license"), *options)
    same(probe.wait(90), code, f"{options} ends, having said\n{probe.log()[-1500:]}\n")
    with open(counters) as file:
        return {line.split()[0]: int(line.split()[1]) for line in file if line[0] != "#"}


def many(lab, n=FLOWS):
    path = lab.path("many.pcap")
    write_capture(path, many_flows(n))
    return path


def collected(lab, capture, *options, records, version="10"):
    """The decoder of a collector (-n) after a run."""
    collector = Collector()
    numbers = finished(lab, "-i", capture, "-n", f"127.0.0.1:{collector.port}", "-V", version, "--no-dpi",
                       *options)
    if records is None:
        records = numbers['weir_probe_collector_records_total{result="sent"}']
    wait_for(f"{records} records", lambda: collector.records() >= records, 10)
    collector.stop()
    return collector.decoder, numbers


# ---------------------------------------------------------------------------- -S P:C:E

def packets_of(decoder):
    return sum(r.get((0, 2), 0) + r.get((29305, 2), 0) for r in decoder.records)


def test_packets_with_and_without_at(lab):
    """P meters one of P; @P leaves none out; both are told with every flow, to hub and collector."""
    capture = many(lab)
    total = FLOWS + FLOWS // 2
    for rate, metered in (("4", total // 4), ("@4", total)):
        hub = lab.hub()
        collector = Collector()
        numbers = finished(lab, "-i", capture, *hub.options_for_probe(), "-n", f"127.0.0.1:{collector.port}",
                           "-V", "10", "--no-dpi", "-S", rate)
        flows = hub.flows()
        wait_for("records", lambda: collector.records() >= len(flows), 10)
        collector.stop()
        same({f["sampling"] for f in flows}, {4}, f"-S {rate}: sampling at the hub")
        same({r[0, 34] for r in collector.decoder.records}, {4}, f"-S {rate}: at the collector")
        same(sum(f["packets"] + f["rev_packets"] for f in flows), metered, f"-S {rate}: packets at the hub")
        same(packets_of(collector.decoder), metered, f"-S {rate}: packets at the collector")
        same(numbers['weir_probe_packets_skipped_total{reason="sampling"}'], total - metered, f"-S {rate}: skipped")
        hub.stop()


def exporter_flows(lab, hub, *options):
    """NetFlow v5 to a collecting probe: an exporter that says no rate, and one that says 10."""
    port = free_ports(1)
    probe = lab.probe("--collector-port", f"127.0.0.1:{port}", *hub.options_for_probe(), *options)
    wait_for("the port", lambda: "collecting NetFlow" in probe.log())
    for source, sampling in (("127.0.0.1", 0), ("127.0.0.2", 10)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((source, 0))
            s.sendto(_exporter.old(5, [_exporter.flow(i) for i in range(8)], sampling=sampling), ("127.0.0.1", port))
    wait_for("all flows", lambda: len(hub.flows()) == 16)
    same(probe.stop(), 0, "exit code")
    return hub.flows()


def test_collected_with_and_without_at(lab):
    """C is the rate of exporters that say none, @ before it changes nothing, nothing is left out, and
    P is none of theirs. What they sent stands as sent; the hub scales it where it is asked to."""
    for written, told in (("1:100", 100), ("1:@100", 100), ("@7:100", 100), ("7:@100:5", 100), ("7", 1)):
        hub = lab.hub()
        flows = exporter_flows(lab, hub, "-S", written)
        rates = {who: {f.get("sampling", 1) for f in flows if f["exporter_ip"] == who}
                 for who in ("127.0.0.1", "127.0.0.2")}
        same(rates, {"127.0.0.1": {told}, "127.0.0.2": {10}}, f"-S {written}: sampling by exporter")
        sent = sum(_exporter.flow(i)["packets"] for i in range(8))
        same(sum(f["packets"] for f in flows), 2 * sent, f"-S {written}: packets as they were sent")
        scaled = hub.get("/top", by="protocol", metric="packets", counts="scaled", from_=0, to=2 ** 43)
        same(scaled["rows"][0]["packets"], sent * (told + 10), f"-S {written}: packets scaled by the hub")
        hub.stop()


def test_exported_flows(lab):
    """E: one of E flows goes to collectors, whole, in both directions and over splits; hubs get all,
    and packets are none the fewer."""
    capture, rate = many(lab), 8
    for written in (f"1:1:{rate}", f"@3:1:{rate}"):
        hub = lab.hub()
        collector = Collector()
        numbers = finished(lab, "-i", capture, *hub.options_for_probe(), "-n", f"127.0.0.1:{collector.port}", "-V",
                           "10", "--no-dpi", "-S", written)
        sent = numbers['weir_probe_collector_records_total{result="sent"}']
        wait_for("records", lambda: collector.records() >= sent, 10)
        collector.stop()
        same(collector.records(), sent, f"-S {written}: records")
        # binomial: five deviations are 105
        check(abs(sent - FLOWS / rate) < 105, f"-S {written}: {sent} of {FLOWS} flows")
        same(numbers["weir_probe_collector_flows_skipped_total"], FLOWS - sent, f"-S {written}: flows left out")
        flows = hub.flows()
        same(len(flows), FLOWS, f"-S {written}: flows at the hub")
        same(sum(f["packets"] + f["rev_packets"] for f in flows), FLOWS + FLOWS // 2, f"-S {written}: packets")
        whole = {f["flow_id"]: (f["packets"], f["rev_packets"]) for f in flows}
        for r in collector.decoder.records:
            same((r[0, 2], r.get((29305, 2), 0)), whole[r[0, 148]], f"-S {written}: packets of a flow")
        same({r.get((0, 34), 1) for r in collector.decoder.records}, {3 if written[0] == "@" else 1}, "rates")
        hub.stop()


def test_splits_go_together(lab):
    """Of a flow that is reported several times (-t) all records go out, or none."""
    path = lab.path("long.pcap")
    with open(path, "wb") as file:  # 400 flows, a packet every 5 s
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for turn in range(6):
            for n in range(400):
                frame = packet(n)
                file.write(struct.pack("<IIII", 1700000000 + 5 * turn, n, len(frame), len(frame)) + frame)
    decoder, _ = collected(lab, path, "-t", "10", "-S", "1:1:5", records=None)
    records = {}
    for r in decoder.records:
        records.setdefault(r[0, 148], []).append(r[0, 2])
    check(40 < len(records) < 125, f"{len(records)} of 400 flows")
    same({sum(packets) for packets in records.values()}, {6}, "packets of each flow")
    check(min(len(p) for p in records.values()) > 1, "flows are reported several times")


# ---------------------------------------------------------------------------- nDPI

def random_udp(n, port, to):
    """Payload that nDPI does not know."""
    payload = bytes((n * 37 + k * 101 + 7) & 0xff for k in range(40))
    udp = struct.pack(">HHHH", 50000 + n, port, 8 + len(payload), 0) + payload
    return (b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\x00" + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
            + bytes([10, 9, 0, 1 + n]) + socket.inet_aton(to) + udp)


def test_custom_protocols(lab):
    """By port, address and name, as the hub's API has them: in flows, filters and sums."""
    rules = lab.path("protos.txt")
    with open(rules, "w") as file:  # the last line has no end
        file.write('# ours\n\nudp:40900-40910@OurPort\r\n  ip:10.20.30.0/24@OurServers\n'
                   'host:"www.example.org"@OurShop')
    path = lab.path("own.pcap")
    write_capture(path, [random_udp(n, 40900 + n, "10.2.2.2") for n in range(5)] +
                  [random_udp(n, 52000, f"10.20.30.{n + 1}") for n in range(3)])
    hub = lab.hub()
    finished(lab, "-i", path, "-i", golden("tcp"), *hub.options_for_probe(), "--ndpi-custom-protos",
                       rules)
    for name, n in (("OurPort", 5), ("OurServers", 3), ("HTTP.OurShop", 2)):
        flows = hub.flows(f'app_name = "{name}"')
        same(len(flows), n, f"flows of {name}, of {[f.get('app_name') for f in hub.flows()]}")
    top = hub.get("/top", by="app_name", metric="flows", from_=0, to=2 ** 43, limit=50)
    got = {row["key"]: row["flows"] for row in top["rows"]}
    same({k: got.get(k) for k in ("OurPort", "OurServers", "HTTP.OurShop")},
         {"OurPort": 5, "OurServers": 3, "HTTP.OurShop": 2}, "flows by application")


def test_protocols(lab):
    """-O: by name and by number, only these at the hub and at the collector; others are counted."""
    every = offline(lab, golden("udp"))
    dns = [f for f in every if f.get("app_name") == "DNS"]
    for wanted in ("DNS", "dns,BitTorrent", "5"):
        hub = lab.hub()
        collector = Collector()
        numbers = finished(lab, "-i", golden("udp"), *hub.options_for_probe(), "-n", f"127.0.0.1:{collector.port}",
                           "-V", "10", "-O", wanted)
        flows = hub.flows()
        same([f["app_name"] for f in flows], ["DNS"] * len(dns), f"-O {wanted}: at the hub")
        wait_for("records", lambda: collector.records() >= len(dns), 10)
        collector.stop()
        same(collector.records(), len(dns), f"-O {wanted}: at the collector")
        same(numbers['weir_probe_flows_filtered_total{reason="protocol"}'], len(every) - len(dns), f"-O {wanted}: counted")
        hub.stop()


def test_undecided_at_a_time(lab):
    """--max-dpi-flows: flows beyond are told by port and counted, as are those that nDPI gave up."""
    path, n, places = lab.path("undecided.pcap"), 60, 8
    write_capture(path, [random_udp(k, 52000 if k < places else 161, "10.3.3.3") for k in range(n)])
    numbers = finished(lab, "-i", path, "--json", lab.path("undecided.json"), "--max-dpi-flows", str(places))
    same(numbers["weir_probe_dpi_flows_total"], places, "flows that nDPI was shown")
    same(numbers["weir_probe_dpi_full_total"], n - places, "flows without a place")
    with open(lab.path("undecided.json")) as file:
        flows = [json.loads(line) for line in file]
    same((len(flows), {f.get("app_name") for f in flows[places:]}), (n, {"SNMP"}), "flows beyond, by their port")
    same({f["app_confidence"] for f in flows[places:]}, {1}, "confidence: by port")
    write_capture(path, [random_udp(k, 52000, "10.3.3.3") for _ in range(30) for k in range(n)])
    numbers = finished(lab, "-i", path, "--json", lab.path("undecided.json"))
    with open(lab.path("undecided.json")) as file:
        unknown = sum("app_name" not in json.loads(line) for line in file)
    check(unknown > n / 2, f"{unknown} unknown of {n} of noise")
    same(numbers["weir_probe_dpi_given_up_total"], unknown, "flows that stayed unknown at the limit")
    check(unknown * 24 <= numbers["weir_probe_dpi_packets_total"] <= n * 24, "packets shown to nDPI")


# ---------------------------------------------------------------------------- a flood

def syns(path, n):
    """Raw IPv4, from addresses and ports at random, 200,000 a second."""
    dice = random.Random(4)
    tail = struct.pack(">II HHHH", 0, 0, 0x5002, 8192, 0, 0)
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        for first in range(0, n, 50000):
            noise = dice.randbytes(6 * 50000)
            file.write(b"".join(
                struct.pack("<IIII", 1700000000 + i // 200000, i % 200000 * 5, 40, 40) +
                b"\x45\0\0\x28\0\0\0\0\x40\6\0\0" + noise[k:k + 4] + b"\xc0\xa8\0\1" + noise[k + 4:k + 6] +
                b"\0\x50" + tail for i, k in zip(range(first, first + 50000), range(0, 6 * 50000, 6))))


def test_memory_in_a_flood(lab):
    """4 M SYNs at a table of 200,000 flows take what 1 M take; each is told once, most of them together."""
    peaks = []
    for n in (1000000, 4000000):
        path, out, counters = lab.path("flood.pcap"), lab.path("flood.json"), lab.path("flood.counters")
        syns(path, n)
        child = subprocess.Popen([PROBE, "-i", path, "--max-flows", "200000", "--json", out, "--counters", counters,
                                  "-n", "127.0.0.1:9", "--license", lab.path("none"), "--data-dir", lab.path("data")],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
        same(status, 0, "exit code")
        peaks.append(usage.ru_maxrss)
        with open(out) as file:  # line by line: what this process has at most, its children have had
            told = [json.loads(line)["packets"] for line in file]
        same(sum(told), n, "packets in records")
        check(len(told) < 200100, f"{len(told)} records")
        with open(counters) as file:
            check(f"weir_probe_flows_swept_total {n - 200000}\n" in file.read(), "flows told together")
    if SLOW == 1:
        check(peaks[1] < peaks[0] * 1.05 + 2000, f"peaks {peaks} KB")
        print(f"peaks of 1 M and 4 M: {peaks} KB")


# ---------------------------------------------------------------------------- interfaces

def test_interfaces_at_the_hub(lab):
    """input_if and output_if of what exporters say, and -u; the hub's filter finds them."""
    hub = lab.hub()
    flows = exporter_flows(lab, hub)
    same({(f["input_if"], f["output_if"]) for f in flows}, {(3, 4)}, "interfaces of collected flows")
    same(len(hub.flows("output_if = 4")), 16, "flows that left by 4")
    same(len(hub.flows("output_if = 3")), 0, "flows that left by 3")
    finished(lab, "-i", golden("udp"), *hub.options_for_probe(), "-u", "77")
    same(len(hub.flows("input_if = 77")), len(offline(lab, golden("udp"))), "flows with -u 77")


def test_two_arms_at_the_hub(lab):
    """-i a,b: a flow whose directions come by two interfaces has both, and is one at the hub."""
    ns, hub_ns = lab.namespace(), lab.namespace()
    lab.cable((ns, "out0", None), (hub_ns, "in0", None))
    lab.cable((ns, "out1", None), (hub_ns, "in1", None))
    hub = lab.hub(namespace=hub_ns)
    probe = lab.probe("-i", "in0,in1", *hub.options_for_probe(), "--no-dpi", namespace=hub_ns)
    wait_for("the probe is connected", lambda: hub.get("/interfaces/1")["probes_connected"] == 1)
    time.sleep(1)
    for there in (True, False):
        path = lab.path(f"arm{there}.pcap")
        write_capture(path, [packet(n, back=not there) for n in range(30)])
        sent = lab.start(f"replay{there}", "tcpreplay", "-q", "--pps", "2000", "-i", "out0" if there else "out1", path,
                         namespace=ns)
        same(sent.wait(20), 0, "tcpreplay")
    time.sleep(0.5)
    same(probe.stop(), 0, "exit code")
    flows = hub.flows()
    same([(f["packets"], f["rev_packets"]) for f in flows], [(1, 1)] * 30, "flows")
    pairs = {(f["input_if"], f.get("output_if")) for f in flows}
    check(len(pairs) == 1 and None not in list(pairs)[0] and len(set(list(pairs)[0])) == 2, f"interfaces {pairs}")
    same(len(hub.flows(f"output_if = {list(pairs)[0][1]}")), 30, "by the filter")


# ---------------------------------------------------------------------------- -U -o -l

def test_templates_of_each_version(lab):
    """-U and -o in v9 and IPFIX; v5 has no templates, and takes no harm."""
    capture = many(lab, 600)
    for version in ("9", "10"):
        for first, every in ((1024, 2), (65516, 50)):
            decoder, _ = collected(lab, capture, "-U", str(first), "-o", str(every), records=None, version=version)
            ids = sorted(set(decoder.templates) - set(decoder.scopes))
            check(ids and all(first <= i < first + 16 for i in ids), f"v{version}, -U {first}: {ids}")
            same(decoder.unknown_sets, 0, f"v{version}: sets without a template")
            times = decoder.messages / every
            again = decoder.announced / len(ids)
            check(times / 2 < again < 2 * times + 4, f"v{version}, -o {every}: {again} times in {decoder.messages}")
    decoder, _ = collected(lab, capture, "-U", "1024", "-o", "2", records=None, version="5")
    check(len(decoder.records) > 400, f"v5: {len(decoder.records)} records")
    for wrong in ("255", "0", "65517", "x"):
        probe = lab.probe("-i", capture, "-n", "127.0.0.1:9", "-U", wrong)
        same(probe.wait(10), 2, f"-U {wrong}")
        check("256" in probe.log() and probe.log().count("\n") == 1, probe.log())


def test_messages_wait_in_each_version(lab):
    """-l: a flow by itself leaves at once, or waits for others so long."""
    for version in ("5", "9", "10"):
        for seconds in (None, 3):
            ns = lab.namespace()
            lab.cable((ns, "out", None), (ns, "in", None))
            collector_log = lab.path(f"l{version}{seconds}")
            sink = lab.start(f"sink{version}{seconds}", "/usr/bin/python3", "-c", SINK, collector_log, namespace=ns)
            options = ["-l", str(seconds)] if seconds else []
            probe = lab.probe("-i", "in", "-d", "1", "-n", "127.0.0.1:2055", "-V", version, "--no-dpi", "--license",
                              lab.path("no.license"), *options, namespace=ns)
            wait_for("ready", lambda: "exports 25000" in probe.log())
            time.sleep(0.7)
            path = lab.path("one.pcap")
            write_capture(path, [packet(0)])
            at = time.time()
            same(lab.start("r", "tcpreplay", "-q", "-i", "out", path, namespace=ns).wait(10), 0, "tcpreplay")
            took = wait_for("the flow", lambda: arrived_at(collector_log, version), 12) - at
            least = 1 + (seconds or 0)  # the flow is idle for a second
            check(least - 0.3 < took < least + 2.5, f"v{version}, -l {seconds}: after {took:.2f} s")
            same(probe.stop(), 0, "exit code")
            sink.kill()


# one line a datagram with flows in it: when, and how long
SINK = """
import socket, sys, time, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 2055))
while True:
    data = s.recv(65536)
    version = struct.unpack(">H", data[:2])[0]
    at, kinds = {9: 20, 10: 16}.get(version, len(data)), []
    while at + 4 <= len(data):
        kind, size = struct.unpack(">HH", data[at:at + 4])
        kinds.append(kind)
        at += size
    with open(sys.argv[1], "a") as file:
        print(time.time(), version, *kinds, file=file)
"""


def arrived_at(path, version):
    """When the first datagram with a flow came: options records are of templates 272 and up."""
    with open(path) as file:
        for line in file:
            at, v, *kinds = line.split()
            if v == version and (version == "5" or any(256 <= int(k) < 272 for k in kinds)):
                return float(at)
    return None


if __name__ == "__main__":
    main([test_packets_with_and_without_at, test_collected_with_and_without_at, test_exported_flows,
          test_splits_go_together, test_custom_protocols, test_protocols, test_undecided_at_a_time,
          test_memory_in_a_flood, test_interfaces_at_the_hub, test_two_arms_at_the_hub,
          test_templates_of_each_version, test_messages_wait_in_each_version])
