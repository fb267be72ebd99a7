#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 420 s
"""Each cause of "no data" is shown where docs/reference/causes.md says, within 10 s, in the words of
the program's own rows; and what was waited for too long: a web port, DNS, a hub that returns."""
import os
import re
import socket
import subprocess
import threading
import time

from _causes import GREETING, cause_line, cause_text, plain_peer, shim
from _e2e import HUB, PROBE, SLOW, SOURCE, captures, check, free_ports, in_namespace, main, same, wait_for

CAPTURE = [c for c in captures() if c.endswith("/tcp.pcap")][0]
KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
SHOWN_S = 10


def to(at, key=KEY, *more):
    return ["-i", "lo", "--ntopng", at, "--zmq-encryption-key", key, *more]


def connecting(at, key=KEY, *more):
    return to(at, key, "--zmq-probe-mode", *more)


def lines(program):
    return [line.split(" warning: ", 1)[-1].split(" error: ", 1)[-1]
            for line in program.log().splitlines()]


def says(program, line, times=1):
    """The line is in its log within 10 s, and as often as it should be."""
    wait_for(f"{program.name} says: {line}", lambda: line in lines(program), SHOWN_S)
    same(lines(program).count(line), times, f"times that {program.name} says \"{line}\"")


def shows_peer(hub, kind, cause):
    """The interface names address and cause."""
    def find():
        return [p for p in hub.get("/interfaces/1")["problems"]
                if p["kind"] == kind and p["address"] == "127.0.0.1"]
    entry = wait_for(f"the hub shows {kind}", find, SHOWN_S)[0]
    same(entry["text"], cause_line(cause), "the text")
    wait_for("it is in the hub's log", lambda: f"peer at 127.0.0.1: {cause_line(cause)}"
             in hub.log(), SHOWN_S)
    state = hub.get("/interfaces/1")
    same(state["state"], "problem", "state of the interface")
    check(cause_line(cause) in state["state_text"], state["state_text"])


def shows_state(hub, pattern, limit_s=SHOWN_S):
    def find():
        texts = [p["state_text"] for p in hub.get("/probes")]
        check([t for t in texts if re.fullmatch(pattern, t)], f"states are {texts}")
        return True
    wait_for(f"the hub shows \"{pattern}\"", find, limit_s)


def test_wrong_key(lab):
    hub, other = lab.hub(), lab.hub()
    at = f"tcp://127.0.0.1:{hub.port}"
    probe = lab.probe(*connecting(at, other.key()))
    says(probe, cause_line("WRONG_KEY", at))
    shows_peer(hub, "wrong_key", "PEER_WRONG_KEY")


