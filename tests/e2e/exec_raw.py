# SPDX-License-Identifier: Apache-2.0
"""One exec request from standard input over a WebSocket; prints the answers.

    exec_raw.py SOCKET VM
"""
import os
import socket
import struct
import sys

request = sys.stdin.buffer.read()
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
s.sendall(("GET /v1/vms/%s/exec HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % sys.argv[2]).encode())
head = b""
while b"\r\n\r\n" not in head:
    head += s.recv(1)
assert b" 101 " in head, head
mask = os.urandom(4)
key = int.from_bytes((mask * (len(request) // 4 + 1))[:len(request)], "big")
masked = (int.from_bytes(request, "big") ^ key).to_bytes(len(request), "big")
s.sendall(b"\x81\xff" + struct.pack(">Q", len(request)) + mask + masked)
while True:
    data = s.recv(65536)
    if not data:
        break
    sys.stdout.buffer.write(data)
    if b"\x88" in data:
        break
