#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time from exec to "agent ready", the same kernel and initrd on each monitor.

usage: agent_ready.py ROUNDS KERNEL INITRD CMDLINE   (PATH holds vmd-monitor)
Each round runs vmd-monitor, qemu-system-x86_64 -M microvm, and the same QEMU with
the clock chip on, all with KVM, one vCPU and 256 MiB, and speaks the opening of the
agent's protocol (agent/wire.h) with each. Prints one JSON object: for each program
the sorted times in milliseconds.

The third program is there to be fair: without the chip, which is how microvm starts
with KVM, a stock kernel waits about ten seconds for it.
"""
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

MAGIC = 0x31414D56
HEADER = struct.Struct("<IBBHII")
SYNC = bytes(32768 + 16)
DEADLINE_S = 300


def hello(nonce):
    payload = struct.pack("<H", 1) + nonce
    return HEADER.pack(MAGIC, 1, 0, 0, 0, len(payload)) + payload


def wait_ack(sock, nonce, end):
    """Sends SYNC and HELLO, reads until the HELLO_ACK with our nonce."""
    out, seen = SYNC + hello(nonce), b""
    while time.monotonic() < end:
        readable, writable, _ = select.select([sock], [sock] if out else [], [], 1)
        if writable:
            out = out[sock.send(out):]
        if readable:
            got = sock.recv(65536)
            if not got:
                raise RuntimeError("the agent's channel closed")
            seen = (seen + got)[-4096:]
            if struct.pack("<I", MAGIC) + b"\x20" in seen and nonce in seen:
                return
    raise RuntimeError("the agent did not answer")


def call_guest(directory, end):
    """As the daemon does: calls the agent's port until somebody answers."""
    while time.monotonic() < end:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(f"{directory}/v.sock")
            sock.sendall(b"CONNECT 1000\n")
            sock.settimeout(10)
            answer = b""
            while not answer.endswith(b"\n"):
                got = sock.recv(1)
                if not got:
                    raise ConnectionError
                answer += got
            return sock
        except OSError:
            sock.close()
        select.select([], [], [], 0.02)
    raise RuntimeError("the guest did not listen")


def listen(directory):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"{directory}/agent.sock")
    sock.listen(1)
    sock.settimeout(DEADLINE_S)
    return lambda _directory, _end: sock.accept()[0]


def run_monitor(directory, kernel, initrd, cmdline):
    config = {
        "boot-source": {"kernel_image_path": kernel, "initrd_path": initrd,
                        "boot_args": cmdline},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 256},
        "vsock": {"guest_cid": 3, "uds_path": "v.sock"},
        "entropy": {},
        "serial": {"log_path": "console.log"},
    }
    with open(f"{directory}/vm.json", "w", encoding="ascii") as file:
        json.dump(config, file)
    return call_guest, ["vmd-monitor", "--config", "vm.json"]


def run_qemu(machine):
    def arguments(_, kernel, initrd, cmdline):
        return None, [
            "qemu-system-x86_64", "-M", machine, "-accel", "kvm", "-cpu", "host",
            "-m", "256", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", kernel, "-initrd", initrd, "-append", cmdline,
            "-serial", "file:console.log", "-device", "virtio-rng-device",
            "-device", "virtio-serial-device,id=s0",
            "-chardev", "socket,id=a,path=agent.sock",
            "-device", "virtserialport,id=p0,bus=s0.0,chardev=a,name=org.vmd.agent.0"]
    return arguments


def once(runner, arguments):
    with tempfile.TemporaryDirectory() as directory:
        connect, argv = runner(directory, *arguments)
        connect = connect or listen(directory)
        start = time.monotonic()
        process = subprocess.Popen(argv, cwd=directory, stdin=subprocess.DEVNULL)
        try:
            sock = connect(directory, start + DEADLINE_S)
            wait_ack(sock, os.urandom(16), start + DEADLINE_S)
            return (time.monotonic() - start) * 1000
        except Exception:
            with open(f"{directory}/console.log", errors="replace") as log:
                sys.stderr.write(log.read()[-3000:])
            raise
        finally:
            process.kill()
            process.wait()


PROGRAMS = {"monitor": run_monitor, "microvm": run_qemu("microvm"),
            "microvm_rtc": run_qemu("microvm,rtc=on")}


def main():
    rounds, arguments = int(sys.argv[1]), [*sys.argv[2:4], "console=ttyS0 " + sys.argv[4]]
    times = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, runner in PROGRAMS.items():
            times[name].append(once(runner, arguments))
    print("AGENT-READY " + json.dumps({name: sorted(ms) for name, ms in times.items()}))


main()
