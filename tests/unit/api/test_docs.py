#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/api.md against the code: routes, query parameters, codes of errors with
their kinds and statuses, states."""
import re
import sys
from pathlib import Path

top = Path(sys.argv[1])
page = (top / "docs/api.md").read_text(encoding="utf-8")
routes = (top / "api/routes.c").read_text(encoding="utf-8")
problem = (top / "api/problem.c").read_text(encoding="utf-8")
failures = []


def check(ok, message):
    if not ok:
        failures.append(message)


# ---- routes: every path of the table is told, every told path exists
known = set(re.findall(r'\.path = "([^"]+)"', routes))
check(len(known) > 15, "only %d routes were read" % len(known))
told = set(re.findall(r"`(?:GET|POST|PUT|DELETE) (/[^`? ]*)", page))
told |= set(re.findall(r"`(/[a-z.]+)`", page)) & known
for verb in re.findall(r"`(/(?:start|stop|restart))`", page):
    told.add("/v1/vms/{vm}" + verb)
for path in sorted(known - told):
    check(False, "docs/api.md does not tell of %s" % path)
for path in sorted(told - known):
    check(path in {p.replace("{operation}", "{id}") for p in known},
          "docs/api.md tells of %s, which is no route" % path)
for name in set(re.findall(r"[?&`]\??([a-z_]+)=", page)) - {"kernel"}:
    check('.name = "%s"' % name in routes, "docs/api.md: no route has the parameter %s" % name)

# ---- codes: raised with that kind, and with a status of that row
source = "".join(f.read_text(encoding="utf-8") for part in ("api", "base", "images", "vmd")
                 for f in sorted((top / part).rglob("*.c")))
names = (top / "api/names.h").read_text(encoding="utf-8")
macros = dict(re.findall(r'#define (API_CODE_\w+)\s+"(\w+)"', names))
raised = {}
raising = r'\bERR_([A-Z_]+),\s*(?:[^;"]{0,40}\?\s*)?("\w+"|API_CODE_\w+)'
for kind, code in re.findall(raising, source):
    raised.setdefault(macros.get(code, code.strip('"')), set()).add(kind.lower())
status_of = dict(re.findall(r'\{ "(\w+)", (\d+) \}', problem))
kind_status = {k.lower(): s for k, s in re.findall(r"\[ERR_(\w+)\] = \{ (\d+),", problem)}
rows = re.findall(r"^\| ([a-z_, ]+) \| (\d[^|]*) \| ([^|]*) \|$", page, re.M)
check(len(rows) > 8, "only %d rows of kinds were read" % len(rows))
for kinds, statuses, codes in rows:
    for kind in kinds.split(", "):
        check(kind_status.get(kind) in re.findall(r"\d{3}", statuses),
              "docs/api.md: kind %s has status %s" % (kind, kind_status.get(kind)))
    for code in re.findall(r"`(\w+)`", codes):
        check(code in raised, "docs/api.md: no code %s" % code)
        check(raised.get(code, set()) & set(kinds.split(", ")),
              "docs/api.md: %s is of kind %s" % (code, sorted(raised.get(code, []))))
        check(status_of.get(code, statuses) in statuses,
              "docs/api.md: %s has status %s" % (code, status_of.get(code)))
for kind in sorted(set(kind_status) - {"none", "cancelled"}):
    check(any(kind in row[0].split(", ") for row in rows), "docs/api.md: no row for kind %s" % kind)
for code in sorted(status_of):
    check("`%s`" % code in page, "docs/api.md: %s (%s) is not told" % (code, status_of[code]))

for failure in failures:
    print("FAIL", failure)
sys.exit(bool(failures))
