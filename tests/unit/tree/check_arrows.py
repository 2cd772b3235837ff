#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every #include line and fails on an arrow that points the wrong way.

The arrows are those of docs/design.md. An entry may name a folder or a single
header. Also refuses files over 500 lines and headers without a guard. Proves
on a planted tree that it can fail before it judges the real one.
"""
import pathlib
import re
import sys
import tempfile

ARROWS = {
    "base": {"base"},
    "agent": {"agent"},
    "virtio": {"virtio", "base"},
    "images": {"images", "base"},
    "api": {"api", "base"},
    "monitor": {"monitor", "virtio", "images", "base"},
    # The wire protocol is what vmd and the guest agent share, nothing else.
    "vmd": {"vmd", "api", "images", "base", "agent/wire.h"},
    # Both ends of a copy make and unpack archives with the same code.
    "vmctl": {"vmctl", "api", "base", "agent/tar.h"},
}
MAX_LINES = 500
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def check(root):
    problems = []
    for folder, allowed in ARROWS.items():
        for path in sorted((root / folder).rglob("*.[ch]")):
            name = path.relative_to(root)
            lines = path.read_text().splitlines()
            if len(lines) > MAX_LINES:
                problems.append(f"{name}: {len(lines)} lines, split it at {MAX_LINES}")
            if path.suffix == ".h" and not any(l.startswith("#ifndef ") for l in lines):
                problems.append(f"{name}: header without an include guard")
            for number, line in enumerate(lines, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(1)
                if "/" not in target:
                    problems.append(f'{name}:{number}: "{target}": write the path from the root')
                elif target not in allowed and target.split("/")[0] not in allowed:
                    problems.append(f"{name}:{number}: {folder} must not include {target}")
    return problems


def self_test():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        (root / "vmd").mkdir()
        (root / "vmd/bad.c").write_text('#include "monitor/vm.h"\n#include "x.h"\n')
        (root / "vmd/bad.h").write_text("int x;\n" * (MAX_LINES + 1))
        assert len(check(root)) == 4, check(root)
        (root / "vmd/bad.c").write_text('#include "agent/wire.h"\n#include "base/err.h"\n')
        (root / "vmd/bad.h").unlink()
        assert not check(root), check(root)


self_test()
found = check(pathlib.Path(sys.argv[1]))
for problem in found:
    print(problem)
sys.exit(1 if found else 0)
