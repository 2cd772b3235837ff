#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Copies, every case of docs/copy.md: cp_table.py reads the tables and walks them.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	vmctl create --name table tiny >/dev/null
	vmctl start table
}

teardown_file() {
	vms_remove_all
}

walk() {
	[ "$(id -u)" = 0 ] || skip "device nodes and file systems need root"
	python3 "$BATS_TEST_DIRNAME/cp_table.py" table \
		"$BATS_TEST_DIRNAME/../../docs/copy.md" "$1"
}

@test "every source at every destination (cases cp-host-device-node, cp-link-destination, cp-dot-contents)" {
	walk grid
}

@test "what a copy keeps, and what it says it leaves out (cases cp-left-out, cp-name-not-utf8)" {
	walk keeps
}

@test "tar streams: sparse members of every kind, and wrong archives (case cp-sparse-archive)" {
	walk streams
}

@test "a process substitution is copied both ways" {
	local dir
	dir=$(mktemp -d "$BATS_TEST_TMPDIR/ps.XXXXXX")
	vmctl cp <(echo hello) table:/tmp/hello
	[ "$(vmctl exec table -- cat /tmp/hello)" = hello ]
	vmctl cp table:/tmp/hello >(cat >"$dir/out")
	wait_until 10 grep -q hello "$dir/out"
	[ "$(vmctl cp table:/tmp/hello /dev/stdout | cat)" = hello ]
}

@test "a path that is not UTF-8 is percent-encoded over HTTP" {
	vmctl exec table -- sh -c 'printf x >"/tmp/caf$(printf "\351")"'
	run -0 curl -s -o "$BATS_TEST_TMPDIR/one.tar" -w '%{http_code}' --unix-socket "$VMD_SOCKET" \
		'http://vmd/v1/vms/table/files?path=/tmp/caf%E9'
	[ "$output" = 200 ]
	[ "$(tar -xOf "$BATS_TEST_TMPDIR/one.tar")" = x ]
}
