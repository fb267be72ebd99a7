#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Bad input, row by row: the exit code, one clear line that names what is wrong, nothing left behind."""
import os
import re
import socket
import subprocess

from _e2e import HUB, PROBE, SLOW, captures, check, free_ports, main, same

CAPTURE = [c for c in captures() if c.endswith("/tcp.pcap")][0]
KEY = "4E4E6E4A6A764C663773745E6F31394F5E762F4637337153306A41613E742D5259213C4D3C355767"


def refused(command, code, *words, env=None, stdin=b""):
    """Exit code, exactly one line on standard error, with these words in it; that the hub runs in
    evaluation, it says at every start."""
    run = subprocess.run(command, input=stdin, capture_output=True, timeout=60 * SLOW, env=env)
    shown = " ".join(command[1:])
    lines = [line for line in run.stderr.decode().splitlines() if "no licence: evaluation" not in line]
    # a log line stands at its own; the refusal is the last
    same(run.returncode, code, f"{shown}\n  said {lines}; exit code")
    same(len(lines), 1, f"{shown}\n  lines in {lines}")
    for word in words:
        check(re.search(word, lines[0], re.I), f"{shown}\n  {word!r} is not in: {lines[0]}")
    check(len(lines[0]) < 700, f"{shown}: the line has {len(lines[0])} characters")
    check("\x00" not in lines[0] and "Traceback" not in lines[0], lines[0])


def empty(folder):
    return not os.path.exists(folder) or not os.listdir(folder)


def test_probe_usage(lab):
    state = lab.path("state")
    hub = ["--ntopng", "tcp://127.0.0.1:5556", "--zmq-probe-mode", "--zmq-encryption-key"]
    rows = [
        (["--nonsense"], "--nonsense"),
        (["-i", CAPTURE, "--idle-timeout", "soon"], "--idle-timeout|-d", "soon"),
        (["-i", CAPTURE, "--idle-timeout", "0"], "--idle-timeout|-d", "1"),
        ([], "-i"),
        (["-i", CAPTURE, *hub[:3]], "key"),
        (["-i", CAPTURE, *hub, KEY[:-1]], "key", "79|80"),
        (["-i", CAPTURE, *hub, KEY[:41]], "key"),
        (["-i", CAPTURE, *hub, "x"], "key"),
        (["-i", CAPTURE, *hub, "!" * 39], "key", "39|40"),
        (["-i", CAPTURE, *hub, "ZjA3NjFlMGY2ODhmNWRlYjllYmE0NzhiOGZjODA2NzJ7ImsiOiI0RTRFNkU0QTZBNzY"],
         "key"),
        (["-i", CAPTURE, *hub, KEY, "--zmq-encryption-key", KEY], "key", "2 times", "1 times"),
        (["-i", CAPTURE, *hub, KEY, "--zmq-publish-events", "zmq://127.0.0.1:5556"], "twice"),
        (["-i", CAPTURE, *hub, KEY, "--ntopng", "tcp://127.0.0.1:5557"], "5557 is given twice"),
        (["-i", CAPTURE, *hub, KEY, "--probe-id", "a", "--probe-id", "a"], "--probe-id", "once"),
        (["-i", CAPTURE, "--json", "-", "--no-dpi", "-O", "DNS"], "--no-dpi", "--ndpi-protocols"),
        (["-i", CAPTURE, "--json", "-", "--no-dpi", "--ndpi-custom-protos", CAPTURE], "--no-dpi", "--ndpi-custom-protos"),
        (["-i", f"lo,{CAPTURE}", "--json", "-"], re.escape(CAPTURE), "is no interface"),
        (["-i", "lo,lo", "--json", "-"], "lo", "give it once"),
    ]
    for endpoint in ("127.0.0.1", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp://127.0.0.1:70000",
                     "udp://127.0.0.1:1", "tcp://:5556", "tcp://[::1:5556"):
        rows.append((["-i", CAPTURE, "--ntopng", endpoint, "--zmq-probe-mode",
                      "--zmq-encryption-key", KEY], "ntopng|endpoint", re.escape(endpoint)))
    for options, *words in rows:
        refused([PROBE, "--data-dir", state, *options], 2, *words)
        check(empty(state), f"{options}: something was written: {os.path.exists(state)}")


