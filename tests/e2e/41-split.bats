#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# vmd in two processes: who is who, and what survives the death of which.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	SAVED_SOCKET=$VMD_SOCKET
	[ "$(id -u)" = 0 ] || skip "a normal user's daemon is one process"
}

# Whatever failed: the tests after these want both.
teardown() {
	if [ -n "${OWN_DAEMON:-}" ]; then
		kill "$OWN_DAEMON" 2>/dev/null || :
		wait_until 20 not_alive "$OWN_DAEMON"
		rm -rf "$OWN_DIR"
	fi
	export VMD_SOCKET=$SAVED_SOCKET
	if [ "$(id -u)" = 0 ] && no_priv; then
		daemon_stop
		daemon_start
	fi
	vms_remove_all
}

no_priv() { ! priv_pid; }

# The parent first, or it would start another.
priv_kill() {
	local pid
	pid=$(priv_pid)
	# shellcheck disable=SC2046 # it may be none
	kill -9 $(priv_pids | grep -vx "$pid") "$pid"
}

@test "the daemon is an ordinary user without capabilities, VMs are others" {
	status=/proc/$(daemon_pid)/status
	uid=$(awk '/^Uid/ {print $2 $3 $4 $5}' "$status")
	own=$(awk '/^Uid/ {print $2}' "$status")
	[ "$uid" = "$own$own$own$own" ]
	[ "$own" != 0 ]
	[ "$(grep -c '^Cap.*:.0000000000000000$' "$status")" = 5 ]
	grep '^NoNewPrivs:.1$' "$status"
	if getent passwd vmd; then
		[ "$own" = "$(id -u vmd)" ]
	fi
	status=/proc/$(priv_pid)/status
	grep '^Uid:.0' "$status"
	grep '^Seccomp:.2$' "$status"
	# Not all that root has.
	[ "$(awk '/^CapEff/ {print $2}' "$status")" != \
		"$(awk '/^CapEff/ {print $2}' /proc/$$/status)" ]
	[ "$(awk '/^CapEff/ {print $2}' "$status")" = \
		"$(awk '/^CapBnd/ {print $2}' "$status")" ]

	vmctl run -d --name w1 tiny
	vmctl run -d --name w2 tiny
	users=$(for pid in $(vmctl inspect w1 w2 | jq -r '.. | .pids? // empty | .[]'); do
		awk '/^Uid/ {print $2}' "/proc/$pid/status"
	done | sort -u)
	[ "$(wc -l <<<"$users")" = 2 ]
	! grep -qx -e 0 -e "$own" <<<"$users"
}

@test "nobody but root looks into a process of a VM: not vmd, not another VM, not itself" {
	vmctl run -d --name d1 tiny
	vmctl wait d1 --for ready --timeout "$BOOT_S"
	own=$(awk '/^Uid/ {print $2}' "/proc/$(daemon_pid)/status")
	for pid in $(vmctl inspect d1 | jq -r '.. | .pids? // empty | .[]'); do
		uid=$(awk '/^Uid/ {print $2}' "/proc/$pid/status")
		# The control: root may.
		grep -q VMD_RUN "/proc/$pid/environ"
		[ "$(stat -c %u "/proc/$pid/environ")" = 0 ]
		# PTRACE_SEIZE, which stops nobody
		perl -e 'exit(syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) != 0)' "$pid"
		for who in "$own" "$((uid + 1))" "$uid"; do
			for file in environ maps mem; do
				run setpriv --reuid "$who" --regid "$who" --clear-groups \
					--bounding-set=-all --inh-caps=-all head -c 1 "/proc/$pid/$file"
				[ "$status" != 0 ]
			done
			run setpriv --reuid "$who" --regid "$who" --clear-groups \
				--bounding-set=-all --inh-caps=-all \
				perl -e 'exit(syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) == 0)' "$pid"
			[ "$status" = 0 ]
		done
	done
}

another_priv_than() { [ "$(priv_pid)" != "$1" ] && [ "$(priv_pids | wc -l)" = 2 ]; }

@test "kill -9 of vmd-priv: its parent starts it again, VMs and the daemon go on" {
	vmctl run -d --name k1 tiny
	vmctl wait k1 --for ready --timeout "$BOOT_S"
	before=$(priv_pid)
	keeper=$(priv_pids | grep -vx "$before")
	[ "$(awk '/^PPid/ {print $2}' "/proc/$before/status")" = "$keeper" ]
	grep '^Seccomp:.2$' "/proc/$keeper/status"
	# What dies within a second of its start is not kept.
	sleep 1
	kill -9 "$before"
	wait_until 20 another_priv_than "$before"
	[ "$(vmctl exec k1 -- echo goes-on)" = goes-on ]
	# Nobody has restarted the daemon.
	vmctl run tiny -- true
	vmctl rm --force k1
	[ "$(awk '/^PPid/ {print $2}' "/proc/$(priv_pid)/status")" = "$keeper" ]
}

