#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# meson install, the installed programs among themselves, and the way back.
#
# usage: test_install.sh BUILD-DIR SOURCE-DIR PREFIX
set -eu
build=$1 source=$2 prefix=$3
. "$source/tests/e2e/helpers.bash"
work=$(mktemp -d /tmp/vmd-install-XXXXXX)
finish() {
	[ ! -e "$work/vmd.pid" ] || daemon_stop
	rm -rf "$work"
}
trap finish EXIT

failed() {
	echo "FAILED: $*"
	exit 1
}

# The build directory by links: the log of what was installed, which uninstall
# reads, is not that of a real installation.
mkdir -p "$work/build/meson-private" "$work/build/meson-logs"
cp "$build/meson-private/install.dat" "$work/build/meson-private"
for dir in agent docs images monitor vmctl vmd; do
	ln -s "$build/$dir" "$work/build/$dir"
done
DESTDIR=$work/root meson install -C "$work/build" --no-rebuild --quiet

root=$work/root$prefix
for file in bin/vmctl bin/vmd-monitor sbin/vmd libexec/vmd/vmd-image libexec/vmd/vmd-agent; do
	[ -x "$root/$file" ] || failed "$file is not there or cannot be executed"
done
for page in man1/vmctl.1 man1/vmd-monitor.1 man8/vmd.8; do
	[ -s "$root/share/man/$page" ] || failed "no manual page $page"
done
program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$root/lib/systemd/system/vmd.service")
[ -x "$work/root$program" ] || failed "vmd.service starts '$program', which is not installed"
[ -s "$root/lib/systemd/system/vmd.socket" ] || failed "no vmd.socket"

# No link leads to the build tree while the programs run.
export PATH=$root/bin:$root/sbin:/usr/bin:/bin
export VMD_E2E=$work VMD_STATE=$work/state VMD_SOCKET=$work/run/vmd.sock
mkdir -p "$work/run" "$VMD_STATE/images/staging/left"
mv "$work/build" "$work/away"
for shell in bash zsh fish; do
	[ -n "$(vmctl completion $shell)" ] || failed "no completion for $shell"
done
# doctor_finds NAME: the program of that name, in this installation.
doctor_finds() {
	vmctl doctor -o json >"$work/out" || :
	jq -e --arg name "$1" --arg root "$root" \
		'.checks[] | select(.name == $name) | .ok and (.detail | startswith($root))' \
		"$work/out" >/dev/null || failed "doctor does not find $1: $(cat "$work/out")"
}
doctor_finds vmd # by vmctl
daemon_start || failed "vmd does not start"
doctor_finds vmd-monitor # by vmd
vmctl version -o json | jq -e '.client == .daemon.version' >/dev/null ||
	failed "vmctl and vmd are not of one version: $(vmctl version -o json)"
# By vmd the image tool, which clears up what a build left; by that the recipes.
wait_until 20 [ ! -e "$VMD_STATE/images/staging/left" ] || failed "vmd does not find vmd-image"
for recipe in debian tiny; do
	"$root/libexec/vmd/vmd-image" describe --recipe $recipe >"$work/out" ||
		failed "vmd-image does not find the recipe $recipe: $(cat "$work/out")"
done
daemon_stop
rm "$work/vmd.pid"

# What was installed goes again; nothing else was put there.
mv "$work/away" "$work/build"
(cd "$work/build" && meson --internal uninstall) >"$work/out"
[ ! -e "$work/root" ] || failed "uninstall leaves $(find "$work/root" -not -type d)"
