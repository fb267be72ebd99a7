#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Applications found on each corpus capture, held against nDPI's own reader on the same file.

weir-probe gives nDPI a flow's payload packets until it knows; ndpiReader gives it everything. The
expectation lies beside each capture (ndpi_4.2, Debian's ndpiReader -t). Reported is the share of
flows whose protocol is the same; below the floor the test fails. Only flows whose ends both programs
report are compared: ndpiReader -t enters fewer tunnels.
"""
import collections
import concurrent.futures
import glob
import json
import os
import subprocess
import sys

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")
FLOOR = 0.99  # of the flows that both report


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
            (f.get("app_name", "Unknown"), f.get("server_name")))
    return flows


def compare(path):
    with open(path + ".expect.json") as file:
        expected = json.load(file).get("ndpi_4.2", {}).get("flows", [])
    found = by_weir(path)
    same = differ = names = names_same = 0
    details = []
    for flow in expected:
        if flow["l4"] not in ("TCP", "UDP"):
            continue
        mine = found.get(ends(flow["a"], flow["b"]))
        if not mine:
            continue
        if any(app == flow["proto"] for app, _ in mine):
            same += 1
        else:
            differ += 1
            details.append((mine[0][0], flow["proto"]))
        if flow.get("host"):
            names += 1
            names_same += any(name == flow["host"] for _, name in mine)
    return same, differ, names, names_same, details


def main():
    paths = sorted(p[:-len(".expect.json")] for p in
                   glob.glob(os.path.join(CORPUS, "**", "*.expect.json"), recursive=True))
    paths = [p for p in paths if os.path.exists(p)]
    if not paths:
        print("no corpus beside the repository: nothing to compare with")
        return 0
    same = differ = names = names_same = 0
    pairs = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, result in zip(paths, pool.map(compare, paths)):
            same += result[0]
            differ += result[1]
            names += result[2]
            names_same += result[3]
            pairs.update(result[4])
            if "-v" in sys.argv and result[4]:
                print(os.path.relpath(path, CORPUS), result[4][:3])
    for (mine, theirs), n in pairs.most_common(12):
        print(f"{n:5}  weir {mine}, ndpiReader {theirs}")
    share = same / max(1, same + differ)
    print(f"{len(paths)} captures, {same + differ} flows, {same} the same application: "
          f"{100 * share:.2f} %, floor {100 * FLOOR:.0f} %")
    print(f"server names: {names_same} of {names} the same")
    return 0 if share >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
