#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""The whole way of a packet, attacked: captures changed at random, read by the running program built
with AddressSanitizer and UBSan, with options at random. It never ends but with 0, or with 1 and one
line; and of what it has read, received = ignored + skipped + in records, packets and bytes.

WEIR_ATTACK_SECONDS (40) says how long, WEIR_ATTACK_SEED which attack: the seed is printed, and each
run is made of its seed and its number alone, so WEIR_ATTACK_RUN=N is run N once more. The build is
$WEIR_ASAN_BUILD (as make check makes it). What has brought it down is kept in test-output/."""
import glob
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import conservation

SOURCE = conservation.SOURCE
BUILD = os.environ.get("WEIR_ASAN_BUILD", os.path.join(SOURCE, "build-asan"))
PROBE = os.path.join(BUILD, "weir-probe")
PACKETS = 1500  # a capture that is made
# those that are read, and a few that are not
LINKS = (0, 1, 9, 12, 14, 50, 51, 101, 104, 107, 108, 109, 113, 228, 229, 276, 105, 147, 65535)
EXTREMES = (0, 1, 3, 4, 5, 7, 8, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xfffe, 0xffff)


# ------------------------------------------------------------------------------- what is there

def packets_of(path):
    """(link type, bytes) of a classic capture in this machine's order."""
    with open(path, "rb") as file:
        data = file.read(4 << 20)
    if data[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return
    link, at = struct.unpack_from("<I", data, 20)[0] & 0xffff, 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        if size > 65535 or at + 16 + size > len(data):
            return
        yield link, data[at + 16:at + 16 + size]
        at += 16 + size


def sources(dice):
    """Packets of the golden captures and of some of the corpus, and files to be changed as they are."""
    golden = sorted(glob.glob(os.path.join(SOURCE, "test", "golden", "*.pcap*")))
    files = golden + [path for path in conservation.corpus("packets") if os.path.getsize(path) < 300000]
    chosen = golden + (dice.sample(files[len(golden):], 25) if len(files) > len(golden) + 25 else [])
    packets = [one for path in chosen for one in packets_of(path)]
    return packets, [path for path in files if os.path.getsize(path) < 300000]


# ------------------------------------------------------------------------------- what is changed

def flipped(dice, data):
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        if data:
            # headers are in front
            at = min(int(dice.expovariate(1 / 40)), len(data) - 1) if dice.random() < 0.8 else dice.randrange(len(data))
            data[at] = dice.choice((0, 1, 0x7f, 0x80, 0xff, data[at] ^ 1 << dice.randrange(8), dice.randrange(256)))
    return data


def odd_number(dice, data):
    """A length, an offset or a type where two bytes stand."""
    if len(data) > 2:
        at = dice.randrange(min(len(data) - 1, 200))
        value = dice.choice(EXTREMES + (len(data) - at, len(data) - at + 1, len(data) - at - 1, dice.randrange(65536)))
        struct.pack_into(">H", data, at, value & 0xffff)
    return data


def cut(dice, data):
    return data[:dice.randrange(len(data) + 1)]


def stretched(dice, data):
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.randbytes(dice.choice((1, 2, 4, 40, 1400))) + data[at:]


def repeated(dice, data):
    """Part of it again: headers in headers."""
    a, b = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    return data[:b] + data[a:b] * dice.choice((1, 1, 2, 40)) + data[b:]


def ipv4(protocol, payload):
    return struct.pack(">BBHHHBBHII", 0x45, 0, (20 + len(payload)) & 0xffff, 7, 0, 64, protocol, 0, 0x0a000001,
                       0x0a000002) + payload


def udp(port, payload):
    return ipv4(17, struct.pack(">HHHH", 1024, port, (8 + len(payload)) & 0xffff, 0) + payload)


WRAPS = (
    lambda d, inner: b"\x81\x00\x00\x0a" + inner,
    lambda d, inner: b"\x88\xa8\x00\x14" + inner,
    lambda d, inner: b"\x88\x47" + struct.pack(">I", d.randrange(1 << 32) & ~0x100) * d.randrange(1, 6) + inner,
    lambda d, inner: b"\x88\x64\x11\x00\x00\x01" + struct.pack(">HH", len(inner) & 0xffff, 0x21) + inner,
    lambda d, inner: b"\x08\x00" + ipv4(47, b"\x00\x00\x65\x58" + bytes(12) + inner),
    lambda d, inner: b"\x08\x00" + ipv4(47, b"\x10\x00\x88\xbe" + bytes(4) + b"\x10\x00\x00\x00" + bytes(16) + inner),
    lambda d, inner: b"\x08\x00" + udp(4789, b"\x08\0\0\0\0\0\x2a\0" + bytes(12) + inner),
    lambda d, inner: b"\x08\x00" + udp(6081, b"\x02\0\x65\x58\0\0\x2a\0" + bytes(8) + bytes(12) + inner),
    lambda d, inner: b"\x08\x00" + udp(2152, b"\x30\xff" + struct.pack(">HI", len(inner) & 0xffff, 9) + inner[2:]),
    lambda d, inner: b"\x08\x00" + udp(1701, b"\x00\x02\0\1\0\1\xff\x03\0\x21" + inner[2:]),
    lambda d, inner: b"\x08\x00" + udp(3544, b"\0\1\0\0" + bytes(9) + inner[2:]),
    lambda d, inner: b"\x08\x00" + ipv4(4, inner[2:]),
    lambda d, inner: b"\x08\x00" + ipv4(51, b"\x04\x04\0\0" + bytes(20) + inner[2:]),
    lambda d, inner: b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, (8 + len(inner)) & 0xffff, d.choice((0, 43, 44, 60)),
                                               64) + bytes(32) + bytes([d.choice((4, 41, 17, 6, 44)), 0]) + bytes(6) +
    inner[2:],
)


