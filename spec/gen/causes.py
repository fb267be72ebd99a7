#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The reference page of causes, made from what dump-causes prints.

  causes.py reference PROGRAM     the page, Markdown
  causes.py check PROGRAM PAGE    exit 1 when the page is not what `reference` writes
"""
import json
import subprocess
import sys

HEAD = """\
# Why nothing comes

One row a text, read off `src/channel/cause.def`; this page is written by `scripts/docs`. Each is shown
within 10 s: on the probe in its log, by `weir-probe --check` as a line, on the hub beside the address of
the peer or as the state of the probe. AT is the endpoint or interface it is about.
"""


def rows(program):
    run = subprocess.run([program], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def page(program):
    lines = [HEAD]
    causes = rows(program)
    for title in dict.fromkeys(row["cause"] for row in causes):
        lines += [f"## {title[0].upper()}{title[1:]}", "", "| on | it says | what to do |",
                  "|---|---|---|"]
        for row in causes:
            if row["cause"] != title:
                continue
            where = ", ".join(word for key, word in (
                ("probe", "probe"), ("check", "`--check`"), ("hub", "hub")) if row[key])
            text = row["text"].replace("{at}", "AT").replace("{detail}", "…")
            lines.append(f"| {where} | `{text}` | {row['mend']} |")
        lines.append("")
    return "\n".join(lines)


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "reference":
        sys.stdout.write(page(arguments[1]))
    elif len(arguments) == 3 and arguments[0] == "check":
        with open(arguments[2], encoding="utf-8") as file:
            if file.read() != page(arguments[1]):
                sys.exit(f"{arguments[2]} is not what src/channel/cause.def says: run scripts/docs")
    else:
        sys.exit(__doc__)


main()
