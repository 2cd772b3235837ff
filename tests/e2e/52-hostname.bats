#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The guest's own name, in every template.

bats_require_minimum_version 1.5.0
load helpers

teardown() {
	vms_remove_all
}

name_is_right() { # VM NAME
	local said
	[ "$(vmctl exec "$1" -- hostname)" = "$2" ]
	[ "$(vmctl exec "$1" -- cat /etc/hostname)" = "$2" ]
	said=$(vmctl exec "$1" -- cat /etc/hosts)
	[ "$(grep -c "^127.0.1.1.$2 # set by vmd$" <<<"$said")" = 1 ]
	grep -q '^127.0.0.1' <<<"$said"
}

@test "the guest's name resolves in it: debian (case guest-hostname)" {
	vmctl create --name named debian >/dev/null
	vmctl start named
	name_is_right named named
	vmctl exec named -- sh -c 'getent hosts "$(hostname)"'
	[ "$(vmctl exec named -- hostname -f)" = named ]
	# A person's lines and name stay over a restart.
	vmctl exec named -- sh -c 'echo "10.0.0.5 db" >>/etc/hosts; echo mine >/etc/hostname; sync'
	vmctl restart named
	[ "$(vmctl exec named -- hostname)" = mine ]
	vmctl exec named -- grep -q "10.0.0.5 db" /etc/hosts
	vmctl exec named -- sh -c 'getent hosts mine'
}

@test "the guest's name is in the files: tiny" {
	vmctl create --name small tiny >/dev/null
	vmctl start small
	name_is_right small small
}
