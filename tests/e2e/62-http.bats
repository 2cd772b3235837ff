#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# HTTP, ids and limits as clients meet them on an installed daemon.

bats_require_minimum_version 1.5.0
load helpers

api() { curl -sS -m 20 --unix-socket "$VMD_SOCKET" "$@"; }
status() { api -o /dev/null -w '%{http_code}' "$@"; }

setup_file() {
	vmctl create --net none --name http-a tiny
	vmctl create --net none --name http-b tiny
	vmctl start http-a
}

teardown_file() {
	vmctl rm --force http-a http-b >/dev/null 2>&1 || :
}

@test "a name that looks like an id is refused, an id is never another VM's name" {
	id=$(vmctl inspect http-a | jq -r .id)
	run vmctl create --name "$id" tiny
	[ "$status" -ne 0 ]
	[[ $output == *"looks like an id"* ]]
	[ "$(vmctl inspect "$id" | jq -r .name)" = http-a ]
	[ "$(vmctl inspect "${id:0:9}" | jq -r .name)" = http-a ]
}

@test "HEAD is GET without a body" {
	for path in /v1/version /v1/vms /v1/vms/http-a /v1/images /metrics; do
		[ "$(status -I "http://vmd$path")" = 200 ]
	done
	[ -z "$(api -I http://vmd/v1/version | sed -n '/^\r$/,$p' | tr -d '\r\n')" ]
}

@test "what has not changed is 304, what has changed is 412" {
	tag=$(api -i http://vmd/v1/vms/http-b | tr -d '\r' | sed -n 's/^ETag: //p')
	[ -n "$tag" ]
	[ "$(status -H "If-None-Match: $tag" http://vmd/v1/vms/http-b)" = 304 ]
	[ "$(status -H 'If-None-Match: "x"' http://vmd/v1/vms/http-b)" = 200 ]
	[ "$(status -X POST -H 'If-Match: "x"' http://vmd/v1/vms/http-b/start)" = 412 ]
}

@test "a method that is not taken is told what is" {
	run api -i -X PATCH http://vmd/v1/vms/http-a
	[[ $output == *"Allow: GET, HEAD, DELETE"* ]]
	run api -i "http://vmd/v1/vms?limit=0"
	[[ $output != *"Allow:"* ]]
}

@test "a malformed request gets one answer, a problem" {
	python3 - "$VMD_SOCKET" <<-'END'
		import json, socket, sys
		def ask(data):
		    s = socket.socket(socket.AF_UNIX)
		    s.settimeout(20)
		    s.connect(sys.argv[1])
		    s.sendall(data)
		    out = b""
		    while got := s.recv(65536):
		        out += got
		        if out.endswith(b"}"):
		            break
		    return out
		post = b"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
		for request in (b"GET /v1/version HTTP/1.1\r\n\r\n",
		                post + b"Content-Length: -1\r\n\r\n{}",
		                post + b"Content-Length: 16\r\nContent-Length: 17\r\n\r\n" + b"{" * 17):
		    head, _, body = ask(request).partition(b"\r\n\r\n")
		    assert head.startswith(b"HTTP/1.1 400"), head
		    assert b"application/problem+json" in head, head
		    assert json.loads(body)["code"] == "bad_request", body
	END
}

@test "an invented cursor is refused" {
	for cursor in zzzz %21%21 abc 0000000000000000-aaaaaaaaaaaaaaaaaaaaaaaaaa; do
		[ "$(status "http://vmd/v1/vms?cursor=$cursor")" = 400 ]
	done
	cursor=$(api "http://vmd/v1/vms?limit=1" | jq -r .next_cursor)
	[ "$(status "http://vmd/v1/vms?cursor=$cursor")" = 200 ]
}

@test "messages show what was typed" {
	run vmctl inspect 'a b'
	[ "$status" -ne 0 ]
	[[ $output == *"'a b' is no name"* ]]
	run vmctl inspect ..
	[ "$status" -ne 0 ]
	[[ $output == *"'..' is no name"* ]]
}

@test "a body that is no archive is the client's mistake" {
	wait_until "$BOOT_S" vm_state_is http-a ready
	put() {
		status -T - -H 'Content-Type: application/x-tar' \
			"http://vmd/v1/vms/http-a/files?path=/tmp"
	}
	[ "$(head -c 3000 /dev/urandom | put)" = 400 ]
	[ "$(tar -cz /etc/hosts 2>/dev/null | put)" = 400 ]
	[ "$(tar -c /etc/hosts 2>/dev/null | head -c 700 | put)" = 400 ]
	[ "$(tar -c /etc/hosts 2>/dev/null | put)" = 204 ]
}

@test "WebSocket: another version is told ours, bad pings are 1002" {
	python3 - "$VMD_SOCKET" <<-'END'
		import socket, struct, sys
		def upgrade(version):
		    s = socket.socket(socket.AF_UNIX)
		    s.settimeout(20)
		    s.connect(sys.argv[1])
		    s.sendall(f"GET /v1/vms/http-a/exec HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
		              "Connection: Upgrade\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n"
		              f"Sec-WebSocket-Version: {version}\r\n\r\n".encode())
		    head = b""
		    while b"\r\n\r\n" not in head:
		        head += s.recv(1)
		    return s, head
		head = upgrade(8)[1]
		assert head.startswith(b"HTTP/1.1 426"), head
		assert b"sec-websocket-version: 13" in head.lower(), head
		for frame in (b"\x89\xfe" + struct.pack(">H", 126) + bytes(130), b"\x09\x81" + bytes(5)):
		    s = upgrade(13)[0]
		    s.sendall(frame)
		    got = s.recv(100)
		    assert got == b"\x88\x02\x03\xea", got
	END
}

@test "many idle connections of a user keep nobody out, not even him" {
	cat >"$BATS_TEST_TMPDIR/hold.py" <<-'END'
		import signal, socket, sys
		held = []
		for _ in range(1000):
		    s = socket.socket(socket.AF_UNIX)
		    s.connect(sys.argv[1])
		    held.append(s)
		open(sys.argv[2], "w").close()
		signal.pause()
	END
	(ulimit -n 4096 && exec python3 "$BATS_TEST_TMPDIR/hold.py" "$VMD_SOCKET" \
		"$BATS_TEST_TMPDIR/held" 3>&- 4>&-) &
	holder=$!
	wait_until 60 test -e "$BATS_TEST_TMPDIR/held"
	for _ in 1 2 3; do
		vmctl ls -q >/dev/null
	done
	kill $holder
}
