#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""TCP measures of weir-probe held against tshark's sequence analysis (tcp.analysis) on real captures.

Compared of every TCP conversation that is one flow and one stream, and of which both count the same
packets, each direction: segments retransmitted, out of order, duplicate acknowledgements, zero windows, lost segments, largest
window and MSS; and of the handshake its time (tcp.analysis.initial_rtt). What may differ, and why,
stands in docs/measures.md. Without the corpus only the captures of test/golden are compared, without
tshark nothing.
"""
import collections
import concurrent.futures
import glob
import json
import os
import shutil
import subprocess
import sys

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")
COUNTS = ("retransmitted", "out_of_order", "duplicate_acks", "zero_windows", "lost")
FLOOR = 0.999  # of the numbers; those that differ are explained in docs/measures.md
FIELDS = ["tcp.stream", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.flags",
          "tcp.analysis.retransmission", "tcp.analysis.out_of_order", "tcp.analysis.duplicate_ack",
          "tcp.analysis.zero_window", "tcp.analysis.lost_segment", "tcp.analysis.initial_rtt",
          "tcp.window_size", "tcp.options.mss_val"]


class Way:
    """One direction of a conversation."""

    def __init__(self):
        self.packets = 0
        self.counts = dict.fromkeys(COUNTS, 0)
        self.window = 0
        self.mss = 0


class Talk:
    def __init__(self):
        self.ways = collections.defaultdict(Way)
        self.handshakes = []
        self.parts = 0
        self.streams = set()


def by_tshark(path):
    run = subprocess.run(
        ["tshark", "-n", "-r", path, "-Y", "tcp && !icmp && !icmpv6", "-o",
         "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-T", "fields", "-E", "separator=|",
         "-E", "occurrence=l"] + [a for f in FIELDS for a in ("-e", f)],
        capture_output=True, text=True, errors="replace")
    talks = collections.defaultdict(Talk)
    for line in run.stdout.splitlines():
        v = dict(zip(FIELDS, line.split("|")))
        if not v["tcp.srcport"]:
            continue
        a = (v["ip.src"] or v["ipv6.src"], int(v["tcp.srcport"]))
        b = (v["ip.dst"] or v["ipv6.dst"], int(v["tcp.dstport"]))
        talk = talks[frozenset((a, b))]
        talk.streams.add(v["tcp.stream"])
        way = talk.ways[a]
        way.packets += 1
        for name, field in (("retransmitted", "retransmission"), ("out_of_order", "out_of_order"),
                            ("duplicate_acks", "duplicate_ack"), ("zero_windows", "zero_window"),
                            ("lost", "lost_segment")):
            way.counts[name] += bool(v["tcp.analysis." + field])
        way.window = max(way.window, int(v["tcp.window_size"] or 0))
        way.mss = int(v["tcp.options.mss_val"] or 0) or way.mss
        if v["tcp.analysis.initial_rtt"]:
            rtt = round(float(v["tcp.analysis.initial_rtt"]) * 1e6)
            if rtt not in talk.handshakes:
                talk.handshakes.append(rtt)
    return talks


def by_weir(path):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--no-dpi", "--json", "-",
                          "-d", "86400", "-t", "86400"], capture_output=True, text=True)
    talks = collections.defaultdict(Talk)
    for line in run.stdout.splitlines():
        f = json.loads(line)
        if f["protocol"] != 6:
            continue
        a, b = (f["src_ip"], f["src_port"]), (f["dst_ip"], f["dst_port"])
        talk = talks[frozenset((a, b))]
        talk.parts += 1
        for prefix, end in (("", a), ("rev_", b)):
            way = talk.ways[end]
            way.packets += f[prefix + "packets"]
            for name in COUNTS:
                way.counts[name] += f.get(prefix + name, 0)
            way.window = max(way.window, f.get(prefix + "tcp_window_max", 0))
            way.mss = f.get(prefix + "tcp_mss", 0) or way.mss
        if "handshake_us" in f:
            talk.handshakes.append(f["handshake_us"])
    return talks


def compare(path):
    """(numbers compared, those that differ as lines)"""
    theirs, mine = by_tshark(path), by_weir(path)
    compared = collections.Counter()
    wrong = []
    for key, talk in theirs.items():
        own = mine.get(key)
        if not own or len(key) < 2 or any(own.ways[e].packets != w.packets
                                          for e, w in talk.ways.items()):
            compared["(not: other packets)"] += 1
            continue
        # the same ends on two VLANs, or twice in a capture, are one stream to tshark
        if own.parts > 1 or len(talk.streams) > 1:
            compared["(not: several flows)"] += 1
            continue
        for end, way in talk.ways.items():
            other = own.ways[end]
            pairs = [(n, other.counts[n], way.counts[n]) for n in COUNTS]
            pairs.append(("mss", other.mss, way.mss))
            # a window is told of flows of more than a packet
            if way.packets > 1:
                pairs.append(("window", other.window, way.window))
            for name, m, t in pairs:
                compared[name] += 1
                if m != t:
                    wrong.append((name, f"{os.path.relpath(path, SOURCE)} {end[0]}:{end[1]} {name}: "
                                  f"weir {m}, tshark {t} of {way.packets} packets"))
        if talk.handshakes:
            compared["handshake"] += 1
            if not own.handshakes or abs(own.handshakes[0] - talk.handshakes[0]) > 1:
                wrong.append(("handshake", f"{os.path.relpath(path, SOURCE)} {sorted(key)} handshake: weir "
                              f"{own.handshakes}, tshark {talk.handshakes}"))
    return compared, wrong


def main():
    if not shutil.which("tshark"):
        print("no tshark: nothing to compare with")
        return 0
    paths = sorted(p for p in glob.glob(os.path.join(SOURCE, "test/golden/*.pcap*")) +
                   glob.glob(os.path.join(CORPUS, "**"), recursive=True)
                   if p.endswith((".pcap", ".pcapng", ".cap", ".trace")))
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    paths = [p for p in paths if not names or any(n in p for n in names)]
    compared = collections.Counter()
    differ = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for counts, wrong in pool.map(compare, paths):
            compared.update(counts)
            differ.update(name for name, _ in wrong)
            for _, line in wrong:
                print(line)
    for name in [n for n in compared if n.startswith("(")]:
        print(f"{name} {compared.pop(name)} conversations")
    for name, n in sorted(compared.items()):
        print(f"{name:15} {n - differ[name]:6} of {n} the same")
    total, off = sum(compared.values()), sum(differ.values())
    print(f"{len(paths)} captures, {total} numbers, {100 * (total - off) / max(1, total):.2f} % the "
          f"same, floor {100 * FLOOR:.1f} %")
    return 0 if total and (total - off) / total >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
