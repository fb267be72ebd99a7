#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Flows to collectors of others (-n): what nfcapd, nfacctd and tshark read back of NetFlow v5, v9
and IPFIX is what --json has of the same capture, packets and octets exact. Over UDP and TCP, to
several collectors, to one that is dead, and to one that comes back."""
import collections
import json
import os
import shutil
import struct
import subprocess
import time

from _collector import Collector, directions, key_of, many_flows, packet, write_capture
from _e2e import PROBE, captures, check, free_ports, main, same, wait_for

FLOWS = 3000


def udp_bound(port):
    with open("/proc/net/udp") as file:
        return f":{port:04X} " in file.read()


def run_probe(lab, capture, *options):
    """Its JSON flows and its counters, of one run that exports as well."""
    counters = lab.path("counters")
    run = subprocess.run([PROBE, "-i", capture, "--json", "-", "--counters", counters, "--data-dir",
                          lab.path("data"), "--license", lab.path("no.license"), *options],
                         capture_output=True, text=True, timeout=100)
    same(run.returncode, 0, f"exit code, having said\n{run.stderr[-1000:]}\n")
    with open(counters) as file:
        numbers = {line.split()[0]: int(line.split()[1]) for line in file if line[0] != "#"}
    return [json.loads(line) for line in run.stdout.splitlines()], numbers


def made(lab):
    """Golden captures and one of many flows; all are IP."""
    path = lab.path("many.pcap")
    write_capture(path, many_flows(FLOWS))
    wanted = ("/tcp.pcap", "/icmp.pcap", "/udp.pcap", "/vlan.pcap", "/tls.pcapng", "/sctp.pcap")
    return [c for c in captures() if c.endswith(wanted)] + [path]


def multiset(what, got, expected):
    got, expected = collections.Counter(got), collections.Counter(expected)
    if got != expected:
        raise AssertionError(f"{what}: {sum(got.values())} records, expected "
                             f"{sum(expected.values())}; missing {list((expected - got).items())[:3]}"
                             f", extra {list((got - expected).items())[:3]}")


def no_icmp_ports(keys):
    """Of ICMP collectors show type and code where others have ports."""
    return [k if k[6] not in (1, 58) else (*k[:4], 0, 0, *k[6:]) for k in keys]


def sent(numbers, what="records", result="sent"):
    return numbers[f'weir_probe_collector_{what}_total{{result="{result}"}}']


# ------------------------------------------------------------------------------------- our eyes

def test_udp_every_version(lab):
    """The counting collector: every field of the key, every count, datagrams that fit, sequences."""
    for version in (5, 9, 10):
        for capture in made(lab):
            what = f"v{version}, {os.path.basename(capture)}"
            collector = Collector()
            flows, numbers = run_probe(lab, capture, "-n", f"127.0.0.1:{collector.port}", "-V", str(version))
            expected = ([key_of(f) for f in flows] if version == 10
                        else directions(flows, v4_only=version == 5))
            wait_for(what, lambda: collector.records() >= len(expected), 5)
            collector.stop()
            multiset(what, no_icmp_ports(collector.decoder.flows()), expected)
            check(collector.longest <= 1400, f"{what}: a datagram of {collector.longest} bytes")
            same(sent(numbers), len(expected), f"{what}: records sent by the counter")
            same(sent(numbers, "messages"), collector.decoder.messages, f"{what}: messages")
            same(sent(numbers, result="failed"), 0, f"{what}: records failed")
            v6 = sum(":" in f["src_ip"] for f in flows)
            same(numbers["weir_probe_collector_flows_unfit_total"], v6 if version == 5 else 0, "unfit")
            check_sequences(what, collector.decoder, version)


def check_sequences(what, decoder, version):
    sequences = decoder.sequences
    same(sequences[0], 0, f"{what}: first sequence")
    check(sequences == sorted(sequences), f"{what}: sequences {sequences[:9]}")
    if version == 9:  # counts messages
        same(sequences[-1], len(sequences) - 1, f"{what}: last sequence")
    else:  # counts records: the last message has some more
        sent = len(decoder.records) + len(decoder.options)
        check(0 <= sent - sequences[-1] <= 40, f"{what}: last sequence {sequences[-1]} of {sent}")


def test_large_counts_in_v5(lab):
    """More octets than 32 bits hold become more than one record, and the sum is right."""
    jumbo = packet(1, payload=65000)
    path = lab.path("large.pcap")
    # a capture may say that a packet was longer than what was kept of it
    n = 70000
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i in range(n):
            file.write(struct.pack("<IIII", 1700000000, i * 10, 60, len(jumbo)) + jumbo[:60])
    collector = Collector()
    flows, _ = run_probe(lab, path, "-n", f"127.0.0.1:{collector.port}", "-V", "5")
    same(len(flows), 1, "flows")
    check(flows[0]["octets"] > 2 ** 32, f"octets {flows[0]['octets']}")
    wait_for("two records", lambda: collector.records() >= 2, 5)
    collector.stop()
    records = collector.decoder.records
    same(sum(r[0, 1] for r in records), flows[0]["octets"], "octets")
    same(sum(r[0, 2] for r in records), n, "packets")


def test_tcp(lab):
    """IPFIX and v9 over TCP; templates once, at the beginning of the connection."""
    for version in (9, 10):
        for capture in made(lab):
            what = f"v{version} over TCP, {os.path.basename(capture)}"
            collector = Collector(tcp=True)
            flows, numbers = run_probe(lab, capture, "-n", f"tcp://127.0.0.1:{collector.port}", "-V", str(version))
            expected = [key_of(f) for f in flows] if version == 10 else directions(flows)
            wait_for(what, lambda: collector.records() >= len(expected), 5)
            collector.stop()
            multiset(what, no_icmp_ports(collector.decoder.flows()), expected)
            decoder = collector.decoder
            same((decoder.announced, decoder.options_announced), (16, 4), f"{what}: templates")
            same(decoder.withdrawn, 2 if version == 10 else 0, f"{what}: kinds withdrawn at the end")
            same((sent(numbers), sent(numbers, result="failed")), (len(expected), 0), what)
    run = subprocess.run([PROBE, "-i", capture, "-n", "tcp://127.0.0.1:1", "-V", "5"],
                         capture_output=True, text=True)
    same(run.returncode, 2, "v5 over TCP")
    check("UDP only" in run.stderr, run.stderr)


def test_several(lab):
    """In turn, and with -a to each."""
    capture = made(lab)[-1]
    for all_ in (False, True):
        collectors = [Collector() for _ in range(3)]
        where = ",".join(f"udp://127.0.0.1:{c.port}" for c in collectors)
        flows, numbers = run_probe(lab, capture, "-n", where, "-V", "10", *(["-a"] if all_ else []))
        expected = [key_of(f) for f in flows]
        wanted = len(expected) * (3 if all_ else 1)
        wait_for("all records", lambda: sum(c.records() for c in collectors) >= wanted, 5)
        for collector in collectors:
            collector.stop()
            if all_:
                multiset("each", collector.decoder.flows(), expected)
            check(collector.records() > FLOWS / 6, f"{collector.records()} records of one")
            same(collector.decoder.unknown_sets, 0, "sets without a template")
        multiset("together", [k for c in collectors for k in c.decoder.flows()],
                 expected * (3 if all_ else 1))
        same(sent(numbers), wanted, "records by the counter")


def test_templates(lab):
    """Their ids and how often they are said are the user's; each datagram can be read."""
    capture = made(lab)[-1]
    for options, first, times in (([], 256, 20), (["-U", "40000", "-o", "3"], 40000, 3)):
        collector = Collector()
        flows, _ = run_probe(lab, capture, "-n", f"127.0.0.1:{collector.port}", "-V", "10", *options)
        wait_for("records", lambda: collector.records() >= len(flows), 5)
        collector.stop()
        decoder = collector.decoder
        same(sorted(set(decoder.templates) - set(decoder.scopes)), [first, first + 1],
             "templates: IPv4 and IPv6 with ports")
        same(sorted(decoder.scopes), [first + 16 + i for i in range(4)], "options templates")
        again = decoder.announced / 2  # each time a message of templates, and one of options
        expected = (decoder.messages - 2 * again) / times
        check(expected <= again + 1 <= expected * 1.2 + 3, f"{again}, some {expected}")


