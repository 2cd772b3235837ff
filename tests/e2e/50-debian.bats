#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The debian template: a real distribution, files in and out.

bats_require_minimum_version 1.5.0
load helpers

teardown() { vms_remove_all; }

@test "run debian: the guest's own output, then its code" {
	run --separate-stderr vmctl run debian -- sh -c 'uname -a; cat /etc/os-release; exit 7'
	[ "$status" = 7 ]
	[[ $output == *"Linux"* ]]
	[[ $output == *"Debian GNU/Linux"* ]]
}

@test "a tree of 64 MiB goes in and comes out unchanged" {
	src=$BATS_TEST_TMPDIR/tree
	mkdir -p "$src/a/b" "$src/empty"
	head -c 60000000 /dev/urandom >"$src/a/big"
	head -c 7000000 /dev/urandom >"$src/a/b/other"
	echo '#!/bin/sh' >"$src/run.sh"
	chmod 755 "$src/run.sh"
	chmod 600 "$src/a/b/other"
	ln -s ../run.sh "$src/a/link"
	ln -s nowhere "$src/dangling"
	ln "$src/a/big" "$src/a/hard"
	touch "$src/$(printf 'x%.0s' {1..180})"
	vmctl create --name files --memory 512M debian
	vmctl start files
	vmctl wait files --for ready --timeout $BOOT_S
	vmctl exec files -- mkdir -p /srv/in
	vmctl cp "$src" files:/srv/in
	sum=$(cd "$src" && find . -type f -exec sha256sum {} + | sort | sha256sum)
	run -0 vmctl exec --workdir /srv/in/tree files -- sh -c \
		'find . -type f -exec sha256sum {} + | sort | sha256sum'
	[ "$output" = "$sum" ]
	mkdir "$BATS_TEST_TMPDIR/back"
	vmctl cp files:/srv/in/tree "$BATS_TEST_TMPDIR/back"
	diff -r --no-dereference "$src" "$BATS_TEST_TMPDIR/back/tree"
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/back/tree/a/b/other")" = 600 ]
	[ "$(readlink "$BATS_TEST_TMPDIR/back/tree/a/link")" = ../run.sh ]
	run vmctl cp files:/no/such/path "$BATS_TEST_TMPDIR/back"
	[ "$status" = 1 ]
	[[ $output == *"/no/such/path"* ]]
}

@test "the disk persists over stop and start" {
	vmctl create --name keep debian
	vmctl start keep
	vmctl wait keep --for ready --timeout $BOOT_S
	vmctl exec keep -- sh -c 'echo persistent >/root/mark && sync'
	vmctl stop keep
	vmctl start keep
	vmctl wait keep --for ready --timeout $BOOT_S
	run -0 vmctl exec keep -- cat /root/mark
	[ "$output" = persistent ]
}

@test "an image in use cannot be removed" {
	vmctl create --name user debian
	run vmctl image rm debian
	[ "$status" = 1 ]
	[[ $output == *"user"* ]]
	vmctl image inspect debian
	vmctl rm user
}
