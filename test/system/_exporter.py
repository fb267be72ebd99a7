# SPDX-License-Identifier: Apache-2.0
"""Datagrams as exporters send them, made by hand from the standards: NetFlow v1, v5, v7, v9
(RFC 3954), IPFIX (RFC 7011), sFlow v5. Beside each, the records that must come out of it."""
import ipaddress
import os
import struct

NOW = 1_700_000_000  # seconds; the clock of these exporters
UPTIME = 600_000


def ip(text):
    return ipaddress.ip_address(text).packed


def flow(i, **more):
    """The i-th flow, the same in every version."""
    return {"src_ip": f"192.0.2.{i + 1}", "dst_ip": f"198.51.100.{i + 1}", "src_port": 40000 + i,
            "dst_port": 443, "protocol": 6, "packets": 10 + i, "octets": 1000 + 7 * i,
            "tcp_flags": 0x1b, "tos": 8, "input_if": 3, "output_if": 4,
            "first_ms": NOW * 1000 - 5000 + i, "last_ms": NOW * 1000 - 1000 + i} | more


def uptime(ms):
    return (ms - NOW * 1000 + UPTIME) % 2 ** 32


def old(version, flows, sequence=0, sampling=0):
    """v1, v5, v7: one datagram."""
    head = struct.pack(">HHIII", version, len(flows), UPTIME, NOW, 0)
    head += {1: b"", 5: struct.pack(">IBBH", sequence, 1, 2, 0x4000 | sampling),
             7: struct.pack(">II", sequence, 0)}[version]
    out = head
    for f in flows:
        out += ip(f["src_ip"]) + ip(f["dst_ip"]) + ip(f.get("next_hop", "0.0.0.0"))
        out += struct.pack(">HHIIIIHH", f["input_if"], f["output_if"], f["packets"], f["octets"],
                           uptime(f["first_ms"]), uptime(f["last_ms"]), f["src_port"],
                           f["dst_port"])
        if version == 1:
            out += struct.pack(">HBBB11x", 0, f["protocol"], f["tos"], f["tcp_flags"])
        else:
            out += struct.pack(">BBBBHHBBH", 0, f["tcp_flags"], f["protocol"], f["tos"],
                               f.get("src_as", 0), f.get("dst_as", 0), 24, 16, 0)
            out += b"" if version == 5 else bytes(4)
    return out


def element(number, length, pen=0):
    return (struct.pack(">HHI", number | 0x8000, length, pen) if pen
            else struct.pack(">HH", number, length))


def a_set(number, body):
    body += bytes(-len(body) % 4)
    return struct.pack(">HH", number, 4 + len(body)) + body


def template(number, elements, set_id=2, scopes=None):
    body = struct.pack(">HH", number, len(elements))
    if scopes is not None:
        body += struct.pack(">H", scopes)
    return a_set(set_id, body + b"".join(element(*e) for e in elements))


def v9(sets, sequence=0, domain=0, count=1):
    return struct.pack(">HHIIII", 9, count, UPTIME, NOW, sequence, domain) + b"".join(sets)


def ipfix(sets, sequence=0, domain=0):
    body = b"".join(sets)
    return struct.pack(">HHIII", 10, 16 + len(body), NOW, sequence, domain) + body


V9_ELEMENTS = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (2, 4), (1, 4), (6, 1), (5, 1), (10, 2),
               (14, 2), (22, 4), (21, 4)]


def v9_data(flows):
    return b"".join(
        ip(f["src_ip"]) + ip(f["dst_ip"]) +
        struct.pack(">HHBIIBBHHII", f["src_port"], f["dst_port"], f["protocol"], f["packets"],
                    f["octets"], f["tcp_flags"], f["tos"], f["input_if"], f["output_if"],
                    uptime(f["first_ms"]), uptime(f["last_ms"])) for f in flows)


IPFIX_ELEMENTS = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (2, 3), (1, 8), (6, 2), (5, 1), (10, 4),
                  (14, 4), (152, 8), (153, 8), (118, 0xffff, 35632), (1, 4, 29305), (2, 4, 29305)]


def ipfix_data(flows):
    """Reduced sizes, a variable length of an enterprise, and the reverse direction."""
    out = b""
    for f in flows:
        out += ip(f["src_ip"]) + ip(f["dst_ip"])
        out += struct.pack(">HHB", f["src_port"], f["dst_port"], f["protocol"])
        out += f["packets"].to_bytes(3, "big")
        out += struct.pack(">QHBIIQQ", f["octets"], f["tcp_flags"], f["tos"], f["input_if"],
                           f["output_if"], f["first_ms"], f["last_ms"])
        out += b"\xff\x00\x03abc" + struct.pack(">II", f["rev_octets"], f["rev_packets"])
    return out


