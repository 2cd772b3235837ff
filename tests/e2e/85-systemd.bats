#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# vmd as it is installed, run by a real systemd under its units: socket
# activation, watchdog, restart, stop, and guests and builds under the hardening.

bats_require_minimum_version 1.5.0
load helpers
load systemd

setup_file() {
	export WHY_NOT=$(systemd_impossible)
	[ -z "$WHY_NOT" ] || return 0
	export SYSTEMD_WORK=$VMD_E2E/systemd
	mkdir -p "$SYSTEMD_WORK/state"
	systemd_install "$SYSTEMD_WORK"
	systemd_start "$SYSTEMD_WORK" "$SYSTEMD_WORK/state"
}

setup() {
	[ -z "$WHY_NOT" ] || skip "$WHY_NOT"
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] ||
		inside journalctl --no-pager -o cat -n 30 || :
}

teardown_file() {
	[ -n "$WHY_NOT" ] || systemd_stop
}

@test "systemd: the first client starts the daemon, the group may use it" {
	inside systemd_socket_activates
}

@test "systemd: the daemon is a user without capabilities, vmd-priv is root" {
	inside systemd_is_split
}

@test "systemd: what image builds do is possible under the unit, no more" {
	inside systemd_builds_are_possible
}

@test "systemd: an image is built under the unit" {
	inside vmctl image build tiny
}

@test "systemd: a guest runs under the unit" {
	inside systemd_guest tiny "$(vmctl doctor -o json | jq -r 'if any(.engines[]; .name == "microvm" and .usable) then "microvm" else "qemu" end')"
}

@test "systemd: restarting the service keeps the guest" {
	inside systemd_restart_keeps_vms
}

@test "systemd: a killed vmd-priv is replaced, the guest stays" {
	inside systemd_priv_restart_keeps_vms tiny
}

@test "systemd: a killed and a hung daemon are replaced, the guest stays" {
	inside systemd_watchdog_keeps_vms
}

@test "systemd: stopping the service keeps the guest, the socket brings it back" {
	inside systemd_stop_keeps_vms
}
