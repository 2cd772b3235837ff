#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# User-mode networking out of the guest. The daemon runs in a network namespace
# of its own (10.99.0.1) with a default route to another one (10.99.0.2), which
# serves HTTP and DNS: the test needs nothing of the host's own network.

bats_require_minimum_version 1.5.0
load helpers

# Of this run alone: another one may be under way.
NEAR=vmdnear-${VMD_E2E##*-} FAR=vmdfar-${VMD_E2E##*-}

# Takes the place of the calling shell, to be ended by its id.
# A DNS server that knows one name: answers every A query with 10.99.0.2.
dns_server() {
	exec ip netns exec $FAR python3 -u - >/dev/null 2>&1 <<-'END'
		import socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.bind(("10.99.0.2", 53))
		while True:
		    q, who = s.recvfrom(512)
		    end = q.index(0, 12) + 5
		    a = q[end - 4:end - 2] == b"\0\1"
		    known = q[12:end - 4] == b"\3far\4test\0"
		    head = q[:2] + (b"\x81\x80" if known else b"\x81\x83")
		    head += b"\0\1" + bytes([0, a and known]) + b"\0\0\0\0"
		    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x63\0\2"
		    s.sendto(head + q[12:end] + (answer if a and known else b""), who)
	END
}

setup_file() {
	[ "$(id -u)" = 0 ] || skip "network namespaces need root"
	ip netns add $NEAR 2>"$BATS_FILE_TMPDIR/why" ||
		skip "no network namespace: $(cat "$BATS_FILE_TMPDIR/why")"
	ip netns add $FAR
	ip -n $NEAR link add eth0 type veth peer name eth0 netns $FAR
	ip -n $NEAR addr add 10.99.0.1/24 dev eth0
	ip -n $FAR addr add 10.99.0.2/24 dev eth0
	for ns in $NEAR $FAR; do
		ip -n $ns link set lo up
		ip -n $ns link set eth0 up
	done
	ip -n $NEAR route add default via 10.99.0.2

	local www=$BATS_FILE_TMPDIR/www
	mkdir "$www"
	head -c 4000000 /dev/urandom >"$www/data"
	echo secret >"$www/secret"
	ip netns exec $FAR busybox httpd -f -p 8000 -h "$www" >/dev/null 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/pids"
	ip netns exec $NEAR busybox httpd -f -p 127.0.0.1:8001 -h "$www" >/dev/null 2>&1 3>&- &
	echo $! >>"$BATS_FILE_TMPDIR/pids"
	dns_server 3>&- &
	echo $! >>"$BATS_FILE_TMPDIR/pids"
	wait_until 20 ip netns exec $NEAR curl -sf http://10.99.0.2:8000/secret
	wait_until 20 ip netns exec $NEAR curl -sf http://127.0.0.1:8001/secret

	echo "nameserver 10.99.0.2" >"$BATS_FILE_TMPDIR/resolv.conf"
	daemon_stop
	# The mount is seen by this process tree only (ip netns exec).
	daemon_start ip netns exec $NEAR sh -c \
		'mount --bind "$0" /etc/resolv.conf && exec "$@"' \
		"$BATS_FILE_TMPDIR/resolv.conf"
	vmctl run -d --name net -p 8080:80 tiny -- sh -c \
		'mkdir /www && echo inside >/www/index.html && exec httpd -f -p 80 -h /www'
	vmctl wait net --for ready --timeout $BOOT_S
}

teardown_file() {
	[ -e "$BATS_FILE_TMPDIR/pids" ] || return 0
	vms_remove_all
	daemon_stop
	daemon_start
	# The builtin kill: a missing program must not leave servers behind.
	while read -r pid; do kill "$pid" || :; done <"$BATS_FILE_TMPDIR/pids"
	ip netns del $NEAR
	ip netns del $FAR
}

@test "a guest fetches a file from another machine, unchanged" {
	run -0 vmctl exec net -- sh -c \
		'wget -q -O - http://10.99.0.2:8000/data | sha256sum | cut -d" " -f1'
	[ "$output" = "$(sha256sum <"$BATS_FILE_TMPDIR/www/data" | cut -d' ' -f1)" ]
}

@test "a guest announces no more than its network can hold" {
	run -0 vmctl exec net -- cat /proc/sys/net/ipv4/tcp_rmem
	[ "$(echo $output)" = "4096 131072 262144" ]
}

@test "names are resolved by the host's name server" {
	run -0 vmctl exec net -- wget -q -O - http://far.test:8000/secret
	[ "$output" = secret ]
	run vmctl exec net -- wget -q -O - http://nowhere.test:8000/secret
	[ "$status" = 1 ]
}

@test "a command with an empty environment has a network too" {
	run -0 vmctl exec net -- env -i /bin/wget -q -O - http://10.99.0.2:8000/secret
	[ "$output" = secret ]
}

@test "a guest does not reach what listens on the host's loopback" {
	run vmctl exec net -- timeout 5 wget -q -O - http://10.0.2.2:8001/secret
	[ "$status" != 0 ]
	[[ $output != *"secret"* ]]
	run vmctl exec net -- timeout 5 wget -q -O - http://127.0.0.1:8001/secret
	[ "$status" != 0 ]
}

@test "a published port listens on the loopback only" {
	run -0 ip netns exec $NEAR curl -sf --max-time 10 http://127.0.0.1:8080/
	[ "$output" = inside ]
	run ip netns exec $FAR curl -sf --max-time 5 http://10.99.0.1:8080/
	[ "$status" != 0 ]
}

@test "a network whose passt ended comes again, also under a new daemon" {
	passt_comes_again net timeout 10 wget -q -O /dev/null http://10.99.0.2:8000/secret
	run -0 vmctl exec net -- wget -q -O - http://far.test:8000/secret
	[ "$output" = secret ]
	daemon_kill
	daemon_start ip netns exec $NEAR sh -c \
		'mount --bind "$0" /etc/resolv.conf && exec "$@"' \
		"$BATS_FILE_TMPDIR/resolv.conf"
	vmctl wait net --for ready --timeout $BOOT_S
	passt_comes_again net timeout 10 wget -q -O /dev/null http://10.99.0.2:8000/secret
}
