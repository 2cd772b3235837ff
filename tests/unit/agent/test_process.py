#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmd-agent as a process: sessions and commands, the whole protocol.

    test_process.py AGENT [NAME...]
"""
import errno
import os
import random
import signal
import struct
import sys
import tempfile
import termios
import time

from agent_rig import Agent, eq, main, until, wire


def test_hello_after_junk_answers():
    with Agent(hello=False) as a:
        junk = b"VMA1" * 50 + os.urandom(3000) + b"VMA1\x40\0\0\0"
        version, _, release = a.host.hello(junk)
        eq((version, release), (1, os.uname().release))
        eq(a.host.run(["true"])[:2], (0, 0))


def test_frames_before_hello_ignored():
    with Agent(hello=False) as a:
        a.host.send(wire.EXEC, 1, wire.exec_payload(["true"]))
        a.host.hello()
        eq(a.host.run(["echo", "x"])[2], b"x\n")


def test_exec_in_pieces_takes_what_linux_takes():
    with Agent() as a:
        h = a.host
        big = "a" * 131071
        eq(h.run(["sh", "-c", 'echo ${#1}', "sh", big])[2], b"131071\n")
        eq(h.run(["sh", "-c", 'echo $#', "sh"] + ["x"] * 20000)[2],
           b"20000\n")
        eq(h.run(["sh", "-c", 'echo ${#BIG}'], env=["BIG=" + "b" * 131000]
                 )[2], b"131000\n")
        full = ["sh", "-c", 'echo $#', "sh"] + [big] * 15
        eq(h.run(full)[2], b"15\n")
        # More: the system's own reason.
        for argv in ["true", big + "a"], full + [big]:
            error, code, message = h.run(argv)
            eq((error, code), (errno.E2BIG, "command_not_executable"))
            assert "Argument list too long" in message, message
        if "host" not in sys.argv[1]:
            assert a.memory_peak() < 16384, a.memory_peak()


def test_exec_pieces_are_bounded_and_of_one_command():
    with Agent() as a:
        h = a.host
        piece = bytes(wire.PAYLOAD_MAX)
        # A short command passes between the pieces; another long one not.
        h.send(wire.EXEC_PART, 900, piece)
        eq(h.run(["echo", "x"])[2], b"x\n")
        h.send(wire.EXEC_PART, 901, piece)
        kind, _, stream, p = h.recv()
        eq((kind, stream, wire.parse_result(p)[1]),
           (wire.RESULT, 901, "bad_request"))
        # Given up half way, the place is free again.
        h.send(wire.CLOSE, 900)
        eq(h.recv()[:3], (wire.RESULT, 0, 900))
        eq(h.run(["sh", "-c", "echo $#", "sh"] + ["y"] * 9000)[2], b"9000\n")
        # Pieces without an end.
        for _ in range(80):
            h.send(wire.EXEC_PART, 902, piece)
        kind, _, stream, p = h.recv()
        eq((kind, stream), (wire.RESULT, 902))
        eq(wire.parse_result(p)[0], errno.E2BIG)
        # What still came in began a new request, which is nonsense.
        h.send(wire.EXEC, 902, b"")
        eq(wire.parse_result(h.recv()[3])[1], "bad_request")
        eq(h.run(["true"])[:2], (0, 0))
        h.send(wire.EXEC_PART, 903, piece)
        h.hello()
        eq(h.run(["true"])[:2], (0, 0))


def test_takeover_ends_old_session():
    with Agent() as a:
        h = a.host
        h.send(wire.EXEC, 500, wire.exec_payload(["yes"]))
        kind, _, _, p = h.recv()
        eq(kind, wire.STARTED)
        pid, = struct.unpack("<I", p)
        # Half a frame of the old host, then a new one.
        half = struct.pack("<IBBHII", wire.MAGIC, wire.DATA, 0, 0, 500, 30000)
        h.hello(junk=half + b"abc")
        until(lambda: not os.path.exists("/proc/%d" % pid), "yes has ended")
        eq(h.run(["true"])[:2], (0, 0))


def test_takeover_kills_what_ignores_hangup():
    with Agent() as a:
        pids = []
        h = a.host
        h.open(wire.EXEC, wire.exec_payload(
            ["sh", "-c", "trap '' HUP TERM; echo go; while :; do sleep 1; done"
             ]))
        while True:
            kind, _, _, p = h.recv()
            if kind == wire.STARTED:
                pids.append(struct.unpack("<I", p)[0])
            if kind == wire.DATA:
                break
        h.hello()
        until(lambda: not os.path.exists("/proc/%d" % pids[0]), "sh has ended")


def test_takeover_does_not_cut_a_frame():
    """The next host finds whole frames, also when the last one was stuck."""
    with Agent() as a:
        h = a.host
        for _ in range(4):
            h.open(wire.EXEC, wire.exec_payload(["yes"]))
        a.wait_output_full()
        # Without reading: the queue must still be full when it arrives.
        nonce = b"n" * 16
        h.sock.send(struct.pack("<IBBHIIH", wire.MAGIC, wire.HELLO, 0, 0, 0, 18,
                                1) + nonce)
        until(lambda: not a.queue(termios.FIONREAD), "the agent reads HELLO")
        while True:
            kind, _, _, p = h.recv()
            if kind == wire.HELLO_ACK:
                break
        eq(p[2:18], nonce)
        eq(h.run(["echo", "x"])[2], b"x\n")
        eq(h.skipped, 0)


def test_exec_streams_and_status():
    with Agent() as a:
        r = a.host.run(["sh", "-c", "cat; echo problem >&2; exit 42"],
                       stdin=b"some input\n")
        eq(r, (42, 0, b"some input\n", b"problem\n"))
        eq(a.host.run(["cat"]), (0, 0, b"", b""))  # /dev/null
        eq(a.host.run(["sh", "-c", "kill -9 $$"])[:2], (0, 9))


def test_exec_not_started():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        plain = d + "/plain"
        with open(plain, "w") as f:
            f.write("x")
        h = a.host
        eq(h.run(["no-such-command-x"])[:2], (2, "command_not_found"))
        eq(h.run(["/no/such"])[:2], (2, "command_not_found"))
        eq(h.run([plain])[1], "command_not_executable")
        os.chmod(plain, 0o755)
        eq(h.run([plain])[1], "command_not_executable")  # ENOEXEC
        eq(h.run(["/tmp"])[1], "command_not_executable")
        eq(h.run(["true"], cwd="/no/such")[1], "io_error")
        eq(h.run(["true"], user="no-such-user")[1], "user_not_found")
        r = h.run(["x" * 3000])
        assert r[0] != 0 and len(r[2]) < 250, r


def test_exec_environment():
    with Agent() as a:
        r = a.host.run(["env"], env=["A=1", "PATH=/bin:/usr/bin", "B="])
        lines = r[2].decode().split("\n")
        assert "A=1" in lines and "B=" in lines, lines
        assert "PATH=/bin:/usr/bin" in lines, lines
        eq(sum(line.startswith("PATH=") for line in lines), 1)
        assert any(line.startswith("HOME=/") for line in lines), lines
        eq(a.host.run(["no-such"], env=["PATH="])[1], "command_not_found")
        eq(a.host.run(["pwd"], cwd="/usr")[2], b"/usr\n")


def test_exec_descriptors_are_three():
    with Agent() as a:
        r = a.host.run(["sh", "-c", "ls /proc/self/fd | wc -l"], stdin=b"")
        eq(int(r[2]), 4)  # 0, 1, 2 and that of ls


def test_exec_user():
    if os.geteuid():
        print("SKIP part: changing users needs root")
        return
    with Agent() as a:
        r = a.host.run(["sh", "-c", "id -u; id -g; id -G"], user="65534:12")
        eq(r[2], b"65534\n12\n12\n")


def test_exec_signal_to_group():
    with Agent() as a:
        def kill(s, pid):
            a.host.send(wire.SIGNAL, s, struct.pack("<I", signal.SIGTERM))
        r = a.host.run(["sh", "-c", "sleep 100; true"], on_started=kill)
        eq(r[:2], (0, 15))


def test_exec_tty():
    with Agent() as a:
        def resize(s, pid):
            a.host.send(wire.RESIZE, s, struct.pack("<HH", 50, 132))
            a.host.send(wire.DATA, s, b"go\n")
        r = a.host.run(["sh", "-c", "test -t 0 && test -t 2 && read x && "
                        "stty size; echo err >&2; exit 3"], flags=wire.TTY | 2,
                       on_started=resize)
        eq(r[:2], (3, 0))
        assert b"50 132\r\n" in r[2] and b"err\r\n" in r[2], r
        eq(r[3], b"")


def test_exec_tty_interrupt_and_eof():
    with Agent() as a:
        def ctrl_c(s, pid):
            a.host.send(wire.DATA, s, b"\x03")
        r = a.host.run(["sleep", "100"], flags=wire.TTY | 2, on_started=ctrl_c)
        eq(r[:2], (0, 2))
        r = a.host.run(["cat"], flags=wire.TTY, stdin=b"line\n")
        eq(r[:2], (0, 0))
        assert r[2].count(b"line\r\n") == 2, r


def test_exec_tty_closed_by_the_command():
    """A command without descriptors lives on, and may open /dev/tty again."""
    with Agent() as a:
        r = a.host.run(["sh", "-c", "exec 0<&- 1>&- 2>&-; sleep 0.2; "
                        "head -c 100000 /dev/zero >/dev/tty; exit 6"],
                       flags=wire.TTY)
        eq((r[0], r[1], len(r[2])), (6, 0, 100000))


def test_exec_background_child_does_not_hold():
    with Agent() as a:
        start = time.monotonic()
        r = a.host.run(["sh", "-c", "sleep 20 & echo done"])
        eq(r[:3], (0, 0, b"done\n"))
        assert time.monotonic() - start < 10


def test_exec_stdin_closed_early():
    with Agent() as a:
        r = a.host.run(["sh", "-c", "exec <&-; echo x"], stdin=bytes(3 << 20))
        eq(r[:3], (0, 0, b"x\n"))
        r = a.host.run(["head", "-c", "5"], stdin=b"12345" * 400000)
        eq(r[:3], (0, 0, b"12345"))


def test_exec_close_ends_it():
    with Agent() as a:
        h = a.host
        s = h.open(wire.EXEC, wire.exec_payload(["sleep", "100"]))
        h.recv()
        h.send(wire.CLOSE, s)
        kind, _, stream, p = h.recv()
        eq((kind, stream, struct.unpack("<II", p)), (wire.EXIT, s, (0, 1)))


def test_flow_control_64_mib_both_ways():
    with Agent() as a:
        data = random.Random(1).randbytes(1 << 20) * 64
        r = a.host.run(["cat"], stdin=data)
        eq(r[:2], (0, 0))
        assert r[2] == data, "64 MiB came back changed"
        if "host" not in sys.argv[1]:
            assert a.memory_peak() < 4096, a.memory_peak()


def test_flow_control_1_gib_of_output():
    size = 1 << (30 if "host" not in sys.argv[1] else 26)
    with Agent() as a:
        h, got = a.host, 0
        s = h.open(wire.EXEC, wire.exec_payload(
            ["head", "-c", str(size), "/dev/zero"]))
        while True:
            kind, channel, _, p = h.recv()
            if kind == wire.EXIT:
                break
            if kind == wire.DATA:
                got += len(p)
                h.send(wire.WINDOW_ADD, s, struct.pack("<I", len(p)), channel)
        eq(got, size)
        if "host" not in sys.argv[1]:
            assert a.memory_peak() < 2048, a.memory_peak()


def test_flow_control_slow_host():
    """No credit: at most a window comes, and memory does not grow."""
    with Agent() as a:
        h = a.host
        s = h.open(wire.EXEC, wire.exec_payload(["yes"]))
        h.recv()
        got = 0
        while got < wire.WINDOW:
            kind, _, _, p = h.recv()
            eq(kind, wire.DATA)
            got += len(p)
        eq(got, wire.WINDOW)
        before = a.memory_peak()
        try:
            frame = h.recv(timeout=0.3)
            raise AssertionError("sent over the credit: %r" % (frame[:3],))
        except wire.Timeout:
            pass
        # A second command works meanwhile.
        eq(h.run(["echo", "x"])[2], b"x\n")
        h.send(wire.WINDOW_ADD, s, struct.pack("<I", 1000), 1)
        kind, channel, stream, p = h.recv()
        eq((kind, channel, stream, len(p)), (wire.DATA, 1, s, 1000))
        assert a.memory_peak() - before < 1024
        h.send(wire.CLOSE, s)


def test_host_that_does_not_read_is_waited_for():
    """Nothing is lost when the host's socket is full for a while."""
    with Agent() as a:
        h = a.host
        ids = [h.open(wire.EXEC, wire.exec_payload(
            ["sh", "-c", "head -c 200000 /dev/zero"])) for _ in range(40)]
        a.wait_output_full()
        got = dict.fromkeys(ids, 0)
        ended = set()
        while len(ended) < len(ids):
            kind, channel, s, p = h.recv()
            if kind == wire.DATA:
                got[s] += len(p)
            elif kind == wire.EXIT:
                ended.add(s)
        eq(set(got.values()), {200000})


