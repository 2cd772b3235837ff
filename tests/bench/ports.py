#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Published ports: through the guest's agent, and through passt's own forward.

usage: ports.py STATE-DIR IMAGE SERVICES ROUNDS MIB ENGINE...
As root; PATH holds vmd, vmctl and vmd-monitor. SERVICES is the program made of
port_services.c. One VM of the image on each engine. On QEMU its passt is replaced, by
hand, by one that forwards the same ports of the same guest: the two ways are measured
in turns. Beside the times: the processor time of the engine and of who forwards (vmd or
passt), which a busy machine changes less. Prints one JSON object: for each engine and way
the figures of all rounds, sorted.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from lab import DEADLINE_S, Daemon, scratch_state

ECHO, TAKE, GIVE = 7, 9, 19
ENGINES = {"qemu": "qemu-system", "microvm": "vmd-monitor"}
REQUESTS, CONNECTS, LOADED = 300, 100, 60
PARALLEL, PARALLEL_REQUESTS = 50, 10
SMALL = bytes(64)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=120)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_exactly(s, n):
    got = 0
    while got < n:
        piece = s.recv(min(262144, n - got))
        if not piece:
            raise RuntimeError(f"{got} of {n} bytes, then the end")
        got += len(piece)


def request(s):
    """Milliseconds of one small request."""
    start = time.monotonic()
    s.sendall(SMALL)
    read_exactly(s, len(SMALL))
    return 1000 * (time.monotonic() - start)


def requests(ports, count):
    with connect(ports[ECHO]) as s:
        return [request(s) for _ in range(count)]


def connects(ports):
    times = []
    for _ in range(CONNECTS):
        start = time.monotonic()
        with connect(ports[ECHO]) as s:
            request(s)
        times.append(1000 * (time.monotonic() - start))
    return times


