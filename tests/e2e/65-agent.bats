#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The agent below QEMU alone, spoken to by an independent host (agent_wire.py).

bats_require_minimum_version 1.5.0
load helpers

# The blob of image tiny that has this role.
blob() {
	echo "$VMD_STATE/images/blobs/sha256/$(vmctl image inspect tiny |
		jq -r ".$1.digest")"
}

@test "the agent as a service of another init: commands, takeover, shutdown" {
	PATH=$PATH:/usr/sbin:/sbin run -0 python3 \
		"$BATS_TEST_DIRNAME/agent_boot.py" \
		"$VMD_BUILD_DIR/agent/vmd-agent" "$(blob kernel)" "$(blob initrd)"
	[ "${lines[-1]}" = "0 failed" ]
}
