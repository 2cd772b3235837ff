#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time from exec to "agent ready", the same kernel and initrd on two monitors.

usage: agent_ready.py RUNS KERNEL INITRD CMDLINE     (PATH holds vmd-monitor)
Runs vmd-monitor and qemu-system-x86_64 -M microvm in turns, both with KVM, one
vCPU and 256 MiB, and speaks the opening of the agent's protocol (agent/wire.h) with
each. Prints one JSON object with milliseconds.
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


def listen(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(1)
    sock.settimeout(DEADLINE_S)
    return sock


def run_monitor(directory, kernel, initrd, cmdline):
    config = {
        "boot-source": {"kernel_image_path": kernel, "initrd_path": initrd,
                        "boot_args": "console=ttyS0 " + cmdline},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 256},
        "vsock": {"guest_cid": 3, "uds_path": "v.sock"},
        "entropy": {},
        "serial": {"log_path": "console.log"},
    }
    with open(f"{directory}/vm.json", "w", encoding="ascii") as file:
        json.dump(config, file)
    server = listen(f"{directory}/v.sock_1024")
    start = time.monotonic()
    process = subprocess.Popen(["vmd-monitor", "--config", "vm.json"], cwd=directory,
                               stdin=subprocess.DEVNULL)
    return start, process, lambda: server.accept()[0]


def run_qemu(directory, kernel, initrd, cmdline):
    def connect():
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            try:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(f"{directory}/agent.sock")
                return sock
            except OSError:
                time.sleep(0.002)
        raise RuntimeError("QEMU made no agent socket")

    start = time.monotonic()
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-M", "microvm,rtc=off", "-accel", "kvm", "-cpu", "host",
         "-m", "256", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none",
         "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 " + cmdline,
         "-serial", "file:console.log", "-device", "virtio-rng-device",
         "-device", "virtio-serial-device,id=s0",
         "-chardev", "socket,id=a,path=agent.sock,server=on,wait=off",
         "-device", "virtserialport,id=p0,bus=s0.0,chardev=a,name=org.vmd.agent.0"],
        cwd=directory, stdin=subprocess.DEVNULL)
    return start, process, connect


def once(runner, arguments):
    with tempfile.TemporaryDirectory() as directory:
        start, process, connect = runner(directory, *arguments)
        try:
            sock = connect()
            wait_ack(sock, os.urandom(16), start + DEADLINE_S)
            return (time.monotonic() - start) * 1000
        except Exception:
            with open(f"{directory}/console.log", errors="replace") as log:
                sys.stderr.write(log.read()[-3000:])
            raise
        finally:
            process.kill()
            process.wait()


def main():
    runs, arguments = int(sys.argv[1]), sys.argv[2:5]
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(once(run_monitor, arguments))
        theirs.append(once(run_qemu, arguments))
    ours.sort()
    theirs.sort()
    pick = lambda values, percent: values[min(len(values) - 1, len(values) * percent // 100)]
    print("AGENT-READY " + json.dumps({
        "runs": runs, "monitor_p50_ms": pick(ours, 50), "monitor_p99_ms": pick(ours, 99),
        "qemu_p50_ms": pick(theirs, 50), "qemu_p99_ms": pick(theirs, 99),
        "ratio": pick(ours, 50) / pick(theirs, 50)}))


main()
