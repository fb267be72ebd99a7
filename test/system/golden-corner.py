#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The 35 encapsulations and fragments of the corpus' corner.pcap: each case's inner flow, exactly.

A case is right when there is one record of its flow, and its packets each way, tunnel type and id,
and VLAN tags (outermost first) are those expected; and no flow is found that no case expects. With
--no-tunnel the outer addresses are met instead, and nothing is lost or counted twice: in both cases
packets and frame bytes of the records and of what was ignored are those of the file.
"""
import json
import os
import re
import struct
import subprocess
import sys

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")
CAPTURE = os.path.join(CORPUS, "corner.pcap")


def probe(*options):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", CAPTURE, "--no-dpi", "--json",
                          "-", "--counters", "-", *options], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"weir-probe {' '.join(options)}: exit {run.returncode}: {run.stderr}")
    flows = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    counters = dict(line.rsplit(" ", 1) for line in run.stdout.splitlines()
                    if line.startswith("weir_"))
    return flows, {name: int(value) for name, value in counters.items()}


def file_totals():
    """(packets, bytes on the wire) of a little-endian pcap."""
    packets = octets = 0
    with open(CAPTURE, "rb") as file:
        file.seek(24)
        while head := file.read(16):
            captured, wire = struct.unpack("<8xII", head)
            packets += 1
            octets += wire
            file.seek(captured, os.SEEK_CUR)
    return packets, octets


def total(counters, name):
    return sum(v for k, v in counters.items() if k.partition("{")[0] == f"weir_probe_{name}_total")


def balance(flows, counters):
    """What does not add up, as lines."""
    wrong = []
    for unit, fields, expected in zip(("packets", "bytes"),
                                      (("packets", "rev_packets"), ("l2_octets", "rev_l2_octets")),
                                      file_totals()):
        kept = sum(flow.get(field, 0) for flow in flows for field in fields)
        ignored = total(counters, f"{unit}_ignored")
        if kept + ignored != expected or total(counters, f"{unit}_received") != expected:
            wrong.append(f"{unit}: {kept} in records, {ignored} ignored, {expected} in the file")
    return wrong


def same_flow(flow, expected):
    return all(flow.get(name, 0) == value for name, value in expected.items()
               if name not in ("packets", "rev_packets"))


def ids(tunnel):
    """The tunnel id there, and the one back."""
    value = tunnel.get("id")
    if isinstance(value, str):
        there, back = re.findall(r"0x[0-9a-f]+", value)
        return int(there, 16), int(back, 16)
    return (value or 0,) * 2


def check(case, flows):
    """What is wrong with a case, as lines; its records are taken out of the flows."""
    vlans = case.get("vlans", [])
    found = [f for f in flows if same_flow(f, case["flow"]) and
             (not vlans or f.get("vlan", 0) == vlans[0])]
    for flow in found:
        flows.remove(flow)
    if len(found) != 1:
        return [f"{len(found)} records of {case['flow']}"]
    flow = found[0]
    wrong = [f"{name} {flow[name]}, expected {case['flow'][name]}"
             for name in ("packets", "rev_packets") if flow[name] != case["flow"][name]]
    tunnel = case.get("tunnel", {})
    if flow.get("tunnel_type", "") != tunnel.get("type", ""):
        wrong.append(f"tunnel {flow.get('tunnel_type')}, expected {tunnel.get('type')}")
    if "id" in tunnel and (flow.get("tunnel_id", 0), flow.get("rev_tunnel_id", 0)) != ids(tunnel):
        wrong.append(f"tunnel ids {flow.get('tunnel_id')}, {flow.get('rev_tunnel_id')}, expected "
                     f"{ids(tunnel)}")
    if [v for v in (flow.get("vlan"), flow.get("inner_vlan")) if v] != vlans:
        wrong.append(f"VLANs {flow.get('vlan')}, {flow.get('inner_vlan')}, expected {vlans}")
    if flow.get("tunnel_vlan", 0) != (case.get("outer_vlans") or [0])[0]:
        wrong.append(f"VLAN of the tunnel {flow.get('tunnel_vlan')}")
    outside = tunnel.get("type") not in (None, "pppoe")
    if outside != bool(flow.get("tunnel_src_ip") and flow.get("tunnel_dst_ip")):
        wrong.append(f"outer addresses {flow.get('tunnel_src_ip')}, {flow.get('tunnel_dst_ip')}")
    return wrong


def main():
    if not os.path.exists(CAPTURE):
        print("no corpus beside the repository: nothing to compare with")
        return 0
    with open(os.path.join(CORPUS, "corner.expect.jsonl")) as file:
        cases = [json.loads(line) for line in file]
    flows, counters = probe()
    wrong = balance(flows, counters)
    right = 0
    for case in cases:
        if case["flow"]:
            lines = check(case, flows)
        else:
            arp = counters['weir_probe_packets_ignored_total{reason="arp"}']
            lines = [] if arp == case["wire_packets"] else [f"{arp} ignored as ARP"]
        right += not lines
        wrong += [f"case {case['case']} ({case['name']}): {line}" for line in lines]
    wrong += [f"nobody expects {flow}" for flow in flows]

    outer, counters = probe("--no-tunnel")
    wrong += balance(outer, counters)
    tunnels = [f for f in outer if f["src_ip"].startswith(("203.0.113.", "2001:db8::"))]
    if not tunnels or any("tunnel_src_ip" in f for f in outer):
        wrong.append(f"--no-tunnel: {len(tunnels)} flows between the ends of tunnels")
    # one key for VLANs 10 and 20
    merged, _ = probe("--vlan-key", "none")
    if sorted(f["packets"] for f in merged if f["src_ip"] == "10.24.0.1") != [10]:
        wrong.append("--vlan-key none keeps flows of two VLANs apart")
    for line in wrong:
        print(line)
    print(f"{right} of {len(cases)} cases right")
    return 1 if wrong or right != 35 else 0


if __name__ == "__main__":
    sys.exit(main())
