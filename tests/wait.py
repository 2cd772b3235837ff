# SPDX-License-Identifier: Apache-2.0
"""How the Python tests wait: for a condition, with a deadline."""
import socket
import time


def until(condition, what, seconds=30):
    """What condition() gives once that is true; fails saying `what`."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError("not within %d s: %s" % (seconds, what))
        time.sleep(0.01)
    return result


def connected(path, seconds=30):
    """A client of the unix socket, once somebody listens there."""
    def attempt():
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(path)
            return client
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            return None
    return until(attempt, "nobody listens at " + path, seconds)


def asleep(pid):
    """A condition for until(): the process did not run since the last look."""
    def look():
        with open("/proc/%d/status" % pid, encoding="ascii") as f:
            now = [line for line in f if "ctxt_switches" in line]
        same = now == last[0]
        last[0] = now
        return same
    last = [None]
    return look