def bulk_in(ports, size):
    """MB/s to the guest; the end of the clock is its answer."""
    block = bytes(262144)
    start = time.monotonic()
    with connect(ports[TAKE]) as s:
        for _ in range(size // len(block)):
            s.sendall(block)
        s.shutdown(socket.SHUT_WR)
        (got,) = struct.unpack("<Q", s.recv(8, socket.MSG_WAITALL))
    if got != size:
        raise RuntimeError(f"{got} of {size} bytes arrived")
    return size / 1e6 / (time.monotonic() - start)


def bulk_out(ports, size):
    start = time.monotonic()
    with connect(ports[GIVE]) as s:
        s.sendall(struct.pack("<Q", size))
        read_exactly(s, size)
    return size / 1e6 / (time.monotonic() - start)


def loaded(ports, bulk):
    """Small requests beside a stream that never ends."""
    stop = threading.Event()

    def load():
        while not stop.is_set():
            bulk(ports, 4 << 20)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        return requests(ports, LOADED)
    finally:
        stop.set()
        thread.join()


def parallel(ports):
    """Requests per second of many connections at once."""
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        all_ = [stack.enter_context(connect(ports[ECHO])) for _ in range(PARALLEL)]
        for _ in range(PARALLEL_REQUESTS):
            for s in all_:
                s.sendall(SMALL)
            for s in all_:
                read_exactly(s, len(SMALL))
    return PARALLEL * PARALLEL_REQUESTS / (time.monotonic() - start)


def cpu_ms(pids):
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def measure(ports, pids, size):
    kinds = {"request_ms": (lambda: requests(ports, REQUESTS), REQUESTS),
             "connect_ms": (lambda: connects(ports), CONNECTS),
             "beside_in_ms": (lambda: loaded(ports, bulk_in), None),
             "beside_out_ms": (lambda: loaded(ports, bulk_out), None),
             "in_mbs": (lambda: [bulk_in(ports, size)], size / 1e6),
             "out_mbs": (lambda: [bulk_out(ports, size)], size / 1e6),
             "parallel_rps": (lambda: [parallel(ports)], PARALLEL * PARALLEL_REQUESTS)}
    result = {}
    for kind, (run, units) in kinds.items():
        before = cpu_ms(pids)
        result[kind] = run()
        if units:
            result[f"{kind.split('_')[0]}_cpu_ms"] = [(cpu_ms(pids) - before) / units]
    return result


def marked(daemon, name, program):
    """A process of a VM, by the mark of its run directory."""
    vm_id = json.loads(daemon.run("inspect", name).stdout)["id"]
    mark = f"VMD_RUN={daemon.run_dir}/vms/{vm_id}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith(program) and \
                    mark in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return int(pid)
    raise RuntimeError(f"the VM has no {program}")


@contextlib.contextmanager
def passt_forward(daemon, name, ports):
    """The guest's network is a passt of ours, which forwards the ports."""
    vm_id = json.loads(daemon.run("inspect", name).stdout)["id"]
    old = marked(daemon, name, "passt")
    words = pathlib.Path(f"/proc/{old}/cmdline").read_bytes().decode().split("\0")[1:-1]
    words[words.index("--fd") + 1] = "{}"
    for guest, host in ports.items():
        words += ["--tcp-ports", f"127.0.0.1/{host}:{guest}"]
    # Before vmd starts another one, which then waits for its turn at QEMU.
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        os.kill(old, signal.SIGKILL)
        link = socket.socket(socket.AF_UNIX)
        link.connect(f"{daemon.run_dir}/vms/{vm_id}/net.sock")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        mine = subprocess.Popen(["passt"] + [w.format(link.fileno()) for w in words],
                                pass_fds=[link.fileno()], stdin=subprocess.DEVNULL)
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    try:
        yield mine.pid
    finally:
        mine.kill()
        mine.wait()
        link.close()


def start(daemon, engine, image, services):
    ports = {guest: free_port() for guest in (ECHO, TAKE, GIVE)}
    words = [w for guest, host in ports.items() for w in ("-p", f"{host}:{guest}")]
    daemon.run("create", "--name", engine, "--memory", "256M", "--engine", engine,
               "--timeout", f"{DEADLINE_S}s", *words, image)
    daemon.run("start", engine)
    daemon.run("wait", engine, "--for", "ready", "--timeout", f"{DEADLINE_S}s")
    daemon.run("cp", services, f"{engine}:/tmp/port-services")
    daemon.run("exec", engine, "--", "/tmp/port-services")
    return ports


def until_served(port):
    end = time.monotonic() + 60
    while True:
        try:
            with connect(port) as s:
                s.settimeout(2)
                request(s)
                return
        except (OSError, RuntimeError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def main():
    source, image, services, rounds, size = sys.argv[1:6]
    size = int(size) << 20
    rounds = int(rounds)
    ways, pids, results = {}, {}, {}
    with scratch_state(source, image) as (scratch, state), Daemon(scratch, state) as daemon, \
            contextlib.ExitStack() as stack:
        for engine in sys.argv[6:]:
            ways[f"{engine} agent"] = start(daemon, engine, image, services)
            pids[f"{engine} agent"] = [daemon.process.pid,
                                       marked(daemon, engine, ENGINES[engine])]
        if "qemu" in sys.argv[6:]:
            ways["qemu passt"] = {guest: free_port() for guest in (ECHO, TAKE, GIVE)}
            passt = stack.enter_context(passt_forward(daemon, "qemu", ways["qemu passt"]))
            pids["qemu passt"] = [passt, pids["qemu agent"][1]]
        for way, ports in ways.items():
            until_served(ports[ECHO])
            results[way] = {}
        for _ in range(rounds):
            for way, ports in ways.items():
                for what, values in measure(ports, pids[way], size).items():
                    results[way].setdefault(what, []).extend(values)
        for way, result in results.items():
            for what, every in result.items():
                every.sort()
                print(f"{way}: {what}: p50 {every[len(every) // 2]:.3f}, "
                      f"p99 {every[min(len(every) - 1, len(every) * 99 // 100)]:.3f}, "
                      f"least {every[0]:.3f}", flush=True)
    print("RESULT " + json.dumps(results))


main()