# ----------------------------------------------------------------------------------- their eyes

def nfcapd_reads(lab, name, capture, version):
    port, folder = free_ports(1), lab.path(name)
    os.mkdir(folder)
    nfcapd = lab.start(name + "-nfcapd", "nfcapd", "-b", "127.0.0.1", "-p", str(port), "-l", folder, "-t",
                       "600", "-B", "8000000")
    wait_for("nfcapd listens", lambda: udp_bound(port))
    flows, _ = run_probe(lab, capture, "-n", f"127.0.0.1:{port}", "-V", str(version))
    time.sleep(0.5)
    nfcapd.stop()
    run = subprocess.run(["nfdump", "-R", folder, "-q", "-N", "-6", "-o",
                          "fmt:%sa,%da,%sp,%dp,%pr,%ipkt,%ibyt,%opkt,%obyt,%ts,%te"],
                         capture_output=True, text=True)
    rows = [[p.strip() for p in line.split(",")] for line in run.stdout.splitlines()]
    return flows, [r for r in rows if len(r) == 11]


def test_nfcapd(lab):
    for version in (5, 9, 10):
        for i, capture in enumerate(made(lab)):
            what = f"nfcapd, v{version}, {os.path.basename(capture)}"
            flows, rows = nfcapd_reads(lab, f"nf{version}-{i}", capture, version)
            expected = ([key_of(f) for f in flows] if version == 10
                        else directions(flows, v4_only=version == 5))
            got = []
            for r in rows:
                v6, icmp = ":" in r[0], r[4] in ("1", "58")
                got.append((0 if v6 else r[0], r[0] if v6 else 0, 0 if v6 else r[1], r[1] if v6 else 0,
                            0 if icmp else int(r[2]), 0 if icmp else int(r[3]),
                            *(int(x) for x in r[4:9])))
            multiset(what, got, expected)
            times = collections.Counter(r[9] for r in rows)
            wanted = collections.Counter()
            for f in flows:
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(f["first_ms"] // 1000))
                n = 1 if version == 10 else len(directions([f], v4_only=version == 5))
                if n:
                    wanted[f"{at}.{f['first_ms'] % 1000:03}"] += n
            same(times, wanted, f"{what}: times of the first packets")


def test_nfacctd(lab):
    """pmacct's collector; of IPFIX it takes the forward direction only, so v9 is what is compared."""
    if not shutil.which("nfacctd"):
        print("nfacctd is not installed")
        return
    port, out, conf = free_ports(1), lab.path("nfacct.json"), lab.path("nfacct.conf")
    # it hands full buffers to its plugin: with large ones the last records stay in the last one
    with open(conf, "w") as file:
        file.write(f"nfacctd_ip: 127.0.0.1\nnfacctd_port: {port}\nplugins: print\nprint_output: json\n"
                   "aggregate: src_host,dst_host,src_port,dst_port,proto\nprint_refresh_time: 2\n"
                   f"print_output_file: {out}\nprint_output_file_append: true\n"
                   "nfacctd_time_new: true\nplugin_pipe_size: 10240000\nplugin_buffer_size: 1\n"
                   "nfacctd_pipe_size: 8000000\n")
    lab.start("nfacctd", "nfacctd", "-f", conf)
    wait_for("nfacctd listens", lambda: udp_bound(port))
    time.sleep(0.5)  # its plugin starts after it listens
    flows, _ = run_probe(lab, made(lab)[-1], "-n", f"127.0.0.1:{port}", "-V", "9")
    wanted = collections.Counter()
    for k in directions(flows):
        wanted[k[0] or k[1], k[2] or k[3], k[4], k[5]] += 1
        wanted["packets"] += k[7]
        wanted["octets"] += k[8]

    def written():
        got = collections.Counter()
        with open(out) as file:
            for row in map(json.loads, file):
                if row["packets"]:
                    got[row["ip_src"], row["ip_dst"], row["port_src"], row["port_dst"]] += 1
                    got["packets"] += row["packets"]
                    got["octets"] += row["bytes"]
        return got
    try:
        wait_for("nfacctd wrote them all", lambda: written() == wanted, 12)
    finally:
        same([written()[k] for k in ("packets", "octets")], [wanted[k] for k in ("packets", "octets")],
             "nfacctd: packets and octets")


def test_tshark(lab):
    """It finds nothing odd in any message, and the sums are those of --json."""
    for version in (5, 9, 10):
        collector = Collector(keep=True)
        flows, _ = run_probe(lab, made(lab)[-1], "-n", f"127.0.0.1:{collector.port}", "-V", str(version))
        expected = [key_of(f) for f in flows] if version == 10 else directions(flows, version == 5)
        wait_for("records", lambda: collector.records() >= len(expected), 5)
        collector.stop()
        path = lab.path(f"v{version}.pcap")
        write_capture(path, (frame_of(m) for m in collector.raw))
        run = subprocess.run(["tshark", "-r", path, "-d", "udp.port==2055,cflow", "-T", "fields", "-e",
                              "cflow.packets", "-e", "cflow.octets", "-e", "_ws.expert.message", "-e",
                              "_ws.malformed", "-E", "separator=;"], capture_output=True, text=True)
        packets = octets = 0
        for line in run.stdout.splitlines():
            fields = line.split(";")
            packets += sum(int(x) for x in fields[0].split(",") if x)
            octets += sum(int(x) for x in fields[1].split(",") if x)
            odd = [x for x in fields[2:] if x]
            check(not odd, f"tshark, v{version}: {odd}")
        same(packets, sum(k[7] + k[9] for k in expected), f"tshark, v{version}: packets")
        same(octets, sum(k[8] + k[10] for k in expected), f"tshark, v{version}: octets")


def frame_of(payload):
    udp = struct.pack(">HHHH", 2055, 2055, 8 + len(payload), 0) + payload
    return (bytes(12) + b"\x08\x00" + struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                                                  b"\x7f\0\0\1", b"\x7f\0\0\1") + udp)