def plain_server():
    """A ZeroMQ peer that does not encrypt, as an old ntopng: answers each greeting with its own."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer, _ = server.accept()
                peer.sendall(GREETING)
                peer.recv(4096)
            except OSError:
                return
    threading.Thread(target=serve, daemon=True).start()
    return server


def test_not_encrypted(lab):
    hub = lab.hub()
    with plain_peer(hub.port):
        shows_peer(hub, "plain", "PEER_PLAIN")
    with plain_server() as server:
        at = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        says(lab.probe(*connecting(at)), cause_line("PLAIN", at))


def test_no_hub_there(lab):
    """A web port and a listener that is mute: said before the handshake times out after 15 s."""
    hub = lab.hub()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        probes = [(lab.probe(*connecting(at, hub.key())), at) for at in (
            f"tcp://127.0.0.1:{hub.web_port}", f"tcp://127.0.0.1:{mute.getsockname()[1]}")]
        for probe, at in probes:
            says(probe, cause_line("NO_HANDSHAKE", at))
    with socket.create_connection(("127.0.0.1", hub.port), 5):
        time.sleep(0.5)  # whoever looks whether the port is open, as a probe does, is not blamed
    time.sleep(1)
    same(hub.get("/interfaces/1")["problems"], [], "problems after a look at the port")
    with socket.create_connection(("127.0.0.1", hub.port), 5) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        shows_peer(hub, "malformed", "PEER_NOT_SPOKEN")


def test_network(lab):
    """Refused, no route, filtered, no such name: by port."""
    here, there = lab.namespace(), lab.namespace()
    lab.cable((here, "up0", "10.9.0.1/24"), (there, "up0", "10.9.0.2/24"))
    subprocess.run(["ip", "-n", here, "route", "add", "unreachable", "10.9.1.0/24"], check=True)
    # packets to a neighbour that nobody is: sent and never answered, as by a firewall that drops
    subprocess.run(["ip", "-n", here, "neigh", "add", "10.9.0.3", "lladdr", "02:00:00:00:00:03",
                    "dev", "up0"], check=True)
    cases = (("REFUSED", "10.9.0.2", "Connection refused"),
             ("NO_ROUTE", "10.9.1.1", "No route to host"),
             ("NO_ROUTE", "10.8.0.1", "Network is unreachable"),
             ("NO_ANSWER", "10.9.0.3", "Connection timed out"))
    started = [(lab.probe(*connecting(f"tcp://{host}:5556"), namespace=here),
                cause_line(cause, f"tcp://{host}:5556", detail)) for cause, host, detail in cases]
    named = lab.probe(*connecting("tcp://hub.invalid:5556"))
    for probe, line in started:
        says(probe, line)
    begin, end = cause_line("NAME_UNKNOWN", "tcp://hub.invalid:5556", "@").split("@")
    wait_for("the name is said to be unknown", lambda: [
        1 for line in lines(named) if line.startswith(begin) and line.endswith(end)], SHOWN_S)


def test_events_port(lab):
    """Closed, filtered, and not given where it should have been."""
    hub_ns, site = lab.namespace(), lab.namespace()
    lab.cable((hub_ns, "up0", "10.9.0.2/24"), (site, "up0", "10.9.0.1/24"))
    subprocess.run(["ip", "-n", site, "neigh", "add", "10.9.0.3", "lladdr", "02:00:00:00:00:03",
                    "dev", "up0"], check=True)
    hub = lab.hub(namespace=hub_ns, interfaces=[
        "-i", "tcp://10.9.0.2:5556c", "--zmq-publish-events", "tcp://10.9.0.2:6000"])
    at, key = "tcp://10.9.0.2:5556", hub.key()
    refused = "Connection refused"
    for events, line in (
            (["--zmq-publish-events", "tcp://10.9.0.2:7000"],
             cause_line("EVENTS_CLOSED", "tcp://10.9.0.2:7000", refused)),
            (["--zmq-publish-events", "tcp://10.9.0.3:6000"],
             cause_line("EVENTS_NO_ANSWER", "tcp://10.9.0.3:6000", "Connection timed out")),
            ([], cause_line("EVENTS_ASSUMED", "tcp://10.9.0.2:5557", refused))):
        says(lab.probe(*connecting(at, key, *events), namespace=site), line)


def test_both_bind(lab):
    """Without --zmq-probe-mode beside a hub whose -i ends in c."""
    hub = lab.hub()
    mend = cause_line("CANNOT_LISTEN").split("; ", 1)[1]
    for at in (f"tcp://127.0.0.1:{hub.port}", "tcp://192.0.2.1:5556"):
        probe = lab.probe(*to(at, hub.key()))
        same(probe.wait(SHOWN_S), 1, "the probe ends with")
        found = [line for line in lines(probe) if line.startswith(f"cannot listen on {at}: ")]
        same(len(found), 1, "times that it says so")
        check(found[0].endswith("; " + mend), found[0])
    at = f"tcp://127.0.0.1:{free_ports(2)}"
    says(lab.probe(*to(at, hub.key())), cause_line("NO_HUB", at))


def test_both_connect(lab):
    """A hub without c, whose events port is open, and a probe with --zmq-probe-mode."""
    port = free_ports(3)
    hub = lab.hub(interfaces=["-i", f"tcp://127.0.0.1:{port}", "--zmq-publish-events",
                              f"tcp://127.0.0.1:{port + 2}"])
    at = f"tcp://127.0.0.1:{port}"
    probe = lab.probe(*connecting(at, hub.key(), "--zmq-publish-events",
                                  f"tcp://127.0.0.1:{port + 2}"))
    says(probe, cause_line("BOTH_CONNECT", at, "Connection refused"))


def test_clock(lab):
    hub = lab.hub()
    at = f"tcp://127.0.0.1:{hub.port}"
    for name, seconds, hub_says, probe_says in (
            ("fast", 45, "4[456] s ahead", r"4[456] s ahead of"),
            ("slow", -45, "4[456] s behind", r"4[456] s behind")):
        env = [f"{k}={v}" for k, v in shim(lab, WEIR_SHIM_CLOCK_S=seconds).items()]
        probe = lab.start(name, "env", *env, PROBE, *connecting(at, hub.key()), "--probe-name",
                          name, "--data-dir", lab.path(name))
        pattern = re.escape(cause_line("CLOCK", at, "@")).replace("@", probe_says)
        wait_for("the probe says so", lambda: [
            1 for line in lines(probe) if re.fullmatch(pattern, line)], SHOWN_S)
        shows_state(hub, re.escape(cause_text("PEER_CLOCK", "", "@")).replace("@", hub_says))
        wait_for("its clock within 50 ms", lambda: [1 for p in hub.get("/probes")
                 if p["name"] == name and abs(p["clock_offset_ms"] - seconds * 1000) <= 50
                 and 0 <= p["round_trip_ms"] <= 1000], SHOWN_S)
        wait_for("and in the metrics", lambda: re.search(
            r'weir_probe_clock_offset_milliseconds\{probe="%s",.*\} %s4[45]\d{3}\n' %
            (name, "-" if seconds < 0 else ""), hub.fetch("/metrics")[1].decode()), SHOWN_S)
        time.sleep(3)
        same(sum(bool(re.fullmatch(pattern, line)) for line in lines(probe)), 1, "times it says so")
        same(probe.stop(), 0, "the probe ends with")


def of_major(lab, program, digit):
    """The program as one of another major version: the same bytes but for a digit."""
    path = lab.path(os.path.basename(program) + digit)
    with open(os.path.join(SOURCE, "VERSION"), encoding="ascii") as file:
        version = file.read().strip()
    with open(program, "rb") as file:
        code = file.read()
    other = digit + version[1:]
    check(version.encode() + b"\0" in code, f"{program} does not name its version")
    with open(path, "wb") as file:
        file.write(code.replace(version.encode() + b"\0", other.encode() + b"\0"))
    os.chmod(path, 0o755)
    # which it would find beside the place that it was built in
    os.environ["LD_LIBRARY_PATH"] = os.path.join(SOURCE, "third_party/duckdb/fetched/lib")
    same(subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split()[1],
         other, "the version it says")
    return path, version, other


def test_version(lab):
    """A probe of a newer major version, and one at a hub that is newer: both sides say it, and the
    flows stay with the probe."""
    newer, version, other = of_major(lab, PROBE, "9")
    hub = lab.hub()
    at = f"tcp://127.0.0.1:{hub.port}"
    probe = lab.start("newer", newer, *connecting(at, hub.key()), "--data-dir", lab.path("newer"))
    says(probe, cause_line("PEER_VERSION_NEW", at, other))
    shows_state(hub, re.escape(cause_text("PEER_VERSION_NEW", "", other)))
    same(len(hub.flows()), 0, "flows stored")
    probe.kill()
    hub.kill()

    newer, _, _ = of_major(lab, HUB, "9")
    hub.command[0] = newer
    hub.again()
    probe = lab.probe("-i", CAPTURE, "--exit-timeout", "6", *connecting(at, hub.key())[2:],
                      name="older")
    says(probe, cause_line("PEER_VERSION_OLD", at, version))
    shows_state(hub, re.escape(cause_text("PEER_VERSION_OLD", "", version)))
    same(probe.wait(20), 3, "the probe ends with")
    same(len(hub.flows()), 0, "flows stored")
    options = connecting(at, hub.key())[2:]
    run = subprocess.run([PROBE, "--check", "-i", CAPTURE, *options, "--data-dir",
                          lab.path("older")], capture_output=True, text=True)
    line = "FAIL session " + cause_line("PEER_VERSION_OLD", at, version)
    check(line in run.stdout.splitlines(), f"no line \"{line}\" in {run.stdout}")


def site_of(lab):
    """A hub and a live probe on a0, whose other end is b0."""
    namespace = lab.namespace()
    lab.cable((namespace, "a0", None), (namespace, "b0", None))
    hub = lab.hub(namespace=namespace, interfaces=["-i", "tcp://127.0.0.1:5556c"])
    return namespace, hub, lambda *more: lab.probe(
        "-i", "a0", "--ntopng", "tcp://127.0.0.1:5556", "--zmq-probe-mode",
        "--zmq-encryption-key", hub.key(), *more, namespace=namespace)


def link(namespace, name, word):
    subprocess.run(["ip", "-n", namespace, "link", "set", name, word], check=True)


def test_interface(lab):
    """Down, up again, without carrier, silent."""
    namespace, hub, start = site_of(lab)
    probe = start()
    at = "-i a0"
    shows_state(hub, re.escape(cause_text("PEER_NO_PACKETS", "", "@")).replace("@", r"\d+ s"), 15)
    pattern = re.escape(cause_line("NO_PACKETS", at, "@")).replace("@", r"[89] s")
    wait_for("the probe says that none come", lambda: [
        1 for line in lines(probe) if re.fullmatch(pattern, line)], SHOWN_S)
    link(namespace, "b0", "down")
    says(probe, cause_line("NO_CARRIER", at))
    shows_state(hub, re.escape(cause_text("PEER_NO_CARRIER", "a0")))
    link(namespace, "a0", "down")
    says(probe, cause_line("LINK_DOWN", at))
    shows_state(hub, re.escape(cause_text("PEER_LINK_DOWN", "a0")))
    same(hub.get("/probes")[0]["state"], "attention", "state")
    link(namespace, "a0", "up")
    link(namespace, "b0", "up")
    wait_for("the probe says that it is up", lambda: "-i a0: the interface is up" in probe.log(),
             SHOWN_S)
    same(probe.stop(), 0, "the probe ends with")


def flood(namespace, seconds):
    """Flows of random addresses on b0: more than the smallest spool holds."""
    code = ("import os, random, socket, struct, sys, time\n"
            "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('b0', 0x800))\n"
            "end = time.time() + float(sys.argv[1])\n"
            "while time.time() < end:\n"
            "    for _ in range(500):\n"
            "        udp = struct.pack('>HHHH', random.randrange(1024, 65536), 9, 8, 0)\n"
            "        ip = struct.pack('>BBHHHBBH', 0x45, 0, 28, 0, 0, 64, 17, 0) + os.urandom(8)\n"
            "        s.send(bytes(12) + b'\\x08\\0' + ip + udp)\n"
            "    time.sleep(0.02)\n")
    return subprocess.Popen(in_namespace(namespace, ["/usr/bin/python3", "-c", code, str(seconds)]))


def test_spool_full(lab):
    """A hub that stands still for a while: the probe says so, and the hub once it goes on."""
    namespace, hub, start = site_of(lab)
    probe = start("--spool-size", "1M", "--no-dpi", "-d", "1", "-t", "1")
    wait_for("the probe is there", lambda: hub.get("/probes") and hub.get("/probes")[0]["connected"])
    subprocess.run(["kill", "-STOP", str(hub.process.pid)], check=True)
    sender = flood(namespace, 20)
    try:
        wait_for("the spool is full", lambda: cause_line("SPOOL_FULL") in lines(probe), 25)
        time.sleep(1)
    finally:
        subprocess.run(["kill", "-CONT", str(hub.process.pid)], check=True)
    shows_state(hub, re.escape(cause_text("PEER_SPOOL_FULL")))
    sender.wait(30)


def small_disk(lab, name, mb):
    """A small file system, which who asks for it unmounts."""
    disk = lab.path(name)
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mb}M", "tmpfs", disk], check=True)
    return disk


def fill(disk):
    filler = os.path.join(disk, "filler")
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return filler


def test_spool_disk_full(lab):
    disk = small_disk(lab, "spool", 2)
    try:
        namespace, hub, start = site_of(lab)
        probe = start("--spool-dir", os.path.join(disk, "spool"), "--no-dpi", "-d", "1", "-t", "1")
        wait_for("the probe is there",
                 lambda: hub.get("/probes") and hub.get("/probes")[0]["connected"])
        filler = fill(disk)
        flood(namespace, 4).wait(30)
        begin = cause_line("SPOOL_DISK", "", "@").split("@")[0]
        wait_for("the probe says so", lambda: [
            1 for line in lines(probe) if line.startswith(begin)], SHOWN_S)
        shows_state(hub, re.escape(cause_text("PEER_SPOOL_DISK")))
        os.remove(filler)
        flood(namespace, 12).wait(30)  # it is tried again when there is something to write
        wait_for("it is over", lambda: hub.get("/probes")[0]["state_text"]
                 != cause_text("PEER_SPOOL_DISK"), 20)
        probe.kill()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_hub_disk_full(lab):
    disk = small_disk(lab, "disk", 64)
    try:
        hub = lab.hub(data_dir=os.path.join(disk, "hub"))
        options = hub.options_for_probe()
        filler = fill(disk)
        probe = lab.probe("-i", CAPTURE, "--exit-timeout", "60", *options)
        wait_for("the hub shows it", lambda: hub.get("/interfaces/1")["state_text"]
                 == cause_text("HUB_DISK_FULL"), SHOWN_S + 5)  # it groups flows for 5 s first
        same(hub.get("/interfaces/1")["state"], "problem", "state")
        says(probe, cause_line("HUB_IS_FULL", f"tcp://127.0.0.1:{hub.port}"))
        os.remove(filler)
        same(probe.wait(30), 0, "with room again the probe ends with")
        hub.kill()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_slow_names(lab):
    """A probe whose hub's name does not resolve for long ends at once all the same."""
    env = [f"{k}={v}" for k, v in shim(lab, WEIR_SHIM_RESOLVE_S=40).items()]
    probe = lab.start("slow", "env", *env, PROBE, *connecting("tcp://hub.slow.invalid:5556"),
                      "--exit-timeout", "1", "--data-dir", lab.path("slow"))
    time.sleep(3)
    start = time.monotonic()
    check(probe.stop(10) in (0, 3), "exit code")
    took_s = time.monotonic() - start
    check(took_s < 5 * SLOW, f"it took {took_s:.1f} s to end")
    check("Sanitizer" not in probe.log(), probe.log())


