#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Every packet and byte of a capture is in a record or in a counter, with room and at the cap.

received = ignored (by reason) + in exported records, packets and bytes, of all golden captures and
of one in four of the corpus beside the repository (WEIR_CORPUS=all: all of them), and of all that is
malformed there; what the records say adds up to what the counters say. And a flood of 200,000 SYNs
with a table of 1,000 flows. Each run ends with 0, or with 1 and one line that says why.
"""
import glob
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("WEIR_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("WEIR_BUILD", os.path.join(SOURCE, "build"))
PROBE = os.path.join(BUILD, "weir-probe")
CORPUS = os.path.join(os.path.dirname(SOURCE), "shared", "corpus")


def corpus(kind):
    """Captures of the corpus: packets, or malformed."""
    return sorted(path for path in glob.glob(os.path.join(CORPUS, kind, "**", "*"), recursive=True)
                  if path.endswith((".pcap", ".pcapng", ".cap")))


def captures():
    golden = sorted(glob.glob(os.path.join(SOURCE, "test", "golden", "*.pcap*")))
    found = corpus("packets")
    return golden + (found if os.environ.get("WEIR_CORPUS") == "all" else found[::4])


def counted(text, name, label=""):
    rows = re.findall(rf"^weir_probe_{name}_total(?:\{{([^}}]*)\}})? (\d+)$", text, re.M)
    return sum(int(value) for labels, value in rows if label in (labels or ""))


def run(path, *options):
    with tempfile.TemporaryDirectory(prefix="weir-conserve-") as folder:
        counters = os.path.join(folder, "counters")
        records = os.path.join(folder, "records")
        ended = subprocess.run([PROBE, "-i", path, "--json", records, "--counters", counters, *options],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False)
        said = ended.stderr.decode(errors="replace").splitlines()
        if ended.returncode not in (0, 1) or (ended.returncode == 1) != (len(said) == 1):
            sys.exit(f"{path} {' '.join(options)}: exit {ended.returncode}, having said {said[-20:]}")
        if not os.path.exists(counters):
            if ended.returncode != 1:
                sys.exit(f"{path} {' '.join(options)}: neither read nor refused")
            return None  # nothing was read
        return read(counters, records)


def read(counters, records):
    with open(counters, encoding="ascii") as file, open(records, encoding="utf-8") as lines:
        return file.read(), [json.loads(line) for line in lines]


def same_sums(what, text, records, partly=False):
    """Partly: some flows are counted and not exported (--ndpi-protocols)."""
    for unit, forward, back in (("packets", "packets", "rev_packets"), ("bytes", "l2_octets", "rev_l2_octets")):
        received = counted(text, f"{unit}_received")
        ignored = counted(text, f"{unit}_ignored") + counted(text, f"{unit}_skipped")
        exported, filtered = counted(text, f"{unit}_exported"), counted(text, f"{unit}_filtered")
        said = sum(record.get(forward, 0) + record.get(back, 0) for record in records)
        if received != ignored + exported + filtered or said != exported or (filtered and not partly):
            sys.exit(f"{what}: {received} {unit} received, {ignored} ignored or skipped, {exported} exported, "
                     f"{filtered} filtered, {said} in records")
    swept = sum(record.get("flows", 0) for record in records)
    if swept != counted(text, "flows_swept"):
        sys.exit(f"{what}: {swept} flows told together, {counted(text, 'flows_swept')} counted")
    if counted(text, "flows_exported") != len(records):
        sys.exit(f"{what}: {len(records)} records, {counted(text, 'flows_exported')} counted")
    return swept


def holds(path, *options):
    """How many flows were told together; None: the file was refused."""
    found = run(path, *options)
    if not found:
        return None
    return same_sums(f"{os.path.basename(path)} {' '.join(options)}", *found)


def flood(path, syns):
    """Raw IPv4, a microsecond apart, from as many addresses to one."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for i in range(syns):
            tcp = struct.pack(">HHIIHHHH", i & 0xFFFF, 80, i, 0, 0x5002, 8192, 0, 0)
            ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, 0x0A000000 + i, 0xC0A80001)
            file.write(struct.pack("<IIII", 1700000000, i, 40, 40) + ip + tcp)


def main():
    paths = captures()
    for path in paths:
        holds(path, "--no-dpi")
        holds(path, "--max-flows", "3")
    malformed = corpus("malformed")
    refused = 0
    for path in malformed:
        refused += holds(path, "--max-flows", "3") is None
        run(path, "--interpret-flow-packets")
    with tempfile.TemporaryDirectory(prefix="weir-conserve-") as folder:
        path = os.path.join(folder, "flood.pcap")
        flood(path, 200000)
        swept = holds(path, "--max-flows", "1000")
        if swept != 199000:
            sys.exit(f"of 200,000 SYNs {swept} were told together")
    print(f"{len(paths)} captures, with room and with a table of 3 flows; {len(malformed)} malformed, of which "
          f"{refused} are no captures; a flood")


if __name__ == "__main__":
    main()
