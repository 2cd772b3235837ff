#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots a real kernel with vmd-agent as /init under QEMU's emulation.

    agent_boot.py AGENT [KERNEL MODULES_DIR [BUSYBOX]]

KERNEL is Debian's vmlinuz of the cloud flavour, MODULES_DIR the directory
lib/modules/VERSION of the same package. Without them those of VMD_TEST_KERNEL
and VMD_TEST_MODULES, or of the installed package, are taken. Prints the time from exec of QEMU to
the answered HELLO. Covers: module loading, virtio-serial, host disconnects,
root switch to an ext4 disk, network, exec, tty, power off.
"""
import glob
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agent_wire as wire  # noqa: E402

MODULES = [
    ("10", "drivers/virtio/virtio_ring"), ("11", "drivers/virtio/virtio"),
    ("20", "drivers/virtio/virtio_mmio"),
    ("21", "drivers/virtio/virtio_pci_modern_dev"),
    ("22", "drivers/virtio/virtio_pci_legacy_dev"),
    ("23", "drivers/virtio/virtio_pci"), ("30", "drivers/block/virtio_blk"),
    ("40", "net/core/failover"), ("41", "drivers/net/net_failover"),
    ("42", "drivers/net/virtio_net"), ("50", "net/vmw_vsock/vsock"),
    ("51", "net/vmw_vsock/vmw_vsock_virtio_transport_common"),
    ("52", "net/vmw_vsock/vmw_vsock_virtio_transport"),
    ("60", "drivers/char/virtio_console"),
    ("70", "drivers/char/hw_random/virtio-rng"),
]
failures = []


def check(what, ok, seen=None):
    print("%s %s%s" % ("ok  " if ok else "FAIL", what,
                       "" if ok else ": saw %r" % (seen,)), flush=True)
    if not ok:
        failures.append(what)


def skip(reason):
    print("SKIP " + reason)
    sys.exit(77)


def add_busybox(root, busybox):
    os.makedirs(root + "/bin", exist_ok=True)
    shutil.copy(busybox, root + "/bin/busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True,
                               text=True, check=True).stdout.split():
        if name != "busybox":
            os.symlink("busybox", root + "/bin/" + name)


def build(work, agent, modules, busybox):
    root = work + "/root"
    os.makedirs(root + "/modules")
    os.makedirs(root + "/etc")
    shutil.copy(agent, root + "/init")
    for order, name in MODULES:
        base = os.path.basename(name)
        shutil.copy("%s/kernel/%s.ko" % (modules, name),
                    "%s/modules/%s-%s.ko" % (root, order, base))
    add_busybox(root, busybox)
    with open(root + "/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\n"
                "guest:x:1000:1000::/tmp:/bin/sh\n")
    subprocess.run("find . | cpio --quiet -o -H newc | gzip -1 > ../initrd",
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
        self.host = wire.Host(wire.connect_unix(self.path), timeout=120)
        return self.host.hello(junk)

    def wait_exit(self):
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()


def exercise(g, tiny):
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
    check("root is " + ("the initramfs" if tiny else "ext4"),
          (kind not in (b"tmpfs", b"ramfs")) != tiny, r)
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


def one(work, kernel, words, tiny):
    g = Guest(work, kernel, words)
    try:
        version, boot_ns, release = g.connect()
        print("     ready: %.2f s after exec of QEMU, %.2f s after the "
              "kernel's start, Linux %s" % (time.monotonic() - g.start,
                                            boot_ns / 1e9, release))
        exercise(g, tiny)
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


def find_kernel():
    kernel = os.environ.get("VMD_TEST_KERNEL")
    modules = os.environ.get("VMD_TEST_MODULES")
    if kernel and modules:
        return kernel, modules
    for kernel in sorted(glob.glob("/boot/vmlinuz-*-cloud-amd64")):
        modules = "/lib/modules/" + kernel.split("vmlinuz-")[1]
        if os.path.isdir(modules):
            return kernel, modules
    skip("no linux-image-cloud-amd64: set VMD_TEST_KERNEL, VMD_TEST_MODULES")


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: agent_boot.py AGENT [KERNEL MODULES_DIR [BUSYBOX]]")
    agent = sys.argv[1]
    kernel, modules = find_kernel() if len(sys.argv) < 4 else sys.argv[2:4]
    busybox = sys.argv[4] if len(sys.argv) > 4 else "/bin/busybox"
    for tool in ("qemu-system-x86_64", "cpio", "mke2fs"):
        if not shutil.which(tool):
            skip(tool + " is not installed")
    for path in (agent, kernel, modules, busybox):
        if not os.path.exists(path):
            skip(path + " is missing")
    with tempfile.TemporaryDirectory() as work:
        build(work, agent, modules, busybox)
        print("---- the initramfs is the root")
        one(work, kernel, "", True)
        print("---- root on a disk")
        one(work, kernel, "vmd.root=/dev/vda vmd.init=agent", False)
        print("---- root on a disk, its own init, agent as a service")
        one(work, kernel, "vmd.root=/dev/vda vmd.init=system", False)
    print("%d failed" % len(failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
