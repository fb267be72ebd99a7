#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The IPFIX codec beside other programs.

tshark reads files that we write and must find every field of every record; nfcapd takes the same
messages over UDP and must count the same packets and bytes; and the exports of many vendors in
../shared/corpus/ipfix, where that is there, must decode to what is expected of them.
"""
import collections
import glob
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
TOOL = os.path.join(BUILD, "src", "ipfix-tool")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus")
RECORDS = 400

# tshark's name: ours, and that of the reverse element
NAMES = {
    "cflow.abstimestart": ("first_ms",), "cflow.abstimeend": ("last_ms",),
    "cflow.srcaddr": ("src_ip",), "cflow.srcaddrv6": ("src_ip",),
    "cflow.dstaddr": ("dst_ip",), "cflow.dstaddrv6": ("dst_ip",),
    "cflow.srcport": ("src_port",), "cflow.dstport": ("dst_port",),
    "cflow.protocol": ("protocol",), "cflow.vlanid": ("vlan",),
    "cflow.octets": ("octets", "rev_octets"), "cflow.packets": ("packets", "rev_packets"),
    "cflow.layer2_octet_delta_count": ("l2_octets", "rev_l2_octets"),
    "cflow.tcpflags": ("tcp_flags", "rev_tcp_flags"), "cflow.tcpflags16": ("tcp_flags", "rev_tcp_flags"),
    "cflow.tos": ("tos", "rev_tos"),
    "cflow.icmp_ipv4_type": ("icmp_type",), "cflow.icmp_ipv4_code": ("icmp_code",),
    "cflow.icmp_ipv6_type": ("icmp_type",), "cflow.icmp_ipv6_code": ("icmp_code",),
    "cflow.flow_end_reason": ("end_reason",), "cflow.biflow_direction": ("biflow_direction",),
    "cflow.flow_id": ("flow_id",), "cflow.srcmac": ("src_mac",), "cflow.dstmac": ("dst_mac",),
    "cflow.inputint": ("input_if",), "cflow.outputint": ("output_if",),
    "cflow.pie.ntop.l7_proto": ("app_id",), "cflow.pie.ntop.l7_proto_name": ("app_name",),
}
TEXT = {"app_name", "app_category", "server_name"}
SHOWN = {"src_ip", "dst_ip", "src_mac", "dst_mac"}

failures = []


def expect(truth, text):
    if not truth:
        failures.append(text)


def write(kind, folder):
    """An RFC 5655 file, and its records as our own JSON has them."""
    path = os.path.join(folder, kind + ".ipfix")
    run = subprocess.run([TOOL, "write", kind, str(RECORDS), path], capture_output=True, text=True,
                         check=True)
    return path, [json.loads(line) for line in run.stdout.splitlines()]


def table():
    """(PEN, element) of the fields for which tshark has no name."""
    run = subprocess.run([os.path.join(BUILD, "src", "dump-fields")], capture_output=True,
                         text=True, check=True)
    return {(f["pen"], f["element"]): f["name"] for f in json.loads(run.stdout)}


# ------------------------------------------------------------------------------------ tshark

PENS = {"ntop": 35632, "Example Enterprise Number for Documentation Use": 32473}


def time_ms(path, at):
    """tshark shows times as text; its bytes are in the file."""
    with open(path, "rb") as file:
        file.seek(at)
        return struct.unpack(">Q", file.read(8))[0]


def value(name, field, raw):
    if name in SHOWN:
        return field.get("show").lower()
    if name in TEXT:
        return bytes.fromhex(raw).decode()
    return int(raw, 16)


def flow_of(node, names, message_at, path):
    flow = {}
    for field in node.iter("field"):
        shown = field.get("showname") or ""
        name, raw = field.get("name"), field.get("value") or ""
        private = re.match(r"Enterprise Private entry: \((.*)\) Type (\d+):", shown)
        if private:
            ours = names.get((PENS.get(private[1]), int(private[2])))
        elif name in NAMES:
            ours = NAMES[name][1 if "(Reverse Type" in shown else 0]
        else:
            continue
        if ours.endswith("_ms"):
            flow[ours] = time_ms(path, message_at + int(field.get("pos")))
        elif raw or ours in SHOWN:
            flow[ours] = value(ours, field, raw)
    return flow


def tshark_flows(path):
    run = subprocess.run(["tshark", "-r", path, "-T", "pdml"], capture_output=True, check=True)
    names, flows, message_at, problems = table(), [], 0, 0
    for packet in ElementTree.fromstring(run.stdout).iter("packet"):
        proto = [p for p in packet.iter("proto") if p.get("name") == "cflow"][0]
        problems += sum(1 for f in packet.iter("field") if f.get("name") == "_ws.expert")
        for node in proto.iter("field"):
            if re.match(r"Flow \d+$", node.get("show") or ""):
                flows.append(flow_of(node, names, message_at, path))
        message_at += int(proto.get("size"))
    return flows, problems


def plain(record):
    """Without what is zero or empty: which of these are written is up to the template."""
    return frozenset((k, v) for k, v in record.items() if v not in (0, "", "00:00:00:00:00:00"))


def check_tshark(kind, path, records):
    flows, problems = tshark_flows(path)
    expect(problems == 0, f"{kind}: tshark complains {problems} times")
    gaps = [f for f in flows if not f]
    ours = collections.Counter(plain(r) for r in records)
    theirs = collections.Counter(plain(f) for f in flows if f)
    expect(len(gaps) == 1, f"{kind}: tshark sees {len(gaps)} gap records, not 1")
    missing, extra = ours - theirs, theirs - ours
    expect(not missing and not extra,
           f"{kind}: {sum(missing.values())} records that tshark does not see, "
           f"{sum(extra.values())} that only it sees, for example\n"
           f"  {sorted(next(iter(missing), []))}\n  {sorted(next(iter(extra), []))}")
    print(f"tshark, {kind}: {sum(theirs.values())} records, {len(set().union(*theirs)) } values")


# ------------------------------------------------------------------------------------ nfcapd

def messages(path):
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        size = struct.unpack(">H", data[at + 2:at + 4])[0]
        yield data[at:at + size]
        at += size


def check_nfcapd(path, records, folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spool = os.path.join(folder, "nfcapd")
    os.mkdir(spool)
    child = subprocess.Popen(["nfcapd", "-b", "127.0.0.1", "-p", str(port), "-l", spool, "-t", "600"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        inode = f":{port:04X} "
        for _ in range(200):
            with open("/proc/net/udp") as file:
                if inode in file.read():
                    break
            time.sleep(0.05)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for message in messages(path):
                out.sendto(message, ("127.0.0.1", port))
                time.sleep(0.2)
        time.sleep(0.5)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)
    run = subprocess.run(["nfdump", "-R", spool, "-q", "-N", "-6", "-o", "fmt:%sa,%da,%sp,%dp,%pr,%ipkt,%ibyt"],
                         capture_output=True, text=True)
    theirs = collections.Counter()
    for line in run.stdout.splitlines():
        parts = [p.strip() for p in line.split(",")]
        if len(parts) == 7:
            theirs[parts[0], parts[1], parts[5], parts[6]] += 1
    ours = collections.Counter((r["src_ip"], r["dst_ip"], str(r["packets"]), str(r["octets"]))
                               for r in records)
    expect(theirs == ours, f"nfcapd: {sum((ours - theirs).values())} of {len(records)} records "
           f"differ, for example {list((ours - theirs).items())[:2]}, "
           f"it has {list((theirs - ours).items())[:2]}")
    print(f"nfcapd: {sum(theirs.values())} records")


# ------------------------------------------------------------------------------------ corpus

def payloads(path):
    """(source address, UDP payload) of each packet; corpus files are Ethernet, one datagram each."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        ip = data[at + 16 + 14:at + 16 + size]
        at += 16 + size
        source, udp = (ip[12:16], ip[(ip[0] & 15) * 4:]) if ip[0] >> 4 == 4 else (ip[8:24], ip[40:])
        yield source, udp[8:struct.unpack(">H", udp[4:6])[0]]


