#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The CLI before any VM: help, typos, missing daemon, doctor.

bats_require_minimum_version 1.5.0
load helpers

@test "version prints client and daemon" {
	run -0 vmctl version
	[[ $output == *"0."* ]]
	run -0 vmctl version -o json
	jq -e . <<<"$output"
}

@test "help lists the daily commands" {
	run -0 vmctl --help
	for command in run create start stop restart rm ls inspect exec cp logs \
		console wait image operation doctor version completion; do
		[[ $output == *"$command"* ]] || { echo "no $command"; false; }
		run -0 vmctl "$command" --help
		[[ $output == *"sage"* ]]
		run -0 vmctl --help
	done
}

@test "a typo is a usage error with a suggestion" {
	run vmctl sotp x
	[ "$status" = 2 ]
	[[ $output == *"stop"* ]]
	run vmctl ls --lable a=b
	[ "$status" = 2 ]
	[[ $output == *"--label"* ]]
}

@test "no daemon: says which socket and how to start it" {
	run vmctl --socket "$VMD_E2E/none.sock" ls
	[ "$status" = 1 ]
	[[ $output == *"none.sock"* ]]
	[[ $output == *"vmd"* ]]
	run vmctl --socket "$VMD_E2E/none.sock" run tiny -- true
	[ "$status" = 125 ]
}

@test "doctor explains what was probed" {
	run vmctl doctor
	for word in kvm cgroup tun passt qemu memory disk; do
		[[ ${output,,} == *"$word"* ]] || { echo "$output"; false; }
	done
	run vmctl doctor -o json
	jq -e '.checks | length > 5' <<<"$output"
}

@test "completion is offered for three shells" {
	for shell in bash zsh fish; do
		run -0 vmctl completion "$shell"
		[ -n "$output" ]
	done
	vmctl completion bash | bash -n
}

@test "unknown image: image_not_found, and how to build one" {
	run vmctl run nosuchimage -- true
	[ "$status" = 125 ]
	[[ $output == *"nosuchimage"* ]]
	[[ $output == *"image"*"build"* || $output == *"image ls"* ]]
	no_leftovers
}

@test "a second daemon on the same state is refused" {
	run timeout 20 vmd --state-dir "$VMD_STATE" \
		--run-dir "$VMD_E2E/run2" --socket "$VMD_E2E/run2.sock"
	[ "$status" != 0 ]
	[ "$status" != 124 ]
	[[ $output == *"$VMD_STATE"* ]]
}

@test "a second daemon on the same socket is refused, with the socket's path" {
	run timeout 20 vmd --state-dir "$BATS_TEST_TMPDIR/state" \
		--run-dir "$BATS_TEST_TMPDIR/run" --socket "$VMD_SOCKET"
	[ "$status" = 1 ]
	[[ $output == *"another daemon listens on $VMD_SOCKET"*"--socket"* ]]
	run -0 vmctl version
	[[ $output == *"vmd"*"$VMD_SOCKET"* ]]
}

@test "closed standard output is an error, not a hang" {
	run timeout 20 sh -c 'exec vmctl ls >&-'
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"standard output"* ]]
}

@test "an image that is nearly right is suggested" {
	run vmctl run tinny -- true
	[ "$status" = 125 ]
	[[ $output == *"did you mean 'tiny'?"* ]]
	no_leftovers
}
