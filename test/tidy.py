#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the tree, as a test. One line a breach: FILE:LINE: what is wrong.

`test/tidy.py [COMPILER…]`; the compiler is used to see that each header stands alone.
"""
import fnmatch
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE_LINES = 600
FUNCTION_LINES = 60

# (rule, file, reason): what may break a rule, and why.
EXCEPTIONS = [
    ("path", "test/fresh.sh", "speaks of the home folder of the Debian it makes itself"),
    ("path", "test/tidy.py", "names what it forbids"),
]

BANNED = {
    "strcpy": "snprintf or memcpy", "strcat": "Buffer or snprintf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "gets": "getline", "strtok": "strcspn", "system": "posix_spawn",
    "popen": "posix_spawn", "atoi": "strtoul and its end", "atol": "strtoul and its end",
    "atof": "strtod and its end", "alloca": "an Arena",
}

breaches = []


def breach(rule, path, line, text):
    if not any(rule == r and fnmatch.fnmatch(path, p) for r, p, _ in EXCEPTIONS):
        breaches.append(f"{path}:{line}: {text}")


def tree():
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-co",
                             "--exclude-standard"], cwd=SOURCE, capture_output=True, text=True)
    if listed.returncode == 0:
        paths = listed.stdout.splitlines()
    else:  # an unpacked archive
        paths = [os.path.relpath(os.path.join(folder, name), SOURCE)
                 for folder, _, names in os.walk(SOURCE) for name in names]
    return sorted(p for p in paths if os.path.isfile(os.path.join(SOURCE, p)))


def read(path):
    with open(os.path.join(SOURCE, path), "rb") as file:
        data = file.read()
    return None if b"\0" in data[:8000] else data.decode("utf-8", errors="replace")


def without_comments(text):
    """C with comments, strings and characters blanked out, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


# ------------------------------------------------------------------------------------- rules

def check_layers(paths):
    rule = dict()
    for name, uses in re.findall(r"^  \['(\w+)', \[([^]]*)\]\],", read("src/meson.build"), re.M):
        rule[name] = set(re.findall(r"'(\w+)'", uses)) | {name}
    if len(rule) < 10:
        sys.exit("tidy: layer_rule of src/meson.build is not understood")
    for path in paths:
        parts = path.split("/")
        if parts[0] != "src" or len(parts) < 3 or not path.endswith((".c", ".h")):
            continue
        layer = parts[1]
        if layer not in rule:
            breach("layer", path, 1, f"folder {layer} has no row in src/meson.build")
            continue
        for number, line in enumerate(read(path).splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found:
                continue
            folder = found[1].split("/")[0]
            if folder in rule and folder not in rule[layer]:
                breach("layer", path, number, f"{layer} may not use {folder} (src/meson.build)")
            beside = os.path.join(SOURCE, os.path.dirname(path), found[1])
            if "/" not in found[1] and os.path.exists(beside):
                breach("layer", path, number, f'write "{layer}/{found[1]}"')


def check_headers(paths, compiler):
    headers = [p for p in paths if p.startswith("src/") and p.endswith(".h")]

    def alone(path):
        name = path[len("src/"):]
        run = subprocess.run([*compiler, "-std=c17", "-D_GNU_SOURCE", '-DWEIR_VERSION="0"',
                              "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused", "-Isrc",
                              "-isystem", "third_party/duckdb/fetched/include", "-x", "c", "-"],
                             cwd=SOURCE, input=f'#include "{name}"\n#include "{name}"\n',
                             capture_output=True, text=True)
        error = re.search(r"(\d+):\d+: (?:fatal )?error: (.*)", run.stderr)
        return run.returncode and (path, error[1] if error else 1, error[2] if error else "?")

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for found in pool.map(alone, headers):
            if found:
                breach("header", found[0], found[1], f"header does not stand alone: {found[2]}")
    for path in headers:
        if "#pragma once" not in read(path):
            breach("header", path, 1, "#pragma once is missing")


def check_licence(path, text):
    name = os.path.basename(path)
    if path.endswith((".c", ".h", ".def", ".py", ".sh")) or name == "Makefile" or \
            text.startswith("#!"):
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.splitlines()[:4]):
            breach("licence", path, 1, "no SPDX-License-Identifier: Apache-2.0 in the first lines")


def check_sizes(path, text):
    if not path.endswith((".c", ".h", ".py", ".sh", ".ts", ".svelte")):
        return
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        breach("size", path, len(lines), f"{len(lines)} lines; a file may have {FILE_LINES}")
    if not path.endswith((".c", ".h")):
        return
    signature, begin = False, None
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        line = line.rstrip()
        if re.match(r"[A-Za-z_][^=]*\(", line):
            signature, begin = True, None
        if signature and line.endswith(("{", ";")):
            signature, begin = False, number if line.endswith("{") else None
        elif begin and line == "}":
            if number - begin - 1 > FUNCTION_LINES:
                breach("function", path, begin, f"function body of {number - begin - 1} lines; "
                       f"{FUNCTION_LINES} are enough")
            begin = None


def check_calls(path, text):
    if not path.endswith((".c", ".h")):
        return
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        for name in re.findall(r"(?<![\w.>])(\w+)\s*\(", line):
            if name in BANNED:
                breach("call", path, number, f"{name}() is not used here; take {BANNED[name]}")


def check_paths(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"(?<![\w.])/(?:work|root)/", line):
            breach("path", path, number, "names a folder of one machine")


def anchors(text):
    found = set()
    for title in re.findall(r"^#+ +(.*)$", text, re.M):
        plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def check_links(path, text):
    if not path.endswith(".md"):
        return
    prose = re.sub(r"```.*?```", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    for number, line in enumerate(prose.splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(os.path.join(SOURCE, file)):
                breach("link", path, number, f"{target} leads nowhere")
            elif anchor and file.endswith(".md") and anchor not in anchors(read(file)):
                breach("link", path, number, f"{file} has no heading for #{anchor}")


def check_reasons(paths):
    for rule, pattern, reason in EXCEPTIONS:
        if not fnmatch.filter(paths, pattern):
            breaches.append(f"test/tidy.py:1: exception ({rule}, {pattern}) is of no file: {reason}")


def main():
    paths = tree()
    for path in paths:
        text = read(path)
        if text is None or path.endswith("package-lock.json"):
            continue
        for check in (check_licence, check_sizes, check_calls, check_paths, check_links):
            check(path, text)
    check_layers(paths)
    check_headers(paths, sys.argv[1:] or ["cc"])
    check_reasons(paths)
    print("\n".join(breaches) if breaches else f"{len(paths)} files keep the rules")
    sys.exit(1 if breaches else 0)


main()
