#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmd-agent as an ordinary process over a socketpair: the whole protocol.

    test_process.py AGENT [NAME...]
"""
import fcntl
import io
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../e2e"))
sys.path.insert(0, os.path.join(HERE, "../.."))
import agent_wire as wire  # noqa: E402
from wait import until  # noqa: E402


class Agent:
    def __init__(self, hello=True, console="/dev/null"):
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.argv[1], "--fd", str(theirs.fileno()), "--console", console],
            pass_fds=[theirs.fileno()])
        self.end = theirs  # only to look into its queues
        self.host = wire.Host(ours, timeout=30)
        if hello:
            self.host.hello()

    def __enter__(self):
        return self

    def queue(self, which):
        """Bytes that wait on the agent's end of the socket."""
        return struct.unpack("i", fcntl.ioctl(self.end, which, bytes(4)))[0]

    def wait_output_full(self):
        size = self.end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        until(lambda: self.queue(termios.TIOCOUTQ) >= size,
              "the agent fills its socket")

    def __exit__(self, *args):
        self.end.close()
        self.host.sock.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the agent did not end with its host")
        if args[0] is None:
            assert status == 0, "the agent ended with %d" % status

    def memory_peak(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith("VmHWM"):
                    return int(line.split()[1])
        return 0


def eq(seen, wanted):
    assert seen == wanted, "saw %r, wanted %r" % (seen, wanted)


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


def make_tree(d):
    rng = random.Random(2)
    os.makedirs(d + "/t/deep/" + "n" * 150 + "/" + "m" * 150)
    os.makedirs(d + "/t/readonly")
    for i in range(40):
        with open(d + "/t/deep/f%d" % i, "wb") as f:
            f.write(rng.randbytes(rng.choice([0, 1, 511, 512, 513, 70000])))
        os.chmod(f.name, rng.choice([0o600, 0o644, 0o755, 0o4711, 0o440]))
        os.utime(f.name, ns=(0, 1700000000123456789 + i))
    with open(d + "/t/deep/" + "n" * 150 + "/" + "m" * 150 + "/ä ö\n", "w"):
        pass
    with open(d + "/t/readonly/file", "w") as f:
        f.write("x")
    os.chmod(d + "/t/readonly", 0o555)
    os.symlink("../deep/f1", d + "/t/readonly-link")
    os.symlink("x" * 300, d + "/t/long-link")
    os.symlink("/etc", d + "/t/out")
    os.link(d + "/t/deep/f2", d + "/t/hard")
    os.utime(d + "/t/deep", ns=(0, 1600000000000000000))


def describe(top):
    """Everything that must be the same after a round trip."""
    seen, inodes = {}, {}
    for base, dirs, files in os.walk(top):
        for name in sorted(dirs + files) + ["."]:
            path = os.path.join(base, name)
            st = os.lstat(path)
            rel = os.path.relpath(path, top)
            what = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns]
            if os.path.islink(path):
                what.append(os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    what.append(f.read())
                if st.st_nlink > 1:
                    inodes.setdefault(st.st_ino, []).append(rel)
            seen[rel] = what
    return seen, sorted(sorted(v) for v in inodes.values())


def test_pull_push_round_trip():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        make_tree(d)
        os.mkdir(d + "/back")
        r, data = a.host.pull(d + "/t")
        eq(r, (0, "", ""))
        r = a.host.push(d + "/back", data)
        eq(r, (0, "", ""))
        wanted, seen = describe(d + "/t"), describe(d + "/back/t")
        eq(seen[1], wanted[1])
        for name, what in wanted[0].items():
            assert name in seen[0], "%r is missing" % name
            eq((name, seen[0][name]), (name, what))
        eq(len(seen[0]), len(wanted[0]))
        # Python's tarfile and the tar program read it as well.
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            eq(len(t.getmembers()), len(set(t.getnames())))
        os.mkdir(d + "/tar")
        subprocess.run(["tar", "xpf", "-", "-C", d + "/tar"], input=data,
                       check=True)
        eq(describe(d + "/tar/t")[1], wanted[1])
        os.chmod(d + "/t/readonly", 0o755)
        os.chmod(d + "/back/t/readonly", 0o755)
        os.chmod(d + "/tar/t/readonly", 0o755)


def test_push_reads_other_writers():
    for fmt in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        with Agent() as a, tempfile.TemporaryDirectory() as d:
            b = io.BytesIO()
            long = "p" * 60 + "/" + "q" * 90
            with tarfile.open(fileobj=b, mode="w", format=fmt) as t:
                info = tarfile.TarInfo(long)
                info.size, info.mode, info.mtime = 3, 0o640, 1e9
                info.uid = os.geteuid()
                info.gid = os.getegid()
                t.addfile(info, io.BytesIO(b"abc"))
            eq(a.host.push(d, b.getvalue()), (0, "", ""))
            with open(d + "/" + long) as f:
                eq(f.read(), "abc")


def test_push_64_mib():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        data = random.Random(3).randbytes(1 << 20) * 64
        b = io.BytesIO()
        with tarfile.open(fileobj=b, mode="w") as t:
            info = tarfile.TarInfo("big")
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        eq(a.host.push(d, b.getvalue()), (0, "", ""))
        with open(d + "/big", "rb") as f:
            assert f.read() == data
        r, back = a.host.pull(d + "/big")
        with tarfile.open(fileobj=io.BytesIO(back)) as t:
            assert t.extractfile("big").read() == data


def archive(*entries):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        for name, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            t.addfile(info)
    return b.getvalue()


def test_pull_leaves_out_kernel_views():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        os.mkdir(d + "/p")
        if subprocess.run(["mount", "-t", "proc", "proc", d + "/p"],
                          stderr=subprocess.DEVNULL).returncode:
            print("SKIP part: this user cannot mount proc")
            return
        try:
            os.mkfifo(d + "/fifo")
            r, data = a.host.pull(d)
        finally:
            subprocess.run(["umount", d + "/p"], check=True)
        eq(r[0], 0)
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            base = os.path.basename(d)
            eq(t.getnames(), [base, base + "/p"])


def test_push_stays_inside():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        os.makedirs(d + "/in")
        os.mkdir(d + "/out")
        with open(d + "/secret", "w") as f:
            f.write("s")
        F, L, H = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
        for bad in ([("../x", F, "")], [("a/../../x", F, "")],
                    [("l", L, "../out"), ("l/x", F, "")],
                    [("l", L, d + "/out"), ("l/y/x", F, "")],
                    [("h", H, "../secret")], [("h", H, d + "/secret")],
                    [("l2", L, ".."), ("h", H, "l2/secret")],
                    [("l3", L, d), ("l3", tarfile.DIRTYPE, "")],
                    [("dev", tarfile.CHRTYPE, "")]):
            r = a.host.push(d + "/in", archive(*bad))
            assert r[0] and r[1] == "io_error", (bad, r)
            assert bad[-1][0].split("/")[-1] in r[2], r
        eq(sorted(os.listdir(d)), ["in", "out", "secret"])
        eq(os.listdir(d + "/out"), [])
        eq(os.stat(d + "/secret").st_nlink, 1)
        # An absolute name lands below the target.
        eq(a.host.push(d + "/in", archive(("/abs/x", F, "")))[0], 0)
        assert os.path.exists(d + "/in/abs/x")


def test_push_pull_errors_name_the_file():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        r = a.host.push(d + "/none", archive())
        assert r[0] == 2 and "none" in r[2], r
        r, _ = a.host.pull(d + "/none")
        assert r[0] == 2 and "none" in r[2], r
        data = archive(("f", tarfile.REGTYPE, ""))
        eq(a.host.push(d, data[:600])[:2], (71, "io_error"))
        broken = bytearray(data)
        broken[5] ^= 1
        r = a.host.push(d, bytes(broken))
        assert "checksum" in r[2], r
        os.mkdir(d + "/f2")
        r = a.host.push(d, archive(("f2", tarfile.REGTYPE, "")))
        assert r[0] == 21 and "f2" in r[2], r


def test_shutdown_plain_only_ends_the_agent():
    a = Agent()
    eq(a.host.simple(wire.SHUTDOWN, b"\0")[0], 0)
    eq(a.process.wait(10), 0)
    a.host.sock.close()


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    names = sys.argv[2:] or [n for n in globals() if n.startswith("test_")]
    failed = 0
    for name in names:
        start = time.monotonic()
        try:
            globals()[name]()
            print("ok   %s (%.2f s)" % (name, time.monotonic() - start),
                  flush=True)
        except Exception:
            failed += 1
            print("FAIL " + name, flush=True)
            traceback.print_exc()
    print("%d of %d failed" % (failed, len(names)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
