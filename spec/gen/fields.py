#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The reference page of flow fields, made from what dump-fields prints.

  fields.py reference PROGRAM     the page, Markdown
  fields.py check PROGRAM PAGE    exit 1 when the page is not what `reference` writes
"""
import json
import subprocess
import sys

HEAD = """\
# Flow fields

One row a field of a flow, read off `src/flow/fields.def`; this page is written by `scripts/docs`.
The name is that of the JSON member, of the API, of filters, and of the column in the store. A field
that is not always written is left out where it is not known (zero, empty); the type and code of an
ICMP flow are always written.

| kind | in JSON |
|---|---|
| `u8` `u16` `u32` `u64` | number |
| `time_ms` | number: milliseconds since 1970, UTC |
| `address` | text, IPv4 or IPv6 (RFC 5952); empty where the flow is not IP |
| `mac` | text, `00:00:5e:00:53:01` |
| `text` | text; bytes that are not UTF-8 become U+FFFD |

IPFIX elements without a number before the colon are IANA's; 29305 is the reverse of an IANA element
(RFC 5103), 35632 ntop's, 32473 our own until a number is assigned. A counter travels only as wide as
it must be (RFC 7011, section 6.2). A field without an element is set by the hub on arrival.
"""


def fields(program):
    run = subprocess.run([program], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def element(field):
    if not field["element"]:
        return ""
    pen = f'{field["pen"]}:' if field["pen"] else ""
    said = f'{pen}{field["element"]} {field["element_name"]}'
    if field["element_v6"]:
        said += f', {pen}{field["element_v6"]} {field["element_v6_name"]}'
    return said


def page(program):
    lines = [HEAD, "| name | kind | unit | always | nProbe name | IPFIX element | what it is |",
             "|---|---|---|---|---|---|---|"]
    for field in fields(program):
        nprobe = f'`%{field["nprobe_name"]}`' if field["nprobe_name"] else ""
        lines.append("| " + " | ".join([
            f'`{field["name"]}`', field["kind"], field["unit"], "yes" if field["always"] else "",
            nprobe, element(field), field["description"]]) + " |")
    return "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "reference":
        sys.stdout.write(page(arguments[1]))
    elif len(arguments) == 3 and arguments[0] == "check":
        with open(arguments[2], encoding="utf-8") as file:
            if file.read() != page(arguments[1]):
                sys.exit(f"{arguments[2]} is not what src/flow/fields.def says: run scripts/docs")
    else:
        sys.exit(__doc__)


main()
