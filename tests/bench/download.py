#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Downloads of a guest through vmd's default network, on each engine in turns.

usage: download.py ROUNDS STATE-DIR IMAGE MIB
Runs in the lab, as root; PATH holds vmd, vmctl and vmd-monitor. A VM of the image
on each engine; the server is in a network namespace of its own behind a veth pair,
where the default route leads. The guest takes the time, from connect to the last
byte. Prints one JSON object: for each engine the sorted rates in MiB/s.
"""
import contextlib
import json
import os
import subprocess
import sys
import time

from lab import DEADLINE_S, Daemon, scratch_state

SERVER = "10.77.0.2"
PORT = 8000
ENGINES = ("microvm", "qemu")
FETCH = f"""
use Time::HiRes "time";
use IO::Socket::INET;
$t = time;
$s = IO::Socket::INET->new("{SERVER}:{PORT}") or die "connect: $!";
print $s "GET /data HTTP/1.0\\r\\n\\r\\n";
$n += $r while $r = sysread($s, $b, 65536);
printf "%d %f", $n, time - $t;
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def outside(directory):
    """A web server that guests reach through the host's default route."""
    ip("netns", "add", "vmdoutside")
    ip("link", "add", "vmdout0", "type", "veth", "peer", "name", "eth0", "netns", "vmdoutside")
    ip("addr", "add", "10.77.0.1/24", "dev", "vmdout0")
    ip("link", "set", "vmdout0", "up")
    ip("-n", "vmdoutside", "addr", "add", f"{SERVER}/24", "dev", "eth0")
    ip("-n", "vmdoutside", "link", "set", "eth0", "up")
    ip("route", "add", "default", "via", SERVER)
    server = subprocess.Popen(["ip", "netns", "exec", "vmdoutside", "busybox", "httpd", "-f",
                               "-p", str(PORT), "-h", directory])
    try:
        yield
    finally:
        server.kill()
        server.wait()
        ip("netns", "del", "vmdoutside")


def fetch(daemon, name, size):
    """MiB/s of one download."""
    got, seconds = daemon.run("exec", name, "--", "perl", "-e", FETCH).stdout.split()
    if int(got) < size:
        raise RuntimeError(f"{name}: {got} of {size} bytes arrived")
    return size / float(seconds) / (1 << 20)


def main():
    rounds, source, image, size = (int(sys.argv[1]), sys.argv[2], sys.argv[3],
                                   int(sys.argv[4]) << 20)
    rates = {engine: [] for engine in ENGINES}
    with scratch_state(source, image) as (scratch, state), outside(scratch), \
            Daemon(scratch, state) as daemon:
        (scratch / "data").write_bytes(os.urandom(size))
        for engine in ENGINES:
            daemon.run("create", "--name", engine, "--memory", "256M", "--engine", engine,
                       "--timeout", f"{DEADLINE_S}s", image)
            daemon.run("start", engine)
            daemon.run("wait", engine, "--for", "ready", "--timeout", f"{DEADLINE_S}s")
        for _ in range(rounds + 1):
            for engine in ENGINES:
                start = time.monotonic()
                rates[engine].append(fetch(daemon, engine, size))
                print(f"{engine}: {rates[engine][-1]:.2f} MiB/s "
                      f"({time.monotonic() - start:.1f} s)", flush=True)
    # The first one of each reads programs from the disk.
    print("RESULT " + json.dumps({engine: sorted(r[1:]) for engine, r in rates.items()}))


main()
