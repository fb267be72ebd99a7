#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""weir-probe --check: each check with a case that is well and one that is not; nothing is changed by
it, on this machine or at the hub; it takes 15 s at most."""
import os
import re
import socket
import subprocess
import time

from _causes import cause_line, shim
from _e2e import PROBE, SLOW, captures, check, free_ports, in_namespace, main, same, wait_for

CAPTURE = captures()[0]
LIMIT_S = 15


def run_check(lab, *options, code=0, data_dir=None, namespace=None, env=None):
    """Its lines as (word, text). The folder stays as it was."""
    data_dir = data_dir or lab.path("check")
    before = folder(data_dir)
    start = time.monotonic()
    run = subprocess.run(in_namespace(namespace, [PROBE, "--check", *options, "--data-dir",
                                                  data_dir]),
                         capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                         env={**os.environ, **(env or {})})
    took_s = time.monotonic() - start
    said = run.stdout + run.stderr
    same(run.returncode, code, f"the exit code, having said\n{said}\n ")
    check(took_s < LIMIT_S * SLOW, f"it took {took_s:.1f} s")
    same(folder(data_dir), before, "the folder")
    if code == 2:
        return said
    lines = run.stdout.splitlines()
    found = [re.fullmatch(r"(ok  |note|FAIL) (.+)", line) for line in lines[:-1]]
    check(all(found), f"not all are lines of a check:\n{said}")
    fails = sum(line[1] == "FAIL" for line in found)
    expected = (f"{fails} of {len(found)} checks failed" if fails else
                f"nothing failed: {sum(line[1] == 'ok  ' for line in found)} ok, "
                f"{sum(line[1] == 'note' for line in found)} notes")
    same(lines[-1], expected, "the last line")
    same(run.stderr, "", "standard error")
    return [(line[1].strip(), line[2]) for line in found]


def folder(path):
    if not os.path.isdir(path):
        return None
    with os.scandir(path) as entries:
        return {entry.name: open(entry.path, "rb").read() if entry.is_file() else None
                for entry in entries}


def has(lines, word, text):
    check((word, text) in lines, f"no line \"{word} {text}\" in:\n"
          + "\n".join(" ".join(line) for line in lines))


def starts(lines, word, text):
    found = [line[1] for line in lines if line[0] == word and line[1].startswith(text)]
    check(found, f"no line \"{word} {text}…\" in:\n" + "\n".join(" ".join(line) for line in lines))
    return found[0]


def to_hub(port, key, *more):
    return ["--ntopng", f"tcp://127.0.0.1:{port}", "--zmq-probe-mode", "--zmq-encryption-key", key,
            *more]


def test_all_is_well(lab):
    """A probe that has run and ended: everything is ok, and the hub sees nothing of the check."""
    hub = lab.hub()
    options = hub.options_for_probe()
    probe = lab.probe("-i", CAPTURE, *options, name="p")
    same(probe.wait(30), 0, "the probe ends with")
    wait_for("the probe is away", lambda: not hub.get("/probes")[0]["connected"])
    before = hub.get("/probes")[0]
    lines = run_check(lab, "-i", "lo", *options, data_dir=lab.path("p"))
    has(lines, "ok", "key string: whole")
    starts(lines, "ok", f"folder {lab.path('p')}: can be written, key pair ")
    has(lines, "ok", "input lo: up, and packets may be captured")
    has(lines, "ok", f"data port tcp://127.0.0.1:{hub.port}: answers, and has the key")
    has(lines, "ok", f"events port tcp://127.0.0.1:{hub.port + 1}: answers, and has the key")
    has(lines, "ok", f"session tcp://127.0.0.1:{hub.port}: the hub admits this probe")
    clock = starts(lines, "ok", f"clock tcp://127.0.0.1:{hub.port}: within ")
    check(int(re.search(r"within (\d+) ms", clock)[1]) <= 1000 * SLOW, clock)
    starts(lines, "ok", "spool")
    after = hub.get("/probes")
    same(len(after), 1, "probes of the hub")
    for name in ("connected", "first_seen_ms", "last_seen_ms", "session_ms"):
        if name in before:
            same(after[0][name], before[name], name)
    same(hub.get("/interfaces/1")["problems"], [], "problems")


def test_first_time(lab):
    """Before the first run: no folder, no keys. Nothing is made, and the hub knows of nobody."""
    hub = lab.hub()
    lines = run_check(lab, "-i", CAPTURE, *hub.options_for_probe())
    starts(lines, "note", f"folder {lab.path('check')}: not there yet")
    has(lines, "ok", f"input {CAPTURE}: can be read")
    has(lines, "ok", f"data port tcp://127.0.0.1:{hub.port}: answers, and has the key")
    starts(lines, "note", f"session tcp://127.0.0.1:{hub.port}: the hub is not asked")
    same(hub.get("/probes"), [], "probes of the hub")
    os.mkdir(lab.path("empty"))
    lines = run_check(lab, "-i", CAPTURE, *hub.options_for_probe(), data_dir=lab.path("empty"))
    starts(lines, "note", f"folder {lab.path('empty')}: no key pair in it yet")
    same(hub.get("/probes"), [], "probes of the hub")
    # a key pair that another hub knows
    other = lab.hub()
    same(lab.probe("-i", CAPTURE, *other.options_for_probe(), name="p").wait(30), 0, "it ends with")
    lines = run_check(lab, "-i", CAPTURE, *hub.options_for_probe(), data_dir=lab.path("p"))
    starts(lines, "note", f"session tcp://127.0.0.1:{hub.port}: the hub does not know this probe")
    same(hub.get("/probes"), [], "probes of the hub")


def test_running_probe(lab):
    """One that runs keeps its session, its folder and its ports."""
    hub = lab.hub()
    options = hub.options_for_probe()
    probe = lab.probe("-i", "lo", *options, name="p")
    session = wait_for("the probe is there",
                       lambda: [p for p in hub.get("/probes") if p["connected"]])[0]
    wait_for("its lease", lambda: os.path.exists(lab.path("p/lease")))  # the last file it makes
    lines = run_check(lab, "-i", "lo", *options, data_dir=lab.path("p"))
    starts(lines, "note", f"folder {lab.path('p')}: a probe is running on it")
    has(lines, "ok", f"data port tcp://127.0.0.1:{hub.port}: answers, and has the key")
    starts(lines, "note", f"session tcp://127.0.0.1:{hub.port}: that of the running probe")
    probes = hub.get("/probes")
    same([p["id"] for p in probes], [session["id"]], "probes of the hub")
    check(probes[0]["connected"], "the probe was cut off")
    same(probe.log().count("connected; flows are delivered"), 1, "sessions of the probe")
    same(probe.stop(), 0, "the probe ends with")


def test_folder(lab):
    hub = lab.hub()
    os.mkdir(lab.path("half"))
    with open(lab.path("half/zmq-key.pub"), "w") as file:
        file.write("x" * 40)
    os.chmod(lab.path("half/zmq-key.pub"), 0o600)
    lines = run_check(lab, "-i", CAPTURE, *hub.options_for_probe(), code=1,
                      data_dir=lab.path("half"))
    starts(lines, "FAIL", f"folder {lab.path('half')}: ")
    with open(lab.path("file"), "w") as file:
        file.write("x")
    lines = run_check(lab, "-i", CAPTURE, *hub.options_for_probe(), code=1,
                      data_dir=lab.path("file"))
    starts(lines, "FAIL", f"folder {lab.path('file')}: is not a folder")
    lines = run_check(lab, "-i", CAPTURE, *hub.options_for_probe(), code=1, data_dir="/proc/x")
    starts(lines, "FAIL", "folder /proc/x: not there, and /proc holds no files")


def test_input(lab):
    def of(*options, **more):
        return run_check(lab, *options, "--json", "-", **more)
    namespace = lab.namespace()
    lab.cable((namespace, "a0", None), (namespace, "b0", None))
    inside = {"namespace": namespace}
    lines = of("-i", "a0", **inside)
    has(lines, "ok", "input a0: up, and packets may be captured")
    # a veth pair has these on and may turn them off, which is what the line says
    said = starts(lines, "note", "offloads of a0: ")
    command = re.search(r"ethtool -K a0( \w+ off)+$", said)
    check(command and "tso off" in said and "gso off" in said, said)
    subprocess.run(["ip", "-n", namespace, "link", "set", "b0", "down"], check=True)
    has(of("-i", "a0", code=1, **inside), "FAIL", "input " + cause_line("NO_CARRIER", "a0"))
    subprocess.run(["ip", "-n", namespace, "link", "set", "a0", "down"], check=True)
    has(of("-i", "a0", code=1, **inside), "FAIL", "input " + cause_line("LINK_DOWN", "a0"))
    starts(of("-i", "c0", code=1, **inside), "FAIL", "input -i c0: there is no such interface")
    # with a filter too, for which libpcap needs an interface that is up
    has(of("-i", "a0", "-f", "vlan 5", code=1, **inside), "FAIL",
        "input " + cause_line("LINK_DOWN", "a0"))
    said = of("-i", "a0", "-f", "foo bar", code=2, **inside)
    check("FAIL input the filter 'foo bar' is not valid" in said, said)
    check(said.endswith("checks failed\n"), f"what comes after the input is not tried: {said}")
    starts(of("-i", "-"), "note", "input -:")


def test_ports(lab):
    """All hubs are tried, at once, each named."""
    hub, other, free = lab.hub(), lab.hub(), free_ports(2)
    plain = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing
    mute = plain.getsockname()[1]
    lines = run_check(
        lab, "-i", CAPTURE, *to_hub(free, hub.key()), "--ntopng", f"tcp://127.0.0.1:{other.port}",
        "--ntopng", f"tcp://127.0.0.1:{hub.port}", "--ntopng", "tcp://hub.invalid:5556",
        "--ntopng", f"tcp://127.0.0.1:{mute}", code=1)
    for port in (free, free + 1):
        name = "data" if port == free else "events"
        has(lines, "FAIL", f"{name} port " + cause_line(
            "REFUSED", f"tcp://127.0.0.1:{port}", "Connection refused"))
    for port, name in ((other.port, "data"), (other.port + 1, "events")):
        has(lines, "FAIL", f"{name} port " + cause_line("WRONG_KEY", f"tcp://127.0.0.1:{port}"))
    has(lines, "ok", f"data port tcp://127.0.0.1:{hub.port}: answers, and has the key")
    check(any(re.match(cause_line("NAME_UNKNOWN", "data port tcp://hub.invalid:5556", "@")
                       .replace("@", ".*"), line[1]) for line in lines), lines)
    has(lines, "FAIL", "data port " + cause_line("NO_HANDSHAKE", f"tcp://127.0.0.1:{mute}"))
    lines = run_check(lab, "-i", CAPTURE, *to_hub(hub.web_port, hub.key()), code=1)
    has(lines, "FAIL", "data port " + cause_line(
        "NO_HANDSHAKE", f"tcp://127.0.0.1:{hub.web_port}"))
    lines = run_check(lab, "-i", CAPTURE, *to_hub(hub.port, hub.key(), "--zmq-publish-events",
                                                  f"tcp://127.0.0.1:{free}"), code=1)
    has(lines, "FAIL", "events port " + cause_line(
        "EVENTS_CLOSED", f"tcp://127.0.0.1:{free}", "Connection refused"))


def test_other_port(lab):
    """The hub's ports exchanged, and a port of another hub: that is no wrong key."""
    hub, other = lab.hub(), lab.hub()
    data, events = f"tcp://127.0.0.1:{hub.port}", f"tcp://127.0.0.1:{hub.port + 1}"
    lines = run_check(lab, "-i", CAPTURE, *to_hub(hub.port + 1, hub.key(), "--zmq-publish-events",
                                                  data), code=1)
    has(lines, "FAIL", "data port " + cause_line("PORTS_SWAPPED", events))
    has(lines, "FAIL", "events port " + cause_line("PORTS_SWAPPED", data))
    lines = run_check(lab, "-i", CAPTURE, *to_hub(other.port, hub.key(), "--zmq-publish-events",
                                                  events), code=1)
    has(lines, "FAIL", "data port " + cause_line("OTHER_PORT", f"tcp://127.0.0.1:{other.port}"))
    has(lines, "ok", f"events port {events}: answers, and has the key")


