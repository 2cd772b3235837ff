#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VMs come and go all day: nothing may pile up.

bats_require_minimum_version 1.5.0
load helpers

teardown() { vms_remove_all; }

# Of both parts of the daemon, where there are two.
daemon_pids() {
	daemon_pid
	priv_pids || :
}
daemon_fds() {
	local pid
	for pid in $(daemon_pids); do
		find "/proc/$pid/fd" -mindepth 1 -maxdepth 1
	done | wc -l
}
daemon_fds_are() { [ "$(daemon_fds)" = "$1" ]; }
daemon_childless() {
	local priv children
	priv=$(priv_pids) || :
	children=$(pgrep -P "$(daemon_pids | paste -sd,)") || :
	! grep -vxq -e "${priv:-none}" -e "" <<<"$children"
}
daemon_files() { find "$VMD_E2E/run" "$VMD_STATE" ! -name 'vmd.db*' | sort; }

# One life: made and dropped, dropped while it boots, or used first.
cycle() {
	case $(($1 % 4)) in
	0) vmctl create --name cycle tiny && vmctl rm cycle ;;
	1 | 2) vmctl run -d --name cycle tiny && vmctl rm --force cycle ;;
	3) vmctl run tiny -- true ;;
	esac
}

@test "20 VMs come and go: no descriptor, file or process is left" {
	cycle 3
	wait_until 20 no_leftovers
	wait_until 20 daemon_childless
	fds=$(daemon_fds)
	daemon_files >"$BATS_TEST_TMPDIR/before"
	for i in {1..20}; do
		cycle "$i"
	done
	wait_until 20 no_leftovers || no_leftovers
	wait_until 20 daemon_childless
	wait_until 20 daemon_fds_are "$fds" || {
		echo "descriptors: $fds before, $(daemon_fds) after"
		for pid in $(daemon_pids); do ls -l "/proc/$pid/fd"; done
		false
	}
	daemon_files | diff "$BATS_TEST_TMPDIR/before" -
	[ -z "$(vmctl ls -o name)" ]
}