# ------------------------------------------------------------------------------------ bad times

def live(lab, *options):
    """A probe on a cable, and what puts a capture on it."""
    ns = lab.namespace()
    lab.cable((ns, "out", None), (ns, "in", None))
    json_path, counters = lab.path("live.json"), lab.path("live.counters")
    probe = lab.probe("-i", "in", "--json", json_path, "--counters", counters, "-d", "1", "--license",
                      lab.path("no.license"), *options, namespace=ns)

    def play(n, first=0):
        path = lab.path(f"play{first}.pcap")
        write_capture(path, (packet(i) for i in range(first, first + n)))
        subprocess.run(["ip", "netns", "exec", ns, "tcpreplay", "-q", "--pps=20000", "-i", "out", path],
                       check=True, capture_output=True)

    def numbers():
        with open(counters) as file:
            return {line.split()[0]: int(line.split()[1]) for line in file if line[0] != "#"}
    wait_for("the probe is ready", lambda: "exports 25000" in probe.log())
    time.sleep(0.5)
    return probe, play, numbers, json_path


def test_dead_collectors(lab):
    """One that refuses, one that swallows everything, one whose name is not known: nothing of the
    metering is held up or lost, and what could not be sent is counted."""
    n = 6000
    where = "udp://127.0.0.1:19,tcp://127.0.0.1:19,udp://no-such-host.invalid:2055,tcp://192.0.2.1:4739"
    probe, play, numbers, json_path = live(lab, "-n", where, "-a", "-V", "10")
    play(n)
    with_all = wait_for("flows", lambda: sum(1 for _ in open(json_path)) == n, 10)
    check(with_all, "flows")
    started = time.monotonic()
    same(probe.stop(), 0, "exit code")
    check(time.monotonic() - started < 25, "it takes long to stop")
    got = numbers()
    same(got['weir_probe_flows_dropped_total{reason="export_queue"}'], 0, "records dropped")
    same(got["weir_probe_packets_metered_total"], n, "packets metered")
    limited = got["weir_probe_collector_flows_withheld_total"]
    same(sent(got) + sent(got, result="failed") + limited, 4 * n, "records sent, failed and withheld")
    check(sent(got, result="failed") >= 3 * (n - 1) - limited, f"failed {sent(got, result='failed')}")
    for words in ("nothing listens there", "tcp://127.0.0.1:19: Connection refused", "no-such-host.invalid"):
        check(words in probe.log(), f"{words!r} in the log:\n{probe.log()}")