def wrapped(dice, data):
    """Into tunnels, up to twenty deep."""
    inner = bytes(data[12:])
    for _ in range(dice.choice((1, 1, 2, 3, 20))):
        inner = dice.choice(WRAPS)(dice, inner)
    return bytearray(bytes(12) + inner)


CHANGES = (flipped, flipped, odd_number, odd_number, cut, stretched, repeated, wrapped)


def changed(dice, packets):
    data = bytearray(dice.choice(packets)[1])
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        data = dice.choice(CHANGES)(dice, data)
    if dice.random() < 0.05:  # the front of one, the end of another
        other = dice.choice(packets)[1]
        data = data[:dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1):]
    return bytes(data[:65535])


def made(dice, path, packets):
    """A capture of changed packets, with times, lengths and a head that may be anything."""
    swapped, snaplen = dice.random() < 0.1, dice.choice((0, 1, 20, 96, 65535, 262144, 0xffffffff))
    order = ">" if swapped else "<"
    link = dice.choice(packets)[0] if dice.random() < 0.4 else dice.choice(LINKS)
    chosen = [one for one in packets if one[0] == link] or packets
    second = dice.choice((0, 1700000000, 0xfffffff0))
    with open(path, "wb") as file:
        file.write(struct.pack(order + "IHHiIII", dice.choice((0xa1b2c3d4, 0xa1b23c4d)), 2, 4, 0, 0, snaplen, link))
        for i in range(PACKETS):
            frame = changed(dice, chosen if dice.random() < 0.9 else packets)
            size, real = len(frame), len(frame)
            if dice.random() < 0.1:
                real = dice.choice((0, size - 1, size + 1, 65535, 0x7fffffff, 0xffffffff)) & 0xffffffff
            if dice.random() < 0.02:
                second = dice.choice((0, second + 1000, max(second - 100, 0), dice.randrange(1 << 32))) & 0xffffffff
            file.write(struct.pack(order + "IIII", second, i if dice.random() < 0.99 else dice.randrange(1 << 32), size,
                                   real) + frame)
        if dice.random() < 0.3:
            file.truncate(dice.randrange(file.tell() + 1))


def spoilt(dice, path, files):
    """A file as it is, but for some bytes of it, or its end."""
    with open(dice.choice(files), "rb") as file:
        data = bytearray(file.read())
    for _ in range(dice.choice((1, 3, 10, 100))):
        if not data:
            break
        at = dice.randrange(min(len(data), 64)) if dice.random() < 0.3 else dice.randrange(len(data))
        data[at] = dice.choice((0, 0xff, dice.randrange(256)))
    if dice.random() < 0.3:
        data = data[:dice.randrange(len(data) + 1)]
    with open(path, "wb") as file:
        file.write(data)


