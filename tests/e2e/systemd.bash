# SPDX-License-Identifier: Apache-2.0
# vmd as a service of a real systemd, which is PID 1 of namespaces of its own.
# Used by 85-systemd.bats (QEMU engine) and by tests/lab/suite (microVM monitor,
# all cgroup controllers). Needs root, and helpers.bash.

systemd_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Why it cannot run here, if so.
systemd_impossible() {
	[ "$(id -u)" = 0 ] || { echo "needs root"; return; }
	[ -x /lib/systemd/systemd ] || { echo "package systemd is missing"; return; }
	[ -n "$(findmnt -n -t cgroup2)" ] || { echo "no cgroup v2 here"; return; }
	unshare --pid --mount --uts --ipc --cgroup --fork true 2>/dev/null ||
		echo "no namespaces here"
}

# systemd_install WORK: what "meson install" installs, below WORK/installed.
systemd_install() {
	DESTDIR=$1/installed meson install -C "$VMD_BUILD_DIR" --no-rebuild \
		>"$1/install.log" 2>&1 || { tail "$1/install.log"; return 1; }
}

systemd_prefix() {
	jq -r '.[] | select(.name == "prefix").value' \
		"$VMD_BUILD_DIR/meson-info/intro-buildoptions.json"
}

# The units that vmd's need, and the journal; nothing else of the host's.
systemd_units() {
	local units=$1 target unit
	mkdir -p "$units/vmd.service.d"
	for target in sysinit basic sockets network multi-user shutdown test; do
		printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' \
			$target >"$units/$target.target"
	done
	echo 'Wants=systemd-journald.service' >>"$units/test.target"
	for unit in systemd-journald.service systemd-journald.socket \
		systemd-journald-dev-log.socket; do
		sed 's/ systemd-journald-audit.socket//' \
			"/lib/systemd/system/$unit" >"$units/$unit"
	done
	printf '[Service]\nWatchdogSec=5\n' >"$units/vmd.service.d/test.conf"
	# Whatever it starts has the restrictions of vmd's children.
	sed 's,^ExecStart=.*,ExecStart=/bin/sh /run/units/probe,
		s,^Type=.*,Type=oneshot,; /^Wants=/d; /^Restart/d; /^WatchdogSec=/d' \
		"$units/../installed$(<"$units/../prefix")/lib/systemd/system/vmd-priv.service" \
		>"$units/probe.service"
	cp "$systemd_here/systemd-probe" "$units/probe"
}

# systemd_start WORK STATE: from WORK/installed, with STATE as /var/lib/vmd.
systemd_start() {
	local work=$1 state=$2 cgroup
	systemd_prefix >"$work/prefix"
	systemd_units "$work/units"
	cgroup=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)/vmd-test-$$
	mkdir -p "$cgroup"
	echo "$cgroup" >"$work/cgroup"
	# Only what is inside is in the cgroup, or it could not have controllers.
	(
		exec unshare --pid --mount --uts --ipc --fork --mount-proc \
			--kill-child bash -c 'echo $$ >"$0/cgroup.procs"
				exec unshare --cgroup bash "$@"' "$cgroup" \
			"$systemd_here/systemd-init" "$work" "$(<"$work/prefix")" "$state"
	) >"$work/systemd.log" 2>&1 </dev/null 3>&- 4>&- 9>&- &
	echo $! >"$work/outer"
	wait_until 120 systemd_is_up && return
	cat "$work/systemd.log"
	inside systemctl --no-pager --failed
	return 1
}

systemd_is_up() {
	pgrep -P "$(<"$SYSTEMD_WORK/outer")" >"$SYSTEMD_WORK/init" &&
		inside systemctl is-system-running --wait
}

# Everything in its PID namespace goes with it.
systemd_stop() {
	local outer
	outer=$(cat "$SYSTEMD_WORK/outer") || return 0
	kill -9 "$outer" 2>/dev/null
	wait_until 20 not_alive "$outer"
	wait_until 20 systemd_cgroups_gone "$(<"$SYSTEMD_WORK/cgroup")"
}

