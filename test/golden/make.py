#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden captures beside this script. They are committed; run it to change them.

    /usr/bin/python3 test/golden/make.py        (python3-scapy)

Addresses are documentation and private ranges; content is made here. The same bytes come out every
time: no randomness, fixed times.
"""
import logging
import os
import struct

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (DNS, DNSQR, DNSRR, ICMP, ICMPv6EchoReply, ICMPv6EchoRequest, IP, IPv6,
                       IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                       IPv6ExtHdrRouting, SCTP, SCTPChunkCookieEcho, SCTPChunkData, SCTPChunkInit,
                       SCTPChunkInitAck, TCP, UDP, AH, ARP, Dot1AD, Dot1Q, Ether, IPOption_NOP,
                       IPOption_Router_Alert, LLC, Raw, SNAP, STP, CookedLinux, Dot3,
                       fragment, wrpcap)

HERE = os.path.dirname(os.path.abspath(__file__))
START = 1700000000.0
A, B = "192.0.2.10", "198.51.100.20"
A6, B6 = "2001:db8:a::10", "2001:db8:b::20"
MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
HTTP = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: golden\r\nAccept: */*\r\n\r\n"


def there(packet, link=None):
    return (link or Ether(src=MAC_A, dst=MAC_B)) / packet


def back(packet, link=None):
    return (link or Ether(src=MAC_B, dst=MAC_A)) / packet


def write(name, packets, gap=0.01, **options):
    at = START
    for packet in packets:
        if not getattr(packet, "timed", False):
            packet.time = at
            at += gap
    wrpcap(os.path.join(HERE, name), packets, **options)


def timed(packet, seconds):
    packet.time = START + seconds
    packet.timed = True
    return packet


def tcp_session(sport, dport, request, answer, end="fin", a=A, b=B, ip=IP, syn=True):
    """A whole conversation as frames; end: fin, rst, none."""
    def to(flags, seq, ack, data=b""):
        return there(ip(src=a, dst=b) / TCP(sport=sport, dport=dport, flags=flags, seq=seq,
                                            ack=ack) / data)

    def fro(flags, seq, ack, data=b""):
        return back(ip(src=b, dst=a) / TCP(sport=dport, dport=sport, flags=flags, seq=seq,
                                           ack=ack) / data)
    x, y = 1000, 5000
    out = []
    if syn:
        out += [to("S", x, 0), fro("SA", y, x + 1), to("A", x + 1, y + 1)]
    x, y = x + 1, y + 1
    out += [to("PA", x, y, request), fro("A", y, x + len(request))]
    x += len(request)
    out += [fro("PA", y, x, answer), to("A", x, y + len(answer))]
    y += len(answer)
    if end == "fin":
        out += [to("FA", x, y), fro("FA", y, x + 1), to("A", x + 1, y + 1)]
    if end == "rst":
        out += [to("RA", x, y)]
    return out


def client_hello(name):
    """A TLS 1.2 ClientHello with a server name, RFC 5246 and RFC 6066."""
    host = name.encode()
    sni = struct.pack("!HBH", len(host) + 3, 0, len(host)) + host
    extensions = struct.pack("!HH", 0, len(sni)) + sni
    extensions += struct.pack("!HHH", 10, 4, 2) + b"\x00\x1d"
    extensions += struct.pack("!HHB", 11, 2, 1) + b"\x00"
    extensions += struct.pack("!HHH", 13, 4, 2) + b"\x04\x03"
    ciphers = b"\xc0\x2f\xc0\x30\x00\x9c"
    body = (b"\x03\x03" + bytes(range(32)) + b"\x00" + struct.pack("!H", len(ciphers)) + ciphers +
            b"\x01\x00" + struct.pack("!H", len(extensions)) + extensions)
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def make_tcp():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"
    packets = tcp_session(40001, 80, HTTP, answer)
    # a retransmitted FIN's ACK after the end stays in the flow; then the same ports again
    packets += [there(IP(src=A, dst=B) / TCP(sport=40001, dport=80, flags="A", seq=1100, ack=5100))]
    packets += tcp_session(40001, 80, HTTP, answer, end="rst")
    packets += tcp_session(40002, 8080, b"x" * 100, b"y" * 900, end="none", syn=False)
    packets += tcp_session(40003, 443, client_hello("golden.example.net"),
                           b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", end="fin", a=A6, b=B6, ip=IPv6)
    # met in its middle, the server speaks first: the ports tell
    packets += [back(IP(src=B, dst=A) / TCP(sport=443, dport=40004, flags="PA", seq=7) / b"late"),
                there(IP(src=A, dst=B) / TCP(sport=40004, dport=443, flags="A", ack=11))]
    # SYN scan: refused, unanswered
    packets += [there(IP(src=A, dst=B) / TCP(sport=40005, dport=22, flags="S")),
                back(IP(src=B, dst=A) / TCP(sport=22, dport=40005, flags="RA")),
                there(IP(src=A, dst=B) / TCP(sport=40006, dport=23, flags="S"))]
    write("tcp.pcap", packets)


def make_udp():
    def dns(sport, name, address, a=A, b=B, ip=IP):
        return [there(ip(src=a, dst=b) / UDP(sport=sport, dport=53) /
                      DNS(id=sport, rd=1, qd=DNSQR(qname=name))),
                back(ip(src=b, dst=a) / UDP(sport=53, dport=sport) /
                     DNS(id=sport, qr=1, qd=DNSQR(qname=name),
                         an=DNSRR(rrname=name, rdata=address, ttl=60)))]
    packets = dns(50001, "www.example.org", "203.0.113.5")
    packets += dns(50002, "mail.example.org", "203.0.113.6", A6, B6, IPv6)
    packets += [back(IP(src=B, dst=A) / UDP(sport=53, dport=50003) / b"an answer without question")]
    packets += [there(IP(src=A, dst=B, tos=0xb8) / UDP(sport=16384, dport=16386) / (b"v" * 160)),
                back(IP(src=B, dst=A, tos=0x28) / UDP(sport=16386, dport=16384) / (b"v" * 160))] * 3
    packets += [there(IP(src=A, dst=B) / UDP(sport=50005, dport=9) / b"")]
    packets += [there(IP(src=A, dst=B, options=[IPOption_Router_Alert(), IPOption_NOP()]) /
                      UDP(sport=50006, dport=50006) / b"options")]
    packets += [there(IP(src=A, dst="255.255.255.255") / UDP(sport=68, dport=67) / (b"d" * 240))]
    write("udp.pcap", packets)


def make_vlan():
    def tagged(*tags):
        link = Ether(src=MAC_A, dst=MAC_B)
        for tag in tags:
            link = link / tag
        return link
    p = IP(src=A, dst=B) / UDP(sport=1000, dport=2000) / b"tagged"
    q = IP(src=B, dst=A) / UDP(sport=2000, dport=1000) / b"and back"
    packets = [there(p), there(p, tagged(Dot1Q(vlan=10))), back(q, tagged(Dot1Q(vlan=10))),
               there(p, tagged(Dot1Q(vlan=20, prio=5))),
               there(p, tagged(Dot1AD(vlan=300), Dot1Q(vlan=10))),
               there(p, tagged(Dot1Q(vlan=400, type=0x8100), Dot1Q(vlan=10))),
               there(p, tagged(Dot1Q(vlan=0, prio=7))),
               there(IPv6(src=A6, dst=B6) / UDP(sport=1, dport=2) / b"six",
                     tagged(Dot1Q(vlan=10)))]
    write("vlan.pcap", packets)


def make_icmp():
    packets = [there(IP(src=A, dst=B) / ICMP(id=7, seq=i) / b"ping") for i in range(3)]
    packets += [back(IP(src=B, dst=A) / ICMP(type=0, id=7, seq=i) / b"ping") for i in range(3)]
    packets += [back(IP(src="203.0.113.1", dst=A) / ICMP(type=0, id=9) / b"only the reply")]
    packets += [back(IP(src="203.0.113.2", dst=A) / ICMP(type=3, code=3) /
                     IP(src=A, dst="203.0.113.2") / UDP(sport=5, dport=6))]
    packets += [there(IPv6(src=A6, dst=B6) / ICMPv6EchoRequest(id=1) / b"ping six"),
                back(IPv6(src=B6, dst=A6) / ICMPv6EchoReply(id=1) / b"ping six")]
    packets += [there(IP(src=A, dst="224.0.0.5", proto=89) / (b"\x02\x01\x00\x2c" + b"\0" * 40))]
    packets += [there(IP(src=A, dst=B, proto=50) /
                      (b"\x00\x00\x00\x01\x00\x00\x00\x01" + b"e" * 64))]
    write("icmp.pcap", packets)


def make_sctp():
    def to(chunk):
        return there(IP(src=A, dst=B) / SCTP(sport=2905, dport=2904, tag=1) / chunk)

    def fro(chunk):
        return back(IP(src=B, dst=A) / SCTP(sport=2904, dport=2905, tag=2) / chunk)
    write("sctp.pcap", [to(SCTPChunkInit()), fro(SCTPChunkInitAck()),
                        to(SCTPChunkCookieEcho(cookie=b"c" * 8)),
                        to(SCTPChunkData(data=b"hello")), fro(SCTPChunkData(data=b"world!!!"))])


def make_ipv6():
    def chain(*headers):
        out = IPv6(src=A6, dst=B6)
        for header in headers:
            out = out / header
        return there(out)
    udp = UDP(sport=3000, dport=3001) / b"behind headers"
    packets = [chain(IPv6ExtHdrHopByHop(), udp), chain(IPv6ExtHdrDestOpt(), udp),
               chain(IPv6ExtHdrRouting(addresses=["2001:db8::99"]), udp),
               chain(IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(), udp),
               chain(AH(nh=17, payloadlen=4, icv=b"\0" * 12), udp),
               chain(IPv6ExtHdrHopByHop(), ICMPv6EchoRequest()),
               chain(IPv6ExtHdrFragment(nh=17, m=0, offset=0, id=1), udp),  # an atomic fragment
               chain(IPv6ExtHdrDestOpt(nh=59))]
    write("ipv6.pcap", packets)


def make_fragments():
    def v4(n, sport, ident, order=1):
        parts = fragment(IP(src=A, dst=B, id=ident) / UDP(sport=sport, dport=4000) / (b"f" * n),
                         fragsize=800)
        return [there(IP(bytes(p))) for p in parts[::order]]

    def v6(ident, order=1):
        payload = bytes(UDP(sport=4100, dport=4001, len=1008, chksum=1)) + b"g" * 1000
        parts = [there(IPv6(src=A6, dst=B6) /
                       IPv6ExtHdrFragment(nh=17, id=ident, offset=at // 8, m=at + 504 < 1008) /
                       payload[at:at + 504]) for at in (0, 504)]
        return parts[::order]
    packets = v4(2000, 4000, 1) + v4(2500, 4000, 2) + v6(7)
    # last fragment first: those before the first one wait for it
    packets += v4(1500, 4002, 3, order=-1)
    # two datagrams with the same id but other protocols
    packets += v4(900, 4003, 4) + [there(IP(src=A, dst=B, id=4, flags="MF", proto=1) / (b"\x08\0" * 40))]
    write("fragments.pcap", packets)


def make_tunnels():
    """Each tunnel both ways, then what is none inside, and fragments of tunnels."""
    def inner(way, sport=9000, ip=IP, data=b"inside"):
        ends = {"src": A, "dst": B} if ip is IP else {"src": A6, "dst": B6}
        ports = {"sport": sport, "dport": 9001}
        if way:
            ends = {"src": ends["dst"], "dst": ends["src"]}
            ports = {"sport": 9001, "dport": sport}
        return ip(**ends) / UDP(**ports) / data

    def frame(way, *args, tags=()):
        link = Ether(src=MAC_B if way else MAC_A, dst=MAC_A if way else MAC_B)
        for tag in tags:
            link = link / Dot1Q(vlan=tag)
        return link / inner(way, *args)

    def outer(way, proto, body, ip=IP, **more):
        ends = ("203.0.113.1", "203.0.113.2") if ip is IP else ("2001:db8::1", "2001:db8::2")
        ends = ends[::-1] if way else ends
        proto = {"proto": proto} if ip is IP else {"nh": proto}
        return (back if way else there)(ip(src=ends[0], dst=ends[1], **proto, **more) /
                                        Raw(bytes(body)))

    def udp(way, sport, dport, body, **more):
        return outer(way, 17, bytes(UDP(sport=sport, dport=dport, len=8 + len(bytes(body)),
                                        chksum=0)) + bytes(body), **more)

    def gre(kind, *fields, flags=0):
        return struct.pack("!HH", flags, kind) + b"".join(struct.pack("!I", f) for f in fields)

    def vni(number, first):
        return struct.pack("!II", first, number << 8)
    packets = []
    wires = []
    for way in (0, 1):
        p, p6, f = bytes(inner(way)), bytes(inner(way, ip=IPv6)), bytes(frame(way))
        packets += [outer(way, 47, gre(0x0800) + p), outer(way, 47, gre(0x86dd) + p6),
                    outer(way, 47, gre(0x6558, 0x177207, flags=0x2000) + bytes(frame(way, 9010))),
                    outer(way, 47, gre(0x88be, 1, flags=0x1000) + struct.pack("!HHI", 0x1000, 4 + way, 0) +
                          bytes(frame(way, 9020))),
                    outer(way, 47, gre(0x880b, 0x00260000 + 7 + way, 1, flags=0x3001) +
                          b"\xff\x03\x00\x21" + bytes(inner(way, 9030))),
                    outer(way, 4, bytes(inner(way, 9040))),
                    outer(way, 41, bytes(inner(way, 9050, IPv6))),
                    outer(way, 4, bytes(inner(way, 9060)), ip=IPv6),
                    outer(way, 41, bytes(inner(way, 9070, IPv6)), ip=IPv6),
                    udp(way, 50000, 4789, vni(42, 0x08000000) + bytes(frame(way, 9080, tags=(5, 6)))),
                    udp(way, 50000, 8472, vni(43, 0x08000000) + bytes(frame(way, 9090)), ip=IPv6),
                    udp(way, 50000, 6081, vni(44, 0x02406558) + b"\1\2\3\0\0\0\0\0" +
                        bytes(frame(way, 9100))),
                    udp(way, 2152, 2152, struct.pack("!BBHI", 0x34, 255, 8 + len(inner(way, 9110)),
                                                     0x100 + way) + b"\0\0\0\x85\1\0\x09\0" +
                        bytes(inner(way, 9110))),
                    udp(way, 1701, 1701, struct.pack("!HHH", 2, 1 + way, 3) + b"\xff\x03\x00\x21" +
                        bytes(inner(way, 9120))),
                    udp(way, 3544 if way else 50001, 50001 if way else 3544,
                        bytes(inner(way, 9130, IPv6)))]
        link = (back if way else there)
        packets += [link(Raw(struct.pack("!HHHH", 0x1100, 9, 2 + len(inner(way, 9140)), 0x21) +
                             bytes(inner(way, 9140))), Ether(src=MAC_A, dst=MAC_B, type=0x8864)),
                    link(Raw(b"\0\6\x40\x40\0\x0c\x81\x40" + bytes(inner(way, 9150))),
                         Ether(src=MAC_A, dst=MAC_B, type=0x8847))]
        # frames behind labels, with a control word and without, in a capture of their own: that
        # there is one can only be guessed
        wires += [link(Raw(b"\0\6\x41\x40" + word + bytes(frame(way, 9160, tags=(8,)))),
                       Ether(src=MAC_A, dst=MAC_B, type=0x8847)) for word in (b"", b"\0\0\0\0")]
        nested = gre(0x0800) + bytes(udp(way, 2152, 2152, struct.pack(
            "!BBHI", 0x30, 255, len(inner(way, 9170)), 0x200) + bytes(inner(way, 9170))))[14:]
        packets += [outer(way, 47, nested)]
    # no packet inside: the flow is the tunnel's
    packets += [udp(0, 2152, 2152, b"\x32\x01\0\4\0\0\0\0\0\1\0\0"),
                udp(0, 50000, 4789, vni(42, 0x08000000) + bytes(Ether(src=MAC_A, dst=MAC_B) /
                                                              ARP(psrc=A, pdst=B))),
                outer(0, 47, gre(0)), outer(0, 4, b"\x44" + p[1:]), outer(0, 4, p[:12])]
    # a tunnel's packet in two parts, in order and the other way round; a datagram in parts inside
    for ident, order in ((70, 1), (71, -1)):
        whole = gre(0x0800) + bytes(inner(0, 9200 + ident, data=b"i" * 900))
        parts = [outer(0, 47, whole[:480], id=ident, flags="MF"),
                 outer(0, 47, whole[480:], id=ident, frag=60)][::order]
        packets += parts
        inside = fragment(IP(src=A, dst=B, id=ident) / UDP(sport=9300 + ident, dport=9001) /
                          (b"j" * 900), fragsize=480)
        packets += [udp(0, 50000, 4789, vni(42, 0x08000000) + bytes(there(IP(bytes(i)))))
                    for i in inside[::order]]
    write("tunnels.pcap", packets)
    write("pseudowires.pcap", wires)


def make_links():
    """One capture a link type."""
    ip = IP(src=A, dst=B) / UDP(sport=6000, dport=6001) / b"link"
    ip6 = IPv6(src=A6, dst=B6) / UDP(sport=6002, dport=6003) / b"link6"
    write("link-raw.pcap", [ip, ip6], linktype=101)
    write("link-cooked.pcap", [CookedLinux(proto=0x0800) / ip, CookedLinux(proto=0x86dd) / ip6,
                               CookedLinux(proto=0x0806) / bytes(ARP())], linktype=113)
    def cooked2(kind, packet):
        return Raw(struct.pack("!HHIHBB", kind, 0, 2, 1, 0, 6) + b"\2\0\0\0\0\x0a\0\0" +
                   bytes(packet))
    write("link-cooked2.pcap", [cooked2(0x0800, ip), cooked2(0x86dd, ip6)], linktype=276)
    write("link-null.pcap", [Raw(struct.pack("<I", 2) + bytes(ip)),
                             Raw(struct.pack("<I", 30) + bytes(ip6))], linktype=0)
    write("link-ppp.pcap", [Raw(b"\xff\x03\x00\x21" + bytes(ip)),
                            Raw(b"\xff\x03\x00\x57" + bytes(ip6)),
                            Raw(b"\xff\x03\xc0\x21\x01\x01\x00\x04")], linktype=9)
    write("link-loop.pcap", [Raw(struct.pack("!I", 2) + bytes(ip)),
                             Raw(struct.pack("!I", 24) + bytes(ip6))], linktype=108)
    write("link-hdlc.pcap", [Raw(b"\xff\x03\x00\x21" + bytes(ip)), Raw(b"\xff\x03\x00\x57" + bytes(ip6))],
          linktype=50)
    def session(kind, packet):
        return Raw(struct.pack("!BBHHH", 0x11, 0, 9, 2 + len(packet), kind) + bytes(packet))
    write("link-pppoe.pcap", [session(0x21, ip), session(0x57, ip6)], linktype=51)
    write("link-ipv4.pcap", [ip], linktype=228)
    write("link-ipv6.pcap", [ip6], linktype=229)
    snap = Dot3(src=MAC_A, dst=MAC_B) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=0, code=0x800)
    write("link-802.3.pcap", [snap / ip, Dot3(dst="01:80:c2:00:00:00", src=MAC_A) /
                              LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP()])


def make_malformed():
    udp = bytes(there(IP(src=A, dst=B) / UDP(sport=7000, dport=7001) / b"good"))
    tcp = bytes(there(IP(src=A, dst=B) / TCP(sport=7002, dport=7003, flags="A") / b"good"))

    def changed(frame, at, *values):
        return Raw(frame[:at] + bytes(values) + frame[at + len(values):])
    packets = [Raw(udp),
               Raw(udp[:10]), Raw(udp[:14]), Raw(udp[:30]),  # cut in Ethernet, before and in IP
               Raw(udp[:36]), Raw(tcp[:40]),                 # in the ports, in the TCP header
               changed(udp, 14, 0x55), changed(udp, 14, 0x44),  # version 5, header length 4
               changed(udp, 16, 0, 19),                      # total length below the header
               changed(udp, 16, 0x40, 0),                    # far beyond the frame
               changed(udp, 16, 0, 0),                       # 0, as segmentation offload leaves it
               changed(udp, 38, 0, 3),                       # UDP length 3
               changed(tcp, 46, 0x10, 0x10),                 # TCP offset 1
               changed(tcp, 46, 0xf0, 0x10),                 # TCP offset beyond the packet
               Raw(bytes(there(IPv6(src=A6, dst=B6, nh=0) / (b"\0\0\1\4\0\0\0\0" * 40)))),
               Raw(bytes(there(IPv6(src=A6, dst=B6, nh=43) / b"\x11\xff"))),
               there(ARP(psrc=A, pdst=B)), Raw(udp[:12] + b"\x88\xcc\x02\x07\x04" + b"\0" * 20),
               Raw(udp[:12] + b"\x88\x47\x00\x06\x41\x40" + udp[14:]),
               Raw(udp[:12] + b"\x88\x64\x11\x00\x00\x01\x00\x22\x00\x21" + udp[14:]),
               Raw(udp)]
    write("malformed.pcap", packets, linktype=1)


def make_times():
    """Idle and active timeouts: one flow for 150 s, one with a pause of 40 s."""
    p = IP(src=A, dst=B) / UDP(sport=8000, dport=8001) / b"steady"
    q = IP(src=A, dst=B) / UDP(sport=8002, dport=8003) / b"paused"
    packets = [timed(there(p), s) for s in range(0, 150, 5)]
    packets += [timed(there(q), s) for s in (1, 2, 42, 43)]
    packets.sort(key=lambda x: x.time)
    write("times.pcap", packets)


def make_pcapng():
    """pcapng in nanoseconds, by hand: section, interface (tsresol 9), enhanced packets."""
    def block(kind, body):
        body += b"\0" * (-len(body) % 4)
        size = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + size + body + size
    frames = tcp_session(41000, 443, client_hello("ng.example.net"), b"\x15\x03\x03\x00\x02\x02\x28")
    out = block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1))
    out += block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0))
    for i, frame in enumerate(frames):
        data = bytes(frame)
        at = 1700000000 * 10**9 + i * 1234567
        out += block(6, struct.pack("<IIIII", 0, at >> 32, at & 0xffffffff, len(data), len(data)) +
                     data + b"\0" * (-len(data) % 4))
    with open(os.path.join(HERE, "tls.pcapng"), "wb") as file:
        file.write(out)


def make_snaplen():
    """Captured with a snaplen of 60: lengths are those on the wire."""
    frames = tcp_session(42000, 80, HTTP * 5, b"z" * 1200)
    for frame in frames:
        frame.wirelen = len(bytes(frame))
    cut = []
    for frame in frames:
        short = Raw(bytes(frame)[:60])
        short.wirelen = frame.wirelen
        cut.append(short)
    write("snaplen.pcap", cut, linktype=1)


if __name__ == "__main__":
    for name, make in sorted(globals().items()):
        if name.startswith("make_"):
            make()
