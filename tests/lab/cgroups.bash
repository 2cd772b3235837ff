# SPDX-License-Identifier: Apache-2.0
# The cgroups of VMs, where the kernel has all controllers: what a process does that
# somebody has taken over (here: one that joins the VM's cgroup) stays in the VM.
# Sourced by suite.
# shellcheck disable=SC2154 # work is the suite's

# The cgroup of a VM of the suite's daemon; the daemon's own level has one name.
cgroup_of() {
	local id
	id=$(vmctl inspect "$1" | jq -r .id)
	echo "$(echo "$cgroup_base"/[0-9a-f]*-*)/$id"
}
cgroup_base=/sys/fs/cgroup/vmd
no_cgroups() { [ -z "$(find "$cgroup_base" -mindepth 2 -type d 2>/dev/null)" ]; }

# in_cgroup DIR COMMAND...: as a process that was taken over there would.
in_cgroup() { bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$@"; }

memory_bomb() {
	in_cgroup "$1" python3 -c 'a = []
while True: a.append(bytearray(b"x" * (1 << 22)))'
}
# Says how many it got.
fork_bomb() {
	in_cgroup "$1" python3 -c 'import os, time
n = 0
try:
    while n < 5000:
        if os.fork() == 0:
            os.closerange(0, 3); time.sleep(3600); os._exit(0)
        n += 1
except OSError: pass
print(n)'
}

limits_are_enforced() {
	vmctl doctor -o json >"$work/doctor"
	jq -e '.checks[] | select(.name == "cgroups") | .ok' "$work/doctor"
	grep -q 'each VM has a cgroup: limits of memory, pids, cpu' "$work/vmd.log"
}

# vm_in_cgroup VM PROCESSES: all of them, and their limits.
vm_in_cgroup() {
	local cg pid
	cg=$(cgroup_of "$1")
	vm_processes | awk '{print $1}' >"$work/pids"
	while read -r pid; do
		tr '\0' '\n' <"/proc/$pid/environ" | grep -q "/$(basename "$cg")$" ||
			continue
		grep -x "0::${cg#/sys/fs/cgroup}" "/proc/$pid/cgroup" >&2
		echo "$pid"
	done <"$work/pids" >"$work/mine"
	[ "$(wc -l <"$work/mine")" = "$2" ]
	# There may be a thread of the kernel's for KVM, too; no program.
	while read -r pid; do
		[ ! -s "/proc/$pid/cmdline" ] || grep -x "$pid" "$work/mine"
	done <"$cg/cgroup.procs"
	[ "$(<"$cg/memory.oom.group")" = 1 ]
	[ "$(<"$cg/memory.max")" -gt $((256 << 20)) ]
	[ "$(<"$cg/memory.max")" -lt $((1 << 30)) ]
	[ "$(<"$cg/memory.high")" -lt "$(<"$cg/memory.max")" ]
	[ "$(<"$cg/pids.max")" = 49 ]
	[ "$(<"$cg/cpu.max")" = "200000 100000" ]
	# Not the daemon's.
	fails grep -q "${cg##*/}" "/proc/$(daemon_pid)/cgroup"
}
fails() { ! "$@"; }

fork_bomb_is_bounded() {
	local cg n
	cg=$(cgroup_of "$1")
	n=$(fork_bomb "$cg")
	echo "$n processes, of $(<"$cg/pids.max")"
	[ "$n" -gt 0 ]
	[ "$n" -lt "$(<"$cg/pids.max")" ]
	[ "$(vmctl exec "$1" -- echo goes on)" = "goes on" ]
	[ "$(vmctl exec "$2" -- echo goes on)" = "goes on" ]
	# What the VM's end finds there ends too.
	vmctl stop --force "$1"
	wait_until 20 not_there "$cg"
	vm_state_is "$1" stopped
	[ "$(vmctl exec "$2" -- echo goes on)" = "goes on" ]
}
not_there() { [ ! -e "$1" ]; }

told_out_of_memory() {
	vmctl inspect "$1" |
		jq -e '.state == "failed" and .error.code == "out_of_memory"'
}

memory_bomb_is_contained() {
	local cg id
	start_ready "$1"
	cg=$(cgroup_of "$1")
	fails memory_bomb "$cg"
	wait_until 60 told_out_of_memory "$1"
	wait_until 20 not_there "$cg"
	[ "$(vmctl exec "$2" -- echo goes on)" = "goes on" ]
	vmctl ls >&2
}

# Nobody was there to see it: the next daemon tells the same.
memory_bomb_without_a_daemon() {
	local cg
	start_ready "$1"
	cg=$(cgroup_of "$1")
	daemon_kill
	fails memory_bomb "$cg"
	[ -e "$cg" ]
	daemon_start
	wait_until 60 told_out_of_memory "$1"
	wait_until 20 not_there "$cg"
	[ "$(vmctl exec "$2" -- echo goes on)" = "goes on" ]
}

# Daemon and vmd-priv are killed, then the VM: the next ones find and remove it.
cgroup_goes_after_kill() {
	local cg monitor
	cg=$(cgroup_of "$1")
	monitor=$(head -n 1 "$cg/cgroup.procs")
	# shellcheck disable=SC2046 # several
	kill -9 $(priv_pids)
	daemon_kill
	[ "$(cat "$cg/cgroup.procs")" != "" ]
	daemon_start
	vmctl wait "$1" --for ready --timeout 120
	# Adopted with its cgroup: another passt would join it, the end removes it.
	[ "$(head -n 1 "$cg/cgroup.procs")" = "$monitor" ]
	daemon_kill
	# shellcheck disable=SC2046
	kill -9 $(priv_pids) "$monitor"
	wait_until 20 not_alive "$monitor"
	daemon_start
	vm_state_is "$1" failed
	vmctl inspect "$1" | jq -e '.error.code == "monitor_died"'
	wait_until 20 not_there "$cg"
	vmctl rm "$1"
	no_cgroups
}

# A disk's pages count, and are taken back: a guest that writes more than there is
# room for, and fills its memory, goes on. On a disk file system, not in memory.
guest_fills_memory_and_disk() {
	local cg
	cg=$(cgroup_of "$1")
	vmctl exec "$1" -- sh -c 'mount -t tmpfs -o size=60% fill /mnt && ! dd if=/dev/zero of=/mnt/f bs=1M 2>/dev/null; umount /mnt'
	vmctl exec "$1" -- sh -c 'for i in 1 2; do dd if=/dev/zero of=/var/tmp/f bs=1M count=200 conv=fsync,notrunc || exit 1; done; rm /var/tmp/f'
	# All of the guest's memory, and the cache of its disk.
	[ "$(awk '$1 == "file" {print $2}' "$cg/memory.stat")" -gt $((32 << 20)) ]
	head "$cg/memory.max" "$cg/memory.current" "$cg/memory.events"
	grep -x 'oom_kill 0' "$cg/memory.events"
	fails grep -x 'high 0' "$cg/memory.events"
	[ "$(vmctl exec "$1" -- echo goes on)" = "goes on" ]
}

disk_is_a_file_system() {
	local disk=$work/disk.ext4
	# Filled first: what a loop device takes of memory is whose who writes.
	head -c 1700M /dev/zero >"$disk"
	mke2fs -q -t ext4 -E nodiscard "$disk"
	mkdir -p "$work/other"
	mount -o loop "$disk" "$work/other"
	# Only what is needed of the store.
	cp -a --sparse=always "$VMD_STATE/images" "$work/other/"
	VMD_STATE=$work/other
	daemon_start
	create --name disk --memory 256M --cpus 1 --net none debian-elf
	start_ready disk
	guest_fills_memory_and_disk disk
	vmctl rm --force disk
	daemon_stop
	wait_until 20 fails mountpoint -q "$work/other" ||
		umount -l "$work/other"
}

passt_joins() {
	passt_comes_again "$1" true
	vm_in_cgroup "$1" 2
}

# A cgroup that belongs to a user, as systemd gives one to a session; vmd is alone
# in it. Nobody may open /dev/kvm here but who we let in.
rootless_cgroups() {
	local mine=/sys/fs/cgroup/user-test home=$work/home pid=
	mkdir -p "$mine" "$home"
	echo "+cpu +io +memory +pids" >"$mine/cgroup.subtree_control"
	mkdir "$mine/session"
	chown 65534 "$mine/session" "$mine/session"/cgroup.{procs,subtree_control,threads}
	cp -a --sparse=always "$VMD_STATE/images" "$home/"
	chown -R 65534:65534 "$home"
	chmod 755 "$work"
	chmod 666 /dev/kvm
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$mine/session" setpriv --reuid=65534 --regid=65534 \
		--clear-groups --inh-caps=-all vmd --state-dir "$home" \
		--socket "$home/vmd.sock" >"$work/rootless.log" 2>&1 &
	pid=$!
	export VMD_SOCKET=$home/vmd.sock
	wait_until 20 vmctl version || { cat "$work/rootless.log"; return 1; }
	grep 'limits of memory, pids, cpu' "$work/rootless.log"
	grep -x 0::/user-test/session/vmd-daemon "/proc/$pid/cgroup"
	create --name ru --memory 128M --net none tiny-elf
	start_ready ru
	cgroup_base=$mine/session
	find "$mine" -type d
	grep -x "$(pgrep -x vmd-monitor)" "$(cgroup_of ru)/cgroup.procs"
	fails memory_bomb "$(cgroup_of ru)"
	wait_until 60 told_out_of_memory ru
	vmctl rm ru
	wait_until 20 no_cgroups
	kill "$pid"
	wait_until 20 not_alive "$pid"
	# Another user's session: said, and VMs start as before.
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
		vmd --state-dir "$home" --socket "$home/vmd.sock" \
		>"$work/rootless.log" 2>&1 &
	pid=$!
	wait_until 20 vmctl version
	grep 'is not limited: .*not its user' "$work/rootless.log"
	grep -F 'systemd-run --user --scope' "$work/rootless.log"
	vmctl doctor -o json | jq -e '.checks[] | select(.name == "cgroups") | .ok | not'
	kill "$pid"
	wait_until 20 not_alive "$pid"
}

# From the monitor's threads and from QEMU's jail: tests/escape.
escape_is_bounded() {
	local dir=$VMD_BUILD_DIR/tests
	for name in "take 256 MiB" "flood of processes"; do
		"$dir/escape/escape" "$dir/escape/escape-monitor" \
			"$dir/escape/escape-standin" \
			"$dir/guest/guest-spin-elf64" "$name" | tee "$work/escape"
		fails grep SKIP "$work/escape"
	done
}