def test_collector_comes_back(lab):
    """Over TCP: its connection is cut between two bursts; the next one begins with the templates,
    and no record is missing. A collector that is not there yet is waited for."""
    port, n = free_ports(1), 500
    log_path = lab.path("feed.log")

    def said():
        with open(log_path) as file:
            return file.read()
    feed = subprocess.Popen([PROBE, "-i", "-", "-d", "1", "-n", f"tcp://127.0.0.1:{port}", "-V", "10",
                             "--data-dir", lab.path("data"), "--license", lab.path("no.license")],
                            stdin=subprocess.PIPE, stderr=open(log_path, "w"))
    try:
        feed.stdin.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))

        def burst(first, at_s):
            for number in (*range(first, first + n), 59999):  # the last one, later, ends the others
                at_s += 10 * (number == 59999)
                frame = packet(number)
                feed.stdin.write(struct.pack("<IIII", at_s, 0, len(frame), len(frame)) + frame)
            feed.stdin.flush()
        burst(0, 1700000000)
        wait_for("nobody listens yet", lambda: "Connection refused" in said(), 10)
        collector = Collector(tcp=True, port=port)
        wait_for("the first burst", lambda: collector.records() >= n, 10)
        collector.cut = True
        time.sleep(0.5)
        burst(n, 1700000100)
        wait_for("the second burst", lambda: collector.records() >= 2 * n + 1, 10)
        feed.stdin.close()
        same(feed.wait(20), 0, "exit code")
        collector.stop()
        same((collector.connections, collector.decoder.announced), (2, 32), "connections, templates")
        same(collector.decoder.unknown_sets, 0, "sets without a template")
        same(collector.records(), 2 * n + 2, "records")
        for words in ("Connection refused", "closed the connection", "flows are exported again"):
            check(words in said(), f"{words!r} in:\n{said()}")
    finally:
        feed.kill()
        feed.wait()


def main_tests():
    return [test_collector_comes_back, test_udp_every_version, test_large_counts_in_v5, test_tcp, test_several, test_templates, test_nfcapd,
            test_nfacctd, test_tshark, test_dead_collectors]


if __name__ == "__main__":
    main(main_tests())
