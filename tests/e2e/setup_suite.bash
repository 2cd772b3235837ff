# SPDX-License-Identifier: Apache-2.0
# One daemon and one image store for the whole suite; images are built once and
# kept in VMD_TEST_CACHE between stages of tools/test.
#   VMD_BUILD_DIR   meson build directory with the programs under test
#   VMD_TEST_CACHE  where images are kept
#   VMD_TEST_IMAGES which of them the files to be run need   [tiny debian]

setup_suite() {
	: "${VMD_BUILD_DIR:?set VMD_BUILD_DIR to a meson build directory}"
	export VMD_TEST_CACHE=${VMD_TEST_CACHE:-/tmp/vmd-test-cache}
	export VMD_E2E=$(mktemp -d /tmp/vmd-e2e-XXXXXX)
	export VMD_STATE=$VMD_TEST_CACHE/state
	export VMD_SOCKET=$VMD_E2E/run/vmd.sock
	export PATH=$VMD_BUILD_DIR/vmctl:$VMD_BUILD_DIR/vmd:$PATH
	mkdir -p "$VMD_STATE" "$VMD_E2E/run"
	. "$BATS_TEST_DIRNAME/helpers.bash"
	daemon_start
	local image agent=$VMD_BUILD_DIR/agent/vmd-agent
	for image in ${VMD_TEST_IMAGES:-tiny debian}; do
		# An image holds the agent of its day.
		[ ! "$agent" -nt "$VMD_STATE/images/manifests/$image.json" ] ||
			vmctl image rm "$image" >/dev/null 2>&1 || :
		vmctl image inspect "$image" >/dev/null 2>&1 ||
			vmctl image build "$image" >&2
	done
}

teardown_suite() {
	. "$BATS_TEST_DIRNAME/helpers.bash"
	vms_remove_all
	daemon_stop
	rm -rf "$VMD_E2E"
}
