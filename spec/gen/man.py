#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pages made from what a program says of its options (PROGRAM --describe).

  man.py man PROGRAM          the man page, roff
  man.py reference PROGRAM    the reference page, Markdown
  man.py sample PROGRAM HEAD  the file HEAD, and then every option as a comment
  man.py check PROGRAM PAGE   exit 1 when the reference page is not what `reference` writes
"""
import json
import os
import subprocess
import sys
import textwrap

# The daemons are of section 8, what one types at a terminal of section 1.
SECTION = {"weir-probe": 8, "weir-hub": 8}


def described(program):
    run = subprocess.run([program, "--describe"], capture_output=True, text=True, check=True)
    about = json.loads(run.stdout)
    about["summary"] = about["summary"].rstrip(".")
    return about


def groups(about):
    """The active options under their headings, in the order of the rows."""
    found = {}
    for option in about["options"]:
        if option["use"] == "active":
            found.setdefault(option["group"], []).append(option)
    return found


def others(about, use):
    return [o for o in about["options"] if o["use"] == use]


def number(value, option):
    """1073741824 as 1G where the option takes suffixes."""
    if option["type"] == "u64":
        for suffix, bits in (("T", 40), ("G", 30), ("M", 20), ("K", 10)):
            if value and value % (1 << bits) == 0:
                return f"{value >> bits}{suffix}"
    return str(value)


def facts(option):
    """What is accepted and what holds when nothing is said, as short clauses."""
    unit = " " + option["unit"] if option["unit"] else ""
    said = []
    if option.get("words"):
        said.append("one of " + ", ".join(option["words"]))
    if "max" in option:
        said.append(f"{number(option['min'], option)} to {number(option['max'], option)}{unit}")
    elif unit and option["default"] is None:
        said.append("in" + unit)
    if option["default"] is not None:
        said.append(f"default {option['default']}{unit}")
    if option["type"] == "list":
        said.append("repeatable, commas separate")
    if option["alias"]:
        said.append("also --" + option["alias"])
    return said


def spelled(option):
    names = [f"-{option['letter']}"] if option["letter"] else []
    return names + ["--" + option["name"]]


# ------------------------------------------------------------------------------------ man page

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\\&" + text if text.startswith((".", "'")) else text


def man(about):
    section = SECTION.get(about["name"], 1)
    name = roff(about["name"])
    out = [f'.TH {about["name"].upper()} {section} "" "weir {about["version"]}" "weir"',
           ".SH NAME", f"{name} \\- {roff(about['summary'])}",
           ".SH SYNOPSIS", ".nf", *[roff(line) for line in about["usage"].splitlines()], ".fi",
           ".SH DESCRIPTION",
           "Options may stand on the command line, in a configuration file named as the only "
           "argument that is not an option, or in the environment; the first of these that has "
           "one wins. In the file a line is", roff("-x=value, --option=value or --flag;"),
           "quotes are optional and # begins a comment."]
    for heading, options in groups(about).items():
        out.append(f".SH {roff(heading.upper())}")
        for option in options:
            label = ", ".join(f"\\fB{roff(n)}\\fR" for n in spelled(option))
            if option["metavar"]:
                label += f" \\fI{roff(option['metavar'])}\\fR"
            said = facts(option)
            out += [".TP", label, roff(option["help"])
                    + (f" ({roff('; '.join(said))})" if said else "")]
    out += [".SH OTHER", ".TP", roff("-h, --help"), "Print the options.",
            ".TP", roff("--version"), "Print the version.",
            ".TP", roff("--describe"), "Print the options as JSON."]
    for use, heading in (("ignored", "ACCEPTED AND IGNORED"), ("replaced", "REPLACED")):
        if others(about, use):
            out.append(".SH " + heading)
        for option in others(about, use):
            out += [".TP", roff(", ".join(spelled(option))), roff(option["note"] or "")]
    prefix = about["name"].upper().replace("-", "_")
    out += [".SH ENVIRONMENT", roff(f"{prefix}_NAME stands for the option --name, with _ for -.")]
    out += [".SH EXIT STATUS", ".TP", "0", "All done.", ".TP", "1", "It could not run.",
            ".TP", "2", "An option or its value was refused; one line says which and why."]
    if about["name"] == "weir-probe":
        out += [".TP", "3", "A capture file was read, but flows were not delivered in time."]
    also = [n for n in ("weir-probe", "weir-hub", "weir-license") if n != about["name"]]
    out += [".SH SEE ALSO", ", ".join(f"\\fB{roff(n)}\\fR({SECTION.get(n, 1)})" for n in also)]
    return "\n".join(out) + "\n"


# ---------------------------------------------------------------------------------- reference

def cell(text):
    return (text or "").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def reference(about):
    name = about["name"]
    prefix = name.upper().replace("-", "_") + "_"
    out = [f"# Options of {name}", "",
           f"<!-- written by `make docs` from `{name} --describe`: do not edit -->", "",
           f"{name}: {about['summary']}.", "", "```", about["usage"].strip("\n"), "```", "",
           "An option may stand on the command line, in a configuration file (`-x=value`, "
           "`--option=value` or `--flag` a line,",
           "quotes optional, `#` begins a comment) or in the environment "
           f"(`{prefix}NAME` for `--name`, with `_` for `-`);", "the first of these that has one "
           "wins.", ""]
    for heading, options in groups(about).items():
        out += [f"## {heading}", "", "| option | what it does | accepted |", "|---|---|---|"]
        for option in options:
            label = ", ".join(f"`{n}`" for n in spelled(option))
            if option["metavar"]:
                label = label[:-1] + f" {option['metavar']}`"
            out.append(f"| {cell(label)} | {cell(option['help'])} "
                       f"| {cell('; '.join(facts(option)))} |")
        out.append("")
    for use, heading, column in (("ignored", "Accepted and ignored", "why"),
                                 ("replaced", "Replaced", "instead")):
        if not others(about, use):
            continue
        out += [f"## {heading}", "", f"| option | {column} |", "|---|---|"]
        out += [f"| {', '.join(f'`{n}`' for n in spelled(o))} | {cell(o['note'])} |"
                for o in others(about, use)]
        out.append("")
    return "\n".join(out)


def sample(about):
    name = about["name"]
    out = [f"# ==== All options of {name} {about['version']}, with their defaults"]
    for heading, options in groups(about).items():
        out += ["", f"# ---- {heading}"]
        for option in options:
            said = facts(option)
            text = option["help"] + (f" ({'; '.join(said)})" if said else "")
            out += ["#", *textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")]
            value = option["default"] or option["metavar"]
            out.append(f"#--{option['name']}" + (f"={value}" if option["metavar"] else ""))
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("man", "reference", "sample", "check"):
        sys.exit(__doc__)
    about = described(sys.argv[2])
    if sys.argv[1] == "sample":
        with open(sys.argv[3]) as head:
            sys.stdout.write(head.read())
    if sys.argv[1] != "check":
        sys.stdout.write({"man": man, "reference": reference, "sample": sample}[sys.argv[1]](about))
        return
    page = sys.argv[3]
    if not os.path.exists(page):
        sys.exit(f"{page} is missing: run make docs")
    with open(page) as file:
        if file.read() != reference(about):
            sys.exit(f"{page} is not what {about['name']} --describe says: run make docs")


main()
