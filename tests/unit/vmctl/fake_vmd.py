#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small vmd for tests of vmctl: HTTP and WebSocket over a unix socket.

What an exec connection does is chosen by the command's first word. Everything
that clients send is appended to LOG as JSON lines.
"""
import base64
import difflib
import hashlib
import io
import json
import os
import socketserver
import struct
import sys
import tarfile
import urllib.parse

LOG = open(sys.argv[2], "a", buffering=1)
NOW = "2026-01-02T03:04:05Z"
VMS = {}
OPS = {}


def log(**record):
    LOG.write(json.dumps(record) + "\n")


def vm_object(name, spec):
    return {
        "id": "01" + hashlib.sha256(name.encode()).hexdigest()[:24], "name": name,
        "image": spec.get("image", "tiny"), "image_id": "ab", "state": "ready", "reason": None,
        "engine": "qemu", "engine_reason": "software emulation: no KVM", "emulated": True,
        "vcpus": None if name == "damaged" else spec.get("vcpus", 1),
        "memory_bytes": spec.get("memory_bytes", 268435456),
        "disk_bytes": None, "labels": spec.get("labels", {}),
        "ephemeral": spec.get("ephemeral", False), "ttl_seconds": None, "expires_at": None,
        "network": {"mode": "user", "ports": []}, "command": spec.get("command"), "exit": None,
        "created_at": NOW, "started_at": None, "ready_at": None, "agent": None, "pids": [],
        "error": None, "revision": 1}


def operation(kind, resource, identity, state="succeeded", error=None):
    op = {"id": "op%d" % (len(OPS) + 1), "kind": kind, "state": state,
          "resource": {"kind": resource, "id": identity},
          "progress": {"step": "step\x1b[31m", "done": 1, "total": 2}, "created_at": NOW,
          "finished_at": NOW, "error": error}
    OPS[op["id"]] = op
    return op


def problem(status, code, detail, kind="internal"):
    return {"type": "about:blank", "title": "t", "status": status, "kind": kind, "code": code,
            "detail": detail, "retryable": False}


class Handler(socketserver.StreamRequestHandler):
    def answer(self, status, body=b"", kind="application/json"):
        if not isinstance(body, bytes):
            if status >= 400:
                kind = "application/problem+json"
            body = json.dumps(body).encode()
        self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
                         b"Connection: close\r\n\r\n" % (status, kind.encode(), len(body)))
        self.wfile.write(body)

    def body(self):
        if self.headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in self.headers.get("transfer-encoding", ""):
            data = b""
            while True:
                size = int(self.rfile.readline(), 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def handle(self):
        line = self.rfile.readline().decode().split()
        if len(line) != 3:
            return
        self.headers = {}
        while True:
            header = self.rfile.readline().decode().strip()
            if not header:
                break
            name, _, value = header.partition(":")
            self.headers[name.lower()] = value.strip()
        url = urllib.parse.urlsplit(line[1])
        self.query = dict(urllib.parse.parse_qsl(url.query))
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        body = self.body()
        log(method=line[0], path=line[1], key=self.headers.get("idempotency-key"),
            body=body[:4096].decode("latin-1"))
        try:
            self.route(line[0], parts[1:], body)
        except (BrokenPipeError, ConnectionResetError):
            log(event="broken")

    def route(self, method, parts, body):
        if parts == ["version"]:
            return self.answer(200, {"version": "9.9", "api": "v1"})
        if parts == ["host"]:
            return self.answer(200, {
                "engines": [{"name": "qemu", "usable": True, "emulated": True, "detail": "7.2",
                             "fix": None}],
                "checks": [{"name": "tun", "ok": False, "detail": "missing",
                            "fix": "modprobe tun"}],
                "kernel": "6", "architecture": "x86_64", "cpus": 2, "memory_bytes": 1 << 30,
                "memory_available_bytes": 1 << 29, "disk_bytes": 1 << 30,
                "disk_available_bytes": 1 << 29, "state_dir": "/s", "rootless": False, "vms": 0})
        if parts[0] == "operations":
            if len(parts) == 1:
                return self.answer(200, {"items": list(OPS.values()), "next_cursor": None})
            if parts[1] not in OPS:
                return self.answer(404, problem(404, "operation_not_found", "no operation",
                                                "not_found"))
            op = OPS[parts[1]]
            if method == "DELETE":
                op["state"] = "cancelled"
                return self.answer(202, op)
            if parts[2:] == ["wait"] and op["state"] == "running":
                return self.answer(408, problem(408, "wait_timeout", "still running", "timeout"))
            return self.answer(200, op)
        if parts[0] == "images":
            return self.images(method, parts, body)
        if parts[0] == "vms":
            return self.vms(method, parts, body)
        return self.answer(404, problem(404, "route_unknown", "no route", "not_found"))

    def images(self, method, parts, body):
        if method == "POST":
            name = json.loads(body)["name"]
            if name == "broken":
                return self.answer(202, operation("image_build", "image", name, "failed", problem(
                    507, "disk_full", "the disk of the image store is full", "no_space")))
            if name == "slow":
                return self.answer(202, operation("image_build", "image", name, "running"))
            return self.answer(202, operation("image_build", "image", name))
        if method == "DELETE":
            return self.answer(204)
        return self.answer(200, {"items": [{"name": "tiny", "id": "ab" * 32, "recipe": "tiny",
                                            "kernel_release": "6.1", "size_bytes": 5 << 20,
                                            "used_by": [], "created_at": NOW}]})

    def vms(self, method, parts, body):
        if len(parts) == 1 and method == "POST":
            spec = json.loads(body)
            if spec["image"] == "none":
                return self.answer(404, problem(404, "image_not_found", "no image 'none'",
                                                "not_found"))
            name = spec.get("name", "vm%d" % len(VMS))
            VMS[name] = vm_object(name, spec)
            return self.answer(202, {"operation": operation("vm_create", "vm", name),
                                     "vm": VMS[name]})
        if len(parts) == 1:
            items = list(VMS.values())
            if self.query.get("cursor") == "c 2":
                return self.answer(200, {"items": items[1:], "next_cursor": None})
            return self.answer(200, {"items": items[:1],
                                     "next_cursor": "c 2" if len(items) > 1 else None})
        vm = next((v for v in VMS.values() if parts[1] in (v["name"], v["id"])), None)
        if not vm:
            gone = problem(404, "vm_not_found", "no VM '%s'" % parts[1], "not_found")
            near = difflib.get_close_matches(parts[1], VMS, 1)
            return self.answer(404, dict(gone, subject=parts[1],
                                         **({"suggestion": near[0]} if near else {})))
        verb = parts[2] if len(parts) > 2 else ""
        if verb in ("start", "stop", "restart"):
            return self.answer(202, operation("vm_" + verb, "vm", vm["id"]))
        if method == "DELETE":
            if vm["name"] == "busy" and "force" not in self.query:
                return self.answer(409, problem(409, "wrong_state", "VM 'busy' runs", "conflict"))
            del VMS[vm["name"]]
            return self.answer(202, operation("vm_delete", "vm", vm["id"]))
        if verb == "wait":
            if self.query["state"] == "stopped":
                return self.answer(408, problem(408, "wait_timeout", "not yet", "timeout"))
            return self.answer(200, dict(vm, exit={"status": 0, "signal": 9}))
        if verb == "logs":
            return self.answer(200, b"console\nlines\n", "text/plain")
        if verb == "files":
            return self.files(method, body)
        if verb in ("exec", "console", "dial"):
            return self.websocket(verb, vm)
        return self.answer(200, vm)

    def files(self, method, body):
        path = self.query["path"]
        if method == "PUT":
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                log(put=path, members=[[m.name, oct(m.mode), m.type.decode(), m.linkname, m.size,
                                        m.uid] for m in tar.getmembers()])
            return self.answer(204)
        if path == "/missing":
            return self.answer(404, problem(404, "not_found", "cannot read /missing: no such file",
                                            "not_found"))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            def add(name, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644):
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.size, info.mode = kind, link, len(data), mode
                tar.addfile(info, io.BytesIO(data))
            top = path.strip("/").split("/")[-1] or "root"
            if path == "/dir":
                add("dir", kind=tarfile.DIRTYPE, mode=0o755)
                add("dir/file", b"hello" * 1000, mode=0o4640)
                add("dir/link", kind=tarfile.SYMTYPE, link="file")
                add("dir/hard", kind=tarfile.LNKTYPE, link="dir/file")
            elif path == "/evil-dotdot":
                add(top, kind=tarfile.DIRTYPE, mode=0o755)
                add(top + "/../../escaped", b"x")
            elif path == "/evil-absolute":
                add("/tmp/escaped-absolute", b"x")
            elif path == "/evil-link":
                add(top, kind=tarfile.DIRTYPE, mode=0o755)
                add(top + "/out", kind=tarfile.SYMTYPE, link="../../outside")
                add(top + "/out/escaped", b"x")
            elif path == "/evil-other-top":
                add(top, kind=tarfile.DIRTYPE, mode=0o755)
                add("other", b"x")
            elif path == "/evil-hard":
                add(top, kind=tarfile.DIRTYPE, mode=0o755)
                add(top + "/h", kind=tarfile.LNKTYPE, link="/etc/passwd")
            else:
                add(top, b"single")
        self.answer(200, out.getvalue(), "application/x-tar")

    # ---- WebSocket ---------------------------------------------------------

    def send(self, opcode, payload):
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        if isinstance(payload, str):
            payload = payload.encode()
        head = bytes([0x80 | opcode])
        if len(payload) < 126:
            head += bytes([len(payload)])
        elif len(payload) < 65536:
            head += b"\x7e" + struct.pack(">H", len(payload))
        else:
            head += b"\x7f" + struct.pack(">Q", len(payload))
        self.wfile.write(head + payload)

    def receive(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return None, b""
        length = head[1] & 0x7f
        if not head[1] & 0x80:
            log(event="unmasked")
        if length == 126:
            length, = struct.unpack(">H", self.rfile.read(2))
        elif length == 127:
            length, = struct.unpack(">Q", self.rfile.read(8))
        mask = self.rfile.read(4)
        data = self.rfile.read(length)
        long = (mask * (len(data) // 4 + 1))[:len(data)]
        clear = int.from_bytes(data, "big") ^ int.from_bytes(long, "big")
        return head[0] & 15, clear.to_bytes(len(data), "big")

    def websocket(self, verb, vm):
        accept = base64.b64encode(hashlib.sha1(
            (self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            .encode()).digest()).decode()
        if vm["name"] == "badaccept":
            accept = "A" * 28
        if vm["name"] == "stopped":
            return self.answer(409, problem(409, "wrong_state", "VM 'stopped' is stopped",
                                            "conflict"))
        self.wfile.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept)
                         .encode())
        if verb == "dial":
            return self.dial(int(self.query["port"]), self.query["protocol"])
        if verb == "console":
            self.send(2, b"old output\r\n")
            while True:
                opcode, data = self.receive()
                if opcode is None or opcode == 8:
                    return log(event="console-closed")
                self.send(2, b"echo:" + data)
        opcode, data = self.receive()
        if opcode != 1:
            return
        request = json.loads(data)
        log(exec=request)
        self.command(request.get("command", ["default"]), request)
        opcode, data = self.receive()
        log(event="closed", opcode=opcode)

    def dial(self, port, protocol):
        """25 speaks first; 99 refuses; 66 is lost at the first byte; all echo."""
        if port == 99:
            self.send(1, {"error": problem(503, "connection_refused",
                                           "guest: nothing listens there", "unavailable")})
            return self.send(8, struct.pack(">H", 1000))
        self.send(1, {"connected": {}})
        if port == 25:
            self.send(2, b"220 ready\r\n")
        while True:
            opcode, data = self.receive()
            if opcode is None or opcode == 8:
                return log(event="dial-closed", port=port)
            if port == 66:
                return self.connection.shutdown(2)
            self.send(2, data)
            if not data and protocol == "tcp":
                return self.send(8, struct.pack(">H", 1000))

    def end(self, status, signal=0):
        self.send(1, {"exit": {"status": status, "signal": signal}})
        self.send(8, struct.pack(">H", 1000))

    def command(self, argv, request):
        if argv[0] == "nocommand":
            return self.send(1, {"error": problem(404, "command_not_found", "no such command",
                                                  "not_found")})
        if argv[0] == "noexec":
            return self.send(1, {"error": problem(403, "command_not_executable", "not executable",
                                                  "permission")})
        if argv[0] == "garbage":
            return self.send(1, "{not json")
        if argv[0] == "channel":
            return self.send(2, b"\x07data")
        if argv[0] == "badframe":
            return self.wfile.write(b"\xff\x80\x00\x00\x00\x00")
        if argv[0] == "drop":
            return self.connection.shutdown(2)
        if argv[0] == "huge":
            return self.wfile.write(b"\x82\x7f" + struct.pack(">Q", 1 << 40) + b"x" * 100)
        if argv[0] == "wait":
            self.send(1, {"progress": {"state": "starting", "step": "booting"}})
            opcode, data = self.receive()
            return log(event="dropped-before-start", opcode=opcode)
        self.send(1, {"progress": {"state": "starting", "step": "booting"}})
        for _ in range(2):
            self.send(1, {"warning": "software emulation"})
        self.send(1, {"started": {"pid": 5}})
        if argv[0] == "both":
            self.send(2, b"\x01out\n")
            self.send(9, b"ping")
            self.send(2, b"\x02err\n")
            return self.end(int(argv[1]))
        if argv[0] == "signal":
            return self.end(0, int(argv[1]))
        if argv[0] == "flood":
            for _ in range(int(argv[1])):
                self.send(2, b"\x01" + b"y" * 65535)
            return self.end(0)
        if argv[0] == "cat":
            total = hashlib.sha256()
            while True:
                opcode, data = self.receive()
                if opcode == 2 and len(data) == 1:
                    break
                if opcode != 2 or data[0] != 0:
                    return self.end(99)
                total.update(data[1:])
            self.send(2, b"\x01" + total.hexdigest().encode() + b"\n")
            return self.end(0)
        if argv[0] in ("int", "stubborn", "tty"):
            self.send(2, b"\x01up\n")
            while True:
                opcode, data = self.receive()
                log(got=[opcode, data.decode("latin-1")])
                if opcode is None or opcode == 8:
                    return log(event="dropped")
                if argv[0] == "int" and opcode == 1:
                    self.send(2, b"\x01caught\n")
                    return self.end(9)
                if argv[0] == "tty" and opcode == 2 and data[1:] == b"q":
                    return self.end(0)
        self.end(0)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


with Server(sys.argv[1], Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
