# SPDX-License-Identifier: Apache-2.0
"""A collector for tests: takes NetFlow v5, v9 and IPFIX over UDP or TCP, decodes what it is told by
its templates, and counts. Also captures with many flows to feed a probe with."""
import socket
import struct
import threading

ADDRESSES = {8, 12, 27, 28}
REVERSE = 29305
V5 = struct.Struct(">4s4s4sHHIIIIHHxBBBHHBBxx")


class Decoder:
    """Of one exporter. Records are dictionaries of (PEN, element) to number, address or bytes;
    counting only, they are None: NetFlow has records of one size."""

    def __init__(self, counting=False):
        self.counting = counting
        self.templates, self.records, self.messages, self.unknown_sets = {}, [], 0, 0
        self.sequences, self.announced = [], 0
        self.scopes, self.options, self.options_announced, self.withdrawn = {}, [], 0, 0

    def take(self, data):
        self.messages += 1
        version = struct.unpack(">H", data[:2])[0]
        if version == 5:
            self.take_v5(data)
            return
        length, at = (len(data), 20) if version == 9 else (struct.unpack(">H", data[2:4])[0], 16)
        assert length == len(data), f"length {length} of {len(data)} bytes"
        self.sequences.append(struct.unpack(">I", data[at - 8:at - 4])[0])
        if version == 9:
            self.count, before = struct.unpack(">H", data[2:4])[0], self.all()
        while at < len(data):
            set_id, size = struct.unpack(">HH", data[at:at + 4])
            assert size >= 4 and at + size <= len(data), f"set of {size} bytes"
            body = data[at + 4:at + size]
            if set_id in (0, 2):
                self.take_templates(body, version)
            elif set_id in (1, 3):
                self.take_options_template(body, version)
            elif set_id in self.scopes:
                for record in self.read(body, self.templates[set_id]):
                    self.options.append((set_id, self.scopes[set_id], record))
            elif set_id in self.templates:
                self.take_data(body, self.templates[set_id])
            else:
                self.unknown_sets += 1
            at += size
        if version == 9 and not self.unknown_sets:
            assert self.count == self.all() - before, "count of the header"

    def all(self):
        return len(self.records) + self.announced + self.options_announced + len(self.options)

    def take_v5(self, data):
        count = struct.unpack(">H", data[2:4])[0]
        self.sequences.append(struct.unpack(">I", data[16:20])[0])
        assert len(data) == 24 + 48 * count
        if self.counting:
            self.records += [None] * count
            return
        for i in range(count):
            f = V5.unpack_from(data, 24 + 48 * i)
            self.records.append({(0, 8): socket.inet_ntoa(f[0]), (0, 12): socket.inet_ntoa(f[1]),
                                 (0, 2): f[5], (0, 1): f[6], (0, 7): f[9], (0, 11): f[10],
                                 (0, 6): f[11], (0, 4): f[12], (0, 5): f[13]})

    def take_templates(self, body, version):
        at = 0
        while at + 4 <= len(body):
            number, n = struct.unpack(">HH", body[at:at + 4])
            if not n:
                assert number == 2 and version == 10, "all templates are withdrawn, or none"
                self.templates = {k: v for k, v in self.templates.items() if k in self.scopes}
                self.withdrawn += 1
                return
            self.templates[number], at = self.fields(body, at + 4, n, version)
            self.scopes.pop(number, None)
            self.announced += 1

    def fields(self, body, at, n, version):
        fields = []
        for _ in range(n):
            element, size = struct.unpack(">HH", body[at:at + 4])
            at += 4
            pen = 0
            if version == 10 and element & 0x8000:
                element &= 0x7fff
                pen = struct.unpack(">I", body[at:at + 4])[0]
                at += 4
            fields.append((pen, element, size))
        return fields, at

    def take_options_template(self, body, version):
        if body == b"\0\3\0\0":
            self.templates = {k: v for k, v in self.templates.items() if k not in self.scopes}
            self.scopes, self.withdrawn = {}, self.withdrawn + 1
            return
        number, a, b = struct.unpack(">HHH", body[:6])
        n, scopes = ((a + b) // 4, a // 4) if version == 9 else (a, b)
        fields, end = self.fields(body, 6, n, version)
        assert len(body) - end < 4, "one options template a set"
        self.templates[number], self.scopes[number] = fields, scopes
        self.options_announced += 1

    def take_data(self, body, fields):
        least = sum(1 if size == 65535 else size for _, _, size in fields)
        if self.counting:
            self.records += [None] * (len(body) // least)
            return
        self.records += self.read(body, fields)

    def read(self, body, fields):
        least = sum(1 if size == 65535 else size for _, _, size in fields)
        at, records = 0, []
        while at + least <= len(body):
            record = {}
            for pen, element, size in fields:
                if size == 65535:
                    size = body[at]
                    at += 1
                    if size == 255:
                        size = struct.unpack(">H", body[at:at + 2])[0]
                        at += 2
                raw = body[at:at + size]
                at += size
                if pen == 0 and element in ADDRESSES:
                    family = socket.AF_INET if size == 4 else socket.AF_INET6
                    record[pen, element] = socket.inet_ntop(family, raw)
                elif size > 8 or pen == 35632:
                    record[pen, element] = raw
                else:
                    record[pen, element] = int.from_bytes(raw, "big")
            records.append(record)
        return records

    def flows(self):
        """(source, destination, ports, protocol, packets, octets and, of IPFIX, those back)."""
        return [tuple(r.get(k, 0) for k in KEY) for r in self.records]


KEY = ((0, 8), (0, 27), (0, 12), (0, 28), (0, 7), (0, 11), (0, 4), (0, 2), (0, 1), (REVERSE, 2),
       (REVERSE, 1))


def key_of(flow, reverse=None):
    """What Decoder.flows() has for a flow of weir's JSON; reverse: a direction of it alone."""
    src, dst, sport, dport = (flow[k] for k in ("src_ip", "dst_ip", "src_port", "dst_port"))
    forward = (flow["packets"], flow["octets"])
    back = (flow["rev_packets"], flow["rev_octets"])
    if reverse:
        src, dst, sport, dport, forward = dst, src, dport, sport, back
    v6 = ":" in src
    return (0 if v6 else src, src if v6 else 0, 0 if v6 else dst, dst if v6 else 0, sport, dport,
            flow["protocol"], *forward, *(back if reverse is None else (0, 0)))


def directions(flows, v4_only=False):
    """As NetFlow has them: a record a direction that has packets."""
    found = []
    for flow in flows:
        if v4_only and ":" in flow["src_ip"]:
            continue
        if flow["packets"] or not flow["rev_packets"]:
            found.append(key_of(flow, False))
        if flow["rev_packets"]:
            found.append(key_of(flow, True))
    return found


class Collector(threading.Thread):
    """Takes UDP datagrams, or TCP connections one after the other, on a port of its own."""

    def __init__(self, tcp=False, port=0, keep=False, counting=False):
        super().__init__(daemon=True)
        self.tcp, self.keep, self.over, self.wrong = tcp, keep, False, None
        self.decoder, self.connections, self.raw, self.cut = Decoder(counting), 0, [], False
        self.longest = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not tcp:  # SO_RCVBUFFORCE: nothing may be lost on this side
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(0.1)
        self.port = self.socket.getsockname()[1]
        if tcp:
            self.socket.listen(1)
        self.start()

    def take(self, data):
        self.longest = max(self.longest, len(data))
        if self.keep:
            self.raw.append(data)
        self.decoder.take(data)

    def run(self):
        try:
            while not self.over:
                try:
                    if self.tcp:
                        self.serve(self.socket.accept()[0])
                    else:
                        self.take(self.socket.recv(65536))
                except socket.timeout:
                    pass
        except Exception as error:
            self.wrong = error
        self.socket.close()

    def serve(self, connection):
        """Whole messages; templates are of the connection. v9 has no length: it is one of its own."""
        self.connections += 1
        self.decoder.templates = {}
        connection.settimeout(0.1)
        data = b""
        with connection:
            while not self.over and not self.cut:
                try:
                    more = connection.recv(65536)
                except socket.timeout:
                    continue
                if not more:
                    break
                data += more
                while len(data) >= 4 and data[:2] == b"\0\x0a":
                    size = struct.unpack(">H", data[2:4])[0]
                    if len(data) < size:
                        break
                    self.take(data[:size])
                    data = data[size:]
            self.cut = False
        if data[:2] == b"\0\x09":
            for message in split_v9(data):
                self.take(message)

    def records(self):
        if self.wrong:
            raise self.wrong
        return len(self.decoder.records)

    def stop(self):
        self.over = True
        self.join(5)
        if self.wrong:
            raise self.wrong


def split_v9(data):
    """Sets follow the header until the next one: version 9 is no set's number."""
    while data:
        at = 20
        while at < len(data) and data[at:at + 2] != b"\0\x09":
            at += struct.unpack(">H", data[at + 2:at + 4])[0]
        yield data[:at]
        data = data[at:]


# ------------------------------------------------------------------------------------ captures

def packet(number, back=False, payload=20):
    """An Ethernet frame of UDP; every third flow is IPv6. number chooses addresses and ports."""
    v6 = number % 3 == 2
    a, b = 1024 + number % 60000, 53 + number % 7
    udp = struct.pack(">HHHH", *((b, a) if back else (a, b)), 8 + payload, 0) + bytes(payload)
    if v6:
        ends = [socket.inet_pton(socket.AF_INET6, f"2001:db8:1::{number // 60000:x}"),
                socket.inet_pton(socket.AF_INET6, "2001:db8:2::1")]
        ip = struct.pack(">IHBB", 6 << 28, len(udp), 17, 64)
    else:
        ends = [bytes([10, 1, 0, number // 60000]), bytes([10, 2, number % 200, 1])]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    if back:
        ends.reverse()
    return (b"\2\0\0\0\0\2\2\0\0\0\0\1" + (b"\x86\xdd" if v6 else b"\x08\x00") +
            ip + ends[0] + ends[1] + udp)


def write_capture(path, frames, start_s=1700000000, step_us=100):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i, frame in enumerate(frames):
            at_us = i * step_us
            file.write(struct.pack("<IIII", start_s + at_us // 1000000, at_us % 1000000,
                                   len(frame), len(frame)) + frame)


def many_flows(n):
    """n flows, every second one with an answer."""
    for number in range(n):
        yield packet(number, payload=number % 900)
        if number % 2:
            yield packet(number, back=True, payload=number % 1200)