def detached_frame(p):
    return struct.unpack("<IBII", p)


def test_detached_survives_and_reap_forgets():
    with tempfile.NamedTemporaryFile() as console, \
            tempfile.TemporaryDirectory() as d, \
            Agent(console=console.name) as a:
        h = a.host
        os.mkfifo(d + "/end")
        r = h.run(["sh", "-c", "echo to the console; read x <%s/end; exit 9"
                   % d], flags=wire.DETACH, tag=77)
        eq(r, (0, "", ""))
        h.hello()
        eq(detached_frame(h.recv()[3]), (77, 1, 0, 0))
        with open(d + "/end", "w") as f:
            f.write("\n")
        kind, _, stream, p = h.recv()
        eq((kind, stream, detached_frame(p)), (wire.DETACHED, 0, (77, 0, 9, 0)))
        r = h.run(["true"], flags=wire.DETACH, tag=77)
        eq(r[1], "bad_request")  # the tag is known
        h.hello()
        eq(detached_frame(h.recv()[3]), (77, 0, 9, 0))
        h.send(wire.REAP, 0, struct.pack("<I", 77))
        h.hello()
        eq(h.run(["echo"])[:2], (0, 0))  # no DETACHED in between
        with open(console.name) as f:
            eq(f.read(), "to the console\n")
        eq(h.run(["cat"], flags=wire.DETACH | wire.TTY, tag=5)[1],
           "bad_request")


def test_shutdown_plain_only_ends_the_agent():
    a = Agent()
    eq(a.host.simple(wire.SHUTDOWN, b"\0")[0], 0)
    eq(a.process.wait(10), 0)
    a.host.sock.close()


if __name__ == "__main__":
    sys.exit(main(globals()))