def test_probe_files(lab):
    truncated = lab.path("truncated.pcap")
    whole = open(CAPTURE, "rb").read()
    with open(truncated, "wb") as file:
        file.write(whole[:len(whole) - 7])
    text = lab.path("text.pcap")
    with open(text, "w") as file:
        file.write("this is no capture\n" * 20)
    headless = lab.path("headless.pcap")
    with open(headless, "wb") as file:
        file.write(whole[:10])
    for path, *words in ((lab.path("missing.pcap"), "missing.pcap", "no such|not found|neither"),
                         (text, "text.pcap"), (headless, "headless.pcap"),
                         (truncated, "truncated.pcap", "trunc|cut|ends")):
        refused([PROBE, "-i", path, "--json", os.devnull, "--data-dir", lab.path("state")], 1,
                *words)


def test_probe_custom_protocols(lab):
    """The line of the file is named, and nothing of nDPI's own goes where flows would."""
    many = "".join(f"tcp:{20000 + i}@Mine{i}\n" for i in range(300)).encode()
    for i, (text, *words) in enumerate((
            (b"rubbish\n", "line 1: 'rubbish'", "@PROTOCOL"),
            (b"# ours\ntcp:80@Ours\nhost:@Ours\n", "line 3: 'host:'", "a name in quotes"),
            (b"ip:2001:db8::1@Six", "line 1: 'ip:2001:db8::1'", "no IPv6"),
            (os.urandom(3000).replace(b"#", b"\0"), r"line \d+: '", "is not right"),
            (b"\n" + many, r"line \d+: nDPI has room for \d+ protocols"))):
        path = lab.path(f"protos{i}")
        with open(path, "wb") as file:
            file.write(text)
        command = [PROBE, "-i", CAPTURE, "--json", "-", "--data-dir", lab.path("state"), "--ndpi-custom-protos", path]
        refused(command, 1, re.escape(path), *words)
        same(subprocess.run(command, capture_output=True).stdout, b"", "on standard output")
    refused([*command[:-1], lab.path("none")], 1, re.escape(lab.path("none")), "no such file")


def test_probe_interface(lab):
    for inputs in ("nosuch0", "lo,nosuch0"):
        refused([PROBE, "-i", inputs, "--json", os.devnull, "--data-dir", lab.path("state")], 1, "-i nosuch0: there is no such")
    refused([PROBE, "-i", CAPTURE, "--json", os.devnull, "--data-dir", lab.path("state"), "-O", "DNS,,TLS"], 1, "protocol ''")
    blocked = lab.path("file")
    with open(blocked, "w") as file:
        file.write("a file, not a folder")
    refused([PROBE, "-i", CAPTURE, "--ntopng", "tcp://127.0.0.1:1", "--zmq-probe-mode",
             "--zmq-encryption-key", KEY, "--data-dir", os.path.join(blocked, "state")], 1,
            re.escape(blocked))


def test_hub_usage(lab):
    state = lab.path("state")
    rows = [
        (["--nonsense"], "--nonsense"),
        ([], "-i"),
        (["-i", "eth0"], "does not capture", "weir-probe -i eth0"),
        (["-i", "x.pcap"], "does not capture"),
        (["-i", "tcp://*:5556c", "-w", "192.0.2.1:3000"], "-w", "loopback"),
        (["-i", "tcp://*:5556c", "-w", "0"], "-w"),
        (["-i", "tcp://*:5556c", "--disable-login", "-W", "3001"], "--disable-login: only"),
        (["-i", "tcp://*:5556c", "--store-memory", "1"], "--store-memory"),
        (["-i", "tcp://*:5556c", "--zmq-publish-events", "tcp://*"], "--zmq-publish-events"),
        (["-i", "tcp://*:5556c", "--zmq-publish-events", "tcp://*:1", "--zmq-publish-events",
          "tcp://*:2"], "--zmq-publish-events"),
        (["-i", "tcp://*:5556c", "--zmq-encryption-key-priv", "short"], "key-priv"),
        (["-i", "tcp://*:5556c", "-I", "tcp://x:1"], "--export-flows|-I", "--ntopng"),
        (["-i", "tcp://*:5556c", "--tls-cert", "/x.pem"], "--tls-key"),
        (["--print-sample-config"], "-i"),
    ]
    for endpoint in ("tcp://*", "tcp://*:x", "tcp://*:70000c", "udp://*:1c", "tcp://:5556c"):
        rows.append((["-i", endpoint], re.escape(endpoint)))
    for options, *words in rows:
        refused([HUB, "--data-dir", state, *options], 2, *words)
        check(empty(state), f"{options}: something was written")


def test_hub_data_dir(lab):
    hub = lab.hub()
    ports = free_ports(3)
    options = ["-i", f"tcp://127.0.0.1:{ports}c", "-w", str(ports + 2), "--disable-login"]
    refused([HUB, *options, "--data-dir", hub.data_dir], 1, re.escape(hub.data_dir), "in use")
    blocked = lab.path("file")
    with open(blocked, "w") as file:
        file.write("a file, not a folder")
    refused([HUB, *options, "--data-dir", os.path.join(blocked, "state")], 1, re.escape(blocked))
    with open(blocked) as file:
        same(file.read(), "a file, not a folder", "what was there")
    check(hub.get("/health")["ok"], "the first hub is unharmed")


