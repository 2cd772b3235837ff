#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmctl(1) names every command and option of the table, and no other."""
import re
import subprocess
import sys

vmctl, page = sys.argv[1:3]
failures = []


def help_of(*words):
    return subprocess.run([vmctl, *words, "--help"], capture_output=True, text=True, check=True,
                          timeout=10).stdout


def options_of(text):
    return set(re.findall(r"^  (?:-\w,|   ) --([a-z-]+)", text, re.M))


with open(page, encoding="utf-8") as f:
    source = f.read()
documented = set(re.findall(r"^\.It Fl -([a-z-]+)|^\.It Fl \w , Fl -([a-z-]+)", source, re.M))
documented = {a or b for a, b in documented}
commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?) {2,}\S", help_of().split("Global")[0], re.M)
headings = set(re.findall(r"^\.Ss (.+)$", source, re.M))
if len(commands) < 20:
    failures.append("only %d commands in the help" % len(commands))
existing = options_of(help_of())
for command in commands:
    if command not in headings:
        failures.append("the page has no section '%s'" % command)
    existing |= options_of(help_of(*command.split()))
for heading in headings - set(commands):
    failures.append("the page describes '%s', which is no command" % heading)
failures += ["option --%s is not in the page" % o for o in sorted(existing - documented)]
failures += ["the page has --%s, which no command takes" % o for o in sorted(documented - existing)]
for failure in failures:
    print("FAIL", failure)
sys.exit(bool(failures))
