# SPDX-License-Identifier: Apache-2.0
"""The host's end of the agent protocol (agent/wire.h), for tests.

An independent second implementation: what the C codec encodes wrongly and
decodes wrongly in the same way is seen here.
"""
import os
import select
import struct
import time

MAGIC = 0x31414D56
PAYLOAD_MAX = 32768
SYNC = PAYLOAD_MAX + 16
WINDOW = 262144
(HELLO, EXEC, SIGNAL, RESIZE, CLOSE, PUSH, PULL, TIME, NET, SHUTDOWN, STATUS,
 REAP) = range(1, 13)
DIAL, CONNECTED = 16, 40
TCP, UDP = 0, 1
DIAL_WINDOW = {TCP: 65536, UDP: 131072}
EXEC_PART = 13
HELLO_ACK, STARTED, EXIT, RESULT, DETACHED = range(32, 37)
DATA, EOF, WINDOW_ADD = 64, 65, 66
TTY, STDIN, DETACH = 1, 2, 4


def text(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<I", len(raw)) + raw


def exec_payload(argv, env=(), cwd="", user="", flags=0, tag=0, rows=24,
                 columns=80):
    p = struct.pack("<IIHH", flags, tag, rows, columns) + text(cwd) + text(user)
    p += struct.pack("<I", len(argv)) + b"".join(text(a) for a in argv)
    p += struct.pack("<I", len(env)) + b"".join(text(e) for e in env)
    return p


def dial_payload(protocol, port):
    return struct.pack("<BH", protocol, port)


def parse_result(p):
    err, n = struct.unpack_from("<II", p)
    code = p[8:8 + n].decode()
    m, = struct.unpack_from("<I", p, 8 + n)
    return err, code, p[12 + n:12 + n + m].decode(errors="replace")


class Timeout(Exception):
    pass


class Host:
    """A session; every wait has a deadline."""

    def __init__(self, sock, timeout=30):
        self.sock = sock
        self.sock.setblocking(False)
        self.buf = bytearray()
        self.timeout = timeout
        self.next_id = 0
        self.pending = []
        self.skipped = 0

    def send_raw(self, data):
        end = time.monotonic() + self.timeout
        view = memoryview(data)
        while len(view):
            r, w, _ = select.select([self.sock], [self.sock], [], 1)
            if r:
                self._fill()
            if w:
                try:
                    view = view[self.sock.send(view[:65536]):]
                except BlockingIOError:
                    pass
            if time.monotonic() > end:
                raise Timeout("the agent does not read")

    def send(self, kind, stream=0, payload=b"", channel=0):
        self.send_raw(struct.pack("<IBBHII", MAGIC, kind, channel, 0, stream,
                                  len(payload)) + payload)

    def _fill(self):
        try:
            got = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        if not got:
            raise EOFError("the agent closed the connection")
        self.buf += got

    def _parse(self):
        while len(self.buf) >= 16:
            magic, kind, channel, zero, stream, n = struct.unpack_from(
                "<IBBHII", self.buf)
            if magic != MAGIC or zero or n > PAYLOAD_MAX:
                del self.buf[0]
                self.skipped += 1
                continue
            if len(self.buf) < 16 + n:
                return None
            payload = bytes(self.buf[16:16 + n])
            del self.buf[:16 + n]
            return kind, channel, stream, payload
        return None

    def recv(self, timeout=None):
        end = time.monotonic() + (timeout or self.timeout)
        while True:
            frame = self._parse()
            if frame:
                return frame
            left = end - time.monotonic()
            if left <= 0:
                raise Timeout("no frame from the agent")
            select.select([self.sock], [], [], left)
            self._fill()

    def hello(self, junk=b"", sync=True, version=1):
        nonce = os.urandom(16)
        self.send_raw(junk + (bytes(SYNC) if sync else b""))
        self.send(HELLO, 0, struct.pack("<H", version) + nonce)
        while True:
            kind, _, _, p = self.recv()
            if kind == HELLO_ACK and p[2:18] == nonce:
                version, = struct.unpack_from("<H", p)
                boot_ns, n = struct.unpack_from("<QI", p, 18)
                release = p[30:30 + n].decode()
                return version, boot_ns, release

    def open(self, kind, payload):
        self.next_id += 1
        self.send(kind, self.next_id, payload)
        return self.next_id

    def open_exec(self, payload):
        """EXEC, in pieces when it is longer than a frame."""
        self.next_id += 1
        while len(payload) > PAYLOAD_MAX:
            self.send(EXEC_PART, self.next_id, payload[:PAYLOAD_MAX])
            payload = payload[PAYLOAD_MAX:]
        self.send(EXEC, self.next_id, payload)
        return self.next_id

    def simple(self, kind, payload=b""):
        s = self.open(kind, payload)
        while True:
            k, _, stream, p = self.recv()
            if k == RESULT and stream == s:
                return parse_result(p)

    def run(self, argv, stdin=None, on_started=None, grant=True, **kw):
        """Returns (status, signal, out, err) or a RESULT tuple of three."""
        flags = kw.pop("flags", 0) | (STDIN if stdin is not None else 0)
        s = self.open_exec(exec_payload(argv, flags=flags, **kw))
        out = {1: bytearray(), 2: bytearray()}
        credit, at, closed = WINDOW, 0, stdin is None
        while True:
            while not closed and credit and at < len(stdin):
                n = min(credit, PAYLOAD_MAX, len(stdin) - at)
                self.send(DATA, s, stdin[at:at + n])
                at += n
                credit -= n
            if not closed and at == len(stdin):
                self.send(EOF, s)
                closed = True
            kind, channel, stream, p = self.recv()
            if stream != s:
                continue
            if kind == DATA:
                out[channel] += p
                if grant:
                    self.send(WINDOW_ADD, s, struct.pack("<I", len(p)),
                              channel)
            elif kind == WINDOW_ADD:
                credit += struct.unpack("<I", p)[0]
            elif kind == STARTED and on_started:
                on_started(s, struct.unpack("<I", p)[0])
            elif kind == EXIT:
                status, sig = struct.unpack("<II", p)
                return status, sig, bytes(out[1]), bytes(out[2])
            elif kind == RESULT:
                return parse_result(p)

    def pull(self, path):
        s = self.open(PULL, text(path))
        out = bytearray()
        while True:
            kind, channel, stream, p = self.recv()
            if stream != s:
                continue
            if kind == DATA:
                out += p
                self.send(WINDOW_ADD, s, struct.pack("<I", len(p)), channel)
            elif kind == RESULT:
                return parse_result(p), bytes(out)

    def push(self, path, data):
        s = self.open(PUSH, text(path))
        credit, at, ended = WINDOW, 0, False
        while True:
            while credit and at < len(data):
                n = min(credit, PAYLOAD_MAX, len(data) - at)
                self.send(DATA, s, data[at:at + n])
                at += n
                credit -= n
            if at == len(data) and not ended:
                self.send(EOF, s)
                ended = True
            kind, _, stream, p = self.recv()
            if stream == s and kind == WINDOW_ADD:
                credit += struct.unpack("<I", p)[0]
            elif stream == s and kind == RESULT:
                return parse_result(p)


class Dial:
    """A connection to a port of the agent's machine. next() gives what comes:
    bytes, "eof", "connected" or a RESULT tuple. Credit is given as asked for."""

    def __init__(self, host, port, protocol=TCP):
        self.host = host
        self.credit = DIAL_WINDOW[protocol]
        self.id = host.open(DIAL, dial_payload(protocol, port))
        self.taken = 0
        self.datagrams = bytearray()

    def next(self, grant=True):
        while True:
            kind, channel, stream, p = self.host.recv()
            if stream != self.id:
                continue
            if kind == CONNECTED:
                return "connected"
            if kind == WINDOW_ADD:
                self.credit += struct.unpack("<I", p)[0]
                return "credit"
            if kind == RESULT:
                return parse_result(p)
            if kind == EOF:
                return "eof"
            if kind == DATA:
                assert channel == 1, channel
                if grant:
                    self.host.send(WINDOW_ADD, self.id,
                                   struct.pack("<I", len(p)), 1)
                return p

    def write(self, data):
        n = min(len(data), self.credit, PAYLOAD_MAX)
        if n:
            self.host.send(DATA, self.id, data[:n])
            self.credit -= n
        return n

    def eof(self):
        self.host.send(EOF, self.id)

    def close(self):
        self.host.send(CLOSE, self.id)

    def send_datagram(self, data):
        raw = struct.pack("<H", len(data)) + data
        while raw:
            n = self.write(raw)
            raw = raw[n:]
            if not n:
                self.next()

    def recv_datagram(self):
        while True:
            if len(self.datagrams) >= 2:
                n, = struct.unpack_from("<H", self.datagrams)
                if len(self.datagrams) >= 2 + n:
                    d = bytes(self.datagrams[2:2 + n])
                    del self.datagrams[:2 + n]
                    return d
            got = self.next()
            if isinstance(got, bytes):
                self.datagrams += got
            elif isinstance(got, tuple):
                raise AssertionError("the flow ended: %r" % (got,))
