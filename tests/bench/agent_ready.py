#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time from exec to "agent ready" of what vmd really boots, on each monitor.

usage: agent_ready.py ROUNDS STATE-DIR IMAGE [PROGRAM ...]
Runs in the lab, as root; PATH holds vmd, vmctl and vmd-monitor. vmd creates and starts a VM of the image once; its vm.json
(command line, devices) is what is measured: each round boots it with vmd-monitor,
with qemu-system-x86_64 -M microvm,rtc=on and with the same QEMU without the clock
chip, in turns, each with a fresh copy of the disk, and speaks the opening of the
agent's protocol (agent/wire.h) with the guest. QEMU gets the same words, but for
the agent's channel: it has no vsock of its own.

Prints one JSON object: for each program the sorted times in milliseconds, and the
exits of its last round as KVM counted them; for vmd-monitor its own counts too.
"""
import contextlib
import json
import os
import pathlib
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

from lab import DEADLINE_S, Daemon, image_files, scratch_state

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MAGIC = 0x31414D56
HEADER = struct.Struct("<IBBHII")
SYNC = bytes(32768 + 16)
POLL_S = 0.1
VSOCK_PORT = int(re.search(r"WIRE_VSOCK_PORT = (\d+)",
                           (TOP / "agent/wire.h").read_text()).group(1))
KVM_COUNTS = ["exits", "pf_fixed", "io_exits", "mmio_exits", "halt_exits", "irq_exits",
              "signal_exits", "insn_emulation"]


def hello(nonce):
    payload = struct.pack("<H", 1) + nonce
    return HEADER.pack(MAGIC, 1, 0, 0, 0, len(payload)) + payload


def wait_ack(sock, nonce, end):
    """Sends SYNC and HELLO, reads until the HELLO_ACK with our nonce; False: hung up."""
    out, seen = SYNC + hello(nonce), b""
    while time.monotonic() < end:
        readable, writable, _ = select.select([sock], [sock] if out else [], [], 1)
        if writable:
            out = out[sock.send(out):]
        if readable:
            got = sock.recv(65536)
            if not got:
                return False
            seen = (seen + got)[-4096:]
            if struct.pack("<I", MAGIC) + b"\x20" in seen and nonce in seen:
                return True
    raise RuntimeError("the agent did not answer")


def call_guest(path):
    """A connection to the agent by the monitor's vsock socket, or None: not yet."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
        sock.send(b"CONNECT %d\n" % VSOCK_PORT)
        if sock.recv(64).startswith(b"OK"):
            return sock
    except OSError:
        pass
    sock.close()
    return None


def ready_by_vsock(directory, end):
    while time.monotonic() < end:
        sock = call_guest(f"{directory}/vsock.sock")
        if sock:
            with sock, contextlib.suppress(ConnectionError):
                if wait_ack(sock, os.urandom(16), end):
                    return
        time.sleep(POLL_S)
    raise RuntimeError("the agent did not answer")


def ready_by_serial(directory, end):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/agent.sock")
        server.listen(1)
        server.settimeout(DEADLINE_S)
        yield
        with server.accept()[0] as sock:
            if not wait_ack(sock, os.urandom(16), end):
                raise RuntimeError("the agent's channel closed")


# What vmd opens itself and passes on.
FILES = [("serial", "socket_path", "serial.sock"), ("serial", "log_path", "console.log"),
         ("control", "socket_path", "control.sock"), ("vsock", "uds_path", "vsock.sock"),
         ("status", "path", "status.json")]


