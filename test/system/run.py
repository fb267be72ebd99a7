#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 480 s
"""`make run` in a network of its own: one link that works, flows of this machine, Ctrl-C."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

SOURCE = os.environ["WEIR_SOURCE"]


def enter_network():
    """Once more, inside a network namespace with an uplink that leads nowhere."""
    if os.environ.get("WEIR_RUN_INSIDE"):
        return
    set_up = ("ip link set lo up; ip link add uplink0 type veth peer name far0; "
              "ip link set far0 up; ip address add 192.0.2.1/24 dev uplink0; "
              "ip link set uplink0 up; ip route add default via 192.0.2.254; exec "
              f"{sys.executable} {os.path.abspath(__file__)}")
    os.environ["WEIR_RUN_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "--net", "sh", "-ec", set_up])


def start(log):
    # a test run in the background has SIGINT ignored, which children inherit and shells keep
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(["make", "--no-print-directory", "run"], cwd=SOURCE, stdout=log,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            start_new_session=True)


def text(log):
    log.flush()
    with open(log.name) as file:
        return file.read()


def until(what, seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    sys.exit(f"{what}: not within {seconds} s")


def run_once(var, log):
    child = start(log)
    try:
        link = until("a link: " + text(log), 120, lambda: child.poll() is not None or
                     re.search(r"^ +(http://127\S+)$", text(log), re.M))
        if link is True:
            sys.exit("make run ended: " + text(log))
        assert "uplink0" in text(log), text(log)
        with urllib.request.urlopen(link[1].split("#")[0], timeout=20) as page:
            assert b"<html" in page.read().lower()
        until("the probe's session", 30, lambda: "connected" in open(
            os.path.join(var, "weir-probe.log")).read())

        second = subprocess.run(["scripts/run"], cwd=SOURCE, capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=180)
        assert second.returncode == 1, second
        assert "port 3000 of 127.0.0.1 is in use" in second.stderr, second

        os.killpg(child.pid, signal.SIGINT)  # Ctrl-C reaches make and all it started
        until("an end: " + text(log), 120, lambda: child.poll() is not None)
        assert text(log).rstrip().endswith("stopped"), text(log)
        left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert var not in left, left
        return link[1]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(120)


def main():
    enter_network()
    with tempfile.TemporaryDirectory() as folder:
        var = os.path.join(folder, "var")
        os.environ["WEIR_VAR"] = var
        links = []
        for turn in range(2):
            with open(os.path.join(folder, f"{turn}.log"), "w") as log:
                links.append(run_once(var, log))
        assert "/setup" in links[0], links
        print(f"ran twice; links {links}")


main()
