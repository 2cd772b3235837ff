#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host that breaks the protocol in every way we could think of.

    test_hostile.py AGENT

After each attack the agent must still be alive, answer a HELLO, run a command,
and have no child or descriptor left over from the attack.
"""
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../e2e"))
sys.path.insert(0, os.path.join(HERE, "../.."))
import agent_wire as wire  # noqa: E402
from wait import until  # noqa: E402

EXEC = wire.exec_payload(["cat"], env=["A=b"], cwd="/", user="",
                         flags=wire.STDIN)
OPENERS = {wire.EXEC: EXEC, wire.PUSH: wire.text("/nonexistent/x"),
           wire.PULL: wire.text("/nonexistent/x"), wire.TIME: bytes(8),
           wire.NET: wire.text("") * 4 + bytes(4), wire.SHUTDOWN: b"\0",
           wire.DIAL: wire.dial_payload(wire.TCP, 1)}
ON_STREAM = {wire.SIGNAL: 4, wire.RESIZE: 4, wire.WINDOW_ADD: 4}


class Target:
    def __init__(self):
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.argv[1], "--fd", str(theirs.fileno()), "--console",
             "/dev/null"], pass_fds=[theirs.fileno()])
        theirs.close()
        self.host = wire.Host(ours, timeout=20)
        self.host.hello()
        self.fds = self.count_fds()

    def count_fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def children(self):
        pid = self.process.pid
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return f.read().split()

    def still_well(self):
        assert self.process.poll() is None, "ended: %r" % self.process.poll()
        self.host.hello()
        r = self.host.run(["sh", "-c", "cat; exit 5"], stdin=b"x")
        assert r == (5, 0, b"x", b""), r
        until(lambda: not self.children(), "the agent has no child left")
        until(lambda: self.count_fds() == self.fds,
              "the agent has its %d descriptors again" % self.fds)

    def result(self, stream):
        while True:
            kind, _, s, p = self.host.recv()
            if s == stream and kind == wire.RESULT:
                return wire.parse_result(p)
            if s == stream and kind == wire.EXIT:
                raise AssertionError("EXIT where a RESULT was due")

    def cat(self, stream, flags=wire.STDIN):
        self.host.send(wire.EXEC, stream,
                       wire.exec_payload(["cat"], flags=flags))
        kind, _, s, _ = self.host.recv()
        assert (kind, s) == (wire.STARTED, stream), (kind, s)


def bad(r, code="bad_request"):
    assert r[0] and r[1] == code, r


def attack_truncated_requests(t):
    stream = 100
    for kind, payload in OPENERS.items():
        for cut in range(len(payload)):
            stream += 1
            t.host.send(kind, stream, payload[:cut])
            bad(t.result(stream))
        stream += 1
        # Behind the path of a PUSH come its flags, of which one is known.
        more = b"\2" if kind == wire.PUSH else b"\0"
        t.host.send(kind, stream, payload + more)
        bad(t.result(stream))


def attack_malformed_frames_on_a_stream(t):
    stream = 100
    for kind, size in ON_STREAM.items():
        for n in list(range(size)) + [size + 1, 1000]:
            stream += 1
            t.cat(stream)
            t.host.send(kind, stream, bytes(n), 1)
            bad(t.result(stream))
    for kind, payload, channel in (
            (wire.SIGNAL, struct.pack("<I", 0), 0),
            (wire.SIGNAL, struct.pack("<I", 65), 0),
            (wire.SIGNAL, b"\xff" * 4, 0),
            (wire.RESIZE, bytes(4), 0),  # no terminal
            (wire.WINDOW_ADD, struct.pack("<I", 5), 0),
            (wire.WINDOW_ADD, struct.pack("<I", 5), 3),
            (wire.WINDOW_ADD, struct.pack("<I", 5), 255),
            (wire.WINDOW_ADD, b"\xff" * 4, 1),
            (wire.DATA, b"x", 1), (wire.DATA, b"x", 2), (wire.DATA, b"x", 9),
            (wire.EOF, b"x", 0), (wire.EOF, b"", 1)):
        stream += 1
        t.cat(stream)
        t.host.send(kind, stream, payload, channel)
        bad(t.result(stream))


def attack_unknown_and_misdirected_types(t):
    for kind in range(256):
        if kind in (1, 12) or kind in OPENERS or \
                kind in (wire.STATUS, wire.EXEC_PART):
            continue
        if kind in (wire.DATA, wire.EOF, wire.WINDOW_ADD, wire.CLOSE):
            continue
        t.host.send(kind, 0, b"x" * 50)
        t.host.send(kind, 5000, b"x" * 50)
        t.cat(1000 + kind)
        t.host.send(kind, 1000 + kind, b"x" * 50)
        bad(t.result(1000 + kind))


def attack_exec_contents(t):
    stream = 100
    for payload in (wire.exec_payload([]), wire.exec_payload([""]),
                    wire.exec_payload(["a\0b"]),
                    wire.exec_payload(["true"], flags=8),
                    wire.exec_payload(["true"], flags=0xffffffff),
                    wire.exec_payload(["true"], env=["x"]),
                    wire.exec_payload(["true"], env=["=x"]),
                    wire.exec_payload(["true"], cwd="a\0b"),
                    struct.pack("<IIHH", 0, 0, 0, 0) + b"\xff" * 4,
                    struct.pack("<IIHHII", 0, 0, 0, 0, 0, 0) + b"\xff" * 4):
        stream += 1
        t.host.send(wire.EXEC, stream, payload)
        bad(t.result(stream))


def attack_credit_overrun(t):
    # cat is stopped from writing: nobody gives it credit.
    t.cat(7)
    for _ in range(64):
        t.host.send(wire.DATA, 7, bytes(32768))
    bad(t.result(7))


def attack_64_streams_and_more(t):
    for i in range(1, 65):
        t.cat(i)
    for i in range(65, 80):
        t.host.send(wire.EXEC, i, EXEC)
        bad(t.result(i), "too_many_streams")
    for i in range(65, 70):
        t.host.send(wire.PULL, i, wire.text("/etc"))
        bad(t.result(i), "too_many_streams")


def attack_dial_contents(t):
    stream = 100
    for payload in (wire.dial_payload(wire.TCP, 0), wire.dial_payload(2, 80),
                    wire.dial_payload(255, 80), b"", bytes(100)):
        stream += 1
        t.host.send(wire.DIAL, stream, payload)
        bad(t.result(stream))


def attack_dial_frames(t):
    """Frames that have no business on a connection, and credit overrun."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stream = 200
        for protocol in (wire.TCP, wire.UDP):
            for kind, payload, channel in (
                    (wire.SIGNAL, struct.pack("<I", 9), 0),
                    (wire.RESIZE, bytes(4), 0),
                    (wire.DATA, b"x", 1), (wire.DATA, b"x", 2),
                    (wire.EOF, b"x", 0), (wire.EOF, b"", 1),
                    (wire.WINDOW_ADD, b"\xff" * 4, 1),
                    (wire.WINDOW_ADD, struct.pack("<I", 1), 0)):
                stream += 1
                t.host.send(wire.DIAL, stream,
                            wire.dial_payload(protocol, port))
                t.host.send(kind, stream, payload, channel)
                bad(t.result(stream))
            stream += 1
            t.host.send(wire.DIAL, stream, wire.dial_payload(protocol, port))
            # More than any socket takes; datagrams are lost instead.
            for _ in range(512):
                t.host.send(wire.DATA, stream, b"\xff" * 32768)
            if protocol == wire.UDP:
                t.host.send(wire.CLOSE, stream)
            bad(t.result(stream),
                "cancelled" if protocol == wire.UDP else "bad_request")


