#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Which apt sources of a host reach an image: sources.awk against samples.
# usage: test_sources.sh DIR_OF_RECIPES
set -eu
recipes=$1
dir=$(mktemp -d /tmp/vmd-test-sources-XXXXXX)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/a.list" <<'END'
# comment
deb http://mirror.example/debian bookworm main contrib # and a remark
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/security bookworm-security main
deb [signed-by=/usr/share/keyrings/docker.gpg] https://docker.example/linux/debian bookworm stable
deb [signed-by=/usr/share/keyrings/other.gpg] https://apt.example bookworm main
deb http://mirror.example/debian bookworm-backports main
deb http://mirror.example/debian trixie main
deb http://pg.example/apt bookworm-pgdg main
deb cdrom:[Debian] bookworm main
END
cat >"$dir/b.sources" <<'END'
Types: deb deb-src
# a comment inside
URIs: http://one.example/debian
 http://two.example/debian
Suites: bookworm bookworm-updates sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: https://node.example
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
END
expected='deb [signed-by=K] http://mirror.example/debian bookworm main
deb [signed-by=K] http://mirror.example/security bookworm-security main
deb [signed-by=K] http://one.example/debian bookworm main
deb [signed-by=K] http://one.example/debian bookworm-updates main
deb [signed-by=K] http://two.example/debian bookworm main
deb [signed-by=K] http://two.example/debian bookworm-updates main'
got=$(for f in a.list b.sources; do
	case $f in *.list) format=line ;; *) format=deb822 ;; esac
	awk -v format=$format -v wanted=bookworm -v ring=K \
		-f "$recipes/sources.awk" "$dir/$f"
done)
if [ "$got" != "$expected" ]; then
	echo "expected:"; echo "$expected"; echo "got:"; echo "$got"
	exit 1
fi
echo "ok"