OPTIONS = (
    ((), ("--no-dpi",), ("--max-dpi-flows", "2"), ("-O", "DNS,TLS")),
    ((), ("--max-flows", "1"), ("--max-flows", "3"), ("--max-flows", "200")),
    ((), ("--no-tunnel",)),
    ((), ("--vlan-key", "outer"), ("--vlan-key", "none")),
    ((), ("-s", "1"), ("-s", "64"), ("-s", "262144")),
    ((), ("--deduplication",)),
    ((), ("-S", "3"), ("-S", "@9:1:2")),
    ((), ("-t", "1", "-d", "1"), ("-t", "86400", "-d", "86400")),
    ((), ("-f", "ip or ip6"), ("-f", "vlan and udp")),
    ((), ("-n", "127.0.0.1:9", "-V", "9"), ("-n", "127.0.0.1:9", "-V", "10"), ("-n", "127.0.0.1:9", "-V", "5")),
)


def options(dice):
    chosen = [word for row in OPTIONS for word in (dice.choice(row) if dice.random() < 0.4 else ())]
    if "-O" not in chosen and dice.random() < 0.1:
        chosen += ["--aggregation", "/".join(dice.choice("01") for _ in range(7))]
    if dice.random() < 0.1:
        chosen += ["--interpret-flow-packets"]
    return chosen


# ------------------------------------------------------------------------------- runs

def attack(folder, seed, number, packets, files):
    """What is wrong with this run, or None; whether the capture was one."""
    dice = random.Random(f"{seed}/{number}")
    path = os.path.join(folder, "attack.pcap")
    if dice.random() < 0.3:
        spoilt(dice, path, files)
    else:
        made(dice, path, packets)
    chosen = options(dice)
    piped = dice.random() < 0.1
    counters, records = os.path.join(folder, "counters"), os.path.join(folder, "records")
    for old in (counters, records):
        if os.path.exists(old):
            os.unlink(old)
    command = [PROBE, "-i", "-" if piped else path, "--json", records, "--counters", counters, "--data-dir",
               os.path.join(folder, "data"), "--license", os.path.join(folder, "none"), *chosen]
    with open(path, "rb") as capture:
        try:
            ended = subprocess.run(command, stdin=capture if piped else subprocess.DEVNULL, timeout=120,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except subprocess.TimeoutExpired:
            return f"not done after 120 s: {' '.join(command)}", False
    said = ended.stderr.decode(errors="replace")
    lines = [line for line in said.splitlines() if not re.match(r"\S+ weir-probe (notice|warning): ", line)]
    what = f"exit {ended.returncode} of {' '.join(command)}, which said:\n{said[:6000]}"
    if ended.returncode == 2 and len(lines) == 1 and "the filter 'vlan and udp' is not valid" in lines[0]:
        return None, False  # there are links without VLANs
    if ended.returncode not in (0, 1) or (ended.returncode == 1) != (len(lines) == 1) or "Sanitizer" in said:
        return what, False
    if not os.path.exists(counters) or "--interpret-flow-packets" in chosen:
        return None, False
    try:
        conservation.same_sums(what, *conservation.read(counters, records), partly=bool({"-O"} & set(chosen)))
    except SystemExit as wrong:
        return str(wrong), True
    return None, True


def main():
    if not os.access(PROBE, os.X_OK):
        sys.exit(f"no {PROBE}: make check builds it")
    seed = int(os.environ.get("WEIR_ATTACK_SEED", random.randrange(1 << 32)))
    only = os.environ.get("WEIR_ATTACK_RUN")
    end = time.monotonic() + float(os.environ.get("WEIR_ATTACK_SECONDS", 40))
    print(f"seed {seed}", flush=True)
    os.environ |= {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0:strict_string_checks=1",
                   "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99"}
    packets, files = sources(random.Random(seed))
    number, read, wrongs = int(only or 0), 0, 0
    with tempfile.TemporaryDirectory(prefix="weir-attack-") as folder:
        os.chmod(folder, 0o777)  # for the probe, which gives up being root
        while time.monotonic() < end and wrongs < 5:
            wrong, whole = attack(folder, seed, number, packets, files)
            read += whole
            if wrong:
                wrongs += 1
                kept = os.path.join(SOURCE, "test-output", f"attack-{seed}-{number}.pcap")
                os.makedirs(os.path.dirname(kept), exist_ok=True)
                shutil.copy(os.path.join(folder, "attack.pcap"), kept)
                print(f"FAIL run {number} of seed {seed}, kept as {kept}:\n{wrong}", flush=True)
            number += 1
            if only:
                break
    print(f"{number} runs, {read} of captures that were read to their end or to where they are damaged; {wrongs} wrong")
    sys.exit(1 if wrongs or not number else 0)


if __name__ == "__main__":
    main()