def test_hub_read_only(lab):
    """As somebody who may not write there: root without root's way past permissions."""
    folder = lab.path("readonly")
    os.mkdir(folder, 0o755)
    os.chown(folder, 65534, 65534)
    ports = free_ports(3)
    refused(["setpriv", "--bounding-set=-dac_override,-dac_read_search", HUB, "-i",
             f"tcp://127.0.0.1:{ports}c", "-w", str(ports + 2), "--data-dir", folder], 1,
            re.escape(folder))
    check(empty(folder), "something was written")


def test_hub_ports(lab):
    """A port in use is named, be it for data, events or web; and no store is left half made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        free = free_ports(3)
        for name, data, events, web in (("data", busy, free, free + 1),
                                        ("events", free, busy, free + 1),
                                        ("web", free, free + 1, busy)):
            refused([HUB, "-i", f"tcp://127.0.0.1:{data}c", "--zmq-publish-events",
                     f"tcp://127.0.0.1:{events}", "-w", str(web), "--web-dir", web_dir(lab),
                     "--data-dir", lab.path(name)], 1, str(busy), "in use")
    hub = lab.hub(data_dir=lab.path("data"))
    same(hub.flows(), [], "flows")


def web_dir(lab):
    """A stand-in, so that a missing browser application is not noted as well."""
    folder = lab.path("web")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "index.html"), "w") as file:
        file.write("<!doctype html>\n")
    return folder


def test_hub_keys(lab):
    """A pair is kept, also from its private half; a foreign or damaged one is refused, and stays as it
    is."""
    hub = lab.hub()
    key = hub.key()
    hub.stop()
    show = [HUB, "--data-dir", hub.data_dir, "--print-public-key"]
    same(subprocess.run(show, capture_output=True, text=True).stdout, key + "\n", "public key")
    private = os.path.join(hub.data_dir, "zmq-key.priv")
    with open(private) as file:
        secret = file.read()
    same(len(secret), 40, "characters of the private key")
    same(os.stat(private).st_mode & 0o777, 0o600, "mode of the private key")
    moved = lab.path("moved")
    kept = subprocess.run([HUB, "--data-dir", moved, "--zmq-encryption-key-priv", secret,
                           "--print-public-key"], capture_output=True, text=True)
    same(kept.stdout, key + "\n", "the same pair from its private key")
    check(f"there was no key pair in {moved}" in kept.stderr, kept.stderr)
    for damage in (secret[:39], secret[:39] + "\u00ff", ""):
        with open(private, "w") as file:
            file.write(damage)
        refused(show, 1, "zmq-key")
        with open(private) as file:
            same(file.read(), damage, "the damaged key")
    with open(private, "w") as file:
        file.write(secret)
    os.unlink(os.path.join(hub.data_dir, "zmq-key.pub"))
    same(subprocess.run(show, capture_output=True, text=True).stdout, key + "\n", "made again")
    os.unlink(private)
    refused(show, 1, "zmq-key")


def test_hub_certificate(lab):
    """The line has the names of both files."""
    paths = [lab.path(name) for name in ("tls.crt", "tls.key")]
    for path in paths:
        with open(path, "w") as file:
            file.write("no certificate\n")
    ports = free_ports(3)
    refused([HUB, "-i", f"tcp://127.0.0.1:{ports}c", "-W", str(ports + 2), "--web-dir", web_dir(lab),
             "--tls-cert", paths[0], "--tls-key", paths[1], "--data-dir", lab.path("state")], 1,
            re.escape(paths[0]), re.escape(paths[1]))


def test_damaged_store(lab):
    hub = lab.hub()
    hub.stop()
    found = [os.path.join(folder, name) for folder, _, names in os.walk(
        os.path.join(hub.data_dir, "store")) for name in names if name.endswith((".duckdb", ".db"))]
    check(found, "there is a store file")
    with open(found[0], "r+b") as file:
        file.write(b"damaged!" * 4096)
    refused([*hub.command, "--web-dir", web_dir(lab)], 1, re.escape(os.path.basename(found[0])))


main([test_probe_usage, test_probe_files, test_probe_custom_protocols, test_probe_interface, test_hub_usage,
      test_hub_data_dir, test_hub_read_only, test_hub_ports, test_hub_keys, test_hub_certificate,
      test_damaged_store])