systemd_cgroups_gone() {
	find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null
	[ ! -e "$1" ]
}

# inside COMMAND...: a command, or a function of this file, in the namespaces, as
# a login shell there would run it.
inside() {
	local prefix
	prefix=$(<"$SYSTEMD_WORK/prefix")
	nsenter -t "$(<"$SYSTEMD_WORK/init")" -m -p -C -u -i -- env -i \
		HOME=/root TERM=dumb BOOT_S="$BOOT_S" SYSTEMD_PAGER= \
		PATH="$prefix/sbin:$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		bash -euc '. "$0/helpers.bash"; . "$0/systemd.bash"; "$@"' \
		"$systemd_here" "$@"
}

# What follows runs inside.

# A leading "!" would hide the failure from errexit.
fails() { ! "$@"; }
show() { systemctl show --value -p "$1" "${2:-vmd.service}"; }
restarts_are() { [ "$(show NRestarts)" = "$1" ]; }
engine() { pgrep -x 'vmd-monitor|qemu-system-x86'; }
cgroup_procs() { cat "/sys/fs/cgroup/system.slice/$1/cgroup.procs"; }
# Where controllers are, each VM has a cgroup in a unit that outlives the daemon.
has_controllers() { grep -q memory /sys/fs/cgroup/cgroup.controllers; }
in_its_place() {
	local at
	at=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
	echo "the engine is in $at"
	journalctl --no-pager -o cat | grep -e 'has a cgroup' -e 'not limited'
	if has_controllers; then
		[[ $at == /system.slice/vmd-vms.service/*/$(vmctl inspect sd | jq -r .id) ]]
		[ "$(<"/sys/fs/cgroup$at/memory.oom.group")" = 1 ]
		[ "$(<"/sys/fs/cgroup$at/pids.max")" != max ]
		[ "$(<"/sys/fs/cgroup$at/cpu.max")" = "200000 100000" ]
	else
		[ "$at" = /system.slice/vmd-priv.service ]
	fi
}
only_the_daemon() {
	[ "$(cgroup_procs vmd.service)" = "$(show MainPID)" ]
	[ "$(cgroup_procs vmd-priv.service)" = "$(show MainPID vmd-priv.service)" ]
	# Its process stays, for whom nobody else is.
	[ "$(cgroup_procs vmd-vms.service/hold)" = "$(show MainPID vmd-vms.service)" ]
	[ -z "$(find /sys/fs/cgroup/system.slice/vmd-vms.service -mindepth 2 -type d)" ]
}
boot_id() { vmctl exec sd -- cat /proc/sys/kernel/random/boot_id; }
same_guest() { [ "$(boot_id)" = "$(</run/boot_id)" ]; }

# The first client starts the daemon; members of the group are let in.
systemd_socket_activates() {
	# The socket's group is made by what is installed, not by hand.
	sed -i /^vmd:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow
	systemd-sysusers
	systemctl start vmd.socket
	[ "$(show ActiveState)" = inactive ]
	timeout 120 vmctl version | grep '^vmd '
	[ "$(show ActiveState)" = active ]
	[ "$(show StatusText)" = "serving the API" ]
	# Not for the first client only.
	timeout 60 vmctl doctor | grep ' tun'
	journalctl -u vmd.service --no-pager | grep -q 'serves /run/vmd/vmd.sock'
	[ "$(stat -c %a:%U:%G /run/vmd/vmd.sock)" = 660:root:vmd ]
	setpriv --reuid 65534 --regid vmd --clear-groups timeout 60 vmctl ls
	fails setpriv --reuid 65534 --regid 65534 --clear-groups \
		timeout 60 vmctl ls
}

# The daemon is its own user without any capability; the other part is root.
systemd_is_split() {
	local pid
	pid=$(show MainPID)
	[ "$(ps -o user= -p "$pid")" = vmd ]
	[ "$(grep -c '^Cap.*:.0000000000000000$' "/proc/$pid/status")" = 5 ]
	grep '^NoNewPrivs:.1$' "/proc/$pid/status"
	pid=$(show MainPID vmd-priv.service)
	[ "$(ps -o user= -p "$pid")" = root ]
	grep '^Seccomp:.2$' "/proc/$pid/status"
}

# vmd-priv killed with a VM running: another comes, the next start and the end by
# force go through it.
systemd_priv_restart_keeps_vms() {
	local before
	before=$(show NRestarts vmd-priv.service)
	systemctl kill -s KILL --kill-whom=main vmd-priv.service
	same_guest
	wait_until 60 priv_restarts_are $((before + 1))
	same_guest
	in_its_place "$(engine)"
	vmctl create --name sd2 --memory 128M "$1"
	vmctl start sd2
	vmctl rm --force sd2
}
priv_restarts_are() {
	[ "$(show NRestarts vmd-priv.service)" = "$1" ] &&
		[ "$(show ActiveState vmd-priv.service)" = active ]
}

# What recipes do as root, tried as a child of the unit would.
systemd_builds_are_possible() {
	systemctl start probe.service ||
		{ journalctl -u probe.service --no-pager -o cat; return 1; }
}

# systemd_guest IMAGE ENGINE: name "sd", kept for the tests that follow.
systemd_guest() {
	local port
	port=$(free_port)
	vmctl create --name sd --memory 160M --timeout 300s -p "$port:80" "$1"
	vmctl start sd
	vmctl wait sd --for ready --timeout "$BOOT_S"
	[ "$(vmctl inspect sd | jq -r .engine)" = "$2" ]
	boot_id >/run/boot_id
	# A published port and passt under the unit.
	vmctl exec sd -- sh -c 'mkdir -p /www && echo served >/www/f && busybox httpd -p 80 -h /www'
	wait_until 60 sh -c "[ \"\$(curl -sf --max-time 20 http://127.0.0.1:$port/f)\" = served ]"
	in_its_place "$(engine)"
	# The OOM killer spares the daemon, where it may be told so, and takes
	# guests first (vmd/priv/jails.c).
	[ "$(cat "/proc/$(engine)/oom_score_adj")" = 300 ]
	fails sh -c 'echo -500 >/proc/self/oom_score_adj' ||
		[ "$(cat "/proc/$(show MainPID)/oom_score_adj")" = -500 ]
}

systemd_restart_keeps_vms() {
	local before
	before=$(show MainPID)
	systemctl restart vmd.service
	[ "$(show MainPID)" != "$before" ]
	same_guest
	vmctl exec sd -- sh -c 'echo after-restart >/dev/console'
	wait_until 30 sh -c 'vmctl logs sd | grep -q after-restart'
}

# Killed, then hung: systemd starts another, which takes the VM over.
systemd_watchdog_keeps_vms() {
	local before
	before=$(show NRestarts)
	systemctl kill -s KILL --kill-whom=main vmd.service
	wait_until 120 restarts_are $((before + 1))
	same_guest
	systemctl kill -s STOP --kill-whom=main vmd.service
	wait_until 120 restarts_are $((before + 2))
	same_guest
	journalctl -u vmd.service --no-pager | grep -i 'watchdog timeout'
	# One that is well is left alone for longer than the limit.
	fails wait_until 7 restarts_are $((before + 3))
}

systemd_stop_keeps_vms() {
	local before
	before=$(engine)
	systemctl stop vmd.service
	[ "$(show ActiveState)" = inactive ]
	[ "$(engine)" = "$before" ]
	# The socket starts it again.
	same_guest
	[ "$(show ActiveState)" = active ]
	systemctl stop vmd.service vmd.socket
	fails vmctl ls 2>/run/said
	grep 'systemctl start vmd' /run/said
	[ "$(engine)" = "$before" ]
	# The service wants its socket, too.
	systemctl start vmd.service
	[ "$(show ActiveState vmd.socket)" = active ]
	same_guest
	vmctl stop sd
	vmctl rm sd
	wait_until 60 only_the_daemon
}
