#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The systemd units as systemd itself reads them: no unknown setting, no missing
# program or unit, hardening not weaker than it was.
# usage: check_units.sh VMD SERVICE SOCKET SYSUSERS PRIV PRIV-SERVICE VMS-SERVICE
set -eu
vmd=$(realpath "$1") service=$2 socket=$3 sysusers=$4
priv=$(realpath "$5") priv_service=$6 vms_service=$7
# 31 (vmd) and 62 (vmd-priv) of 100 with systemd 252; others weigh a little
# differently.
exposure_max=34 priv_exposure_max=65
for tool in systemd-analyze systemd-sysusers; do
	command -v $tool >/dev/null ||
		{ echo "SKIP: $tool is not installed (package systemd)"; exit 77; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export LC_ALL=C SYSTEMD_PAGER=
export SYSTEMD_UNIT_PATH="$dir:"

# complains UNIT...: true when it has something to say about these units; what it
# says of others on this machine is not ours. The exit status does not tell.
complains() {
	systemd-analyze verify --man=no "$@" >"$dir/all" 2>&1 || :
	grep -e "$dir/" -e 'vmd\.' -e 'vmd-priv\.' -e 'vmd-vms\.' "$dir/all" >"$dir/said"
}

# As installed, but with the daemon where it was built.
sed "s,^ExecStart=[^ ]*,ExecStart=$vmd," "$service" >"$dir/vmd.service"
sed "s,^ExecStart=[^ ]*,ExecStart=$priv," "$priv_service" >"$dir/vmd-priv.service"
cp "$socket" "$dir/vmd.socket"
sed "s,^ExecStart=[^ ]*,ExecStart=$priv," "$vms_service" >"$dir/vmd-vms.service"
if complains "$dir/vmd.service" "$dir/vmd-priv.service" "$dir/vmd-vms.service" "$dir/vmd.socket"; then
	cat "$dir/said"
	exit 1
fi
sed 's/^WatchdogSec=/WatchdogSecs=/' "$dir/vmd.service" >"$dir/bad.service"
complains "$dir/bad.service" || { echo "an unknown setting was not seen"; exit 1; }
grep -q WatchdogSecs "$dir/said"

systemd-analyze security --offline=true --no-pager --threshold=$exposure_max \
	"$dir/vmd.service" >"$dir/said" 2>&1 ||
	{ grep -v '✓' "$dir/said"; exit 1; }
systemd-analyze security --offline=true --no-pager \
	--threshold=$priv_exposure_max "$dir/vmd-priv.service" >"$dir/said" 2>&1 ||
	{ grep -v '✓' "$dir/said"; exit 1; }
systemd-analyze security --offline=true --no-pager --threshold=$exposure_max \
	"$dir/vmd-vms.service" >"$dir/said" 2>&1 ||
	{ grep -v '✓' "$dir/said"; exit 1; }

# The group of the socket is the one that is made.
group=$(sed -n 's/^SocketGroup=//p' "$socket")
mkdir -p "$dir/root/etc"
systemd-sysusers --root="$dir/root" "$sysusers" >"$dir/said" 2>&1 ||
	{ cat "$dir/said"; exit 1; }
grep -q "^$group:" "$dir/root/etc/group"
# So is the daemon's user.
user=$(sed -n 's/^User=//p' "$service")
grep -q "^$user:" "$dir/root/etc/passwd"

# VMs are started there by vmd-priv: the same devices, and none of theirs is ended
# with a unit, or because one of them took too much.
for line in DevicePolicy DeviceAllow; do
	grep "^$line=" "$priv_service" >"$dir/devices"
	grep "^$line=" "$vms_service" | diff "$dir/devices" - ||
		{ echo "$line differs"; exit 1; }
done
for line in Delegate=yes KillMode=process OOMPolicy=continue TasksMax=infinity; do
	grep -qx "$line" "$vms_service" || { echo "no $line"; exit 1; }
done
grep -qx 'Wants=.*vmd-vms.service' "$priv_service"
grep -qx 'After=.*vmd-vms.service' "$priv_service"