class Machine:
    """What vmd boots: its vm.json, with files instead of its descriptors."""

    def __init__(self, state, image, config):
        manifest, blob = image_files(state, image)
        self.config, self.root = config, blob.get("root")
        self.disk_bytes = manifest.get("disk_bytes", 0)
        self.kernel, self.initrd = str(blob["kernel"]), str(blob["initrd"])
        self.words = config["boot-source"]["boot_args"]

    def disk(self, directory):
        path = f"{directory}/disk.img"
        subprocess.run(["cp", "--sparse=always", self.root, path], check=True)
        os.truncate(path, self.disk_bytes)
        return path

    def monitor(self, directory, net):
        config = json.loads(json.dumps(self.config))
        config["boot-source"].update(kernel_image_path=self.kernel, initrd_path=self.initrd)
        for section, field, name in FILES:
            if field in config.get(section, {}):
                config[section][field] = name
        for drive in config.get("drives", []):
            drive["path_on_host"] = self.disk(directory)
        for interface in config.get("network-interfaces", []):
            interface["passt_socket"] = f"fd:{net}"
        pathlib.Path(directory, "vm.json").write_text(json.dumps(config))
        return ["vmd-monitor", "--config", "vm.json"]

    def qemu(self, machine, directory, net):
        size = self.config["machine-config"]
        argv = ["qemu-system-x86_64", "-M", machine, "-accel", "kvm", "-cpu", "host",
                "-m", str(size["mem_size_mib"]), "-smp", str(size["vcpu_count"]),
                "-nodefaults", "-no-user-config", "-display", "none",
                "-kernel", self.kernel, "-initrd", self.initrd,
                "-append", self.words.replace("vmd.agent=vsock", "vmd.agent=serial"),
                "-serial", "file:console.log", "-device", "virtio-rng-device",
                "-device", "virtio-serial-device,id=s0",
                "-chardev", "socket,id=a,path=agent.sock",
                "-device", "virtserialport,id=p0,bus=s0.0,chardev=a,name=org.vmd.agent.0"]
        if self.root:
            argv += ["-drive", f"id=d,if=none,format=raw,file={self.disk(directory)}",
                     "-device", "virtio-blk-device,drive=d"]
        if self.config.get("network-interfaces"):
            argv += ["-netdev", f"stream,id=n,addr.type=fd,addr.str={net}",
                     "-device", "virtio-net-device,netdev=n"]
        return argv


def kvm_counts(pid):
    """KVM's own counts of the process's VM, where debugfs is to be had."""
    for directory in pathlib.Path("/sys/kernel/debug/kvm").glob(f"{pid}-*"):
        return {name: int((directory / name).read_text()) for name in KVM_COUNTS
                if (directory / name).exists()}
    return {}


def own_counts(directory):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{directory}/control.sock")
        sock.send(b'{"action":"stats"}\n')
        return json.loads(sock.makefile().readline())


def once(name, machine, scratch):
    """Milliseconds to the agent's answer, and the counts of exits by then."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory, contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        stack.enter_context(theirs)
        ready = None
        if name == "monitor":
            argv = machine.monitor(directory, theirs.fileno())
        else:
            argv = machine.qemu(name, directory, theirs.fileno())
            ready = ready_by_serial(directory, time.monotonic() + DEADLINE_S)
            next(ready)
        start = time.monotonic()
        process = subprocess.Popen(argv, cwd=directory, stdin=subprocess.DEVNULL,
                                   pass_fds=[theirs.fileno()])
        try:
            if ready:
                for _ in ready:
                    pass
            else:
                ready_by_vsock(directory, start + DEADLINE_S)
            ms = (time.monotonic() - start) * 1000
            counts = {"kvm": kvm_counts(process.pid)}
            if not ready:
                counts["monitor"] = own_counts(directory)
            return ms, counts
        except Exception:
            with open(f"{directory}/console.log", errors="replace", encoding="utf-8") as log:
                sys.stderr.write(log.read()[-3000:])
            raise
        finally:
            process.kill()
            process.wait()


def config_of_daemon(scratch, state, image):
    """Lets vmd start a VM of the image; its vm.json."""
    with Daemon(scratch, state) as daemon:
        daemon.run("create", "--name", "bench", "--cpus", "1", "--memory", "256M", "--engine",
                   "microvm", image)
        daemon.run("start", "bench")
        return json.loads(next(daemon.run_dir.rglob("vm.json")).read_text())


PROGRAMS = ("monitor", "microvm,rtc=on", "microvm")


def main():
    rounds, source, image = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    programs = sys.argv[4:] or PROGRAMS
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=False,
                   stderr=subprocess.DEVNULL)
    times, counts = {name: [] for name in programs}, {}
    with scratch_state(source, image) as (scratch, state):
        machine = Machine(state, image, config_of_daemon(scratch, state, image))
        # The first one of each reads programs and libraries from a slow disk.
        for name in programs:
            once(name, machine, scratch)
        for _ in range(rounds):
            for name in programs:
                ms, counts[name] = once(name, machine, scratch)
                times[name].append(ms)
                print(f"{name}: {ms:.0f} ms", flush=True)
    print("RESULT " + json.dumps({
        "words": machine.words, "counts": counts,
        "times": {name: sorted(ms) for name, ms in times.items()}}))


main()
