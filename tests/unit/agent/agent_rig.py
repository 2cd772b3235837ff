# SPDX-License-Identifier: Apache-2.0
"""vmd-agent as an ordinary process over a socketpair, for the tests here."""
import fcntl
import os
import resource
import socket
import struct
import subprocess
import sys
import termios
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../e2e"))
sys.path.insert(0, os.path.join(HERE, "../.."))
import agent_wire as wire  # noqa: E402
from wait import until  # noqa: E402


class Agent:
    def __init__(self, hello=True, console="/dev/null", below=()):
        """below: words of a command that runs it, such as unshare."""
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [*below, sys.argv[1], "--fd", str(theirs.fileno()), "--console", console],
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


def main(tests):
    """tests: tests of the program; its arguments name some of them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    names = sys.argv[2:] or [n for n in tests if n.startswith("test_")]
    failed = 0
    for name in names:
        start = time.monotonic()
        try:
            tests[name]()
            print("ok   %s (%.2f s)" % (name, time.monotonic() - start),
                  flush=True)
        except Exception:
            failed += 1
            print("FAIL " + name, flush=True)
            traceback.print_exc()
    print("%d of %d failed" % (failed, len(names)))
    return 1 if failed else 0