def test_binding(lab):
    """A probe that listens: its port is free and a hub comes; nobody comes; the port is taken."""
    port = free_ports(2)
    at = f"tcp://127.0.0.1:{port}"
    options = ["-i", CAPTURE, "--ntopng", at]
    hub = lab.hub(interfaces=["-i", at])
    lines = run_check(lab, *options, "--zmq-encryption-key", hub.key())
    has(lines, "ok", f"data port {at}: answers, and has the key")
    with socket.create_server(("127.0.0.1", port + 1)):
        lines = run_check(lab, *options, "--zmq-encryption-key", hub.key(), code=1)
        line = starts(lines, "FAIL", f"events port cannot listen on tcp://127.0.0.1:{port + 1}: ")
        check(line.endswith(cause_line("CANNOT_LISTEN").split("; ")[1]), line)
    same(hub.stop(), 0, "the hub ends with")
    lines = run_check(lab, *options, "--zmq-encryption-key", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
                      code=1)
    has(lines, "FAIL", f"data port {cause_line('NO_HUB', at)}")


def test_spool(lab):
    hub = lab.hub()
    disk = lab.path("disk")
    os.mkdir(disk)

    def of(folder, *more, code=0):
        return run_check(lab, "-i", CAPTURE, *hub.options_for_probe(), "--spool-dir", folder,
                         *more, code=code)
    starts(of(os.path.join(disk, "a/b"), "--spool-size", "1M"), "ok",
           f"spool {disk}/a/b: can be written, 1 MiB at most")
    starts(of(disk, "--spool-size", "0"), "note", "spool: in memory only, ")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80M", "tmpfs", disk], check=True)
    try:
        has(of(disk, "--spool-size", "1G"), "note",
            f"spool {disk}: 80 MiB are free, --spool-size is 1024 MiB")
        with open(os.path.join(disk, "filler"), "wb") as file:
            file.write(bytes(32 << 20))
        has(of(disk, code=1), "FAIL",
            f"spool {disk}: 48 MiB are free; make room, or give another --spool-dir")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        starts(of(disk, code=1), "FAIL", f"spool {disk}: cannot be written: {disk}: Read-only")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_clock(lab):
    hub = lab.hub()
    options = hub.options_for_probe()
    same(lab.probe("-i", CAPTURE, *options, name="p").wait(30), 0, "the probe ends with")
    for seconds, words in ((45, r"4[456] s ahead of"), (-45, r"4[456] s behind")):
        lines = run_check(lab, "-i", CAPTURE, *options, code=1, data_dir=lab.path("p"),
                          env=shim(lab, WEIR_SHIM_CLOCK_S=seconds))
        said = starts(lines, "FAIL", "clock ")
        pattern = re.escape(cause_line("CLOCK", f"tcp://127.0.0.1:{hub.port}", "@"))
        check(re.fullmatch("clock " + pattern.replace("@", words), said), said)


def test_config_file(lab):
    """With the file of a service; a bad option is exit 2, as ever."""
    hub = lab.hub()
    with open(lab.path("probe.conf"), "w") as file:
        file.write(f"-i={CAPTURE}\n--ntopng=tcp://127.0.0.1:{hub.port}\n--zmq-probe-mode\n"
                   f"--zmq-encryption-key={hub.key()}\n--data-dir={lab.path('nowhere')}\n")
    run = subprocess.run([PROBE, lab.path("probe.conf"), "--check"], capture_output=True, text=True)
    same(run.returncode, 0, run.stdout + run.stderr)
    check(f"ok   data port tcp://127.0.0.1:{hub.port}" in run.stdout, run.stdout)
    check("key" in run_check(lab, "-i", "lo", *to_hub(1, "too short"), code=2), "the key")


main([test_all_is_well, test_first_time, test_running_probe, test_folder, test_input, test_ports, test_other_port,
      test_binding, test_spool, test_clock, test_config_file])
