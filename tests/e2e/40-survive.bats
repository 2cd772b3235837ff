#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VMs outlive the daemon.

bats_require_minimum_version 1.5.0
load helpers

teardown() { vms_remove_all; }

@test "kill -9 of the daemon: VMs run on and are re-adopted" {
	vmctl run -d --name s1 tiny
	vmctl create --name s2 tiny
	vmctl start s2
	vmctl wait s1 --for ready --timeout $BOOT_S
	vmctl wait s2 --for ready --timeout $BOOT_S
	vmctl exec s1 -- sh -c 'echo kept >/tmp/x'
	pids=$(vmctl inspect s1 | jq -r ".pids[]")
	boot=$(vmctl exec s1 -- cat /proc/sys/kernel/random/boot_id)

	daemon_kill
	for pid in $pids; do ! not_alive "$pid"; done
	daemon_start

	vmctl wait s1 --for ready --timeout 60
	[ "$(vmctl exec s1 -- cat /proc/sys/kernel/random/boot_id)" = "$boot" ]
	[ "$(vmctl exec s1 -- cat /tmp/x)" = kept ]
	vmctl exec s1 -- sh -c 'echo after-adoption >/dev/console'
	wait_until 20 bash -c 'vmctl logs s1 | grep -q after-adoption'
	vmctl wait s2 --for ready --timeout 60
	vmctl stop s2
	vm_state_is s2 stopped
	vmctl rm --force s1 s2
	no_leftovers
}

@test "a VM that ended while the daemon was away is not failed" {
	vmctl create --name away tiny
	vmctl start away
	vmctl wait away --for ready --timeout $BOOT_S
	id=$(vmctl inspect away | jq -r .id)
	vmctl exec away -- sh -c '(sleep 2; poweroff -f) >/dev/null 2>&1 &'
	daemon_kill
	wait_until 60 grep -q 'Power down' "$VMD_E2E/run/vms/$id/console.log"
	daemon_start
	wait_until 60 vm_state_is away stopped
	vmctl inspect away | jq -e '.error == null'
}

@test "an ephemeral VM whose client died with the daemon goes away" {
	vmctl run tiny -- sleep 1000 >/dev/null 2>&1 3>&- &
	client=$!
	wait_until $BOOT_S bash -c 'vmctl ls -o json | jq -e "(.items? // .)[0].state == \"ready\""'
	daemon_kill
	kill -9 $client 2>/dev/null || :
	daemon_start
	wait_until 90 no_leftovers
}

@test "a restart of the daemon in the middle of a start leaves the truth" {
	vmctl run -d --name mid tiny >/dev/null 2>&1 3>&- &
	wait_until 20 vmctl inspect mid
	daemon_kill
	daemon_start
	# It became ready, or it was rolled back: never stuck in between.
	settled() { vm_gone mid || vm_state_is mid ready || vm_state_is mid failed || vm_state_is mid stopped; }
	wait_until $BOOT_S settled
}