def header(f):
    """The packet of a flow, Ethernet to TCP."""
    tcp = struct.pack(">HHIIBBHHH", f["src_port"], f["dst_port"], 1, 1, 0x50, f["tcp_flags"], 0,
                      0, 0)
    v4 = struct.pack(">BBHHHBBH", 0x45, f["tos"], 40, 0, 0, 64, 6, 0)
    return (bytes.fromhex("02000000000b" "02000000000a" "8100" "0064" "0800") + v4 +
            ip(f["src_ip"]) + ip(f["dst_ip"]) + tcp)


def opaque(data):
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def interface_sample(index, sequence, octets=0, packets=0, speed=10 ** 9, expanded=False):
    """Counters of an interface: as many went out as came in, and one broadcast each."""
    side = struct.pack(">QIIIII", octets, packets, 0, 1, 0, 0)
    counters = struct.pack(">IIQII", index, 6, speed, 1, 3) + side + struct.pack(">I", 0) + side
    counters += struct.pack(">I", 0)
    source = struct.pack(">II", 0, index) if expanded else struct.pack(">I", index)
    other = struct.pack(">II", 2, 52) + bytes(52)  # of Ethernet
    body = struct.pack(">I", sequence) + source + struct.pack(">I", 2) + other
    body += struct.pack(">II", 1, len(counters)) + counters
    return struct.pack(">II", 4 if expanded else 2, len(body)) + body


def sflow_counters(samples, agent="203.0.113.9", sequence=1):
    head = struct.pack(">II", 5, 1) + ip(agent) + struct.pack(">IIII", 0, sequence, UPTIME, len(samples))
    return head + b"".join(samples)


def sflow(flows, agent="203.0.113.9", sequence=1, rate=512, expanded=False, frame_bytes=1000):
    """One datagram: a flow sample a flow, a counter sample and one of an unknown kind between."""
    samples = [interface_sample(3, 1, octets=1000), struct.pack(">II", 0x1234567, 8) + bytes(8)]
    for f in flows:
        raw = struct.pack(">III", 1, frame_bytes, 4) + opaque(header(f))
        switch = struct.pack(">IIII", 100, 0, 200, 0)
        records = struct.pack(">II", 1, len(raw)) + raw + struct.pack(">II", 1001, 16) + switch
        records += struct.pack(">II", 4242, 4) + bytes(4)
        ends = (struct.pack(">IIII", 0, f["input_if"], 0, f["output_if"]) if expanded
                else struct.pack(">II", f["input_if"], 0x80000000 | f["output_if"]))
        source = struct.pack(">II", 0, 3) if expanded else struct.pack(">I", 3)
        body = struct.pack(">I", 7) + source + struct.pack(">III", rate, 0, 0) + ends
        body += struct.pack(">I", 3) + records
        samples.append(struct.pack(">II", 3 if expanded else 1, len(body)) + body)
    head = struct.pack(">II", 5, 1) + ip(agent) + struct.pack(">IIII", 0, sequence, UPTIME,
                                                              len(samples))
    return head + b"".join(samples)


def sflow_discards(flows, reasons, agent="203.0.113.9", sequence=1, frame_bytes=1000):
    """One datagram: a packet of each flow, dropped for the reason of the same place."""
    samples = []
    for f, reason in zip(flows, reasons):
        raw = struct.pack(">III", 1, frame_bytes, 4) + opaque(header(f))
        body = struct.pack(">IIIIIIII", 7, 0, 3, 0, f["input_if"], f["output_if"], reason, 1)
        body += struct.pack(">II", 1, len(raw)) + raw
        samples.append(struct.pack(">II", 5, len(body)) + body)
    return sflow_counters(samples, agent, sequence)


def cases():
    """(name, datagrams, records that must come out) of each version."""
    some = [flow(i) for i in range(3)]
    both = [flow(i, rev_octets=500 + i, rev_packets=5) for i in range(3)]
    sampled = [{k: v for k, v in f.items() if k not in ("first_ms", "last_ms")} |
               {"packets": 1, "octets": 1000, "sampling_rate": 512, "vlan": 100, "post_vlan": 200,
                "exporter_ip": "203.0.113.9", "proto_version": "sflow"} for f in some]
    yield "v1", [old(1, some)], [f | {"proto_version": 1} for f in some]
    yield "v5", [old(5, some, sampling=100)], [f | {"sampling_rate": 100, "engine_id": 2}
                                               for f in some]
    yield "v7", [old(7, some)], [f | {"src_mask": 24} for f in some]
    yield "v9", [v9([template(260, V9_ELEMENTS, 0), a_set(260, v9_data(some))])], some
    yield "ipfix", [ipfix([template(300, IPFIX_ELEMENTS), a_set(300, ipfix_data(both))],
                          domain=77)], [f | {"observation_domain": 77} for f in both]
    yield "sflow", [sflow(some)], [f | {"output_if_format": 2} for f in sampled]
    yield "sflow expanded", [sflow(some, expanded=True)], sampled
    dropped = [{k: v for k, v in f.items() if k != "sampling_rate" and k != "post_vlan"} |
               {"forwarding_status": 128, "drop_reason": name}
               for f, name in zip(sampled, ("acl", "ttl_exceeded", "no_buffer_space"))]
    yield "sflow discards", [sflow_discards(some, (258, 257, 259))], dropped


