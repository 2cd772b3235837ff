#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The picture of a VM's states in the documentation is the one that the table makes.

usage: picture.py VM_PICTURE SOURCE_ROOT [--write]"""
import pathlib
import subprocess
import sys

PICTURES = {"life": "docs/daemon.md", "overview": "docs/daemon.md",
            "states": "docs/vm-states.md"}


def replaced(text, what, picture):
    """The text with that picture between its marks, or None without the marks."""
    begin, end = f"<!-- vm_picture {what} -->\n", f"<!-- end of {what} -->\n"
    head, mark, rest = text.partition(begin)
    old, end_mark, tail = rest.partition(end)
    if not mark or not end_mark:
        return None
    return f"{head}{begin}\n{picture}\n{end}{tail}"


def main():
    program, root = sys.argv[1], pathlib.Path(sys.argv[2])
    bad = 0
    for what, name in PICTURES.items():
        picture = subprocess.run([program, what], check=True, capture_output=True,
                                 text=True, timeout=20).stdout
        path = root / name
        text = path.read_text(encoding="utf-8")
        new = replaced(text, what, picture)
        if new is None or picture.count("\n") < 5:
            print(f"{name}: no place for the picture '{what}', or no picture")
            bad += 1
        elif new != text and "--write" in sys.argv:
            path.write_text(new, encoding="utf-8")
        elif new != text:
            print(f"{name}: '{what}' is not what the table says; run\n"
                  f"  tests/unit/vmd/vm/picture.py {program} {root} --write")
            bad += 1
    return 1 if bad else 0


sys.exit(main())
