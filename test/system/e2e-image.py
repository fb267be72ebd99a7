#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 180 s
"""weir-probe --prepare-image: what goes, what stays, what holds it up; two machines made from one
image are two probes."""
import os
import shutil
import subprocess

from _e2e import PROBE, captures, check, main, offline, same, same_flows, wait_for

CAPTURE = [c for c in captures() if c.endswith("/tcp.pcap")][0]


def prepare(*options, code=0):
    run = subprocess.run([PROBE, "--prepare-image", *options], capture_output=True, text=True,
                         timeout=60, stdin=subprocess.DEVNULL)
    same(run.returncode, code, f"exit code, having said\n{run.stdout}{run.stderr}\n")
    return run.stdout, run.stderr


def names(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else None


def test_image(lab):
    """A probe ran on the machine that the image is made of; two copies of it are two probes."""
    hub = lab.hub()
    state = lab.path("state")
    options = ["-i", "lo", *hub.options_for_probe()]
    probe = lab.probe(*options, name="golden", data_dir=state)
    wait_for("the probe is connected", lambda: hub.probe(connected=True))
    first = hub.probe(connected=True)["key"]

    # not under a running probe, when all that it keeps is there
    wait_for("the hub's lease is kept", lambda: "lease" in names(state))
    before = names(state)
    out, err = prepare(*options, "--data-dir", state, code=1)
    check("in use" in err and "stop the probe" in err, err)
    same((out, names(state)), ("", before), "nothing is removed")
    same(probe.stop(), 0, "the probe ends with")

    with open(os.path.join(state, "configuration.json"), "w") as file:
        file.write('{"version":1,"id":"00000000000000ab","idle_s":3}')
    with open(os.path.join(state, "notes.txt"), "w") as file:
        file.write("mine")
    out, err = prepare(*options, "--data-dir", state)
    same(err, "", "standard error")
    for name in ("zmq-key.pub", "zmq-key.priv", "configuration.json"):
        check(f"removed {state}/{name}: " in out, f"{name} in:\n{out}")
    check(f"stays   {state}/notes.txt: left as it is" in out, out)
    check("stays   the probe's configuration, with the hub's public key" in out, out)
    same(names(state), ["notes.txt"], "what is left")
    out, err = prepare(*options, "--data-dir", state)
    check(f"nothing of a probe is in {state}" in out, out)

    copies = [lab.path("one"), lab.path("two")]
    for i, copy in enumerate(copies):
        shutil.copytree(state, copy)
        lab.probe(*options, "--probe-id", f"copy {i}", name=f"copy{i}", data_dir=copy)
    wait_for("two more probes", lambda: sum(
        p["connected"] for p in hub.get("/probes") if p["key"] != first) == 2)
    same(len({p["key"] for p in hub.get("/probes")}), 3, "keys")


def test_flows_wait(lab):
    """Flows that no hub has stored are not thrown away without a word."""
    hub = lab.hub()
    options = hub.options_for_probe()
    state = lab.path("state")
    hub.kill()
    probe = lab.probe("-i", CAPTURE, *options, "--exit-timeout", "0", name="alone", data_dir=state)
    same(probe.wait(30), 3, "the probe ends with")
    expected = offline(lab, CAPTURE)

    before = names(state), names(os.path.join(state, "spool"))
    out, err = prepare(*options, "--data-dir", state, code=3)
    check(f"{len(expected)} flows wait in {state}/spool" in err and "--force" in err, err)
    out, err = prepare("--data-dir", state, code=3)  # it cannot be told
    check("configuration file" in err and "--force" in err, err)
    same((names(state), names(os.path.join(state, "spool"))), before, "nothing is removed")

    # asking has done no harm: they are delivered by the next start
    hub.again()
    empty = lab.path("empty.pcap")
    with open(CAPTURE, "rb") as file, open(empty, "wb") as copy:
        copy.write(file.read(24))
    same(lab.probe("-i", empty, *options, name="later", data_dir=state).wait(60), 0, "exit code")
    wait_for("all is stored", lambda: len(hub.flows()) == len(expected))
    same_flows(hub.flows(), expected, "flows")
    prepare(*options, "--data-dir", state)  # stored: no longer in the way
    same(names(state), [], "what is left")

    # and with --force they go
    hub.kill()
    probe = lab.probe("-i", CAPTURE, *options, "--exit-timeout", "0", name="again", data_dir=state)
    same(probe.wait(30), 3, "the probe ends with")
    out, err = prepare("--data-dir", state, "--force")
    check(f"removed {state}/spool/" in out and ": flows" in out, out)
    check("no --zmq-encryption-key was given" in out, out)
    same(names(state), [], "what is left")


def test_usage(lab):
    """Said once, where it belongs."""
    run = subprocess.run([PROBE, "-i", "lo", "--json", "-", "--force"], capture_output=True,
                         text=True, timeout=30, stdin=subprocess.DEVNULL)
    same(run.returncode, 2, "exit code")
    check("--force is given without --prepare-image" in run.stderr, run.stderr)
    out, err = prepare("--data-dir", lab.path("never"))
    check("nothing of a probe is in" in out, out)
    same(os.path.exists(lab.path("never")), False, "a folder was made")
    out, err = prepare("--data-dir", lab.path("never"), "--probe-id", "x")
    check("--probe-id x: every probe" in out, out)
    text = subprocess.run([PROBE, "--help"], capture_output=True, text=True, check=True).stdout
    check("--prepare-image" in text, "--help")


main([test_image, test_flows_wait, test_usage])
