#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""JA4 of weir-probe held against JA4 made here of what tshark reads out of the same hellos.

tshark puts TCP segments and QUIC's CRYPTO frames together and decrypts QUIC's Initial packets by
itself, so two implementations agree or do not. Compared is the first ClientHello of each flow of TLS
over TCP, QUIC and DTLS, in test/golden and, where it is there, the corpus.
"""
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")
VERSIONS = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10", 0x300: "s3", 2: "s2",
            0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3"}
PARTS = ["version", "ciphersuite", "extension.type", "sig_hash_alg", "extensions.supported_version",
         "extensions_alpn_str"]
ENDS = ["ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.srcport", "udp.srcport", "tcp.dstport",
        "udp.dstport", "quic.version", "frame.number"]

# Captures with hellos that have no JA4 here.
NONE = {
    "mercury/openvpn_tcp_multi.pcap": "TLS inside OpenVPN is not the flow's",
    "nDPI/dtls_old_version.pcapng": "DTLS of before there was a standard",
    "nDPI/haproxy.pcap": "the hello stands behind a proxy's line in the same segment",
    "nDPI/tls_cipher_lens.pcap": "the hello's lengths are wrong",
    "zeek/postgresql__psql-aws-ssl-require.pcap": "nDPI knows PostgreSQL before TLS begins",
}


def grease(value):
    return value & 0xf0f == 0xa0a and value >> 8 == value & 0xff


def numbers(text):
    return [v for v in (int(t, 0) for t in text.split(",") if t) if not grease(v)]


def listed(values):
    return ",".join(f"{v:04x}" for v in values)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def ja4(kind, v):
    ciphers, extensions = numbers(v["ciphersuite"]), numbers(v["extension.type"])
    version = numbers(v["version"])[0]
    offered = numbers(v["extensions.supported_version"])
    if offered:
        version = min(offered) if kind == "d" else max(offered)
    alpn = v["extensions_alpn_str"].split(",")[0]
    ends = alpn[0] + alpn[-1] if alpn else "00"
    kept = sorted(e for e in extensions if e not in (0, 16))
    more = numbers(v["sig_hash_alg"])
    return (f"{kind}{VERSIONS.get(version, '00')}{'d' if 0 in extensions else 'i'}"
            f"{min(99, len(ciphers)):02}{min(99, len(extensions)):02}{ends}_"
            f"{digest(listed(sorted(ciphers)))}_"
            f"{digest(listed(kept) + ('_' + listed(more) if more and kept else ''))}")


def by_tshark(path):
    found = {}
    for layer, kind in (("tls", None), ("dtls", "d")):
        fields = ENDS + [f"{layer}.handshake.{p}" for p in PARTS]
        run = subprocess.run(["tshark", "-n", "-r", path, "-Y", f"{layer}.handshake.type==1", "-T",
                              "fields", "-E", "separator=|", "-E", "occurrence=a"] +
                             [a for f in fields for a in ("-e", f)],
                             capture_output=True, text=True, errors="replace")
        for line in run.stdout.splitlines():
            v = dict(zip(ENDS + PARTS, line.split("|")))
            pick = lambda a, b: (v[a] or v[b]).split(",")[-1]
            ends = frozenset(((pick("ip.src", "ipv6.src"), pick("tcp.srcport", "udp.srcport")),
                              (pick("ip.dst", "ipv6.dst"), pick("tcp.dstport", "udp.dstport"))))
            if not v["ciphersuite"] or "," in v["version"]:
                continue  # several hellos in one frame
            found.setdefault(ends, ja4(kind or ("q" if v["quic.version"] else "t"), v))
    return found


def by_weir(path):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--json", "-", "-d",
                          "86400", "-t", "86400"], capture_output=True, text=True)
    found = collections.defaultdict(list)
    for line in run.stdout.splitlines():
        f = json.loads(line)
        found[frozenset(((f["src_ip"], str(f["src_port"])),
                         (f["dst_ip"], str(f["dst_port"]))))].append(f.get("ja4"))
    return found


def compare(path):
    theirs = by_tshark(path)
    if not theirs:
        return 0, [], []
    mine = by_weir(path)
    wrong, missing = [], []
    n = 0
    for ends, want in theirs.items():
        if ends not in mine:
            continue
        n += 1
        if want not in mine[ends]:
            line = f"{os.path.relpath(path, SOURCE)} {sorted(ends)}: weir {mine[ends]}, tshark {want}"
            known = os.path.relpath(path, CORPUS) in NONE and not any(mine[ends])
            (missing if known else wrong).append(line)
    return n, wrong, missing


def main():
    if not shutil.which("tshark"):
        print("no tshark: nothing to compare with")
        return 0
    paths = sorted(p for p in glob.glob(os.path.join(SOURCE, "test/golden/*.pcap*")) +
                   glob.glob(os.path.join(CORPUS, "**"), recursive=True)
                   if p.endswith((".pcap", ".pcapng", ".cap", ".trace")))
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    paths = [p for p in paths if not names or any(n in p for n in names)]
    total, wrong, missing = 0, [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, bad, none in pool.map(compare, paths):
            total += n
            wrong += bad
            missing += none
    for line in wrong:
        print(line)
    print(f"{len(paths)} captures, {total} flows with a hello, {total - len(wrong) - len(missing)} "
          f"the same JA4, {len(wrong)} another, {len(missing)} none for a reason")
    return 0 if total and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
