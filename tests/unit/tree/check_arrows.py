#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every #include line and fails on an arrow that points the wrong way.

The arrows are those of docs/design.md: one row for each folder with code. A row
names what a folder may include besides itself: folders (not what lies below
them) or single headers. A folder without a row is refused, and so is a row or
an entry that nothing needs. Also refuses files over 500 lines and headers
without a guard. Proves on a planted tree that it can fail before it judges the
real one.
"""
import pathlib
import re
import sys
import tempfile

ARROWS = {
    "base": "",
    "agent": "",
    "virtio": "base",
    "virtio/blk": "virtio base",
    "virtio/net": "virtio base",
    "virtio/vsock": "virtio base",
    "images": "base",
    "api": "base",
    "api/client": "api base",

    # The monitor: machine/ puts everything together, main.c runs it.
    "monitor": "monitor/boot monitor/config monitor/lockdown monitor/machine monitor/x86 base "
               "virtio",
    "monitor/boot": "monitor/layout.h virtio/guest_mem.h base",
    "monitor/chips": "monitor/bus.h monitor/layout.h virtio/guest_mem.h base",
    "monitor/config": "monitor/layout.h monitor/vm.h base",
    "monitor/firmware": "monitor/layout.h monitor/chips virtio/guest_mem.h base",
    "monitor/lockdown": "base",
    "monitor/machine": "monitor monitor/boot monitor/chips monitor/config monitor/firmware "
                       "monitor/lockdown monitor/x86 virtio virtio/blk virtio/net virtio/vsock base",
    "monitor/x86": "monitor/boot monitor/bus.h monitor/kvm.h monitor/layout.h monitor/vcpu.h "
                   "virtio/guest_mem.h base",

    # The daemon. The wire protocol is what it shares with the guest's agent,
    # nothing else. Engines and the agent's sessions know nothing of HTTP, the
    # store or the VMs above them.
    "vmd": "vmd/engines vmd/http vmd/image vmd/priv vmd/store vmd/vm api images base",
    "vmd/priv": "vmd/id.h vmd/options.h vmd/engines/engine.h api base",
    "vmd/guest": "agent/wire.h base",
    "vmd/engines": "vmd/priv base",
    "vmd/engines/microvm": "vmd/engines vmd/priv agent/wire.h base",
    "vmd/engines/qemu": "vmd/engines vmd/priv agent/wire.h base",
    "vmd/store": "vmd/id.h api base",
    "vmd/image": "vmd/operation.h vmd/task.h base",
    "vmd/ports": "vmd/priv vmd/vm base",
    "vmd/vm": "vmd vmd/guest vmd/image vmd/ports vmd/priv agent/wire.h api base",
    "vmd/http": "vmd vmd/vm api base",
    "vmd/routes": "vmd vmd/http vmd/image vmd/vm api base",

    # Both ends of a copy make and unpack archives with the same code.
    "vmctl": "api api/client base",
    "vmctl/cmd": "vmctl api base agent/tar.h",
}
MAX_LINES = 500
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
GENERATED = ".inc"  # made beside nothing: by the build


def check_file(path, name, folder, allowed, used):
    problems = []
    lines = path.read_text().splitlines()
    if len(lines) > MAX_LINES:
        problems.append(f"{name}: {len(lines)} lines, split it at {MAX_LINES}")
    if path.suffix == ".h" and not any(l.startswith("#ifndef ") for l in lines):
        problems.append(f"{name}: header without an include guard")
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match or match.group(1).endswith(GENERATED):
            continue
        target = match.group(1)
        if "/" not in target:
            problems.append(f'{name}:{number}: "{target}": write the path from the root')
            continue
        parent = str(pathlib.PurePosixPath(target).parent)
        hit = [entry for entry in (target, parent) if entry in allowed]
        used.update((folder, entry) for entry in hit)
        if parent != folder and not hit:
            problems.append(f"{name}:{number}: {folder} must not include {target}")
    return problems


def check(root, arrows):
    problems = []
    used = set()
    tops = {folder.split("/")[0] for folder in arrows}
    for path in sorted(p for top in tops for p in (root / top).rglob("*.[ch]")):
        name = path.relative_to(root)
        folder = str(name.parent)
        if folder not in arrows:
            problems.append(f"{name}: no row says what {folder} may include")
            continue
        problems += check_file(path, name, folder, arrows[folder].split(), used)
    for folder, row in arrows.items():
        if not (root / folder).is_dir():
            problems.append(f"{folder}: a row for a folder that is not there")
        problems += [f"{folder}: nothing there includes {entry}: take it out of its row"
                     for entry in row.split() if (folder, entry) not in used]
    return problems


def self_test():
    arrows = {"vmd": "agent/wire.h vmd/http", "vmd/http": "base"}
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        (root / "vmd/http").mkdir(parents=True)
        (root / "vmd/extra").mkdir()
        good = '#include "agent/wire.h"\n#include "vmd/http/http.h"\n'
        (root / "vmd/a.c").write_text(good + '#include "monitor/vm.h"\n#include "x.h"\n')
        (root / "vmd/bad.h").write_text("int x;\n" * (MAX_LINES + 1))
        (root / "vmd/http/b.c").write_text('#include "base/err.h"\n#include "vmd/daemon.h"\n')
        (root / "vmd/extra/c.c").write_text("")
        assert len(check(root, arrows)) == 6, check(root, arrows)
        (root / "vmd/a.c").write_text(good)
        (root / "vmd/bad.h").unlink()
        (root / "vmd/http/b.c").write_text('#include "base/err.h"\n')
        (root / "vmd/extra/c.c").unlink()
        assert not check(root, arrows), check(root, arrows)
        arrows["vmd/http"] += " api"
        arrows["vmd/quota"] = ""
        assert len(check(root, arrows)) == 2, check(root, arrows)


self_test()
found = check(pathlib.Path(sys.argv[1]), ARROWS)
for problem in found:
    print(problem)
sys.exit(1 if found else 0)