def late():
    """Data before its template, twice over two datagrams, then sampling by options."""
    some = [flow(i) for i in range(6)]
    options = struct.pack(">HHHHHHHHH", 262, 4, 8, 1, 4, 48, 1, 34, 4)
    datagrams = [v9([a_set(261, v9_data(some[:2]))], 0, 5), v9([a_set(261, v9_data(some[2:4]))], 1, 5),
                 v9([template(261, V9_ELEMENTS, 0)], 2, 5),
                 v9([a_set(1, options), a_set(262, struct.pack(">IBI", 0, 0, 50))], 3, 5),
                 v9([a_set(261, v9_data(some[4:]))], 4, 5)]
    return datagrams, some[:4] + [f | {"sampling_rate": 50} for f in some[4:]]


def pcap(path, datagrams, source="203.0.113.1", port=2055):
    """A capture of these datagrams."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for i, payload in enumerate(datagrams):
            udp = struct.pack(">HHHH", 50000, port, 8 + len(payload), 0) + payload
            packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
            packet += ip(source) + ip("203.0.113.2") + udp
            file.write(struct.pack("<IIII", NOW + i, 0, len(packet), len(packet)) + packet)


def write_seeds(folder):
    """Seeds of the fuzz targets: datagrams of each version; streams of them, sizes before each."""
    some = [flow(0), flow(1)]
    labels = [(8, 4), (12, 4), (70, 3), (71, 3), (315, 0xffff), (291, 0xffff), (95, 4), (60, 1)]
    frame = header(flow(1))
    odd = (ip("192.0.2.1") + ip("192.0.2.2") + b"\0\x10\0" b"\0\x20\x01" +
           bytes([len(frame)]) + frame + b"\x05\0\0\x08\0\x04" + b"\x03\0\0\x50" + b"\x04")
    names = ipfix([template(310, [(10, 4), (82, 0xffff), (160, 8), (305, 4), (306, 4)], 3, 1),
                   a_set(310, struct.pack(">IB", 3, 4) + b"eth0" +
                         struct.pack(">QII", NOW * 1000 - UPTIME, 1, 99))])
    files = {name: {"plain": d[0]} for name, d, _ in cases() if " " not in name}
    files = {"netflow" + name[1:] if name[0] == "v" else name: d for name, d in files.items()}
    files["sflow"]["discards"] = sflow_discards(some, (258, 3))
    files["sflow"]["expanded"] = sflow(some, expanded=True)
    files["netflow9"]["options"] = b"".join(late()[0][3:4])
    files["ipfix"]["odd"] = ipfix([template(301, labels), a_set(301, odd)])
    files["ipfix"]["names"] = names
    files["templates"] = {
        "late": late()[0],
        "names": [names, ipfix([template(300, IPFIX_ELEMENTS), a_set(300, ipfix_data(
            [flow(0, rev_octets=1, rev_packets=1)]))])],
        "redefined": [v9([template(260, V9_ELEMENTS, 0), a_set(260, v9_data(some))]),
                      v9([template(260, V9_ELEMENTS[:6], 0), a_set(260, v9_data(some))])],
        "withdrawn": [ipfix([template(300, IPFIX_ELEMENTS)]),
                      ipfix([a_set(2, struct.pack(">HH", 300, 0))]),
                      ipfix([a_set(300, bytes(80))]),
                      ipfix([a_set(2, struct.pack(">HH", 2, 0))])]}
    for target, seeds in files.items():
        at = os.path.join(folder, f"fuzz-{target}.corpus")
        os.makedirs(at, exist_ok=True)
        for name, data in seeds.items():
            if isinstance(data, list):
                data = b"".join(struct.pack(">H", len(d)) + d for d in data)
            with open(os.path.join(at, name), "wb") as file:
                file.write(data)


if __name__ == "__main__":
    write_seeds("src/collect")