def attack_dials_without_end(t):
    """More than the table holds, twice, and each with bytes that nobody takes."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        port = server.getsockname()[1]
        for i in range(1001, 1513):
            t.host.send(wire.DIAL, i, wire.dial_payload(wire.TCP, port))
            t.host.send(wire.DATA, i, bytes(1000))
        for i in range(1513, 1600):
            t.host.send(wire.DIAL, i, wire.dial_payload(wire.TCP, port))
            bad(t.result(i), "too_many_streams")
        r = t.host.run(["echo", "still"])
        assert r == (0, 0, b"still\n", b""), r


def attack_dial_not_read(t):
    """A service floods, the host gives no credit and reads nothing: then a
    HELLO must get through."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for i in range(1, 20):
            t.host.send(wire.DIAL, i,
                        wire.dial_payload(wire.TCP, server.getsockname()[1]))
            s, _ = server.accept()
            s.setblocking(False)
            try:
                while s.send(bytes(65536)):
                    pass
            except BlockingIOError:
                pass
            s.close()


def attack_ids(t):
    t.cat(9)
    t.host.send(wire.EXEC, 9, EXEC)
    bad(t.result(9))
    for kind, payload in OPENERS.items():
        t.host.send(kind, 0, payload)
    t.host.send(wire.CLOSE, 123456)
    t.host.send(wire.DATA, 123456, b"x" * 32768)
    t.cat(0xffffffff)


