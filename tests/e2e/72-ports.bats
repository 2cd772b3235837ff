#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Published ports and vmctl forward, with services in the guest that do what MySQL,
# SMTP, DNS and others do. Two guests: one with a network, one without.

bats_require_minimum_version 1.5.0
load helpers

ports_file() { echo "$BATS_FILE_TMPDIR/ports"; }
# port NUMBER: the host's port for a port of the guest.
port() { sed -n "s/^$1 //p" "$(ports_file)"; }

setup_file() {
	local guest options=()
	for guest in 25 7 81 82 83 84 95 99; do
		echo "$guest $(free_port)" >>"$(ports_file)"
	done
	for guest in 25 7 81 82 83 84 99; do
		options+=(-p "$(port $guest):$guest")
	done
	vmctl create --name ports --start "${options[@]}" -p "$(port 95):95/udp" \
		-p "[::1]:$(port 25):25" -p "[::1]:$(port 95):95/udp" debian
	echo "bare $(free_port)" >>"$(ports_file)"
	vmctl create --name bare --start --net none -p "0.0.0.0:$(port bare):25" debian
	services_start ports
	services_start bare
	[ -z "$(vmctl exec ports -- grep "^no " /tmp/services)" ]
}

teardown_file() { vms_remove_all; }

teardown() {
	[ -z "${forward:-}" ] || kill "$forward" 2>/dev/null || :
}

# forward_start SPEC...: vmctl forward, to be ended by its id.
forward_start() {
	vmctl forward ports "$@" >"$BATS_TEST_TMPDIR/forward" \
		2>"$BATS_TEST_TMPDIR/forward.err" 3>&- 4>&- &
	forward=$!
	wait_until 30 grep -q . "$BATS_TEST_TMPDIR/forward"
}

# The local port for a port of the guest.
forwarded() { sed -n "s/.*:\([0-9]*\) -> ports:$1\/.*/\1/p" "$BATS_TEST_TMPDIR/forward"; }

@test "a server that speaks first is heard, on IPv4 and IPv6" {
	port_client greeting 127.0.0.1 "$(port 25)"
	port_client greeting ::1 "$(port 25)"
}

@test "half-closes carry some MiB in each direction, unchanged" {
	port_client half_close 127.0.0.1 "$(port 7)" 4
}

@test "published UDP answers, from 0 to 60000 bytes" {
	port_client udp 127.0.0.1 "$(port 95)"
	port_client udp ::1 "$(port 95)"
}

@test "200 connections at once, and commands beside them" {
	port_client many 127.0.0.1 "$(port 25)" 200 &
	local pid=$!
	run -0 vmctl exec ports -- echo beside
	[ "$output" = beside ]
	wait $pid
}

# What a connection costs on each side: descriptors of the daemon and the agent.
held() {
	echo "$(find "/proc/$(daemon_pid)/fd" | wc -l)" "$(vmctl exec ports -- \
		sh -c 'ls "/proc/$(pidof vmd-agent || echo 1)/fd" | wc -l')"
}
steady() {
	local last=${seen:-}
	seen=$(held)
	[ "$seen" = "$last" ]
}
holds() { [ "$(held)" = "$1" ]; }

@test "2000 short connections and 200 at once leave nothing behind" {
	port_client many 127.0.0.1 "$(port 25)" 5
	wait_until 30 steady
	local before=$seen
	[[ $before == [0-9]*\ [1-9]* ]]
	port_client short 127.0.0.1 "$(port 25)" 2000
	port_client many 127.0.0.1 "$(port 25)" 200
	wait_until 30 holds "$before" || {
		echo "before $before, now $(held)" >&2
		return 1
	}
}

@test "a guest that stands still for seconds loses nothing" {
	local engine client printed=$BATS_TEST_TMPDIR/printed
	engine=$(engine_of ports)
	[ -n "$engine" ]
	vmctl exec ports -- perl -e 'print "$_\n" for 1 .. 3000000' >"$printed" 3>&- 4>&- &
	local command=$!
	wait_until 30 test -s "$printed"
	port_client stands_still 127.0.0.1 "$(port 7)" "$engine" >"$printed.client" 3>&- 4>&- &
	client=$!
	wait_until 30 grep -q stopped "$printed.client"
	# The daemon goes on, and so do other guests.
	run -0 timeout 3 vmctl inspect ports
	[ "$(jq -r .state <<<"$output")" = ready ]
	port_client greeting 127.0.0.1 "$(port bare)"
	wait $client
	wait $command
	cmp <(seq 3000000) "$printed"
	run -0 vmctl exec ports -- echo after
	[ "$output" = after ]
}

@test "a service on the guest's own address or on ::1 only is reached" {
	port_client greeting 127.0.0.1 "$(port 81)"
	port_client greeting 127.0.0.1 "$(port 82)"
}

@test "nothing listens, or the service resets: the client is reset" {
	port_client reset 127.0.0.1 "$(port 99)"
	port_client reset 127.0.0.1 "$(port 84)"
}

@test "a service that does not read makes the client wait" {
	port_client waits 127.0.0.1 "$(port 83)"
}

@test "a guest without a network has published ports too" {
	port_client greeting 127.0.0.1 "$(port bare)"
}

@test "after kill -9 of the daemon the next one listens again" {
	daemon_kill
	daemon_start
	vmctl wait ports --for ready --timeout $BOOT_S
	port_client greeting 127.0.0.1 "$(port 25)"
	port_client greeting ::1 "$(port 25)"
	port_client udp 127.0.0.1 "$(port 95)"
	port_client half_close 127.0.0.1 "$(port 7)" 1
}

@test "vmctl forward leads to ports that are not published" {
	forward_start 0:25 0:7 0:95/udp 0:84 0:99 '[::1]:0:82'
	port_client greeting 127.0.0.1 "$(forwarded 25)"
	port_client greeting ::1 "$(forwarded 82)"
	port_client half_close 127.0.0.1 "$(forwarded 7)" 4
	port_client udp 127.0.0.1 "$(forwarded 95)"
	port_client reset 127.0.0.1 "$(forwarded 84)"
	port_client reset 127.0.0.1 "$(forwarded 99)"
	grep "nothing listens there" "$BATS_TEST_TMPDIR/forward.err"
	port_client many 127.0.0.1 "$(forwarded 25)" 100
	kill -INT $forward
	wait $forward
}

@test "vmctl forward tells what it cannot do" {
	run -2 vmctl forward ports nonsense
	[[ $output == *"HOST_PORT:GUEST_PORT"* ]]
	run -1 vmctl forward nobody 0:80
	[[ $output == *"nobody"* ]]
	run -1 vmctl forward ports "$(port 25):25"
	[[ $output == *"is in use"* ]]
	run -1 vmctl forward -a 192.0.2.1 ports 0:25
	[[ $output == *"192.0.2.1"* ]]
}
