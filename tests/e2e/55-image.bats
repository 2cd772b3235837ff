#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# vmd-image as a program, with the real recipes and a store of its own: bad
# requests, builds from the Debian archive, a killed build. No daemon.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	IMAGE=$VMD_BUILD_DIR/images/vmd-image
	STORE=$BATS_FILE_TMPDIR/store
	OUT=$BATS_TEST_TMPDIR/out
	PATH=$PATH:/usr/sbin:/sbin
}

# build STAGING RECIPE NAME [OPTION]: JSON lines to $OUT.
build() {
	"$IMAGE" build --store "$STORE" --staging "$1" --recipe "$2" \
		--name "$3" ${4:+--option "$4"} >"$OUT" 2>"$BATS_TEST_TMPDIR/err"
}

# refused CODE COMMAND...: it fails with that code in the last line.
refused() {
	local code=$1
	shift
	run "$@"
	[ "$status" = 1 ]
	tail -n 1 "$OUT"
	[ "$(tail -n 1 "$OUT" | jq -r .error.code)" = "$code" ]
}

entries() { find "$STORE/$1" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l; }
initrd_of() { jq -r .initrd.digest "$STORE/manifests/$1.json"; }

@test "bad requests are refused with a code and stage nothing" {
	refused recipe_not_found build s nothing tiny
	refused name_invalid build s tiny Bad/Name
	refused option_unknown build s tiny tiny color=red
	refused option_invalid build s tiny tiny kernel=pe
	refused suite_invalid build s tiny tiny suite=../etc
	refused option_invalid build s debian debian disk_size=8
	refused option_invalid build s debian debian packages=-oX=y
	refused apt_unreachable build s tiny tiny mirror=http://127.0.0.1:9/debian
	VMD_AGENT=/nowhere refused agent_missing build s tiny tiny
	[ "$(entries staging)" = 0 ]
	[ "$(entries manifests)" = 0 ]
}

@test "a build shares blobs, can be repeated bit by bit, verifies" {
	build s tiny tiny
	tail -n 1 "$OUT" | jq -e .result
	refused image_exists build s tiny tiny
	build s tiny again
	[ "$(initrd_of again)" = "$(initrd_of tiny)" ]
	[ "$(entries blobs/sha256)" = 2 ]
	build s tiny bz kernel=bzimage
	[ "$(jq -r .kernel.digest "$STORE/manifests/bz.json")" != \
		"$(jq -r .kernel.digest "$STORE/manifests/tiny.json")" ]
	"$IMAGE" verify --store "$STORE"
}

@test "a build that is killed with all it started is swept" {
	setsid "$IMAGE" build --store "$STORE" --staging k --recipe tiny \
		--name killed >"$OUT" 2>/dev/null 3>&- &
	leader=$!
	wait_until 60 grep -q 'fetching the kernel' "$OUT"
	kill -9 -- "-$leader"
	gone() { ! pgrep -f "$STORE/staging/k"; }
	wait_until 10 gone
	[ "$(entries staging)" = 1 ]
	"$IMAGE" sweep --store "$STORE"
	[ "$(entries staging)" = 0 ]
	[ ! -e "$STORE/manifests/killed.json" ]
	"$IMAGE" verify --store "$STORE"
}

@test "debian's disk: size, clean file system, owners" {
	root=$(jq -r .root.digest "$VMD_STATE/images/manifests/debian.json")
	disk=$BATS_TEST_TMPDIR/disk
	"$IMAGE" clone --from "$VMD_STATE/images/blobs/sha256/$root" --to "$disk"
	[ "$(stat -c %s "$disk")" = 8589934592 ]
	[ "$(du -m "$disk" | cut -f1)" -lt 1024 ]
	e2fsck -fn "$disk"
	run -0 debugfs -R 'stat /etc/shadow' "$disk"
	[[ $output =~ User:\ +0\ +Group:\ +42\  ]]
}