def test_hub_returns(lab):
    """A probe is back within seconds, however long the hub was away."""
    hub = lab.hub()
    probe = lab.probe(*connecting(f"tcp://127.0.0.1:{hub.port}", hub.key()))
    wait_for("the probe is there", lambda: hub.get("/probes") and hub.get("/probes")[0]["connected"])
    same(hub.stop(), 0, "the hub ends with")
    time.sleep(25)
    hub.again()
    start = time.monotonic()
    wait_for("the probe is back", lambda: hub.get("/probes")[0]["connected"], 15)
    took_s = time.monotonic() - start
    print(f"      back after {took_s:.1f} s")
    check(took_s < 6 * SLOW, f"it took {took_s:.1f} s")
    same(probe.stop(), 0, "the probe ends with")


def test_line_returns(lab):
    """Between them nothing passes for a while: not so long that the connection is given up by
    ZeroMQ, but long enough for TCP to have become slow in trying again."""
    hub_ns, site, between = lab.namespace(), lab.namespace(), lab.namespace()
    lab.cable((hub_ns, "up0", "10.9.0.2/24"), (between, "m0", "10.9.0.254/24"))
    lab.cable((site, "up0", "10.9.1.1/24"), (between, "m1", "10.9.1.254/24"))
    for namespace, via in ((hub_ns, "10.9.0.254"), (site, "10.9.1.254")):
        subprocess.run(["ip", "-n", namespace, "route", "add", "default", "via", via], check=True)

    def forward(on):
        subprocess.run(in_namespace(between, ["sysctl", "-qw", f"net.ipv4.ip_forward={on}"]),
                       check=True)
    forward(1)
    hub = lab.hub(namespace=hub_ns, interfaces=["-i", "tcp://10.9.0.2:5556c"])
    lab.probe(*connecting("tcp://10.9.0.2:5556", hub.key()), namespace=site)

    def heard():
        probes = hub.get("/probes")
        return probes and probes[0]["connected"] and time.time() - probes[0]["last_seen_ms"] / 1000 < 2
    wait_for("the probe is there", heard)
    forward(0)
    time.sleep(20)
    forward(1)
    start = time.monotonic()
    wait_for("the probe is back", heard, 20)
    took_s = time.monotonic() - start
    print(f"      back after {took_s:.1f} s")
    check(took_s < 6 * SLOW, f"it took {took_s:.1f} s")


main([test_wrong_key, test_not_encrypted, test_no_hub_there, test_network, test_events_port,
      test_both_bind, test_both_connect, test_clock, test_version, test_interface, test_spool_full,
      test_spool_disk_full, test_hub_disk_full, test_slow_names, test_hub_returns,
      test_line_returns])
