#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots a real kernel with vmd-agent as /init under QEMU's emulation, below a
root disk with an init of its own: the agent becomes a service of that.

    agent_boot.py AGENT KERNEL INITRD

KERNEL and INITRD are those of an image of recipe tiny; AGENT takes the place of
the agent in INITRD. Prints the time from exec of QEMU to the answered HELLO.
Covers what no image of the suite does: the hand-over to another init, a host
that vanishes and comes back with junk, an idle agent meanwhile, its shutdown by
the init's signal.
"""
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, ".."))
import agent_wire as wire  # noqa: E402
from wait import connected  # noqa: E402

failures = []


def check(what, ok, seen=None):
    print("%s %s%s" % ("ok  " if ok else "FAIL", what,
                       "" if ok else ": saw %r" % (seen,)), flush=True)
    if not ok:
        failures.append(what)


def add_busybox(root, busybox):
    os.makedirs(root + "/bin", exist_ok=True)
    shutil.copy(busybox, root + "/bin/busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True,
                               text=True, check=True).stdout.split():
        if name != "busybox":
            os.symlink("busybox", root + "/bin/" + name)


def build(work, agent, initrd, busybox):
    root = work + "/root"
    os.makedirs(root + "/etc")
    shutil.copy(agent, root + "/init")
    with open(root + "/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\n"
                "guest:x:1000:1000::/tmp:/bin/sh\n")
    # A second archive behind the image's own: its files win.
    with open(initrd, "rb") as f, open(work + "/initrd", "wb") as out:
        shutil.copyfileobj(f, out)
        out.write(b"\0" * (-out.tell() % 512))
    subprocess.run("find . | cpio --quiet -o -H newc >> ../initrd",
                   shell=True, cwd=root, check=True)
    disk_root = work + "/disk-root"
    os.makedirs(disk_root + "/etc")
    add_busybox(disk_root, busybox)
    shutil.copy(root + "/etc/passwd", disk_root + "/etc/passwd")
    # A distribution's init in small: starts the service, powers off when asked
    # by systemd's signal.
    os.makedirs(disk_root + "/sbin")
    with open(disk_root + "/sbin/init", "w") as f:
        f.write("#!/bin/sh\nexport PATH=/bin\n"
                "mkdir -p /dev/pts && mount -t devpts devpts /dev/pts\n"
                "trap 'poweroff -f' 38\n"
                "/run/vmd/vmd-agent --service &\n"
                "while :; do wait; done\n")
    os.chmod(disk_root + "/sbin/init", 0o755)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", disk_root,
                    work + "/disk", "64M"], check=True)


class Guest:
    def __init__(self, work, kernel, words):
        self.console = work + "/console.log"
        path = work + "/agent.sock"
        if os.path.exists(path):
            os.unlink(path)
        self.path = path
        self.start = time.monotonic()
        self.process = subprocess.Popen([
            "qemu-system-x86_64", "-M", "q35,hpet=off", "-cpu", "max",
            "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-chardev", "file,id=con,path=" + self.console,
            "-serial", "chardev:con",
            "-device", "virtio-serial-pci,id=vs0",
            "-chardev", "socket,id=ag,path=%s,server=on,wait=off" % path,
            "-device", "virtserialport,id=ag0,bus=vs0.0,chardev=ag,name="
                       "org.vmd.agent.0",
            "-drive", "if=none,id=d0,format=raw,file=" + work + "/disk",
            "-device", "virtio-blk-pci,drive=d0",
            "-netdev", "user,id=n0,restrict=on",
            "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56",
            "-device", "virtio-rng-pci",
            "-kernel", kernel, "-initrd", work + "/initrd",
            "-append", "console=ttyS0 quiet panic=-1 tsc=reliable "
                       "no_timer_check random.trust_cpu=on "
                       "vmd.net=-,10.0.2.15/24,10.0.2.2,10.0.2.3 "
                       "vmd.hostname=lab " + words])

    def connect(self, junk=b""):
        self.host = wire.Host(connected(self.path), timeout=120)
        return self.host.hello(junk)

    def wait_exit(self):
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()


def exercise(g):
    h = g.host
    r = h.run(["sh", "-c", "cat; echo err >&2; exit 7"], stdin=b"hello")
    check("exec", r == (7, 0, b"hello", b"err\n"), r)
    r = h.run(["sh", "-c", "id -u; pwd; echo $HOME"], user="guest", cwd="/bin")
    check("user and cwd", r == (0, 0, b"1000\n/bin\n/tmp\n", b""), r)
    r = h.run(["no-such"])
    check("missing command", r[1] == "command_not_found", r)
    r = h.run(["hostname"])
    check("hostname", r[2] == b"lab\n", r)
    r = h.run(["sh", "-c", "ip addr show eth0; ip route; cat "
               "/etc/resolv.conf; ip addr show lo"])
    check("network", b"10.0.2.15/24" in r[2] and b"via 10.0.2.2" in r[2] and
          b"nameserver 10.0.2.3" in r[2] and b"127.0.0.1" in r[2], r)
    r = h.run(["sh", "-c", "stty size; tty"], flags=wire.TTY, rows=33,
              columns=99)
    check("terminal", r[2].startswith(b"33 99\r\n/dev/pts/"), r)
    r = h.run(["sh", "-c", "stat -f -c %T /; ls /modules 2>&1; mount"])
    kind = r[2].split(b"\n")[0]
    check("root is the disk", kind not in (b"tmpfs", b"ramfs"), r)
    now = time.time_ns()
    r = h.simple(wire.TIME, struct.pack("<q", now))
    check("time set", r[0] == 0, r)
    r = h.run(["date", "+%s"])
    check("time read", abs(int(r[2]) - now // 10**9) < 5, r)
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w", format=tarfile.PAX_FORMAT) as t:
        info = tarfile.TarInfo("dir/" + "n" * 120)
        info.size, info.mode = 1 << 20, 0o4751
        t.addfile(info, io.BytesIO(b"x" * (1 << 20)))
    r = h.push("/", tree.getvalue())
    check("push", r[0] == 0, r)
    r, data = h.pull("/dir")
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        m = t.getmembers()[1]
        check("pull", r[0] == 0 and m.mode == 0o4751 and m.size == 1 << 20,
              (r, m))
    start = time.monotonic()
    r = h.run(["dd", "if=/dev/zero", "bs=64k", "count=512"])
    check("32 MiB of output", len(r[2]) == 32 << 20, len(r[2]))
    print("     %.1f MiB/s" % (32 / (time.monotonic() - start)))


def reconnect(g):
    """Drop the host mid-stream; the agent must not spin and must come back."""
    g.host.open(wire.EXEC, wire.exec_payload(["yes"]))
    g.host.recv()
    g.host.sock.close()
    before = cpu_ticks(g.process.pid)
    time.sleep(1.5)  # a measuring interval, not a wait for something
    used = cpu_ticks(g.process.pid) - before
    g.connect(junk=b"VMA1\x40" + b"\xff" * 37)
    r = g.host.run(["sh", "-c", "ps | grep -c '[y]es$'"])
    check("takeover ends the old session's command", r[2].strip() == b"0", r)
    check("idle while the host is away (%d%% of a CPU)" % (used / 1.5),
          used < 90, used)


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def one(work, kernel, words):
    g = Guest(work, kernel, words)
    try:
        version, boot_ns, release = g.connect()
        print("     ready: %.2f s after exec of QEMU, %.2f s after the "
              "kernel's start, Linux %s" % (time.monotonic() - g.start,
                                            boot_ns / 1e9, release))
        exercise(g)
        reconnect(g)
        r = g.host.simple(wire.SHUTDOWN, b"\0")
        check("shutdown is answered", r[0] == 0, r)
        check("QEMU ends with 0", g.wait_exit() == 0)
    except Exception as e:
        check("the guest answers", False, e)
    finally:
        g.process.kill()
        g.process.wait()
        if failures:
            with open(g.console, errors="replace") as f:
                print("---- console\n" + f.read()[-3000:])


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: agent_boot.py AGENT KERNEL INITRD")
    agent, kernel, initrd = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        build(work, agent, initrd, shutil.which("busybox"))
        one(work, kernel, "vmd.root=/dev/vda vmd.init=system")
    print("%d failed" % len(failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
