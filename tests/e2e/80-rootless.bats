#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A daemon of a normal user: own state directory, own guests, no privileges.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	ROOTLESS=$(mktemp -d /tmp/vmd-rootless-XXXXXX)
	[ "$(id -u)" != 0 ] || chown 65534:65534 "$ROOTLESS"
	chmod 755 "$ROOTLESS"
	SAVED_SOCKET=$VMD_SOCKET
	export VMD_SOCKET=$ROOTLESS/vmd.sock
}

teardown() {
	[ -n "${ROOTLESS:-}" ] || return 0
	if [ -e "$ROOTLESS/pid" ]; then
		vms_remove_all
		kill "$(cat "$ROOTLESS/pid")" 2>/dev/null || :
		wait_until 20 not_alive "$(cat "$ROOTLESS/pid")"
	fi
	rm -rf "$ROOTLESS"
	export VMD_SOCKET=$SAVED_SOCKET
}

# as_user COMMAND...: as the user nobody, or as whoever we are if that is not root.
# With BY=exec in place of the shell, so that $! is the command's own pid.
as_user() {
	local become=
	[ "$(id -u)" != 0 ] ||
		become="setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all"
	# shellcheck disable=SC2086 # words
	${BY:-} $become env HOME="$ROOTLESS" XDG_RUNTIME_DIR= XDG_STATE_HOME= "$@"
}

@test "a normal user runs guests with a daemon of their own" {
	BY=exec as_user vmd --socket "$VMD_SOCKET" >"$ROOTLESS.log" 2>&1 3>&- &
	echo $! >"$ROOTLESS/pid"
	wait_until 20 as_user vmctl version
	rm -f "$ROOTLESS.log"
	[ -d "$ROOTLESS/.local/state/vmd" ]
	as_user vmctl image build tiny
	run -0 --separate-stderr as_user vmctl run tiny -- sh -c 'id -u; exit 0'
	[ "$output" = 0 ]
	if as_user test -w /dev/kvm; then
		skip "everyone may open /dev/kvm here: no permission error to see"
	fi
	run as_user vmctl run --engine microvm tiny -- true
	echo "$output"
	[ "$status" = 125 ]
	[[ $output == *"/dev/kvm"* ]]
	[[ ${output,,} == *"permission"* || ${output,,} == *"group"* ]]
}
