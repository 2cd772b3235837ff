#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The host's disk fills up under a guest that writes: it is paused, nothing is
# lost, and it goes on by itself when there is room.

bats_require_minimum_version 1.5.0
load helpers

# A daemon of our own, whose state lies on a small file system.
setup() {
	[ "$(id -u)" = 0 ] || skip "a small file system has to be mounted"
	small=$BATS_TEST_TMPDIR/small
	mkdir "$small" "$BATS_TEST_TMPDIR/run"
	mount -t tmpfs -o size=340m none "$small" ||
		skip "a small file system cannot be mounted here"
	ln -s "$VMD_STATE/images" "$small/images"
	VMD_E2E=$BATS_TEST_TMPDIR VMD_STATE=$small
	VMD_SOCKET=$BATS_TEST_TMPDIR/run/vmd.sock
	daemon_start
}

teardown() {
	[ -e "$BATS_TEST_TMPDIR/vmd.pid" ] || return 0
	vms_remove_all
	daemon_stop
	umount -l "$small"
}

says_paused() { [ "$(vmctl inspect a | jq -r '.state + ": " + .reason')" = "paused: disk full" ]; }

@test "a full disk of the host pauses the guest, and room lets it go on" {
	vmctl create --name a --memory 512M debian
	vmctl start a
	vmctl wait a --for ready --timeout $BOOT_S
	# More than there is room for; on its own: it is to outlive the daemon.
	vmctl exec a -- sh -c 'setsid sh -c "
		head -c 150000000 /dev/urandom | tee /root/data | sha256sum >/root/sum
		sync; touch /root/done" >/dev/null 2>&1 </dev/null &'
	wait_until $BOOT_S says_paused
	vmctl ls | grep -q 'paused: disk full'
	# Another daemon finds it so, and goes on with it.
	daemon_kill
	daemon_start
	wait_until 20 says_paused
	mount -o remount,size=900m "$small"
	wait_until 60 vm_state_is a ready
	wait_until $BOOT_S vmctl exec a -- test -e /root/done
	# All of it is there, as the disk has it.
	run -0 vmctl exec a -- sh -c 'echo 3 >/proc/sys/vm/drop_caches
		sha256sum </root/data | cmp - /root/sum && dmesg | grep -c "I/O error" || :'
	[ "$output" = 0 ]
}
