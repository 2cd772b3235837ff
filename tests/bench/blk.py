#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Operations a second on a disk, as a guest reaches them on each monitor in turns.

usage: blk.py ROUNDS STATE-DIR IMAGE LOAD
Runs in the lab, as root; PATH holds vmd-monitor. The guest is the image's kernel
and initrd with the program LOAD (tests/bench/blk_load.c) as its first process. All
of them use one file, on ext4 and in the page cache: what is compared is the way to
it, not a disk. Prints one JSON object: for each program and load the sorted rates,
and the seconds of CPU of each whole run.
"""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from lab import DEADLINE_S, image_files, scratch_state

DISK_MIB = 128
WORDS = ("console=ttyS0 quiet panic=-1 reboot=t rdinit=/load cryptomgr.notests "
         "random.trust_cpu=on")
QEMU = {"qemu": ("threads", False), "qemu io_uring+iothread": ("io_uring", True)}
PROGRAMS = ("monitor", "monitor threads", *QEMU)


def cpio_of(name, data):
    """A newc archive with one executable."""
    def entry(name, data, mode):
        raw = name.encode() + b"\0"
        fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        return b"".join(part + bytes(-len(part) % 4) for part in (head, data))
    return entry(name, data, 0o100755) + entry("TRAILER!!!", b"", 0)


@contextlib.contextmanager
def disk_of(scratch):
    """A file with content on an ext4 of its own."""
    backing, mount = scratch / "ext4.img", scratch / "disk"
    with open(backing, "wb") as f:
        f.truncate((DISK_MIB * 2) << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", backing], check=True)
    mount.mkdir()
    subprocess.run(["mount", "-o", "loop", backing, mount], check=True)
    try:
        path = mount / "disk.img"
        with open(path, "wb") as f:
            for _ in range(DISK_MIB):
                f.write(os.urandom(1 << 20))
            f.flush()
            os.fsync(f.fileno())
        yield path
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


def monitor(kernel, initrd, disk, engine):
    config = {"boot-source": {"kernel_image_path": str(kernel), "initrd_path": str(initrd),
                              "boot_args": WORDS},
              "machine-config": {"vcpu_count": 1, "mem_size_mib": 256},
              "drives": [{"drive_id": "d", "path_on_host": str(disk), "is_root_device": False,
                          "cache_type": "Writeback", "io_engine": engine}]}
    pathlib.Path("vm.json").write_text(json.dumps(config))
    return ["vmd-monitor", "--config", "vm.json"]


def qemu(kernel, initrd, disk, aio, iothread):
    device = "virtio-blk-device,drive=d" + (",iothread=t" if iothread else "")
    return ["qemu-system-x86_64", "-M", "microvm,rtc=on", "-accel", "kvm", "-cpu", "host",
            "-m", "256", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", str(kernel), "-initrd", str(initrd), "-append", WORDS, "-no-reboot",
            "-serial", "stdio",
            *(["-object", "iothread,id=t"] if iothread else []),
            "-drive", f"id=d,if=none,format=raw,file={disk},aio={aio}", "-device", device]


def once(name, kernel, initrd, disk, scratch):
    """Rates of one run by (load, depth), and its seconds of CPU."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        os.chdir(directory)
        if name in QEMU:
            argv = qemu(kernel, initrd, disk, *QEMU[name])
        else:
            argv = monitor(kernel, initrd, disk, "Sync" if "threads" in name else "Async")
        before = os.times()
        out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=DEADLINE_S, check=False).stdout
        after = os.times()
        os.chdir("/")
    text = out.decode(errors="replace")
    found = re.findall(r"^LOAD (\S+) (\d+) (\d+)", text, re.M)
    if "LOADED" not in text or not found:
        raise RuntimeError(f"{name}: {text[-3000:]}")
    cpu = after.children_user + after.children_system - before.children_user - \
        before.children_system
    return {f"{load} {depth}": int(rate) for load, depth, rate in found}, cpu


def main():
    rounds, source, image, load = int(sys.argv[1]), *sys.argv[2:5]
    rates, cpus = {name: {} for name in PROGRAMS}, {name: [] for name in PROGRAMS}
    with scratch_state(source, image) as (scratch, state), disk_of(scratch) as disk:
        _, blobs = image_files(state, image)
        initrd = scratch / "initrd"
        initrd.write_bytes(blobs["initrd"].read_bytes() +
                           cpio_of("load", pathlib.Path(load).read_bytes()))
        for turn in range(rounds + 1):
            for name in PROGRAMS:
                got, cpu = once(name, blobs["kernel"], initrd, disk, scratch)
                print(f"{name}: {got}, CPU {cpu:.1f} s", flush=True)
                if not turn: # the first reads programs from a slow disk
                    continue
                cpus[name].append(cpu)
                for key, rate in got.items():
                    rates[name].setdefault(key, []).append(rate)
    print("RESULT " + json.dumps({
        "rates": {n: {k: sorted(v) for k, v in r.items()} for n, r in rates.items()},
        "cpu": {n: sorted(c) for n, c in cpus.items()}}))


main()
