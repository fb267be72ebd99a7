# SPDX-License-Identifier: Apache-2.0
"""The texts of causes, read from the program's own rows, and a shim that a program runs under: its
clock off by some seconds, or its names slow to resolve."""
import functools
import json
import os
import subprocess

from _e2e import BUILD, SOURCE


@functools.cache
def rows():
    run = subprocess.run([os.path.join(BUILD, "src", "dump-causes")], capture_output=True,
                         check=True)
    return {row["id"]: row for row in json.loads(run.stdout)}


def filled(text, at, detail):
    return text.replace("{at}", at).replace("{detail}", detail)


def cause_text(cause, at="", detail=""):
    return filled(rows()[cause]["text"], at, detail)


def cause_line(cause, at="", detail=""):
    row = rows()[cause]
    line = filled(f"{row['text']}; {row['mend']}", at, detail)
    return line if not at or "{at}" in row["text"] else f"{at}: {line}"


def shim(lab, **settings):
    """Environment for a program: WEIR_SHIM_CLOCK_S, WEIR_SHIM_RESOLVE_S, WEIR_SHIM_STALL."""
    path = lab.path("shim.so")
    if not os.path.exists(path):
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", path,
                        os.path.join(SOURCE, "test", "system", "shim.c"), "-ldl"], check=True)
    return {"LD_PRELOAD": path, "ASAN_OPTIONS": "verify_asan_link_order=0",
            **{name: str(value) for name, value in settings.items()}}