@test "kill -9 of vmd-priv and its parent: VMs and reads go on, starts say what to do" {
	vmctl run -d --name p1 tiny
	vmctl wait p1 --for ready --timeout "$BOOT_S"
	priv_kill
	wait_until 20 no_priv
	[ "$(vmctl exec p1 -- echo goes-on)" = goes-on ]
	vm_state_is p1 ready
	vmctl create --name p2 tiny || :
	run vmctl start p2
	[ "$status" != 0 ]
	# The daemon is still there, and the VM.
	[ "$(vmctl exec p1 -- echo goes-on)" = goes-on ]
	grep -q 'vmd-priv .*: VMs go on' "$VMD_E2E/vmd.log"
	grep -q priv_gone "$VMD_E2E/vmd.log"
	# As the message says.
	daemon_stop
	daemon_start
	vmctl wait p1 --for ready --timeout 60
	vmctl rm --force p1
	vmctl run tiny -- true
}

@test "kill -9 of both: the next pair takes the VMs over" {
	vmctl run -d --name b1 tiny
	vmctl wait b1 --for ready --timeout "$BOOT_S"
	boot=$(vmctl exec b1 -- cat /proc/sys/kernel/random/boot_id)
	priv_kill
	daemon_kill
	daemon_start
	vmctl wait b1 --for ready --timeout 60
	[ "$(vmctl exec b1 -- cat /proc/sys/kernel/random/boot_id)" = "$boot" ]
	# Of a process that an earlier vmd-priv started: ended by pid and time.
	vmctl rm --force b1
	no_leftovers
}

@test "kill -9 of the daemon: the next one joins the vmd-priv that runs" {
	before=$(priv_pid)
	daemon_kill
	daemon_start
	[ "$(priv_pid)" = "$before" ]
	vmctl run tiny -- true
	# One that ends takes it along.
	daemon_stop
	wait_until 20 no_priv
	daemon_start
}

@test "a /dev/kvm that is root's alone is used and stays as it is" {
	[ -c /dev/kvm ] || skip "no /dev/kvm"
	dir=$(mktemp -d /tmp/vmd-kvm-XXXXXX)
	mkdir -p "$dir/state"
	cp -a "$VMD_STATE/images" "$dir/state/"
	# In a mount namespace of this test's: the host's is not ours to change.
	mknod -m 600 "$dir/kvm" c "$((0x$(stat -c %t /dev/kvm)))" "$((0x$(stat -c %T /dev/kvm)))"
	before=$(stat -c '%a %u %g %Z' "$dir/kvm" /dev/kvm)
	export VMD_SOCKET=$dir/run/vmd.sock
	unshare --mount --propagation private sh -c 'mount --bind "$0/kvm" /dev/kvm &&
		exec vmd --state-dir "$0/state" --run-dir "$0/run"' "$dir" >"$dir/log" 2>&1 3>&- &
	pid=$!
	OWN_DAEMON=$pid OWN_DIR=$dir
	wait_until 20 vmctl version || { cat "$dir/log"; false; }
	# The daemon is nobody that may open it, and knows what it is good for.
	own=$(awk '/^Uid/ {print $2}' "/proc/$pid/status")
	[ "$own" != 0 ]
	vmctl doctor -o json | jq -e '.engines[] | select(.name == "microvm") | .detail | test("MIPS|million")'
	for engine in $(vmctl doctor -o json | jq -r '.engines[] | select(.usable) | .name'); do
		vmctl run --engine "$engine" tiny -- true
	done
	[ "$(stat -c '%a %u %g %Z' "$dir/kvm" /dev/kvm)" = "$before" ]
}

@test "a state directory that was root's is handed over" {
	dir=$(mktemp -d /tmp/vmd-own-XXXXXX)
	mkdir -p "$dir/state/vms" "$dir/state/images/blobs/sha256"
	echo kept >"$dir/state/images/blobs/sha256/x"
	ln -s /etc/passwd "$dir/state/link"
	vmd --state-dir "$dir/state" --run-dir "$dir/run" >"$dir/log" 2>&1 3>&- &
	pid=$!
	wait_until 20 env VMD_SOCKET="$dir/run/vmd.sock" vmctl version || { cat "$dir/log"; false; }
	own=$(awk '/^Uid/ {print $2}' "/proc/$pid/status")
	[ -z "$(find "$dir/state" ! -uid "$own")" ]
	[ "$(stat -c %u /etc/passwd)" = 0 ]
	[ "$(stat -c %u "$dir/run")" = 0 ]
	kill "$pid"
	wait_until 20 not_alive "$pid"
	rm -rf "$dir"
}
