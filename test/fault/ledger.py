# SPDX-License-Identifier: Apache-2.0
"""Reads what the shim booked: which flows had become durable in a probe's spool. A reader of its
own for segments (docs/wire/channel.md), zstd and IPFIX, so that weir's code has no say in it."""
import ctypes
import os
import re
import struct

ZSTD = ctypes.CDLL("libzstd.so.1")
ZSTD.ZSTD_decompress.restype = ctypes.c_size_t
ZSTD.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                 ctypes.c_size_t]
ZSTD.ZSTD_isError.argtypes = [ctypes.c_size_t]
ROOM = ctypes.create_string_buffer(1 << 20)

# magic, size of the rest, tag, version, hubs, reserved; epoch, sequence, written at, counts and
# totals (flows, packets, octets), payload bytes, CRC-32C of the payload
MAGIC = b"\x57\x2a\x4d\x18"
HEAD = struct.Struct(">4sBBH16sQQ6QII")
FIXED = 8 + HEAD.size

# elements of the IPFIX registry
OCTETS, PACKETS, SOURCE_PORT, SOURCE_IP4 = 1, 2, 7, 8


def flow_id(ip, port):
    """As generate.py makes them: 10.SITE.x.y and a port hold a site and a counter; None: foreign"""
    if ip >> 24 != 10 or not 1024 <= port < 1280:
        return None
    return (ip & 0xffffff) << 8 | port - 1024


def site_of(flow):
    return flow >> 24


class Batch:
    """One batch of a spool. `flows` is None when its message cannot be read."""
    __slots__ = ("site", "epoch", "sequence", "written_ms", "counts", "totals", "flows")

    def __init__(self, epoch, sequence, written_ms, counts, totals, flows):
        self.site, self.epoch, self.sequence = None, epoch, sequence
        self.written_ms, self.counts, self.totals, self.flows = written_ms, counts, totals, flows

    @property
    def place(self):
        return self.epoch, self.sequence


# -------------------------------------------------------------------------------------- IPFIX

class Malformed(Exception):
    pass


class Template:
    """Where the four members stand that are looked at; fields of variable length are walked over."""

    def __init__(self, fields):
        self.fields = fields
        self.least = sum(1 if length == 65535 else length for _, length in fields)
        self.fixed = all(length != 65535 for _, length in fields)
        self.places = {}
        at = 0
        for element, length in fields:
            self.places.setdefault(element, (at, length))
            at += length

    def records(self, body):
        at = 0
        while len(body) - at >= max(1, self.least):
            if self.fixed:
                yield {e: int.from_bytes(body[at + o:at + o + n], "big")
                       for e, (o, n) in self.wanted()}
                at += self.least
                continue
            record = {}
            for element, length in self.fields:
                if length == 65535:
                    length = body[at]
                    at += 1
                    if length == 255:
                        length = int.from_bytes(body[at:at + 2], "big")
                        at += 2
                if at + length > len(body):
                    raise Malformed("a record is cut short")
                if element in (OCTETS, PACKETS, SOURCE_PORT, SOURCE_IP4):
                    record[element] = int.from_bytes(body[at:at + length], "big")
                at += length
            yield record

    def wanted(self):
        return [(e, self.places[e]) for e in (OCTETS, PACKETS, SOURCE_PORT, SOURCE_IP4)
                if e in self.places]


def templates_of(body):
    at = 0
    while len(body) - at >= 4:
        number, n = struct.unpack_from(">HH", body, at)
        at += 4
        fields = []
        for _ in range(n):
            element, length = struct.unpack_from(">HH", body, at)
            at += 4
            if element & 0x8000:  # of an enterprise: none of those that are looked at
                at += 4
                element = None
            fields.append((element, length))
        yield number, Template(fields)


def message_flows(message):
    """[(id, packets, octets)] of an IPFIX message with its own templates; both directions are one
    flow, and the generator's have no way back"""
    if len(message) < 16 or struct.unpack_from(">HH", message) != (10, len(message)):
        raise Malformed("no IPFIX message")
    templates, flows, at = {}, [], 16
    while at + 4 <= len(message):
        kind, size = struct.unpack_from(">HH", message, at)
        if size < 4 or at + size > len(message):
            raise Malformed("a set is cut short")
        body = message[at + 4:at + size]
        at += size
        if kind == 2:
            templates.update(templates_of(body))
        elif kind in templates:
            for record in templates[kind].records(body):
                flow = flow_id(record.get(SOURCE_IP4, 0), record.get(SOURCE_PORT, 0))
                flows.append((flow, record.get(PACKETS, 0), record.get(OCTETS, 0)))
    return flows


