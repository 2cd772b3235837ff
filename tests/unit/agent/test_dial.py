#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmd-agent as a process: connections to ports of its machine.

    test_dial.py AGENT [NAME...]
"""
import contextlib
import errno
import hashlib
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import threading

from agent_rig import Agent, eq, main, until, wire

LIMIT = 512
STREAMS = 64


def server(address="127.0.0.1", kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, kind)
    s.settimeout(20)
    s.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        s.listen(1024)
    return s, s.getsockname()[1]


def connect(agent, listener, port):
    d = wire.Dial(agent.host, port)
    s, _ = listener.accept()
    s.settimeout(20)
    eq(d.next(), "connected")
    return d, s


def end_of(dial):
    """The RESULT; everything before it is dropped."""
    while True:
        got = dial.next()
        if isinstance(got, tuple):
            return got


def test_service_speaks_first():
    listener, port = server()
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        s.sendall(b"220 ready\r\n")
        eq(d.next(), b"220 ready\r\n")
        d.write(b"QUIT\r\n")
        eq(s.recv(100), b"QUIT\r\n")
        s.close()
        eq(d.next(), "eof")
        d.eof()
        eq(end_of(d)[:2], (0, ""))


def test_bytes_before_the_connection_arrive():
    listener, port = server()
    with listener, Agent() as a:
        d = wire.Dial(a.host, port)
        d.write(b"early")
        d.eof()
        s, _ = listener.accept()
        eq(s.recv(100), b"early")
        eq(s.recv(100), b"")
        s.close()
        eq(end_of(d)[0], 0)


def test_half_close_by_the_client():
    """All goes in, then its end; only then the answer comes out."""
    data = random.Random(1).randbytes(3 << 20)
    listener, port = server()

    def answer(s):
        digest, n = hashlib.sha256(), 0
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            digest.update(piece)
            n += len(piece)
        s.sendall(digest.digest() + data)
        s.close()

    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        thread = threading.Thread(target=answer, args=(s,))
        thread.start()
        at = 0
        while at < len(data):
            n = d.write(data[at:at + 32768])
            at += n
            if not n:
                eq(d.next(), "credit")
        d.eof()
        got = bytearray()
        while True:
            piece = d.next()
            if piece == "eof":
                break
            if isinstance(piece, bytes):
                got += piece
        thread.join()
        assert bytes(got) == hashlib.sha256(data).digest() + data
        eq(end_of(d)[0], 0)


def test_half_close_by_the_service():
    listener, port = server()
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        s.sendall(b"all I have")
        s.shutdown(socket.SHUT_WR)
        eq(d.next(), b"all I have")
        eq(d.next(), "eof")
        d.write(b"thanks")
        eq(s.recv(10), b"thanks")
        d.eof()
        eq(s.recv(10), b"")
        eq(end_of(d)[0], 0)
        s.close()


def test_refused():
    listener, port = server()
    listener.close()
    with Agent() as a:
        r = end_of(wire.Dial(a.host, port))
        eq(r[:2], (errno.ECONNREFUSED, "connection_refused"))
        assert str(port) in r[2], r


def test_reset_by_the_service():
    listener, port = server()
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     struct.pack("ii", 1, 0))
        s.close()
        eq(end_of(d)[:2], (errno.ECONNRESET, "connection_reset"))


def test_service_gone_while_we_write():
    listener, port = server()
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        s.close()
        eq(d.next(), "eof")
        # The service took none of it: its machine answers with a reset.
        for _ in range(200):
            if not d.write(b"x" * 1000):
                break
        eq(end_of(d)[:2], (errno.ECONNRESET, "connection_reset"))


def test_close_resets_the_service():
    listener, port = server()
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        d.close()
        eq(end_of(d)[1], "cancelled")
        try:
            s.recv(1)
            raise AssertionError("an end where a reset was due")
        except ConnectionResetError:
            pass
        # The same when the host goes.
        d, s = connect(a, listener, port)
        a.host.hello()
        try:
            s.recv(1)
            raise AssertionError("an end where a reset was due")
        except ConnectionResetError:
            pass


def test_other_addresses_of_the_machine():
    listener, port = server("::1")
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        s.sendall(b"six")
        eq(d.next(), b"six")
        s.close()
    found = subprocess.run(["hostname", "-I"], capture_output=True,
                           text=True).stdout.split()
    own = [x for x in found if re.fullmatch(r"[0-9.]+", x)]
    if not own:
        print("     no address besides the loopback here: that part is left out")
        return
    listener, port = server(own[0])
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        s.sendall(b"interface")
        eq(d.next(), b"interface")
        s.close()
    flow_server, port = server(own[0], socket.SOCK_DGRAM)
    with flow_server, Agent() as a:
        d = wire.Dial(a.host, port, wire.UDP)
        d.send_datagram(b"which address?")
        got, who = flow_server.recvfrom(100)
        eq(got, b"which address?")
        flow_server.sendto(b"this one", who)
        eq(d.recv_datagram(), b"this one")


def test_udp_keeps_boundaries():
    service, port = server(kind=socket.SOCK_DGRAM)
    service.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sizes = [1, 1400, 9000, 0, 32750, 32752, 32768, 60000, 65507]
    with service, Agent() as a:
        d = wire.Dial(a.host, port, wire.UDP)
        eq(d.next(), "connected")
        for n in sizes:
            data = random.Random(n).randbytes(n)
            d.send_datagram(data)
            got, who = service.recvfrom(70000)
            assert got == data, (n, len(got))
            service.sendto(data, who)
            got = d.recv_datagram()
            assert got == data, (n, len(got))
        # Several at once stay several.
        for i in range(20):
            d.send_datagram(b"%d" % i * 100)
        for i in range(20):
            got, who = service.recvfrom(70000)
            eq(got, b"%d" % i * 100)
            service.sendto(got, who)
        for i in range(20):
            eq(d.recv_datagram(), b"%d" % i * 100)


def test_udp_refusal_is_loss():
    service, port = server(kind=socket.SOCK_DGRAM)
    service.close()
    with Agent() as a:
        d = wire.Dial(a.host, port, wire.UDP)
        eq(d.next(), "connected")
        for _ in range(5):
            d.send_datagram(b"anybody?")
        eq(a.host.run(["true"])[:2], (0, 0))
        # Somebody comes, on an address that was refused before.
        service = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        service.setblocking(False)
        service.bind(("::1", port))

        def asked():
            d.send_datagram(b"and now?")
            eq(a.host.run(["true"])[:2], (0, 0))
            try:
                return service.recvfrom(100)
            except BlockingIOError:
                return None

        with service:
            got, who = until(asked, "a datagram arrives")
            eq(got, b"and now?")
            service.sendto(b"here", who)
            eq(d.recv_datagram(), b"here")


def test_udp_datagram_too_big_is_loss():
    service, port = server(kind=socket.SOCK_DGRAM)
    with service, Agent() as a:
        d = wire.Dial(a.host, port, wire.UDP)
        d.send_datagram(bytes(65535))
        d.send_datagram(b"small")
        eq(service.recvfrom(70000)[0], b"small")


def test_many_connections_beside_commands():
    listener, port = server()
    with listener, Agent() as a:
        open_ones = []
        for _ in range(LIMIT):
            d = wire.Dial(a.host, port)
            s, _ = listener.accept()
            open_ones.append((d, s))
        r = end_of(wire.Dial(a.host, port))
        eq(r[:2], (errno.EBUSY, "too_many_streams"))
        eq(a.host.run(["echo", "x"])[2], b"x\n")
        for i, (d, s) in enumerate(open_ones):
            d.write(b"%d" % i)
            eq(s.recv(10), b"%d" % i)
        for d, s in open_ones:
            s.close()
            d.eof()
        done = 0
        while done < LIMIT:
            kind, _, _, p = a.host.recv()
            if kind == wire.RESULT:
                eq(wire.parse_result(p)[0], 0)
                done += 1
        d, s = connect(a, listener, port)
        s.close()


def test_flood_does_not_starve_a_command_or_grow():
    listener, port = server()
    go_on = True

    def flood(s):
        s.settimeout(0.5)
        while go_on:
            try:
                s.send(bytes(65536))
            except socket.timeout:
                pass
            except OSError:
                return

    with listener, Agent() as a:
        eq(a.host.run(["true"])[:2], (0, 0))
        before = a.memory_peak()
        ends = [connect(a, listener, port)[1] for _ in range(40)]
        threads = [threading.Thread(target=flood, args=(s,)) for s in ends]
        for t in threads:
            t.start()
        # Each gives credit for all it sees: all of them run at full speed.
        command = a.host.open(wire.EXEC, wire.exec_payload(["echo", "done"]))
        seen = {}
        ended = False
        while not ended or len(seen) < 40:
            kind, channel, stream, p = a.host.recv()
            if kind == wire.DATA:
                a.host.send(wire.WINDOW_ADD, stream,
                            struct.pack("<I", len(p)), channel)
                seen[stream] = seen.get(stream, 0) + len(p)
            ended = ended or (kind == wire.EXIT and stream == command)
        go_on = False
        a.host.hello()
        for t in threads:
            t.join()
        grown = a.memory_peak() - before
        assert grown < 16384 or "asan" in sys.argv[1], grown


def credit_for_a_part(a, listener, port):
    d, s = connect(a, listener, port)
    d.write(bytes(16384))
    eq(d.next(), "credit")
    return d, s, d.credit


def test_window_grows_for_few_of_those_who_know():
    listener, port = server()
    small, large = wire.DIAL_WINDOW[wire.TCP], wire.WINDOW
    with listener, Agent() as a:
        eq(a.host.hello(version=2)[0], 2)
        eq(credit_for_a_part(a, listener, port)[2], small)
        eq(a.host.hello(version=3)[0], 3)
        open_ones = [credit_for_a_part(a, listener, port) for _ in range(33)]
        eq([c for _, _, c in open_ones], [large] * 32 + [small])
        d, s, _ = open_ones[0]
        d.close()
        end_of(d)
        open_ones[0] = credit_for_a_part(a, listener, port)
        eq(open_ones[0][2], large)
        # A large window is kept whole for who does not read.
        d, s, _ = open_ones[1]
        data = random.Random(5).randbytes(8 << 20)
        at = 0
        while d.credit:
            at += d.write(data[at:])
            try:
                while True:
                    kind, _, stream, p = a.host.recv(timeout=0.2)
                    eq((kind, stream), (wire.WINDOW_ADD, d.id))
                    d.credit += struct.unpack("<I", p)[0]
            except wire.Timeout:
                pass
        got = b""
        while len(got) < 16384 + at:
            got += s.recv(1 << 20)
        assert got[16384:] == data[:at], "other bytes than were sent"


def test_service_that_does_not_read_stops_the_host():
    listener, port = server()
    with listener, Agent() as a:
        d, s = connect(a, listener, port)
        sent = 0
        while True:
            n = d.write(bytes(32768))
            sent += n
            if n:
                continue
            # No credit: it may still come while the socket takes some.
            try:
                kind, _, _, p = a.host.recv(timeout=0.5)
            except wire.Timeout:
                break
            eq(kind, wire.WINDOW_ADD)
            d.credit += struct.unpack("<I", p)[0]
        got = 0
        while got < sent:
            got += len(s.recv(65536))
        eq(got, sent)
        s.close()


def test_never_connected_to_itself():
    """Where nobody listens the kernel may give us the very port as our own."""
    script = ("ip link set lo up && "
              "echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range && "
              'exec "$@"')
    below = ["unshare", "-rn", "sh", "-c", script, "sh"]
    probe = subprocess.run(below + ["true"], capture_output=True, text=True)
    if probe.returncode:
        print("     no network namespace here, left out: " + probe.stderr)
        return
    with Agent(below=below) as a:
        for _ in range(20):
            r = end_of(wire.Dial(a.host, 40000))
            eq(r[:2], (errno.ECONNREFUSED, "connection_refused"))
        for _ in range(20):
            d = wire.Dial(a.host, 40000, wire.UDP)
            eq(d.next(), "connected")
            d.send_datagram(b"echo?")
            for _ in range(3):  # rounds of the agent's loop
                status = a.host.open(wire.STATUS, b"")
                kind, _, stream, _ = a.host.recv()
                eq((kind, stream), (wire.RESULT, status))
            d.close()
            eq(d.next()[1], "cancelled")


def test_many_short_connections_leave_nothing():
    """Slots, ids and descriptors of the ended ones serve again."""
    listener, port = server()
    with listener, Agent() as a:
        fds = "/proc/%d/fd" % a.process.pid
        before = len(os.listdir(fds))
        for round_ in range(6):
            pairs = [connect(a, listener, port) for _ in range(200)]
            for d, s in pairs:
                d.write(b"ask")
                d.eof()
            for d, s in pairs:
                eq(s.recv(100), b"ask")
                s.sendall(b"answer")
                s.close()
                eq(d.next(), b"answer")
                eq(d.next(), "eof")
                eq(end_of(d)[:2], (0, ""))
            until(lambda: len(os.listdir(fds)) == before, "all are closed")


def test_replies_beyond_the_queue_wait():
    """Requests that come faster than their replies leave are kept, not lost. The
    shortest of them, and all are refused with a sentence: the guest is full."""
    with Agent() as a:
        for _ in range(STREAMS):
            a.host.open(wire.EXEC, wire.exec_payload(["cat"], flags=wire.STDIN))
        for _ in range(STREAMS):
            eq(a.host.recv()[0], wire.STARTED)
        ids = range(STREAMS + 1, 30000)
        data = b"".join(struct.pack("<IBBHII", wire.MAGIC, wire.STATUS, 0, 0, i, 0)
                        for i in ids)
        sent = 0
        while select.select([], [a.host.sock], [], 0.5)[1]:  # nothing is read meanwhile
            with contextlib.suppress(BlockingIOError):
                sent += a.host.sock.send(data[sent:sent + 65536])
        assert sent < len(data), "the agent keeps all of it"
        a.host.send_raw(data[sent:])
        for i in ids:
            kind, _, stream, p = a.host.recv()
            eq((kind, stream, wire.parse_result(p)[0]), (wire.RESULT, i, errno.EBUSY))


def test_no_descriptor_is_left():
    listener, port = server()
    with listener, Agent() as a:
        fds = "/proc/%d/fd" % a.process.pid
        before = len(os.listdir(fds))
        for how in range(60):
            d, s = connect(a, listener, port)
            if how % 3 == 0:
                d.close()
            elif how % 3 == 1:
                s.close()
                d.eof()
            else:
                d.write(b"x")
                a.host.send(wire.DATA, d.id, b"x", 2)  # wrong channel
            end_of(d)
            s.close()
        until(lambda: len(os.listdir(fds)) == before, "all are closed")


if __name__ == "__main__":
    sys.exit(main(dict(globals())))
