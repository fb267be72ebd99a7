#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Applications found on every corpus capture, held against nDPI's own reader in the same run.

weir-probe runs as the benchmark's nDPI run has it: without options but -n, so that flows are exported
and split as they come. ndpiReader -t reads the same capture beside it; where it is not installed, what
Debian's 4.2 said lies beside the capture (ndpi_4.2). Compared are flows of every protocol that both
programs report between the same ends with the same packets (ndpiReader -t enters fewer tunnels and
leaves fragments and trailing packets out, so others are counted, not compared; it reads ports of TCP
and UDP only). It fails when fewer than the floor have the same protocol, of all flows or of those
that ndpiReader knows, or when more are unknown here than there.
"""
import collections
import concurrent.futures
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")
FLOOR = 0.99
# a line of a flow in what ndpiReader -v 2 says
FLOW = re.compile(r"\t\d+\t(\S+) (\S+) <?-> (\S+) .*?\[proto: [\d.]+/([^\]]+)\]"
                  r".*?\[(\d+) pkts/\d+ bytes <?-> (\d+) pkts/")
NAME = re.compile(r"\[Hostname/SNI: ([^\]]+)\]")


def ends(l4, a, b):
    """protocol and both ends; of what has no ports for ndpiReader, none"""
    if l4 not in ("TCP", "UDP"):
        a, b = (re.sub(r":\d+$", ":0", end) for end in (a, b))
    return l4, *sorted((a, b))


def join(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def by_weir(path, sink):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--json", "-", "-n",
                          f"127.0.0.1:{sink.getsockname()[1]}"], capture_output=True, text=True)
    flows = collections.defaultdict(list)
    for line in run.stdout.splitlines():
        f = json.loads(line)
        l4 = {6: "TCP", 17: "UDP"}.get(f["protocol"], str(f["protocol"]))
        flows[ends(l4, join(f["src_ip"], f["src_port"]), join(f["dst_ip"], f["dst_port"]))].append(
            (f.get("app_name", "Unknown"), f.get("server_name"), f["packets"] + f["rev_packets"]))
    return flows


def by_reader(path):
    """what ndpiReader says now, as it is written down beside a capture; None: it could not say"""
    run = subprocess.run(["ndpiReader", "-i", path, "-t", "-v", "2"], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, timeout=60, errors="replace", encoding="utf-8")
    if run.returncode:
        return None
    flows = []
    for line in run.stdout.splitlines():
        found, name = FLOW.match(line), NAME.search(line)
        if found:
            l4, a, b, proto, sent, answered = found.groups()
            flows.append({"l4": {"ICMP": "1", "ICMPV6": "58"}.get(l4, l4), "a": a, "b": b, "proto": proto,
                          "pkts": [int(sent), int(answered)], "host": name and name[1]})
    return flows


class Tally(collections.Counter):
    """What was counted, and pairs of names that differ."""

    def __init__(self):
        super().__init__()
        self.pairs = collections.Counter()

    def add(self, flow, mine):
        theirs = flow["proto"]
        self["compared"] += 1
        self["unknown to ndpiReader"] += theirs == "Unknown"
        # a port pair that was used twice is two flows here
        names = {app for app, _, _ in mine}
        self["unknown here"] += names == {"Unknown"}
        if theirs in names:
            self["same"] += 1
            self["same and known"] += theirs != "Unknown"
        else:
            self.pairs[(mine[0][0], theirs)] += 1
        if flow.get("host"):
            self["names"] += 1
            self["names the same"] += any(name == flow["host"] for _, name, _ in mine)


def compare(path, live, sink):
    expected = by_reader(path) if live else None
    tally = Tally()
    tally["live"] = expected is not None
    if expected is None:
        with open(path + ".expect.json") as file:
            expected = json.load(file).get("ndpi_4.2", {}).get("flows", [])
    found = by_weir(path, sink)
    for flow in expected:
        mine = found.get(ends(flow["l4"], flow["a"], flow["b"]))
        if not mine:
            tally["not here, or inside a tunnel"] += 1
        elif sum(n for _, _, n in mine) != sum(flow["pkts"]):
            tally["with other packets"] += 1
        else:
            tally.add(flow, mine)
            tally["live flows"] += tally["live"]
    return tally


def main():
    paths = sorted(p[:-len(".expect.json")] for p in
                   glob.glob(os.path.join(CORPUS, "**", "*.expect.json"), recursive=True))
    paths = [p for p in paths if os.path.exists(p)]
    if not paths:
        print("no corpus beside the repository: nothing to compare with")
        return 0
    all_of = Tally()
    live = shutil.which("ndpiReader") is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sink.bind(("127.0.0.1", 0))
        for path, tally in zip(paths, pool.map(lambda path: compare(path, live, sink), paths)):
            all_of.update(tally)
            all_of.pairs.update(tally.pairs)
            if "-v" in sys.argv and (tally.pairs or tally["with other packets"]):
                print(os.path.relpath(path, CORPUS), dict(tally.pairs), tally["with other packets"])
    for (mine, theirs), n in all_of.pairs.most_common(12):
        print(f"{n:5}  weir {mine}, ndpiReader {theirs}")
    for name in ("not here, or inside a tunnel", "with other packets", "unknown to ndpiReader",
                 "unknown here"):
        print(f"{all_of[name]:5}  flows {name}")
    n, known = all_of["compared"], all_of["compared"] - all_of["unknown to ndpiReader"]
    share, share_known = all_of["same"] / max(1, n), all_of["same and known"] / max(1, known)
    print(f"{len(paths)} captures, {n} flows, {all_of['same']} the same application: "
          f"{100 * share:.2f} %; of the {known} that ndpiReader knows {100 * share_known:.2f} %; "
          f"floor {100 * FLOOR:.0f} %")
    print(f"ndpiReader ran beside weir on {all_of['live']} captures, {all_of['live flows']} flows")
    print(f"server names: {all_of['names the same']} of {all_of['names']} the same")
    return 0 if (n and min(share, share_known) >= FLOOR and
                 all_of["unknown here"] <= all_of["unknown to ndpiReader"]) else 1


if __name__ == "__main__":
    sys.exit(main())
