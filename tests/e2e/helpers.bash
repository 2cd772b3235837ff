# SPDX-License-Identifier: Apache-2.0
# Shared by all suites. Every wait is a condition with a deadline.

# Boots under software emulation take seconds; a loaded machine multiplies that.
BOOT_S=${BOOT_S:-120}

# daemon_start [COMMAND...]: the daemon, below a command such as ip netns exec.
daemon_start() {
	"$@" vmd --state-dir "$VMD_STATE" --run-dir "$VMD_E2E/run" \
		--socket "$VMD_SOCKET" --log-format json \
		>>"$VMD_E2E/vmd.log" 2>&1 3>&- 4>&- 9>&- &
	echo $! >"$VMD_E2E/vmd.pid"
	wait_until 20 vmctl version -o json || {
		tail -n 20 "$VMD_E2E/vmd.log" >&2
		return 1
	}
}

daemon_pid() { cat "$VMD_E2E/vmd.pid"; }

# The part of the suite's daemon that is root; none where a normal user runs it.
# Where vmd has started it, it has a parent that starts it again.
priv_pids() { pgrep -f "vmd-priv --state-dir $VMD_STATE --run-dir $VMD_E2E/run "; }
priv_pid() { pgrep -nf "vmd-priv --state-dir $VMD_STATE --run-dir $VMD_E2E/run "; }

daemon_stop() {
	local pid
	pid=$(daemon_pid)
	kill "$pid" 2>/dev/null || return 0
	wait_until 20 not_alive "$pid"
}

daemon_kill() {
	local pid
	pid=$(daemon_pid)
	kill -9 "$pid"
	wait_until 20 not_alive "$pid"
}

# A zombie has ended too (its parent, the suite's shell, reaps later).
not_alive() {
	[ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

# asleep PID: it did not run since the last look; for wait_until.
asleep() {
	local before=${switches:-}
	switches=$(grep ctxt_switches "/proc/$1/status")
	[ "$switches" = "$before" ]
}

# wait_until SECONDS COMMAND...: until it succeeds.
wait_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		read -rt 0.1 <> <(:) || :
	done
}

# A port of 127.0.0.1 and ::1 that nobody listens on, TCP or UDP.
free_port() {
	python3 - <<-'END'
		import socket as s
		while True:
		    a = s.create_server(("127.0.0.1", 0))
		    port = a.getsockname()[1]
		    try:
		        for family, kind, address in (
		                (s.AF_INET, s.SOCK_DGRAM, "127.0.0.1"),
		                (s.AF_INET6, s.SOCK_STREAM, "::1"),
		                (s.AF_INET6, s.SOCK_DGRAM, "::1")):
		            with s.socket(family, kind) as other:
		                other.bind((address, port))
		        print(port)
		        break
		    except OSError:
		        continue
	END
}

# port_client WHAT ADDRESS PORT [NUMBER]: see port_client.py.
port_client() {
	python3 "${HELPERS_DIR:-$BATS_TEST_DIRNAME}/port_client.py" "$@"
}

# services_start VM: tests/e2e/port-services in it (needs Perl).
services_start() {
	vmctl cp "${HELPERS_DIR:-$BATS_TEST_DIRNAME}/port-services" "$1:/tmp/"
	vmctl exec "$1" -- sh -c 'perl /tmp/port-services >/tmp/services 2>&1 </dev/null &'
	wait_until 60 vmctl exec "$1" -- grep -q ^serving /tmp/services
}

vm_state() { vmctl inspect "$1" | jq -r .state; }
vm_state_is() { [ "$(vm_state "$1")" = "$2" ]; }
vm_gone() { ! vmctl inspect "$1" >/dev/null 2>&1; }

vms_remove_all() {
	local id
	for id in $(vmctl ls -o name 2>/dev/null); do
		vmctl rm --force "$id" >/dev/null 2>&1 || :
	done
}

# Resident memory of a process in KiB.
rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }

# Programs that this suite's daemons started for VMs and images, wherever they
# hide: those of VMs have no environment but the mark of their run directory
# (vmd/priv/jails.h), those of images inherit ours.
vm_processes() {
	local pid
	for pid in $(pgrep -x 'vmd-monitor|qemu-system-x86|passt|passt.avx2|vmd-image'); do
		tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null |
			grep -qE "^(VMD_E2E=$VMD_E2E|VMD_RUN=$VMD_E2E/.*)\$" &&
			ps -o pid=,args= -p "$pid" | cut -c1-100
	done
	return 0
}

# Everything on the host that belongs to VMs of this suite's daemon.
leftovers() {
	find "$VMD_E2E/run/vms" "$VMD_STATE/vms" "$VMD_STATE/images/staging" \
		-mindepth 1 -maxdepth 1 2>/dev/null
	vm_processes
}
no_leftovers() {
	local left
	left=$(leftovers)
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

# The process that gives a VM its network, and the one that runs it.
passt_of() { processes_of "$1" 'passt|passt.avx2'; }
engine_of() { processes_of "$1" 'vmd-monitor|qemu-system-x86'; }

# processes_of VM NAMES: by the mark that they were started with.
processes_of() {
	local pid id
	id=$(vmctl inspect "$1" | jq -r .id)
	for pid in $(pgrep -x "$2"); do
		tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null |
			grep -qx "VMD_RUN=$VMD_E2E/run/vms/$id" && echo "$pid"
	done
	return 0
}

# A VM's passt is killed; another one comes, and the guest is told nothing that
# stays. usage: passt_comes_again VM COMMAND... (in the guest, needs the network)
passt_comes_again() {
	local vm=$1 old
	shift
	old=$(passt_of "$vm")
	[ -n "$old" ]
	kill -9 "$old"
	wait_until 30 has_other_passt "$vm" "$old"
	wait_until 60 vmctl exec "$vm" -- "$@"
	wait_until 30 has_no_reason "$vm" || {
		vmctl inspect "$vm" >&2
		return 1
	}
}

has_other_passt() {
	local now
	now=$(passt_of "$1")
	[ -n "$now" ] && [ "$now" != "$2" ]
}

has_no_reason() {
	vmctl inspect "$1" |
		jq -e '.state == "ready" and (.reason // "") == ""'
}
