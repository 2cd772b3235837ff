#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmctl as a user types it, against fake_vmd.py: no daemon, no VM."""
import hashlib
import json
import os
import pty
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

VMCTL, HERE = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../.."))
from wait import asleep, until  # noqa: E402

DEADLINE = 30


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="vmctl-test-")
        cls.socket, cls.log = cls.dir + "/s", cls.dir + "/log"
        cls.server = subprocess.Popen([sys.executable, HERE + "/fake_vmd.py", cls.socket, cls.log],
                                      stdout=subprocess.PIPE)
        assert cls.server.stdout.readline() == b"ready\n"
        cls.env = dict(os.environ, VMD_SOCKET=cls.socket, TERM="xterm")

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.server.stdout.close()
        shutil.rmtree(cls.dir)

    def setUp(self):
        open(self.log, "w").close()

    def run_(self, *words, status=0, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        done = subprocess.run([VMCTL, *words], capture_output=True, timeout=DEADLINE, env=self.env,
                              **options)
        done.out, done.err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(done.returncode, status, done.err + done.out)
        return done

    def records(self):
        with open(self.log, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def wait_record(self, match):
        until(lambda: any(map(match, self.records())), "a record in " + self.log, DEADLINE)

    def start(self, *words, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([VMCTL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.env, **options)

    # ---- forward

    def forward(self, *specs):
        """The process, and the local ports it has chosen."""
        self.run_("create", "tiny", "--name", "fwd")
        self.addCleanup(self.run_, "rm", "fwd")
        process = self.start("forward", "fwd", *specs)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        lines = [process.stdout.readline().decode() for _ in specs]
        return process, [int(line.split(" -> ")[0].rpartition(":")[2]) for line in lines]

    def forward_end(self, process):
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE), 0)
        return process.stderr.read().decode()

    def test_forward_carries_connections(self):
        process, ports = self.forward("0:25", "[::1]:0:7")
        with socket.create_connection(("127.0.0.1", ports[0]), DEADLINE) as s:
            self.assertEqual(s.recv(100), b"220 ready\r\n")
        data = os.urandom(3 << 20)
        with socket.create_connection(("::1", ports[1]), DEADLINE) as s:
            sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(1)))
            sender.start()
            got = bytearray()
            while piece := s.recv(65536):
                got += piece
            sender.join()
        self.assertEqual(got, data)
        self.assertEqual(self.forward_end(process), "")

    def test_forward_resets_what_the_guest_refuses_or_loses(self):
        process, ports = self.forward("0:99", "0:66")
        for port in ports:
            # It may come before connect() has returned.
            with self.assertRaises(ConnectionResetError), \
                    socket.create_connection(("127.0.0.1", port), DEADLINE) as s:
                s.sendall(b"x")
                while s.recv(1):
                    pass
                self.fail("an end where a reset was due")
        self.assertIn("port 99: guest: nothing listens there", self.forward_end(process))

    def test_forward_of_udp_keeps_datagrams(self):
        process, ports = self.forward("0:53/udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(DEADLINE)
            s.connect(("127.0.0.1", ports[0]))
            for n in (1, 1400, 0, 60000):
                s.send(b"u" * n)
                self.assertEqual(s.recv(65536), b"u" * n)
        self.assertEqual(self.forward_end(process), "")

    # ---- run and exec

    def test_run_streams_and_exit_code(self):
        done = self.run_("run", "tiny", "--", "both", "7", status=7)
        self.assertEqual(done.out, "out\n")
        self.assertEqual(done.err, "vmctl: warning: software emulation\nerr\n")
        post = [r for r in self.records() if r.get("method") == "POST"][0]
        self.assertTrue(json.loads(post["body"])["ephemeral"])
        self.assertEqual(len(post["key"]), 32)
        request = [r["exec"] for r in self.records() if "exec" in r][0]
        self.assertEqual(request["command"], ["both", "7"])
        self.assertTrue(request["attach"])
        self.assertFalse(request["stdin"])

    def test_run_options_before_and_after_the_image(self):
        self.run_("run", "--cpus", "2", "tiny", "-p8080:80", "-e", "A=1", "-eHOME", "--name=opt",
                  "-l", "a=b", "both", "0", "-x")
        spec = json.loads([r for r in self.records() if r.get("method") == "POST"][0]["body"])
        self.assertEqual(spec["vcpus"], 2)
        self.assertEqual(spec["labels"], {"a": "b"})
        self.assertEqual(spec["network"]["ports"][0]["guest_port"], 80)
        request = [r["exec"] for r in self.records() if "exec" in r][0]
        self.assertEqual(request["command"], ["both", "0", "-x"])
        self.assertEqual(request["env"], {"A": "1", "HOME": os.environ["HOME"]})

    def test_exec_exit_statuses(self):
        self.run_("create", "tiny", "--name", "e")
        self.run_("exec", "e", "signal", "9", status=137)
        self.run_("exec", "e", "nocommand", status=127)
        self.run_("exec", "e", "noexec", status=126)
        self.run_("exec", "nobody", "x", status=125)

    def test_exec_in_stopped_vm_says_why(self):
        self.run_("create", "tiny", "--name", "stopped")
        done = self.run_("exec", "stopped", "x", status=125)
        self.assertEqual(done.err, "vmctl: VM 'stopped' is stopped\n")

    def test_exec_hostile_server_is_an_error_never_a_hang(self):
        self.run_("create", "tiny", "--name", "h")
        self.run_("create", "tiny", "--name", "badaccept")
        for command in ("garbage", "channel", "badframe", "drop", "huge"):
            with self.subTest(command):
                done = self.run_("exec", "h", command, status=125)
                self.assertTrue(done.err.startswith("vmctl: "))
        done = self.run_("exec", "badaccept", "x", status=125)
        self.assertIn("Sec-WebSocket-Accept", done.err)

    def test_exec_stdin_goes_through_and_ends(self):
        data = os.urandom(3_000_000)
        self.run_("create", "tiny", "--name", "cat")
        done = self.run_("exec", "-i", "cat", "--", "cat", input=data)
        self.assertEqual(done.out.strip(), hashlib.sha256(data).hexdigest())
        with open(self.dir + "/in", "wb") as f:
            f.write(data)
        with open(self.dir + "/in", "rb") as f:
            done = self.run_("exec", "-i", "cat", "--", "cat", stdin=f)
        self.assertEqual(done.out.strip(), hashlib.sha256(data).hexdigest())

    def test_exec_output_that_waits_grows_no_memory(self):
        self.run_("create", "tiny", "--name", "f")
        child = self.start("exec", "f", "flood", "2000")
        child.stdout.read(1000)
        until(asleep(child.pid), "vmctl waits for its reader")
        with open("/proc/%d/status" % child.pid, encoding="ascii") as f:
            rss = [int(l.split()[1]) for l in f if l.startswith("VmRSS")][0]
        rest = 1000
        while chunk := child.stdout.read(1 << 20):
            rest += len(chunk)
        self.assertEqual(child.wait(DEADLINE), 0)
        child.stdout.close()
        child.stderr.close()
        self.assertEqual(rest, 2000 * 65535)
        if "asan" not in os.environ.get("VMCTL_TEST_FLAVOUR", ""):
            self.assertLess(rss, 40000)

    def test_exec_output_to_a_file(self):
        self.run_("create", "tiny", "--name", "tofile")
        with open(self.dir + "/out", "wb") as f:
            child = subprocess.run([VMCTL, "exec", "tofile", "flood", "50"], stdout=f,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=self.env,
                                   timeout=DEADLINE, check=True)
        self.assertEqual(os.path.getsize(self.dir + "/out"), 50 * 65535)
        self.assertEqual(child.returncode, 0)

    def test_exec_closed_pipe_ends(self):
        self.run_("create", "tiny", "--name", "p")
        child = self.start("exec", "p", "flood", "2000")
        child.stdout.read(10)
        child.stdout.close()
        self.assertEqual(child.wait(DEADLINE), 141)
        child.stderr.close()

    def test_a_reader_that_leaves_is_no_message(self):
        for i in range(300):
            if len(self.run_("operation", "ls", "-o", "json").stdout) > 70000:
                break
            self.run_("create", "tiny", "--name", "many%d" % i)
        child = self.start("operation", "ls", "-o", "json")
        child.stdout.read(10)
        child.stdout.close()
        self.assertEqual(child.wait(DEADLINE), 141)
        self.assertEqual(child.stderr.read(), b"")
        child.stderr.close()

    def test_closed_standard_files(self):
        self.run_("create", "tiny", "--name", "closed")
        for words in (["exec", "closed", "both", "0"], ["ls"], ["run", "tiny", "--", "both", "0"]):
            for redirect in (">&-", ">/dev/full"):
                with self.subTest(words=words, redirect=redirect):
                    done = subprocess.run(["sh", "-c", 'exec "$@" ' + redirect, "sh", VMCTL, *words],
                                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                          env=self.env, timeout=DEADLINE, check=False)
                    self.assertEqual(done.returncode, 1 if words[0] == "ls" else 125)
                    self.assertIn(b"standard output", done.stderr)
        done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", VMCTL, "exec", "-i", "closed",
                               "cat"], capture_output=True, env=self.env, timeout=DEADLINE,
                              check=True)
        self.assertEqual(done.stdout.decode().strip(), hashlib.sha256(b"").hexdigest())

    # ---- signals

    def interrupt(self, command, count):
        # as a shell starts a background job: SIGINT ignored
        child = self.start("run", "tiny", "--", command,
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.assertEqual(child.stdout.readline(), b"up\n")
        for i in range(count):
            child.send_signal(signal.SIGINT)
            self.wait_record(lambda r, n=i: r.get("event") == "dropped" or len(
                [x for x in self.records() if x.get("got", [0])[0] == 1]) > n)
        out, _ = child.communicate(timeout=DEADLINE)
        return child.returncode, out

    def test_first_interrupt_goes_to_the_command(self):
        self.assertEqual(self.interrupt("int", 1), (9, b"caught\n"))
        got = [r["got"] for r in self.records() if "got" in r]
        self.assertEqual(json.loads(got[0][1]), {"signal": "INT"})

    def test_second_interrupt_ends_it(self):
        status, _ = self.interrupt("stubborn", 2)
        self.assertEqual(status, 130)
        self.wait_record(lambda r: r.get("event") == "dropped")

    def test_interrupt_before_the_command_runs_ends_it(self):
        child = self.start("run", "tiny", "--", "wait")
        self.wait_record(lambda r: "exec" in r)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=DEADLINE)
        self.assertEqual(child.returncode, 130)
        self.wait_record(lambda r: r.get("event") == "dropped-before-start")

    # ---- terminal

    def terminal(self, *words):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(VMCTL, [VMCTL, *words], self.env)
        termios.tcsetwinsize(fd, (33, 77))
        return pid, fd

    def read_until(self, fd, marker):
        data, end = b"", time.monotonic() + DEADLINE
        while marker not in data and time.monotonic() < end:
            if select.select([fd], [], [], 1)[0]:
                try:
                    data += os.read(fd, 4096)
                except OSError:
                    break
        self.assertIn(marker, data)
        return data

    def test_tty_raw_resize_restore(self):
        self.run_("create", "tiny", "--name", "t")
        pid, fd = self.terminal("exec", "-it", "t", "tty")
        before = None
        try:
            self.read_until(fd, b"up")
            mode = termios.tcgetattr(fd)[3]
            self.assertFalse(mode & termios.ICANON)
            self.assertFalse(mode & termios.ISIG)
            os.write(fd, b"\x03")
            self.wait_record(lambda r: r.get("got") == [2, "\0\x03"])
            termios.tcsetwinsize(fd, (40, 100))
            self.wait_record(lambda r: r.get("got", [0])[0] == 1 and json.loads(r["got"][1]) ==
                             {"resize": {"rows": 40, "columns": 100}})
            os.write(fd, b"q")
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
            before = termios.tcgetattr(fd)[3]
        finally:
            os.close(fd)
        self.assertTrue(before & termios.ICANON)

    def test_console_escape_key(self):
        self.run_("create", "tiny", "--name", "con")
        pid, fd = self.terminal("console", "con")
        try:
            self.read_until(fd, b"old output")
            os.write(fd, b"hi")
            self.read_until(fd, b"echo:hi")
            os.write(fd, b"\x1d")
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        finally:
            os.close(fd)
        self.wait_record(lambda r: r.get("event") == "console-closed")

    def test_tty_without_terminal_is_refused(self):
        done = self.run_("run", "-it", "tiny", status=125)
        self.assertIn("terminal", done.err)

    # ---- detached, lists, verbs

    def test_run_detached_prints_the_id(self):
        done = self.run_("run", "-d", "--name", "web", "tiny", "--", "serve")
        self.assertRegex(done.out, r"^01[0-9a-f]{24}\n$")
        self.assertEqual(done.err.count("emulation"), 1)
        spec = json.loads([r for r in self.records() if r.get("method") == "POST"][0]["body"])
        self.assertTrue(spec["ephemeral"])
        self.run_("run", "-d", "--name", "web2", "tiny")
        spec = json.loads([r for r in self.records() if r.get("method") == "POST"][1]["body"])
        self.assertFalse(spec["ephemeral"])

    def test_unknown_image_names_the_way(self):
        done = self.run_("run", "none", status=125)
        self.assertIn("vmctl image build", done.err)

    def test_a_damaged_record_has_no_number_of_cpus(self):
        self.run_("create", "tiny", "--name", "damaged")
        self.run_("create", "tiny", "--name", "whole")
        cpus = {row.split()[0]: row.split("  ") for row in self.run_("ls").out.splitlines()}
        self.assertIn("-", [cell.strip() for cell in cpus["damaged"]])
        self.assertNotIn("-", [cell.strip() for cell in cpus["whole"]])

    def test_lists_and_pages(self):
        for name in ("l1", "l2"):
            self.run_("create", "tiny", "--name", name)
        names = self.run_("ls", "-o", "name").out.split()
        self.assertIn("l1", names)
        self.assertIn("l2", names)
        table = self.run_("ls").out
        self.assertTrue(table.startswith("NAME"))
        self.assertIn("256 MiB", table)
        self.assertIsInstance(json.loads(self.run_("ls", "-o", "json").out), list)
        self.run_("ls", "--label", "a=b&c", "--state", "ready")
        paths = [r["path"] for r in self.records() if r.get("method") == "GET"]
        self.assertIn("/v1/vms?limit=1000&state=ready&label=a%3Db%26c", paths)
        self.assertIn("tiny", self.run_("image", "ls").out)

    def test_guest_text_cannot_drive_the_terminal(self):
        self.run_("create", "tiny", "--name", "esc")
        self.assertNotIn("\x1b", self.run_("operation", "ls").out)

    def test_verbs(self):
        self.run_("create", "tiny", "--name", "busy")
        for verb in ("start", "stop", "restart"):
            self.assertEqual(self.run_(verb, "busy").out, "busy\n")
        done = self.run_("rm", "busy", status=1)
        self.assertIn("--force", done.err)
        self.run_("rm", "--force", "busy")
        self.run_("rm", "--force", "busy")
        self.run_("rm", "busy", status=1)
        self.run_("stop", "busy", "busier", status=1)

    def test_wait(self):
        self.run_("create", "tiny", "--name", "w")
        self.run_("wait", "w")
        self.assertEqual(self.run_("wait", "w", "--for", "exited").out, "137\n")
        done = self.run_("wait", "w", "--for", "stopped", "--timeout", "0", status=1)
        self.assertIn("it is ready", done.err)
        self.run_("wait", "gone", "--for", "deleted")
        self.run_("wait", "w", "--for", "nothing", status=2)

    def test_image_build(self):
        self.assertEqual(self.run_("image", "build", "tiny").out, "tiny\n")
        done = self.run_("image", "build", "--name", "broken", "tiny", status=1)
        self.assertEqual(done.err, "vmctl: the disk of the image store is full\n")
        self.run_("image", "build", "unknown", status=2)
        self.run_("image", "rm", "tiny")

    def test_image_build_interrupt_cancels(self):
        child = self.start("image", "build", "--name", "slow", "tiny")
        self.wait_record(lambda r: "/wait?" in r.get("path", ""))
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=DEADLINE)
        self.assertNotEqual(child.returncode, 0)
        self.wait_record(lambda r: r.get("method") == "DELETE")

    def test_logs_version_doctor(self):
        self.run_("create", "tiny", "--name", "logs")
        self.assertEqual(self.run_("logs", "logs").out, "console\nlines\n")
        self.assertIn("9.9", self.run_("version").out)
        doctor = self.run_("doctor").out
        self.assertIn("fix: modprobe tun", doctor)
        self.assertTrue(json.loads(self.run_("doctor", "-o", "json").out)["daemon"]["running"])

    def test_no_daemon(self):
        for words, status in ((["ls"], 1), (["run", "tiny"], 125), (["doctor"], 1)):
            done = self.run_("--socket", self.dir + "/none", *words, status=status)
            self.assertIn("none", done.out + done.err)
            self.assertIn("start it", done.out + done.err)
        done = self.run_("--socket", self.dir + "/none", "doctor", "-o", "json", status=1)
        self.assertGreater(len(json.loads(done.out)["checks"]), 5)

    def test_no_permission(self):
        if os.geteuid() != 0:
            self.skipTest("becoming another user needs root")
        os.chmod(self.dir, 0o755)
        done = subprocess.run([VMCTL, "ls"], user=65534, group=65534, extra_groups=[],
                              capture_output=True, env=self.env, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"permission", done.stderr)
        self.assertIn(b"ask for a group 'vmd'", done.stderr)
        self.assertNotIn(b"'root'", done.stderr)
        os.chown(self.socket, 0, 65533)
        os.chmod(self.socket, 0o660)
        done = subprocess.run([VMCTL, "ls"], user=65534, group=65534, extra_groups=[],
                              capture_output=True, env=self.env, timeout=DEADLINE, check=False)
        self.assertIn(b"become a member of the group 65533", done.stderr)

    # ---- cp

    def test_cp_into(self):
        top = self.dir + "/tree"
        os.makedirs(top + "/sub", exist_ok=True)
        with open(top + "/sub/file", "wb") as f:
            f.write(b"x" * 200000)
        os.chmod(top + "/sub/file", 0o640)
        with open(top + "/empty", "wb"):
            pass
        for name, make in (("/link", os.symlink), ("/hard", os.link)):
            if not os.path.lexists(top + name):
                make("sub/file" if make is os.symlink else top + "/sub/file", top + name)
        self.run_("create", "tiny", "--name", "c")
        self.run_("cp", top, "c:/dir")
        put = [r for r in self.records() if "put" in r][0]
        members = {m[0].rstrip("/"): m for m in put["members"]}
        self.assertEqual(put["put"], "/dir")
        self.assertEqual(set(members), {"tree", "tree/sub", "tree/sub/file", "tree/link",
                                        "tree/hard", "tree/empty"})
        self.assertEqual(members["tree/link"][2:4], ["2", "sub/file"])
        kinds = sorted([members["tree/hard"][2], members["tree/sub/file"][2]])
        self.assertEqual(kinds, ["0", "1"])
        self.assertEqual({m[5] for m in put["members"]}, {0})
        self.run_("cp", top + "/sub/file", "c:/missing")
        put = [r for r in self.records() if "put" in r][1]
        self.assertEqual((put["put"], put["members"][0][0], put["members"][0][4]),
                         ("/missing", "file", 200000))
        self.assertEqual(put["members"][0][1], "0o640")

    def test_cp_out(self):
        out = tempfile.mkdtemp(dir=self.dir)
        self.run_("create", "tiny", "--name", "o")
        self.run_("cp", "o:/dir", out)
        with open(out + "/dir/hard", "rb") as f:
            self.assertEqual(f.read(), b"hello" * 1000)
        self.assertEqual(os.stat(out + "/dir/file").st_mode & 0o7777, 0o640)
        self.assertEqual(os.readlink(out + "/dir/link"), "file")
        self.assertEqual(os.stat(out + "/dir/hard").st_ino, os.stat(out + "/dir/file").st_ino)
        self.run_("cp", "o:/dir", out + "/renamed")
        self.assertTrue(os.path.exists(out + "/renamed/file"))
        self.run_("cp", "o:/single", out + "/one")
        with open(out + "/one", "rb") as f:
            self.assertEqual(f.read(), b"single")
        done = self.run_("cp", "o:/missing", out, status=1)
        self.assertIn("/missing", done.err)
        self.assertTrue(self.run_("cp", "o:/single", "-").stdout.startswith(b"single"))

    def test_cp_out_replaces_no_other_kind(self):
        out = tempfile.mkdtemp(dir=self.dir)
        self.run_("create", "tiny", "--name", "kind")
        with open(out + "/precious", "w", encoding="ascii") as f:
            f.write("mine")
        done = self.run_("cp", "kind:/dir", out + "/precious", status=1)
        self.assertIn("precious: it is a file", done.err)
        with open(out + "/precious", encoding="ascii") as f:
            self.assertEqual(f.read(), "mine")
        os.makedirs(out + "/dir/file")
        done = self.run_("cp", "kind:/dir", out, status=1)
        self.assertIn("cannot replace the directory dir/file", done.err)
        self.assertTrue(os.path.isdir(out + "/dir/file"))

    def test_cp_out_hostile_guest_cannot_leave_the_target(self):
        base = tempfile.mkdtemp(dir=self.dir)
        os.mkdir(base + "/outside")
        os.mkdir(base + "/in")
        self.run_("create", "tiny", "--name", "evil")
        for kind in ("dotdot", "absolute", "link", "other-top", "hard"):
            with self.subTest(kind):
                self.run_("cp", "evil:/evil-" + kind, base + "/in", status=1)
        self.assertEqual(os.listdir(base + "/outside"), [])
        self.assertEqual(sorted(os.listdir(base)), ["in", "outside"])
        self.assertFalse(os.path.exists("/tmp/escaped-absolute"))
        self.assertFalse(os.path.exists(base + "/in/other"))

    # ---- the command line

    def test_usage_errors(self):
        for words, hint in ((["sotp"], "stop"), (["ls", "--lable", "x"], "--label"),
                            (["image", "bulid"], "build"), (["ls", "extra"], "too many"),
                            (["stop"], "too few"), (["ls", "-o", "xml"], "xml"),
                            (["ls", "--state"], "needs a value"),
                            (["create", "tiny", "-p", "x"], "HOST_PORT"),
                            (["create", "tiny", "--memory", "lots"], "--memory"),
                            (["create", "tiny", "--cpus", "99"], "--cpus"),
                            (["logs", "x", "--tail", "2M"], "at most 1 MiB"),
                            (["cp", "/etc/passwd", "vm:rel"], "vm:/rel"),
                            (["create", "tiny", "--name", "A b"], "name"), ([], "Usage")):
            with self.subTest(words):
                self.assertIn(hint, self.run_(*words, status=2).err)
        self.assertIn("Usage", self.run_("help").out)
        self.assertIn("has less than 108 bytes",
                      self.run_("ls", "--socket", "/" + "y" * 200, status=2).err)
        self.assertIn("--socket must not be empty", self.run_("ls", "--socket=", status=2).err)

    def test_words_of_other_programs(self):
        for words, hint in ((["ps"], "'ls'"), (["list"], "'ls'"), (["delete", "x"], "'rm'"),
                            (["shell", "x"], "'exec'"), (["images"], "'image ls'"),
                            (["image", "list"], "'image ls'"), (["image", "delete"], "'image rm'"),
                            (["op", "ls"], "'operation'"), (["launch"], "'run'")):
            with self.subTest(words):
                self.assertIn("did you mean %s?" % hint, self.run_(*words, status=2).err)
        self.assertNotIn("did you mean", self.run_("image", "ssh", status=2).err)

    def test_messages_name_options_and_units(self):
        for option, value, text in (
                ("--memory", "128", "--memory: 128 B is less than 16 MiB; a number without a unit"),
                ("--memory", "512K", "--memory: 512 KiB is less than 16 MiB\n"),
                ("--memory", "1.5G", "not a whole number of a unit"),
                ("--disk", "5000000T", "--disk: 5000000 TiB is more than"),
                ("--ttl", "0", "--ttl: 0 s is less than 1 s"),
                ("--ttl", "1w", "not a time of the form 30s, 10m, 2h, 1d or 1h30m"),
                ("--name", "", "--name must not be empty"),
                ("--label", "\u00e4=b", "--label \u00e4: not the name of a label"),
                ("--net", "foo", "--net: 'foo' is not one of"),
                ("--engine", "kvm", "--engine: 'kvm' is not one of"),
                ("-p", "localhost:1:1", "--publish: 'localhost' is not an IPv4 or IPv6")):
            with self.subTest(option=option, value=value):
                done = self.run_("create", option, value, "tiny", status=2)
                self.assertIn(text, done.err)
                self.assertNotIn("_bytes", done.err)

    def test_near_names(self):
        self.run_("create", "tiny", "--name", "webserver")
        self.assertIn("did you mean 'webserver'?",
                      self.run_("inspect", "websrever", status=1).err)
        self.assertNotIn("did you mean", self.run_("inspect", "zzzzzz", status=1).err)

    def test_own_daemon_is_found(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        home = tempfile.mkdtemp(dir=self.dir)
        os.chmod(self.dir, 0o755)
        for name, value, path in (("XDG_RUNTIME_DIR", home + "/r", "/r/vmd/vmd.sock"),
                                  ("XDG_STATE_HOME", home + "/s", "/s/vmd/run/vmd.sock"),
                                  ("HOME", home, "/.local/state/vmd/run/vmd.sock")):
            os.makedirs(os.path.dirname(home + path))
            with open(home + path, "w", encoding="ascii"):
                pass
            subprocess.run(["chown", "-R", "65534", home], check=True, timeout=DEADLINE)
            done = subprocess.run([VMCTL, "ls"], env={name: value}, user=65534, group=65534,
                                  extra_groups=[], capture_output=True, timeout=DEADLINE, check=False)
            self.assertIn(home + path, done.stderr.decode())

    def test_lost_help_is_an_error(self):
        for words in (["--help"], ["run", "--help"], ["--version"], ["completion", "bash"]):
            with self.subTest(words), open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([VMCTL, *words], stdout=full, stderr=subprocess.PIPE,
                                      env=self.env, timeout=DEADLINE, check=False)
                self.assertEqual(done.returncode, 125 if words[0] == "run" else 1)
                self.assertIn(b"standard output", done.stderr)

    def test_empty_words_of_a_command(self):
        self.run_("create", "tiny", "--name", "words")
        for words, hint in ((["-e", "", "words", "x"], "--env ''"),
                            (["words", "--", ""], "the command is empty")):
            self.assertIn(hint, self.run_("exec", *words, status=125).err)

    def test_completion(self):
        script = self.run_("completion", "bash").stdout
        subprocess.run(["bash", "-n"], input=script, check=True, timeout=DEADLINE)
        ask = script.decode() + '\nCOMP_WORDS=(vmctl im); COMP_CWORD=1; _vmctl; echo "${COMPREPLY[@]}"' \
            '\nCOMP_WORDS=(vmctl image bu); COMP_CWORD=2; _vmctl; echo "${COMPREPLY[@]}"' \
            '\nCOMP_WORDS=(vmctl run --eng); COMP_CWORD=2; _vmctl; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash"], input=ask.encode(), capture_output=True, check=True,
                              env=self.env, timeout=DEADLINE)
        self.assertEqual(done.stdout.decode().split(), ["image", "build", "--engine"])
        for shell in ("zsh", "fish"):
            self.assertIn("vmctl", self.run_("completion", shell).out)
        self.assertIn("complete -c vmctl -e\n", self.run_("completion", "fish").out)
        subprocess.run(["zsh", "-n"], input=self.run_("completion", "zsh").stdout, check=True,
                       timeout=DEADLINE)
        with open(self.dir + "/c.fish", "wb") as f:
            f.write(self.run_("completion", "fish").stdout)
        for words, expect in (("image ", ["build", "inspect", "ls", "rm"]),
                              ("run --net ", ["none", "user"]),
                              ("cp /etc/passw", ["/etc/passwd"])):
            done = subprocess.run(["fish", "--no-config", "-c",
                                   "source %s/c.fish; complete -C 'vmctl %s'" % (self.dir, words)],
                                  env=dict(self.env, HOME=self.dir), check=True,
                                  capture_output=True, timeout=DEADLINE)
            got = [line.split("\t")[0] for line in done.stdout.decode().splitlines()]
            self.assertEqual([w for w in got if not w.endswith("-")], expect)
        self.run_("completion", "tcsh", status=2)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
