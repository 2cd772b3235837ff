#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A manual page has every option of its program's --help, and no other."""
import re
import subprocess
import sys

program, page = sys.argv[1:3]
said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True,
                      timeout=10).stdout
existing = set(re.findall(r"--([a-z][a-z-]*)", said))
with open(page, encoding="utf-8") as f:
    documented = set(re.findall(r"^\.It Fl -([a-z-]+)|^\.It Fl \w , Fl -([a-z-]+)", f.read(), re.M))
documented = {a or b for a, b in documented}
failures = ["--%s is not in the page" % o for o in sorted(existing - documented)]
failures += ["the page has --%s, which --help has not" % o for o in sorted(documented - existing)]
if len(existing) < 4:
    failures.append("only %d options in the help" % len(existing))
for failure in failures:
    print("FAIL", failure)
sys.exit(bool(failures))