def payload_flows(payload):
    n = ZSTD.ZSTD_decompress(ROOM, len(ROOM), payload, len(payload))
    if ZSTD.ZSTD_isError(n):
        raise EOFError("the frame is cut short or damaged")
    try:
        return message_flows(ROOM.raw[:n])
    except (Malformed, struct.error, IndexError):
        return None


# ------------------------------------------------------------------------------------ segments

def head_at(data, at):
    """(members, size of the head) or None"""
    if data[at:at + 4] != MAGIC or len(data) - at < FIXED + 4:
        return None
    rest = int.from_bytes(data[at + 4:at + 8], "little")
    members = HEAD.unpack_from(data, at + 8)
    if members[0] != b"WSPL" or members[1] != 1 or rest != HEAD.size + 8 * members[2] + 4:
        return None
    return members, 8 + rest


def batches(data):
    """The batches of a segment's bytes, and where each payload stands; what is torn is passed over"""
    at = 0
    while True:
        at = data.find(MAGIC, at)
        if at < 0:
            return
        found = head_at(data, at)
        if not found:
            at += 1
            continue
        members, size = found
        begin, end = at + size, at + size + members[13]
        try:
            flows = payload_flows(data[begin:end])
        except EOFError:
            at += 1
            continue
        yield Batch(members[4].hex(), members[5], members[6], members[7:10], members[10:13],
                    flows), begin, end
        at = end


def folder_places(folder):
    """{(epoch, sequence): (file, begin, end)} of what lies in a spool's folder now"""
    places = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                data = file.read()
            for batch, begin, end in batches(data):
                places[batch.place] = (path, begin, end)
    return places


# -------------------------------------------------------------------------------------- ledger

def runs(folder):
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))] \
        if os.path.isdir(folder) else []


def log_lines(run):
    try:
        with open(os.path.join(run, "log"), errors="replace") as file:
            text = file.read()
    except FileNotFoundError:
        return
    for line in text[:text.rfind("\n") + 1].splitlines():
        yield line.split(" ")


def booked(folder):
    """{(epoch, sequence): Batch} of all runs of one site"""
    found = {}
    for run in runs(folder):
        ends = {}
        for words in log_lines(run):
            if words[0] == "sync":
                ends[words[1]] = max(ends.get(words[1], 0), int(words[3]))
            elif words[0] == "full":
                raise Malformed(f"{run}: the shim ran out of room")
        for number, end in ends.items():
            with open(os.path.join(run, number + ".data"), "rb") as file:
                data = file.read(end)
            for batch, _, _ in batches(data):
                known = found.get(batch.place)
                if known and (known.counts, known.totals) != (batch.counts, batch.totals):
                    raise Malformed(f"{run}: two batches at {batch.place}")
                found[batch.place] = batch
    return found


def durable_sizes(folder):
    """{name: bytes that outlive a power loss} of the spool's files, by all runs of one site; and
    the names that are not durable themselves; and what was unlinked and may come back, by number"""
    sizes, fresh, gone = {}, set(), {}
    for run in runs(folder):
        gone = {}
        for words in log_lines(run):
            kind, name = words[0], words[-1]
            if kind == "is":  # the campaign's own hand
                sizes[name] = int(words[1])
            elif kind == "made":
                sizes[name] = 0
                fresh.add(name)
            elif kind == "sync":
                sizes[name] = max(sizes.get(name, 0), int(words[3]))
            elif kind == "cut":
                sizes[name] = min(sizes.get(name, 0), int(words[2]))
            elif kind == "gone":
                gone[name] = (int(words[2]), sizes.pop(name, 0))
                fresh.discard(name)
            elif kind == "moved":
                sizes[name] = sizes.pop(words[1], 0)
                fresh.discard(words[1])
            elif kind == "dir":
                fresh.clear()
                gone.clear()
            elif kind == "nothing":
                sizes, fresh = {}, set()
    return sizes, fresh, gone


def settle(folder, spool):
    """What lies in the spool now is durable: said in the ledger as a run of the campaign's"""
    run = os.path.join(folder, f"{len(runs(folder)):04d}")
    os.makedirs(run)
    with open(os.path.join(run, "log"), "w") as log:
        log.write("nothing\n")
        for name in sorted(os.listdir(spool)):
            path = os.path.join(spool, name)
            if os.path.isfile(path) and not re.search(r"\s", name):
                log.write(f"is {os.path.getsize(path)} {name}\n")
