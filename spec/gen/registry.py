#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints a registry of spec/registry as rows of a C table: registry.py NAME CSV."""
import csv
import sys


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def protocols(rows):
    for row in rows:
        yield f'[{int(row["Decimal"])}] = {quoted(row["Keyword"])},'


TABLES = {"protocols": protocols}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in TABLES:
        sys.exit(f"usage: registry.py {'|'.join(TABLES)} CSV")
    with open(sys.argv[2], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print("/* made by spec/gen/registry.py */")
    for line in TABLES[sys.argv[1]](rows):
        print(line)


if __name__ == "__main__":
    main()
