#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# create, start, stop, restart, rm, ls, inspect, logs, console, wait, ports.

bats_require_minimum_version 1.5.0
load helpers

teardown() { vms_remove_all; }

@test "create, start, stop, start again, remove" {
	run -0 vmctl create --name life --memory 192M --cpus 2 --label a=b tiny
	vm_state_is life stopped
	vmctl start life
	vmctl wait life --for ready --timeout $BOOT_S
	run -0 vmctl exec life -- nproc
	[ "$output" = 2 ]
	run -0 vmctl ls --label a=b -o name
	[ "$output" = life ]
	run -0 vmctl ls --label a=c -o name
	[ -z "$output" ]
	run vmctl rm life
	[ "$status" = 1 ]
	[[ $output == *"--force"* ]]
	vmctl stop life
	vm_state_is life stopped
	run -0 vmctl logs life
	vmctl restart life || vmctl start life
	vmctl wait life --for ready --timeout $BOOT_S
	vmctl rm --force life
	vm_gone life
	no_leftovers
}

@test "a taken name is refused" {
	vmctl create --name twice tiny
	run vmctl create --name twice tiny
	[ "$status" = 1 ]
	[[ $output == *"twice"* ]]
	vmctl rm twice
}

@test "inspect is JSON, ls a table, unknown VM an error" {
	vmctl create --name shown tiny
	run -0 vmctl inspect shown
	jq -e '.name == "shown" and .state == "stopped" and .vcpus == 1' <<<"$output"
	run -0 vmctl ls
	[[ $output == *"NAME"* && $output == *"shown"* ]]
	run -0 vmctl ls -o json
	jq -e '.[0].name == "shown"' <<<"$output"
	run vmctl inspect nobody
	[ "$status" = 1 ]
	[[ $output == *"nobody"* ]]
}

@test "a VM larger than the host is refused with the numbers" {
	run vmctl create --name huge --memory 900G tiny
	[ "$status" = 1 ]
	[[ $output == *"900 GiB"* ]]
	vm_gone huge
}

@test "published port answers, a taken one is refused" {
	port=$(free_port)
	vmctl run -d --name web -p $port:80 tiny -- sh -c \
		'mkdir -p /www && echo hello-from-guest >/www/index.html && exec busybox httpd -f -p 80 -h /www'
	vmctl wait web --for ready --timeout $BOOT_S
	wait_until 20 curl -sf --max-time 5 "http://127.0.0.1:$port/"
	run -0 curl -sf --max-time 5 "http://127.0.0.1:$port/"
	[ "$output" = hello-from-guest ]
	run vmctl run -d --name web2 -p $port:80 tiny
	[ "$status" = 125 ]
	[[ $output == *"$port"* ]]
	vm_gone web2
}

@test "a guest that powers itself off is stopped, not failed" {
	vmctl create --name off tiny
	vmctl start off
	vmctl wait off --for ready --timeout $BOOT_S
	vmctl exec off -- poweroff || :
	wait_until 60 vm_state_is off stopped
	vmctl inspect off | jq -e '.error == null'
}

@test "console takes input and shows output; logs keep it" {
	vmctl create --name con tiny
	vmctl start con
	vmctl wait con --for ready --timeout $BOOT_S
	vmctl exec con -- sh -c 'echo console-marker >/dev/console'
	wait_until 20 bash -c 'vmctl logs con | grep -q console-marker'

	cd "$BATS_TEST_TMPDIR"
	mkfifo keys
	vmctl console con <keys >shown 2>/dev/null 3>&- &
	console=$!
	exec 7>keys
	wait_until 20 grep -q console-marker shown # replayed
	vmctl exec con -- sh -c 'head -n 1 </dev/console' >typed 3>&- 7>&- &
	reader=$!
	# Again and again: nobody knows when the reader has opened the console.
	type_line() { echo typed-here >&7 && [ -s typed ]; }
	wait_until 30 type_line
	exec 7>&-
	wait $reader
	[ "$(tr -d '\r' <typed)" = typed-here ]
	kill $console 2>/dev/null || :
}

@test "--net none has no interface but the loopback" {
	vmctl run -d --name nonet --net none tiny
	vmctl wait nonet --for ready --timeout $BOOT_S
	run -0 vmctl exec nonet -- ls /sys/class/net
	[ "$output" = lo ]
}

@test "time to live ends a VM" {
	vmctl create --name brief --ttl 2s tiny
	vmctl inspect brief | jq -e '.expires_at'
	wait_until 30 vm_gone brief
	no_leftovers
}

@test "wait times out with a clear message" {
	vmctl create --name still tiny
	run vmctl wait still --for ready --timeout 1
	[ "$status" != 0 ]
	[[ $output == *"stopped"* ]]
}
