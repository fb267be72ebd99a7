#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints a registry of spec/registry as rows of a C table: registry.py TABLE CSV…"""
import csv
import re
import sys

TRANSPORTS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def protocols(rows):
    for row in rows:
        yield f'[{int(row["Decimal"])}] = {quoted(row["Keyword"])},'


def services(rows):
    """Sorted by transport and port, for a binary search."""
    found = {}
    for row in rows:
        key = (TRANSPORTS[row["Transport Protocol"]], int(row["Port Number"]))
        if key in found:
            sys.exit(f"registry: port {key[1]} stands twice")
        found[key] = row["Service Name"]
    for (transport, port), name in sorted(found.items()):
        yield f"{{{transport}, {port}, {quoted(name)}}},"


def elements(rows):
    """Sorted by enterprise and number, for a binary search."""
    found = {}
    for row in rows:
        key = (int(row.get("PEN") or 0), int(row["ElementID"]))
        if key in found:
            sys.exit(f"registry: element {key} stands twice")
        kind = re.sub(r"(?<!^)([A-Z])", r"_\1", row["Abstract Data Type"]).upper()
        reverse = "true" if row.get("Reversible") == "Y" else "false"
        found[key] = f'{quoted(row["Name"])}, FLOW_ABSTRACT_{kind}, {reverse}'
    for (pen, number), rest in sorted(found.items()):
        yield f"{{{pen}, {number}, {rest}}},"


TABLES = {"protocols": protocols, "services": services, "elements": elements}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in TABLES:
        sys.exit(f"usage: registry.py {'|'.join(TABLES)} CSV…")
    rows = []
    for path in sys.argv[2:]:
        with open(path, newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    print("/* made by spec/gen/registry.py */")
    for line in TABLES[sys.argv[1]](rows):
        print(line)


if __name__ == "__main__":
    main()
