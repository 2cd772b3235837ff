#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Commands: as long as Linux takes them, their status whatever happens to ours.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	vmctl create --name exec tiny >/dev/null
	vmctl start exec
}

teardown_file() {
	vms_remove_all
}

big() { head -c "$1" /dev/zero | tr '\0' a; }

@test "arguments and variables of 131,071 bytes, 2 MiB together (case exec-long-arguments)" {
	local part args=()
	part=$(big 131071)
	[ "$(vmctl exec exec -- sh -c 'echo ${#1}' sh "$part")" = 131071 ]
	[ "$(vmctl exec -e BIG="$(big 131000)" exec -- sh -c 'echo ${#BIG}')" = 131000 ]
	# shellcheck disable=SC2046
	[ "$(vmctl exec exec -- sh -c 'echo $#' sh $(seq 20000))" = 20000 ]
	for _ in {1..14}; do args+=("$part"); done
	[ "$(vmctl exec exec -- sh -c 'echo $#' sh "${args[@]}")" = 14 ]
}

@test "what is more than that is refused with the reason" {
	# Over 2 MiB by JSON alone: this system's own command line could not hold it.
	jq -nc '{command: (["true"] + [range(17) | "a" * 131000])}' |
		python3 "$BATS_TEST_DIRNAME/exec_raw.py" "$VMD_SOCKET" exec >"$BATS_TEST_TMPDIR/out"
	grep -q argument_list_too_long "$BATS_TEST_TMPDIR/out"
	grep -q 2097152 "$BATS_TEST_TMPDIR/out"
	# One variable, with its name a byte too long.
	jq -nc '{command: ["true"], env: {A: ("a" * 131070)}}' |
		python3 "$BATS_TEST_DIRNAME/exec_raw.py" "$VMD_SOCKET" exec >"$BATS_TEST_TMPDIR/out"
	grep -q 131072 "$BATS_TEST_TMPDIR/out"
	# What only the guest can know: its own variables count too.
	jq -nc '{command: (["true"] + [range(15) | "a" * 131071] + ["a" * 130895])}' |
		python3 "$BATS_TEST_DIRNAME/exec_raw.py" "$VMD_SOCKET" exec >"$BATS_TEST_TMPDIR/out"
	grep -q 'Argument list too long' "$BATS_TEST_TMPDIR/out"
}

@test "the main command of a VM may be as long" {
	run -0 --separate-stderr vmctl run --name long tiny -- sh -c 'echo ${#1}' sh "$(big 131071)"
	[ "$output" = 131071 ]
	vmctl run -d --keep --name longmain tiny -- sh -c 'echo ${#1} >/tmp/n; sleep 1000' sh \
		"$(big 100000)" >/dev/null
	wait_until 20 vmctl exec longmain -- grep -q 100000 /tmp/n
}

@test "run -d of a command that does not exist says 127 and why (case run-detached-missing)" {
	run -127 vmctl run -d --name gone tiny -- no-such-program
	[[ "$output" = *no-such-program* ]]
	wait_until 20 vm_gone gone
	run -126 vmctl run -d --name gone2 tiny -- /etc
	[[ "$output" = */etc* ]]
}

@test "a closed or full standard error leaves the command its status" {
	run -7 sh -c 'vmctl exec exec -- sh -c "echo lost >&2; exit 7" 2>&-'
	run -7 sh -c 'vmctl exec exec -- sh -c "echo lost >&2; exit 7" 2>/dev/full'
	run -0 sh -c 'vmctl exec exec -- sh -c "echo lost >&2; echo kept" 2>&-'
	[ "$output" = kept ]
}

@test "a guest without /dev/null, or with a FIFO there, still runs commands" {
	vmctl exec exec -- rm /dev/null
	run -0 vmctl exec exec -- sh -c 'cat; echo alive'
	[ "$output" = alive ]
	vmctl exec exec -- mkfifo /dev/null
	run -0 timeout 20 vmctl exec exec -- sh -c 'cat; echo alive'
	[ "$output" = alive ]
	vmctl exec exec -- sh -c 'rm /dev/null; mknod -m 666 /dev/null c 1 3'
}

@test "with all commands open a stop is graceful all the same" {
	# Again when the look whether all are taken had the place.
	fill() {
		until [ -e "$BATS_TEST_TMPDIR/full" ]; do
			vmctl exec exec -- sleep 1000 || :
		done
	}
	for _ in {1..62}; do
		fill >/dev/null 2>&1 3>&- &
	done
	busy() { vmctl exec exec -- true 2>&1 | grep -q "62 commands"; }
	wait_until 60 busy
	touch "$BATS_TEST_TMPDIR/full"
	vmctl stop exec
	run ! grep 'exec: the guest did not power off in time' "$VMD_E2E/vmd.log"
	vm_state_is exec stopped
	wait
}
