#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# vmctl run and exec: streams, exit codes, signals.

bats_require_minimum_version 1.5.0
load helpers

@test "run returns the guest's exit code" {
	run --separate-stderr vmctl run tiny -- sh -c 'echo out; exit 7'
	[ "$status" = 7 ]
	[ "$output" = out ]
}

@test "run says once, on stderr, when it runs on emulation" {
	run --separate-stderr vmctl run tiny -- true
	[ "$status" = 0 ]
	emulated=$(vmctl doctor -o json | jq -r '[.engines[]? | select(.name == "microvm") | .usable] | first // false')
	if [ "$emulated" = true ]; then
		skip "KVM runs guests here: no emulation to warn of"
	fi
	[ "$(grep -c -i 'emulation' <<<"$stderr")" = 1 ]
}

@test "one VM: exec with streams, env, cwd, user, codes and signals" {
	vmctl run -d --name exectest tiny
	vmctl wait exectest --for ready --timeout $BOOT_S

	run -0 --separate-stderr vmctl exec exectest -- sh -c 'echo o; echo e >&2'
	[ "$output" = o ]
	[ "$stderr" = e ]

	run -0 vmctl exec -e A=1 -e 'B=two words' exectest -- sh -c 'echo "$A $B"'
	[ "$output" = "1 two words" ]

	run -0 vmctl exec --workdir /tmp exectest -- pwd
	[ "$output" = /tmp ]

	run vmctl exec exectest -- sh -c 'exit 42'
	[ "$status" = 42 ]
	run vmctl exec exectest -- sh -c 'kill -9 $$'
	[ "$status" = 137 ]
	run -127 vmctl exec exectest -- /no/such/program
	run -126 vmctl exec exectest -- /etc/passwd

	# stdin goes through unchanged, end of file arrives
	head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/in"
	run -0 vmctl exec -i exectest -- sha256sum <"$BATS_TEST_TMPDIR/in"
	[ "${output%% *}" = "$(sha256sum <"$BATS_TEST_TMPDIR/in" | cut -d' ' -f1)" ]

	# no stdin without -i: cat sees the end at once
	run -0 timeout 60 vmctl exec exectest -- cat </dev/zero

	# two at a time: the first ends only after the second
	timeout 60 vmctl exec exectest -- sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done; echo slow' \
		>"$BATS_TEST_TMPDIR/slow" 3>&- &
	slow=$!
	run -0 timeout 60 vmctl exec exectest -- sh -c 'echo quick; touch /tmp/go'
	[ "$output" = quick ]
	wait $slow
	[ "$(cat "$BATS_TEST_TMPDIR/slow")" = slow ]

	vmctl rm --force exectest
	no_leftovers
}

@test "a command that prints a lot grows no memory of the daemon" {
	vmctl run -d --name big tiny
	vmctl wait big --for ready --timeout $BOOT_S
	before=$(rss_kib "$(daemon_pid)")
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	vmctl exec big -- sh -c 'dd if=/dev/zero bs=65536 count=2048 2>/dev/null' \
		>"$BATS_TEST_TMPDIR/pipe" 3>&- &
	pid=$!
	exec 5<"$BATS_TEST_TMPDIR/pipe"
	head -c 1000 <&5 >/dev/null
	# The reader rests until everything before it waits.
	wait_until 60 asleep $pid
	[ "$(wc -c <&5)" = $((2048 * 65536 - 1000)) ]
	exec 5<&-
	wait $pid
	after=$(rss_kib "$(daemon_pid)")
	echo "RSS $before -> $after KiB"
	[ $((after - before)) -lt 2048 ]
	vmctl rm --force big
}

@test "Ctrl-C reaches the guest's command, which decides" {
	vmctl run tiny -- sh -c 'trap "echo caught; exit 9" INT; echo up; while :; do sleep 0.1; done' \
		>"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	wait_until $BOOT_S grep -q up "$BATS_TEST_TMPDIR/out"
	kill -INT $pid
	status=0
	wait $pid || status=$?
	cat "$BATS_TEST_TMPDIR/out"
	[ "$status" = 9 ]
	grep -q caught "$BATS_TEST_TMPDIR/out"
	wait_until 20 no_leftovers
}

@test "a second Ctrl-C ends the VM" {
	vmctl run tiny -- sh -c 'trap "echo caught" INT; echo up; while :; do sleep 0.1; done' \
		>"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	wait_until $BOOT_S grep -q up "$BATS_TEST_TMPDIR/out"
	kill -INT $pid
	wait_until 20 grep -q caught "$BATS_TEST_TMPDIR/out"
	kill -0 $pid
	kill -INT $pid
	status=0
	wait $pid || status=$?
	[ "$status" = 130 ]
	wait_until 30 no_leftovers
}

@test "a dropped client ends its ephemeral VM, also while it boots" {
	vmctl run tiny -- sleep 1000 >/dev/null 2>&1 3>&- &
	pid=$!
	wait_until $BOOT_S bash -c '[ -n "$(vmctl ls -o name)" ]'
	kill -9 $pid
	# At once when the connection stood already, else by the lease of 30 s.
	wait_until 60 no_leftovers
	[ -z "$(vmctl ls -o name)" ]
}

@test "-it gives a terminal of the right size" {
	run -0 script -qec "stty rows 33 cols 77; vmctl run -it tiny -- sh -c 'stty size; tty'" /dev/null </dev/null
	[[ $output == *"33 77"* ]]
	[[ $output == *"/dev/pts/"* ]]
}
