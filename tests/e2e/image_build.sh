#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# vmd-image as a program, with the real recipes: builds from the Debian archive,
# bad requests, a full disk, a killed build. No daemon.
#   usage: image_build.sh VMD_IMAGE [RECIPE]
# With RECIPE "debian" that one is built too (a minute or two).
set -u

image=$1
full=${2:-tiny}
failures=0

dir=$(mktemp -d /tmp/vmd-image-build-XXXXXX)
# shellcheck disable=SC2329
clean()
{
	umount "$dir/small" 2>/dev/null
	rm -rf "$dir"
}
trap clean EXIT
store=$dir/store

apt-get --version >/dev/null 2>&1 || {
	echo "SKIP no apt on this host"
	exit 77
}

check()
{
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		echo "FAILED: $1: expected '$3', got '$2'"
		failures=$((failures + 1))
	fi
}

# The code of the error in the last line of a file of JSON lines.
code_of()
{
	tail -n 1 "$1" | sed -n 's/.*"code":"\([a-z_]*\)".*/\1/p'
}

count()
{
	find "$1" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}

build()
{
	"$image" build --store "$store" --staging "$1" --recipe "$2" \
		--name "$3" ${4:+--option "$4"} >"$dir/out" 2>"$dir/err"
}

echo "# bad requests"
build s nothing tiny
check "unknown recipe" "$(code_of "$dir/out")" recipe_not_found
build s tiny 'Bad/Name'
check "bad name" "$(code_of "$dir/out")" name_invalid
build s tiny tiny color=red
check "unknown option" "$(code_of "$dir/out")" option_unknown
build s tiny tiny kernel=pe
check "bad value" "$(code_of "$dir/out")" option_invalid
build s tiny tiny suite=../etc
check "bad suite" "$(code_of "$dir/out")" suite_invalid
build s debian debian disk_size=8
check "bad disk size" "$(code_of "$dir/out")" option_invalid
build s debian debian 'packages=-oX=y'
check "bad package" "$(code_of "$dir/out")" option_invalid
build s tiny tiny mirror=http://127.0.0.1:9/debian
check "archive out of reach" "$(code_of "$dir/out")" apt_unreachable
VMD_AGENT=/nowhere build s tiny tiny
check "no agent" "$(code_of "$dir/out")" agent_missing
mkdir "$dir/bin"
for tool in sh awk sed df mkdir id unshare true; do
	ln -s "$(command -v $tool)" "$dir/bin/"
done
(PATH=$dir/bin build s debian debian)
case $(code_of "$dir/out") in
tool_missing) echo "ok: missing tool" ;;
*)
	# /usr/sbin is always searched; where mmdebstrap is there too, it is found
	check "missing tool" "$(code_of "$dir/out")" tool_missing
	;;
esac
check "nothing staged" "$(count "$store/staging")" 0
check "no image made" "$(count "$store/manifests")" 0

echo "# a build"
began=$(date +%s)
build s tiny tiny
check "tiny builds" $? 0
echo "# tiny took $(($(date +%s) - began)) s"
check "result" "$(tail -n 1 "$dir/out" | cut -c1-10)" '{"result":'
check "two blobs" "$(count "$store/blobs/sha256")" 2
"$image" verify --store "$store" >"$dir/out"
check "verifies" $? 0
build s tiny tiny
check "name taken" "$(code_of "$dir/out")" image_exists
first=$(cat "$store"/manifests/tiny.json | sed -n '/"initrd"/,/}/s/.*"digest": "\(.*\)".*/\1/p')
build s tiny again
second=$(cat "$store"/manifests/again.json | sed -n '/"initrd"/,/}/s/.*"digest": "\(.*\)".*/\1/p')
check "the initramfs is reproducible" "$second" "$first"
check "blobs are shared" "$(count "$store/blobs/sha256")" 2
build s tiny bz kernel=bzimage
check "bzimage builds" $? 0

echo "# killed in the middle"
setsid "$image" build --store "$store" --staging k --recipe tiny --name killed \
	>"$dir/killed" 2>"$dir/err" &
leader=$!
tries=0
until grep -qs '"fetching the kernel' "$dir/killed" || [ $tries -gt 600 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
check "was reached in time" $((tries <= 600)) 1
kill -9 "-$leader"
wait "$leader" 2>/dev/null
tries=0
while pgrep -f "$store/staging/k" >/dev/null && [ $tries -lt 50 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
check "no process left" "$(pgrep -f "$store/staging/k" | wc -l)" 0
check "staging left" "$(count "$store/staging")" 1
"$image" sweep --store "$store" >"$dir/out"
check "sweep" $? 0
check "nothing left" "$(count "$store/staging")" 0
check "no image" "$(ls "$store/manifests" | grep -c killed)" 0
"$image" verify --store "$store" >"$dir/out"
check "the others are whole" $? 0

echo "# a full disk"
mkdir "$dir/small"
if mount -t tmpfs -o size=64m tmpfs "$dir/small" 2>/dev/null; then
	store=$dir/small/store
	build s tiny tiny
	check "small disk" "$(code_of "$dir/out")" disk_full
	check "nothing left on it" "$(count "$store/staging")" 0
	umount "$dir/small"
	store=$dir/store
else
	echo "SKIP a small tmpfs needs root"
fi

if [ "$full" = debian ]; then
	echo "# debian"
	began=$(date +%s)
	build s debian debian
	check "debian builds" $? 0
	echo "# debian took $(($(date +%s) - began)) s"
	root=$(sed -n '/"root"/,/}/s/.*"digest": "\(.*\)".*/\1/p' \
		"$store/manifests/debian.json")
	"$image" clone --from "$store/blobs/sha256/$root" --to "$dir/disk" \
		>"$dir/out"
	check "clones" $? 0
	check "disk size" "$(stat -c %s "$dir/disk")" 8589934592
	PATH=$PATH:/sbin:/usr/sbin e2fsck -fn "$dir/disk" >/dev/null 2>&1
	check "file system is clean" $? 0
	owner=$(PATH=$PATH:/sbin:/usr/sbin debugfs -R 'stat /etc/shadow' \
		"$dir/disk" 2>/dev/null |
		sed -n 's/^User: *\([0-9]*\) *Group: *\([0-9]*\).*/\1:\2/p')
	check "owners" "$owner" 0:42
fi

[ "$failures" = 0 ] || exit 1
echo "all passed"
