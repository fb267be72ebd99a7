#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Applications found on each corpus capture, held against nDPI's own reader on the same file.

weir-probe, as it comes, gives nDPI a flow's payload packets until it knows; ndpiReader gives it
everything. Where ndpiReader is installed it reads every LIVE_EACHth capture beside weir (all with
--live; a start of it takes a second), else and for the others what Debian's ndpiReader 4.2 -t said
lies beside the capture (ndpi_4.2). Compared are flows of every protocol that both
programs report between the same ends with the same packets (ndpiReader -t enters fewer tunnels and
leaves fragments and trailing packets out, so others are counted, not compared). It fails when
fewer than the floor have the same protocol, of all flows or of those that ndpiReader knows, or when
more of TCP and UDP are unknown here than there.
"""
import collections
import concurrent.futures
import csv
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")
FLOOR = 0.99
LIVE_EACH = 6


def ends(a, b):
    return tuple(sorted((a, b)))


def join(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def by_weir(path):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--json", "-", "-d", "300",
                          "-t", "86400"], capture_output=True, text=True)
    flows = collections.defaultdict(list)
    for line in run.stdout.splitlines():
        f = json.loads(line)
        flows[ends(join(f["src_ip"], f["src_port"]), join(f["dst_ip"], f["dst_port"]))].append(
            (f.get("app_name", "Unknown"), f.get("server_name"), f["packets"] + f["rev_packets"]))
    return flows


def by_reader(path):
    """what ndpiReader says now, as it is written down beside a capture; None: it could not say"""
    with tempfile.NamedTemporaryFile(suffix=".csv") as out:
        run = subprocess.run(["ndpiReader", "-i", path, "-t", "-q", "-C", out.name],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        with open(out.name, encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.reader(file))
    if run.returncode or not rows or rows[0][5:11:5] != ["src_ip", "ndpi_proto"]:
        return None
    return [{"l4": {"6": "TCP", "17": "UDP"}.get(r[1], r[1]), "a": join(r[5], r[6]), "b": join(r[7], r[8]), "proto": r[10],
             "pkts": [int(r[12]), int(r[15])]} for r in rows[1:]]


class Tally(collections.Counter):
    """What was counted, and pairs of names that differ."""

    def __init__(self):
        super().__init__()
        self.pairs = collections.Counter()

    def add(self, flow, mine):
        theirs = flow["proto"]
        self["compared"] += 1
        self["unknown to ndpiReader"] += theirs == "Unknown"
        ported = flow["l4"] in ("TCP", "UDP")
        self["of TCP and UDP unknown to ndpiReader"] += ported and theirs == "Unknown"
        # a port pair that was used twice is two flows here
        names = {app for app, _, _ in mine}
        self["unknown here"] += names == {"Unknown"}
        self["of TCP and UDP unknown here"] += ported and names == {"Unknown"}
        if theirs in names:
            self["same"] += 1
            self["same and known"] += theirs != "Unknown"
        else:
            self.pairs[(mine[0][0], theirs)] += 1
        if flow.get("host"):
            self["names"] += 1
            self["names the same"] += any(name == flow["host"] for _, name, _ in mine)


def compare(path, live):
    now = by_reader(path) if live else None
    tally = Tally()
    tally["live"] = now is not None
    with open(path + ".expect.json") as file:
        expected = json.load(file).get("ndpi_4.2", {}).get("flows", [])
    # its CSV leaves out flows that it gives up at the end: of these what is written down counts
    seen = {ends(f["a"], f["b"]) for f in now or ()}
    expected = (now or []) + [f for f in expected if ends(f["a"], f["b"]) not in seen]
    found = by_weir(path)
    for flow in expected:
        mine = found.get(ends(flow["a"], flow["b"]))
        if not mine:
            tally["not here, or inside a tunnel"] += 1
        elif sum(n for _, _, n in mine) != sum(flow["pkts"]):
            tally["with other packets"] += 1
        else:
            tally.add(flow, mine)
            tally["live flows"] += ends(flow["a"], flow["b"]) in seen
    return tally


def main():
    paths = sorted(p[:-len(".expect.json")] for p in
                   glob.glob(os.path.join(CORPUS, "**", "*.expect.json"), recursive=True))
    paths = [p for p in paths if os.path.exists(p)]
    if not paths:
        print("no corpus beside the repository: nothing to compare with")
        return 0
    all_of = Tally()
    each = 1 if "--live" in sys.argv else LIVE_EACH
    live = [shutil.which("ndpiReader") is not None and i % each == 0 for i in range(len(paths))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, tally in zip(paths, pool.map(compare, paths, live)):
            all_of.update(tally)
            all_of.pairs.update(tally.pairs)
            if "-v" in sys.argv and (tally.pairs or tally["with other packets"]):
                print(os.path.relpath(path, CORPUS), dict(tally.pairs), tally["with other packets"])
    for (mine, theirs), n in all_of.pairs.most_common(12):
        print(f"{n:5}  weir {mine}, ndpiReader {theirs}")
    for name in ("not here, or inside a tunnel", "with other packets", "unknown to ndpiReader",
                 "unknown here", "of TCP and UDP unknown to ndpiReader",
                 "of TCP and UDP unknown here"):
        print(f"{all_of[name]:5}  flows {name}")
    n, known = all_of["compared"], all_of["compared"] - all_of["unknown to ndpiReader"]
    share, share_known = all_of["same"] / max(1, n), all_of["same and known"] / max(1, known)
    print(f"{len(paths)} captures, {n} flows, {all_of['same']} the same application: "
          f"{100 * share:.2f} %; of the {known} that ndpiReader knows {100 * share_known:.2f} %; "
          f"floor {100 * FLOOR:.0f} %")
    print(f"ndpiReader ran beside weir on {all_of['live']} captures, {all_of['live flows']} flows")
    print(f"server names: {all_of['names the same']} of {all_of['names']} the same")
    return 0 if (n and min(share, share_known) >= FLOOR and
                 all_of["of TCP and UDP unknown here"] <=
                 all_of["of TCP and UDP unknown to ndpiReader"]) else 1


if __name__ == "__main__":
    sys.exit(main())
