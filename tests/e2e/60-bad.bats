#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input and failing hosts: a specific code, a sentence, nothing left behind.

bats_require_minimum_version 1.5.0
load helpers

api() { curl -s --max-time 60 --unix-socket "$VMD_SOCKET" "$@"; }

@test "openapi.json is served and describes the routes" {
	run -0 api http://vmd/openapi.json
	jq -e '.openapi | startswith("3.")' <<<"$output"
	jq -e '.paths["/v1/vms"].post' <<<"$output"
}

@test "the example of docs/api.md makes a VM" {
	example=$(sed -n '/^    curl .*vms?wait=60/,/}}.$/p' "$BATS_TEST_DIRNAME/../../docs/api.md")
	[[ $example == *"host_port"* ]]
	example=${example//\/run\/vmd\/vmd.sock/$VMD_SOCKET}
	example=${example//\"debian\"/\"tiny\", \"start\": false}
	run -0 bash -c "$example"
	echo "$output"
	vmctl inspect web | jq -e '.vcpus == 2 and .network.ports[0].guest_port == 80'
	vmctl rm web
}

@test "a body that is too long is refused for good" {
	head -c 300000 /dev/zero >"$BATS_TEST_TMPDIR/big"
	code=$(api -o "$BATS_TEST_TMPDIR/out" -w '%{http_code}' --json "@$BATS_TEST_TMPDIR/big" \
		http://vmd/v1/images)
	[ "$code" = 413 ]
	jq -e '.code == "body_too_large" and .retryable == false' "$BATS_TEST_TMPDIR/out"
}

@test "malformed, unknown, wrong and duplicate fields are 400 problems" {
	for body in '{' '[]' '{"image":"tiny","nope":1}' '{"image":7}' \
		'{"image":"tiny","image":"tiny"}' '{"image":"tiny","vcpus":0}' \
		'{"image":"tiny","vcpus":33}' '{"image":"tiny","memory_bytes":1}' \
		'{"image":"../../etc"}' '{}'; do
		code=$(api -o "$BATS_TEST_TMPDIR/out" -w '%{http_code}' -H 'Content-Type: application/json' \
			-d "$body" http://vmd/v1/vms)
		cat "$BATS_TEST_TMPDIR/out"
		[ "$code" = 400 ] || [ "$code" = 404 ]
		jq -e '.code and .detail and .status' "$BATS_TEST_TMPDIR/out"
	done
	no_leftovers
}

@test "unknown route, wrong method, wrong state" {
	[ "$(api -o /dev/null -w '%{http_code}' http://vmd/v1/nothing)" = 404 ]
	[ "$(api -o /dev/null -w '%{http_code}' -X PATCH http://vmd/v1/vms)" = 405 ]
	vmctl create --name idle tiny
	run vmctl exec idle -- true
	[ "$status" = 125 ]
	[[ $output == *"stopped"* ]]
	run vmctl stop idle
	[[ $status == 0 || $output == *"stopped"* ]]
	vmctl rm idle
}

@test "the same Idempotency-Key makes one VM" {
	# Keys outlive the daemon, and the state directory outlives this run.
	key=k-e2e-$BATS_ROOT_PID-$(date +%s)
	for i in 1 2; do
		api -H 'Content-Type: application/json' -H "Idempotency-Key: $key" \
			-d '{"image":"tiny","name":"once","start":false}' \
			"http://vmd/v1/vms?wait=60" >"$BATS_TEST_TMPDIR/$i"
	done
	[ "$(vmctl ls -o name | grep -c '^once$')" = 1 ]
	vmctl rm once
}

@test "a guest that never becomes ready: step, time and console in the error" {
	run vmctl run --kernel-args "rdinit=/bin/sh" --timeout 20s tiny -- true
	echo "$output"
	[ "$status" = 125 ]
	[[ $output == *"ready"* && $output == *"20 s"* && $output == *"agent"* ]]
	[[ $output == *"job control turned off"* ]]
	wait_until 20 no_leftovers
}

@test "a guest that crashes is told from one that is slow" {
	run vmctl run --kernel-args "rdinit=/no init=/no" tiny -- true
	echo "$output"
	[ "$status" = 125 ]
	[[ $output == *"crashed"*"Kernel panic"* ]]
	wait_until 20 no_leftovers
}

@test "a truncated image is refused" {
	blob=$(vmctl image inspect tiny | jq -r '.kernel.digest')
	file=$(find "$VMD_STATE/images/blobs" -name "$blob*" | head -n 1)
	cp "$file" "$BATS_TEST_TMPDIR/saved"
	chmod u+w "$file"
	truncate -s 1000 "$file"
	run vmctl run tiny -- true
	cp "$BATS_TEST_TMPDIR/saved" "$file"
	chmod a-w "$file"
	echo "$output"
	[ "$status" = 125 ]
	[[ $output == *"tiny"* ]]
	no_leftovers
	run -0 vmctl run tiny -- true
}

@test "a missing kernel is refused" {
	blob=$(vmctl image inspect tiny | jq -r '.kernel.digest')
	file=$(find "$VMD_STATE/images/blobs" -name "$blob*" | head -n 1)
	mv "$file" "$BATS_TEST_TMPDIR/saved"
	run vmctl run tiny -- true
	mv "$BATS_TEST_TMPDIR/saved" "$file"
	echo "$output"
	[ "$status" = 125 ]
	[[ $output == *"tiny"* ]]
	no_leftovers
}

@test "a killed image build leaves nothing behind" {
	vmctl image build --name killed tiny >/dev/null 2>&1 3>&- &
	client=$!
	wait_until 20 bash -c 'vmctl operation ls -o json | jq -e "[(.items? // .)[] | select(.state == \"running\")] | length > 0"'
	id=$(vmctl operation ls -o json | jq -r '[(.items? // .)[] | select(.state == "running")][0].id')
	vmctl operation cancel "$id"
	wait $client || :
	wait_until 20 no_leftovers
	run vmctl image inspect killed
	[ "$status" = 1 ]
}

@test "a full disk: disk_full and nothing left behind" {
	[ "$(id -u)" = 0 ] || skip "mounting a small tmpfs needs root"
	small=$BATS_TEST_TMPDIR/small
	mkdir "$small"
	mount -t tmpfs -o size=48m tmpfs "$small"
	mkdir -p "$small/images"
	run bash -c "
		. $BATS_TEST_DIRNAME/helpers.bash
		VMD_SOCKET=$small/s
		export VMD_SOCKET
		vmd --state-dir $small --run-dir $BATS_TEST_TMPDIR/run --socket $small/s >$BATS_TEST_TMPDIR/vmd.log 2>&1 3>&- &
		pid=\$!
		wait_until 20 vmctl version
		vmctl image build tiny
		echo status=\$?
		echo left=\$(find $small/images/staging $small/vms -mindepth 1 | wc -l)
		kill \$pid
		wait \$pid
	"
	umount -l "$small"
	echo "$output"
	[[ $output == *"status=1"* ]]
	[[ $output == *"left=0"* ]]
	[[ ${output,,} == *"space"* || ${output,,} == *"full"* ]]
}

@test "a normal user without rights on the socket is told so" {
	[ "$(id -u)" = 0 ] || skip "becoming another user needs root"
	run setpriv --reuid=65534 --regid=65534 --clear-groups \
		env VMD_SOCKET="$VMD_SOCKET" vmctl ls
	[ "$status" = 1 ]
	[[ ${output,,} == *"permission"* ]]
}