def decode(path):
    sources, data = {}, b""
    for source, payload in payloads(path):
        data += struct.pack(">IH", sources.setdefault(source, len(sources)), len(payload)) + payload
    run = subprocess.run([TOOL, "read"], input=data, capture_output=True)
    expect(run.returncode == 0, f"{path}: ipfix-tool ended with {run.returncode}")
    return run.stdout.decode().splitlines()


def check_corpus(folder):
    root = os.path.join(CORPUS, "ipfix")
    if not os.path.isdir(root):
        print("corpus: not here")
        return
    for path in glob.glob(os.path.join(root, "**", "*.pcap"), recursive=True):
        out = os.path.join(folder, "corpus", os.path.relpath(path, root) + ".jsonl")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        with open(out, "w", encoding="utf-8") as file:
            file.write("\n".join(decode(path)[:-1]) + "\n")
    run = subprocess.run([sys.executable, os.path.join(CORPUS, "check_expect.py"), "--max", "3",
                          "--dir", os.path.join(folder, "corpus"), root],
                         capture_output=True, text=True)
    expect(run.returncode == 0, "corpus:\n" + "\n".join(
        line for line in run.stdout.splitlines() if not line.startswith("ok")))
    print("corpus: " + run.stdout.splitlines()[-1])
    # malformed exports of every kind: counted, never a crash
    for path in glob.glob(os.path.join(CORPUS, "malformed", "**", "*.pcap"), recursive=True):
        if "packets_" not in path:
            try:
                decode(path)
            except (struct.error, IndexError):
                pass  # not even UDP


def main():
    with tempfile.TemporaryDirectory(prefix="weir-ipfix-") as folder:
        for kind in ("v9", "biflow", "all"):
            path, records = write(kind, folder)
            check_tshark(kind, path, records)
            if kind == "v9":
                check_nfcapd(path, records, folder)
        check_corpus(folder)
    print("\n".join(failures) if failures else "all agree")
    sys.exit(1 if failures else 0)


main()