def attack_hello_flood(t):
    frames = b"".join(
        struct.pack("<IBBHII", wire.MAGIC, wire.HELLO, 0, 0, 0, n) + bytes(n)
        for n in [18] * 3000 + list(range(0, 40)))
    t.host.send_raw(frames)


def attack_reply_flood_unread(t):
    """Thousands of requests, and nobody reads the answers meanwhile."""
    frame = struct.pack("<IBBHII", wire.MAGIC, wire.PULL, 0, 0, 1, 0)
    data = memoryview(frame * 100000)
    end = time.monotonic() + 2
    t.host.sock.setblocking(False)
    while len(data) and time.monotonic() < end:
        try:
            data = data[t.host.sock.send(data):]
        except BlockingIOError:
            break  # the agent has stopped reading: what it should do
    rest = len(data) % 16
    t.host.send_raw(bytes(data[:rest]))


def attack_detached_flood(t):
    for i in range(256):
        r = t.host.run(["true"], flags=wire.DETACH, tag=i)
        assert r[0] == 0, r
    r = t.host.run(["true"], flags=wire.DETACH, tag=1000)
    bad(r, "too_many_streams")
    for i in range(300):
        t.host.send(wire.REAP, 0, struct.pack("<I", i))
    for n in (0, 1, 3, 5):
        t.host.send(wire.REAP, 0, bytes(n))
    r = t.host.run(["true"], flags=wire.DETACH, tag=1000)
    assert r[0] == 0, r
    t.host.send(wire.REAP, 0, struct.pack("<I", 1000))


def attack_push_garbage(t):
    rng = random.Random(4)
    with tempfile.TemporaryDirectory() as d:
        for n in (0, 1, 511, 512, 1024, 100000):
            r = t.host.push(d, rng.randbytes(n))
            bad(r, "bad_archive")
        assert os.listdir(d) == []
        # A body that never comes, then the host closes the stream.
        head = bytearray(512)
        head[0:1] = b"f"
        head[100:107] = b"0000644"
        head[124:135] = b"77777777777"
        head[257:263] = b"ustar\0"
        head[148:156] = b" " * 8
        head[148:154] = b"%06o" % sum(head)
        head[154] = 0
        t.host.send(wire.PUSH, 77, wire.text(d))
        t.host.send(wire.DATA, 77, bytes(head) + b"x" * 1000)
        t.host.send(wire.CLOSE, 77)
        bad(t.result(77), "cancelled")


def attack_random_frames(t):
    rng = random.Random(5)
    kinds = [k for k in range(1, 70) if k not in (wire.SHUTDOWN, wire.PUSH)]
    for round_ in range(300):
        kind = rng.choice(kinds)
        payload = rng.choice([b"", rng.randbytes(rng.randrange(64)),
                              bytes(rng.randrange(64)),
                              wire.exec_payload(["true"],
                                                flags=rng.choice([0, 1, 2]))])
        t.host.send(kind, rng.randrange(6), payload, rng.randrange(4))
        if round_ % 20 == 0:
            t.host.send_raw(rng.randbytes(rng.randrange(200)))
        if round_ % 50 == 0:
            t.host.hello()


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failed = 0
    attacks = [n for n in globals() if n.startswith("attack_")]
    for name in attacks:
        start = time.monotonic()
        t = Target()
        try:
            globals()[name](t)
            t.still_well()
            t.host.sock.close()
            assert t.process.wait(10) == 0, t.process.returncode
            print("ok   %s (%.2f s)" % (name, time.monotonic() - start),
                  flush=True)
        except Exception:
            failed += 1
            print("FAIL " + name, flush=True)
            traceback.print_exc()
        finally:
            t.process.kill()
            t.process.wait()
    print("%d of %d failed" % (failed, len(attacks)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
