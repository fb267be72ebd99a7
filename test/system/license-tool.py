#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""weir-license as its users type it: keys, licences, looking at them, revoking them; and what it says
when something is wrong."""
import json
import os
import pty
import re
import subprocess
import time

from _e2e import BUILD, check, main, same

TOOL = os.path.join(BUILD, "weir-license")
EVALUATION = os.path.join(os.path.dirname(__file__), "..", "..", "licences", "evaluation.key")
SYSTEM = "--system-id"


def tool(*args, code=0, say=None):
    run = subprocess.run([TOOL, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                         start_new_session=True, timeout=60)
    same(run.returncode, code, f"{args} ends, having said {run.stderr!r}, with")
    if code:
        same(run.stderr.count("\n"), 1, f"lines said by {args}: {run.stderr!r}")
        check(re.search(say, run.stderr), f"{run.stderr!r} says {say!r}")
    return run.stdout


def make_key(lab, kid="mine"):
    words = lab.path("words")
    with open(words, "w") as file:
        file.write("a passphrase\n")
    key = lab.path(f"{kid}.key")
    said = tool("keygen", "--kid", kid, "--key", key, "--passphrase-file", words)
    return ["--key", key, "--passphrase-file", words], re.search(r"keys=(\S+)", said).group(1)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def test_vendor(lab):
    """A key, a licence of each kind, and what each says."""
    key, public = make_key(lab)
    same(os.stat(key[1]).st_mode & 0o777, 0o600, "mode of the private key")
    tool("keygen", "--kid", "again", *key, code=1, say="never written over")
    path = lab.path("cloud.license")
    tool("issue", *key, "--kind", "cloud", "--customer", "Müller & Söhne", "--probes", "3",
         "--expires", "30d", "--id", "L-7", "--output", path)
    tool("verify", path, code=1, say="'mine'.*not built with.*evaluation")
    said = json.loads(tool("inspect", path, "--vendor-key", public, "--json"))
    same([said[name] for name in ("kind", "customer", "probes", "id", "grace", "kid")],
         ["cloud", "Müller & Söhne", 3, "L-7", 30, "mine"], "it says")
    check("probes         3\n" in tool("inspect", path, "--vendor-key", public), "for people")
    check(tool("verify", path, "--vendor-key", public).startswith("valid until"), "it holds")

    revoked = lab.path("revoked")
    tool("revoke", revoked, "L-6", *key)
    trusted = ["--vendor-key", public, "--revocations", revoked]
    tool("verify", path, *trusted)
    tool("revoke", revoked, "L-7", *key)
    run = subprocess.run([TOOL, "verify", path, *trusted], capture_output=True, text=True)
    same(run.returncode, 1, "revoked")
    check("L-7 was revoked" in run.stdout, f"and says so: {run.stdout!r}")

    # the vendor's next key carries the list on
    following, after = make_key(lab, "next")
    tool("revoke", revoked, "L-8", *following, code=1, say="--vendor-key")
    check("3 revoked" in tool("revoke", revoked, "L-8", *following, "--vendor-key", public), "goes on")
    run = subprocess.run([TOOL, "verify", path, *trusted, "--vendor-key", after], capture_output=True, text=True)
    check("L-7 was revoked" in run.stdout, f"by the next key too: {run.stdout!r}")


def test_verdicts(lab):
    """On which day, on which machine."""
    evaluation = ["--key", EVALUATION, "--passphrase-file", write(lab.path("w"), "evaluation\n")]
    here = "weir1-aaaaaaaa-bbbbbbbb-0-cccccccc-"
    refused = subprocess.run([TOOL, "issue", *evaluation, "--kind", "hub", "--customer", "x",
                              "--expires", "never", SYSTEM, here + "0000"], capture_output=True,
                             text=True)
    same(refused.returncode, 2, "a System ID with a slip")
    path = lab.path("a.license")
    tool("issue", *evaluation, "--kind", "cloud", "--customer", "x", "--probes", "1",
         "--not-before", "2027-01-01", "--expires", "2028-01-01", "--grace", "10", "-o", path)
    for day, code, words in (("2026-12-31", 1, "not valid yet"), ("2027-01-01", 0, "valid"),
                             ("2028-01-05", 0, "in grace"), ("2028-01-11", 1, "expired")):
        run = subprocess.run([TOOL, "verify", path, "--at", day, "--json"], capture_output=True,
                             text=True)
        same((run.returncode, json.loads(run.stdout)["state"]), (code, words), day)


def test_wrong(lab):
    """Each mistake in one line, and nothing half-written."""
    key, _ = make_key(lab)
    out = lab.path("out")
    nobody = ["issue", *key, "-o", out]
    base = [*nobody, "--customer", "x"]
    for args, code, words in (
            ([], 2, "no command"), (["isue"], 2, "no command; there are keygen"),
            (["issue"], 2, "needs --key"), (["inspect"], 2, "missing"),
            (["inspect", lab.path("nowhere")], 1, "nowhere"),
            (["inspect", key[1]], 1, "signature|dot"),
            (["verify", key[1], "--kind", "hub"], 2, "does not take --kind"),
            ([*base, "--kind", "cloud", "--expires", "365d"], 2, "--probes"),
            ([*base, "--kind", "hub", "--expires", "365d"], 2, "--system-id"),
            ([*base, "--kind", "gold", "--expires", "365d"], 2, "cloud, hub or probe"),
            ([*base, "--kind", "cloud", "--probes", "3", "--expires", "soon"], 2, "is no date"),
            ([*base, "--kind", "cloud", "--probes", "3", "--expires", "2020-01-01"], 2, "before"),
            ([*base, "--kind", "cloud", "--probes", "0", "--expires", "1d"], 2, "1 to 1000000"),
            ([*nobody, "--kind", "cloud", "--probes", "1", "--expires", "1d", "--customer",
              "x" * 200], 2, "1 to 128 bytes"),
            (["issue", "--key", key[1], "--passphrase-file", write(lab.path("no"), "no\n"),
              "--kind", "cloud", "--customer", "x", "--probes", "1", "--expires", "1d"], 1,
             "does not open"),
            (["issue", "--key", key[1], "--kind", "cloud", "--customer", "x", "--probes", "1",
              "--expires", "1d"], 1, "no terminal"),
            (["keygen", "--kid", "A b", "--key", out, *key[2:]], 2, "a-z"),
            *((["revoke", out, name, *key], 2, "no licence's id")
              for name in ("", "cloud.license", "L-7 ", "x" * 33)),
            ([*base, "--kind", "cloud", "--probes", "3", "--expires", "1d", "--id", "a.b"], 2, "--id"),
            (["revoke", write(lab.path("list"), "rubbish"), "x", *key], 1, "no list")):
        tool(*args, code=code, say=words)
        check(not os.path.exists(out), f"{args} wrote nothing")


def test_terminal(lab):
    """Asked for twice, never shown."""
    path = lab.path("typed.key")
    child, terminal = pty.fork()
    if child == 0:
        os.execv(TOOL, [TOOL, "keygen", "--kid", "t", "--key", path])
    shown = b""
    for prompt in (b"vendor's key: ", b"again: "):
        while prompt not in shown:
            shown += os.read(terminal, 4096)
        time.sleep(0.1)
        os.write(terminal, b"top secret\n")
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass
    same(os.waitpid(child, 0)[1], 0, f"it ends, having shown {shown}, with")
    check(b"top secret" not in shown, "it is not shown")
    tool("revoke", lab.path("list"), "x", "--key", path, "--passphrase-file",
         write(lab.path("w"), "top secret\n"))


main([test_vendor, test_verdicts, test_wrong, test_terminal])
