#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of the ports that tests/e2e/port-services serves.

    port_client.py WHAT ADDRESS PORT [NUMBER]

Each WHAT is one promise; exit status 1 and a sentence when it is not kept.
"""
import hashlib
import os
import random
import select
import signal
import socket
import sys
import time

DEADLINE = 60


def connect(address, port):
    return socket.create_connection((address, port), timeout=DEADLINE)


def read_exactly(s, n):
    got = bytearray()
    while len(got) < n:
        piece = s.recv(min(65536, n - len(got)))
        if not piece:
            break
        got += piece
    return bytes(got)


def greeting(address, port):
    """A silent client is spoken to first."""
    with connect(address, port) as s:
        got = read_exactly(s, 11)
        assert got == b"220 ready\r\n", got
        s.sendall(b"HELO\r\n")
        assert read_exactly(s, 6) == b"HELO\r\n"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b"", "more than was sent came back"


def half_close(address, port, mib=4):
    """Our end is not the other direction's: all comes back after it."""
    data = random.Random(7).randbytes(mib << 20)
    with connect(address, port) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = read_exactly(s, len(data))
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest(), \
            "%d of %d bytes came back" % (len(got), len(data))
        assert s.recv(1) == b"", "more than was sent came back"


def many(address, port, count=200):
    """So many connections at once, each with its own bytes."""
    all_ = [connect(address, port) for _ in range(count)]
    for s in all_:
        assert read_exactly(s, 11) == b"220 ready\r\n"
    for i, s in enumerate(all_):
        s.sendall(b"%08d" % i)
    for i, s in enumerate(all_):
        got = read_exactly(s, 8)
        assert got == b"%08d" % i, (i, got)
    for s in all_:
        s.close()


def stands_still(address, port, pid, seconds=4):
    """The guest's engine is stopped half way, for seconds: all comes back after it."""
    data = random.Random(11).randbytes(16 << 20)
    with connect(address, port) as s:
        at = 1 << 20
        s.sendall(data[:at])
        os.kill(pid, signal.SIGSTOP)
        try:
            print("stopped", flush=True)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if select.select([], [s], [], 0.2)[1]:
                    at += s.send(data[at:at + 65536])
                assert at < len(data), "somebody keeps what nobody reads"
        finally:
            os.kill(pid, signal.SIGCONT)
        s.sendall(data[at:])
        s.shutdown(socket.SHUT_WR)
        got = read_exactly(s, len(data))
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest(), \
            "%d of %d bytes came back" % (len(got), len(data))
        assert s.recv(1) == b"", "more than was sent came back"


def short(address, port, count=2000):
    """So many connections, one after the other."""
    for i in range(count):
        with connect(address, port) as s:
            assert read_exactly(s, 11) == b"220 ready\r\n"
            s.sendall(b"%08d" % i)
            assert read_exactly(s, 8) == b"%08d" % i


def reset(address, port):
    """The connection is reset, and soon."""
    start = time.monotonic()
    try:  # it may come before connect() has returned
        with connect(address, port) as s:
            got = s.recv(1)
            raise AssertionError("an end where a reset was due: %r" % got)
    except ConnectionResetError:
        pass
    assert time.monotonic() - start < DEADLINE / 2, "it took too long"


def waits(address, port):
    """Nobody reads: our writes wait, nothing ends."""
    with connect(address, port) as s:
        s.settimeout(1)
        sent = 0
        try:
            while True:
                sent += s.send(bytes(65536))
                assert sent < 64 << 20, "somebody keeps what nobody reads"
        except socket.timeout:
            pass


def udp(address, port):
    """Each datagram comes back as it was."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((address, port))
        for n in (1, 1400, 9000, 0, 60000):
            data = random.Random(n).randbytes(n)
            for _ in range(10):  # any of them may be lost
                s.send(data)
                try:
                    got = s.recv(65536)
                except socket.timeout:
                    continue
                assert got == data, "%d bytes, %d came back" % (n, len(got))
                break
            else:
                raise AssertionError("no answer to %d bytes" % n)


if __name__ == "__main__":
    what, host, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    globals()[what](host, number, *map(int, sys.argv[4:]))
