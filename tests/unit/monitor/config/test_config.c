/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <string.h>

#include "monitor/config/config.h"

#define BOOT	"\"boot-source\":{\"kernel_image_path\":\"k\"}"
#define MACHINE "\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":128}"

static int parse(const char *text, struct config *c, struct err *e)
{
	err_clear(e);
	return config_parse(text, strlen(text), c, e);
}

static void test_parse_smallest_gives_defaults(void **state)
{
	struct config c;
	struct err e;

	(void)state;
	assert_int_equal(parse("{" BOOT "," MACHINE "}", &c, &e), 0);
	assert_string_equal(c.kernel_image_path, "k");
	assert_null(c.initrd_path);
	assert_string_equal(c.boot_args, CONFIG_BOOT_ARGS_DEFAULT);
	assert_int_equal(c.vcpu_count, 2);
	assert_int_equal(c.mem_bytes, 128 << 20);
	assert_int_equal(c.backing, VM_BACKING_AUTO);
	assert_false(c.has_vsock || c.has_entropy || c.has_console);
	assert_null(c.status_path);
	config_done(&c);
}

static void test_parse_full_reads_everything(void **state)
{
	static const char text[] =
		"{\"boot-source\":{\"kernel_image_path\":\"fd:5\","
		"\"initrd_path\":\"i\",\"boot_args\":\"quiet\"}," MACHINE ","
		"\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"fd:6\","
		"\"is_root_device\":true,\"cache_type\":\"Writeback\"},"
		"{\"drive_id\":\"b\",\"path_on_host\":\"x\","
		"\"is_root_device\":false,\"is_read_only\":true}],"
		"\"network-interfaces\":[{\"iface_id\":\"n\",\"guest_mac\":"
		"\"06:00:00:00:00:01\",\"passt_socket\":\"fd:7\",\"mtu\":1500}],"
		"\"vsock\":{\"guest_cid\":3,\"uds_path\":\"v.sock\"},"
		"\"entropy\":{},\"console\":{\"log_path\":\"l\"},"
		"\"serial\":{\"socket_path\":\"s\",\"log_path\":\"m\"},"
		"\"control\":{\"socket_path\":\"c\"},"
		"\"status\":{\"path\":\"st\"},\"debug-exit\":{\"port\":244}}";
	struct config c;
	struct err e;

	(void)state;
	assert_int_equal(parse(text, &c, &e), 0);
	assert_int_equal(config_inherited_fd(c.kernel_image_path), 5);
	assert_string_equal(c.boot_args, "quiet root=/dev/vda rw");
	assert_int_equal(c.drive_count, 2);
	assert_true(c.drives[0].writeback && c.drives[0].is_root_device);
	assert_true(c.drives[1].is_read_only && !c.drives[1].writeback);
	assert_int_equal(c.net_count, 1);
	assert_int_equal(c.nets[0].mac[5], 1);
	assert_int_equal(c.nets[0].mtu, 1500);
	assert_int_equal(c.guest_cid, 3);
	assert_true(c.has_entropy && c.has_console);
	assert_int_equal(c.debug_exit_port, 0xf4);
	config_done(&c);
}

/* Each is refused as config_invalid, with the name of what is wrong. */
static const struct {
	const char *text, *names;
} bad[] = {
	{ "", "" },
	{ "[]", "" },
	{ "{}", "boot-source" },
	{ "{" MACHINE "}", "boot-source" },
	{ "{" BOOT "," MACHINE ",\"x\":1}", "x" },
	{ "{" BOOT "," BOOT "," MACHINE "}", "" },
	{ "{" BOOT "," MACHINE ",\"entropy\":{\"a\":1}}", "a" },
	{ "{" BOOT "," MACHINE ",\"entropy\":7}", "entropy" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":0,"
	  "\"mem_size_mib\":128}}",
	  "vcpu_count" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":33,"
	  "\"mem_size_mib\":128}}",
	  "vcpu_count" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":1,"
	  "\"mem_size_mib\":15}}",
	  "mem_size_mib" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":1,"
	  "\"mem_size_mib\":-1}}",
	  "mem_size_mib" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":1,"
	  "\"mem_size_mib\":99999999999999999999}}",
	  "" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":1,"
	  "\"mem_size_mib\":64,\"memory_backing\":\"hugetlb\"}}",
	  "memory_backing" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":1.5,"
	  "\"mem_size_mib\":64}}",
	  "vcpu_count" },
	{ "{\"boot-source\":{\"kernel_image_path\":\"\"}," MACHINE "}",
	  "kernel_image_path" },
	{ "{" BOOT "," MACHINE ",\"drives\":[{\"drive_id\":\"a\"}]}",
	  "drives[0]" },
	{ "{" BOOT "," MACHINE ",\"drives\":[{\"drive_id\":\"a\","
	  "\"path_on_host\":\"p\"},{\"drive_id\":\"a\","
	  "\"path_on_host\":\"q\"}]}",
	  "drives[1].drive_id" },
	{ "{" BOOT "," MACHINE ",\"drives\":[{\"drive_id\":\"a\","
	  "\"path_on_host\":\"p\",\"cache_type\":\"Fast\"}]}",
	  "cache_type" },
	{ "{" BOOT "," MACHINE ",\"drives\":[1,2,3,4,5,6,7,8,9]}", "drives" },
	{ "{" BOOT "," MACHINE ",\"drives\":[1]}", "drives[0]" },
	{ "{" BOOT ",\"machine-config\":{\"mem_size_mib\":64}}", "vcpu_count" },
	{ "{" BOOT ",\"machine-config\":{\"vcpu_count\":1}}", "mem_size_mib" },
	{ "{" BOOT "," MACHINE ",\"drives\":[{\"drive_id\":\"\","
	  "\"path_on_host\":\"p\"}]}",
	  "drive_id is empty" },
	{ "{" BOOT "," MACHINE ",\"drives\":[{\"drive_id\":\"a b\","
	  "\"path_on_host\":\"p\"}]}",
	  "letters" },
	{ "{" BOOT "," MACHINE ",\"drives\":[{\"drive_id\":\"a\","
	  "\"path_on_host\":\"p\",\"is_root_device\":true},{\"drive_id\":"
	  "\"b\",\"path_on_host\":\"q\",\"is_root_device\":true}]}",
	  "is_root_device is taken by \"a\"" },
	{ "{" BOOT "," MACHINE ",\"network-interfaces\":[{\"iface_id\":"
	  "\"a/b\",\"host_dev_name\":\"t\"}]}",
	  "letters" },
	{ "{" BOOT "," MACHINE ",\"network-interfaces\":[{\"iface_id\":"
	  "\"n\",\"host_dev_name\":\"t\"},{\"iface_id\":\"n\","
	  "\"host_dev_name\":\"u\"}]}",
	  "iface_id is taken" },
	{ "{" BOOT "," MACHINE ",\"network-interfaces\":[{\"iface_id\":"
	  "\"n\",\"host_dev_name\":\"t\"},{\"iface_id\":\"m\","
	  "\"host_dev_name\":\"t\"}]}",
	  "host_dev_name is taken" },
	{ "{" BOOT "," MACHINE ",\"network-interfaces\":[{\"iface_id\":\"n\","
	  "\"guest_mac\":\"06:00:00:00:00:01\"}]}",
	  "host_dev_name" },
	{ "{" BOOT "," MACHINE ",\"network-interfaces\":[{\"iface_id\":\"n\","
	  "\"guest_mac\":\"zz\",\"host_dev_name\":\"t\"}]}",
	  "" },
	{ "{" BOOT "," MACHINE ",\"vsock\":{\"guest_cid\":2,"
	  "\"uds_path\":\"v\"}}",
	  "guest_cid" },
	{ "{" BOOT "," MACHINE ",\"debug-exit\":{\"port\":65536}}", "port" },
	{ "{" BOOT "," MACHINE ",\"debug-exit\":{\"port\":1020}}",
	  "the serial port" },
	{ "{" BOOT "," MACHINE ",\"debug-exit\":{\"port\":1536}}", "ACPI" },
	{ "{" BOOT "," MACHINE ",\"network-interfaces\":[{\"iface_id\":\"n\","
	  "\"guest_mac\":\"06:00:00:00:00:01\",\"host_dev_name\":\"t\","
	  "\"mtu\":65522}]}",
	  "mtu" },
	{ "{" BOOT "," MACHINE ",\"control\":{\"socket_path\":\"\"}}",
	  "control.socket_path is empty" },
	{ "{" BOOT "," MACHINE ",\"serial\":{\"socket_path\":\"\"}}",
	  "serial.socket_path is empty" },
	{ "{" BOOT "," MACHINE ",\"vsock\":{\"guest_cid\":3,"
	  "\"uds_path\":\"\"}}",
	  "vsock.uds_path is empty" },
	{ "{" BOOT "," MACHINE ",\"control\":{}}", "socket_path" },
	{ "{" BOOT "," MACHINE ",\"console\":{}}", "console" },
};

static void test_parse_bad_names_the_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config c = { .json = NULL };
		struct err e;

		if (parse(bad[i].text, &c, &e) == 0)
			fail_msg("taken: %s", bad[i].text);
		assert_string_equal(e.code, "config_invalid");
		if (!strstr(e.msg, bad[i].names))
			fail_msg("%s: message is \"%s\"", bad[i].text, e.msg);
	}
}

static void test_inherited_fd_only_exact(void **state)
{
	(void)state;
	assert_int_equal(config_inherited_fd("fd:0"), 0);
	assert_int_equal(config_inherited_fd("fd:1023"), 1023);
	assert_int_equal(config_inherited_fd("fd:1024"), -1);
	assert_int_equal(config_inherited_fd("fd:"), -1);
	assert_int_equal(config_inherited_fd("fd:-1"), -1);
	assert_int_equal(config_inherited_fd("fd:1x"), -1);
	assert_int_equal(config_inherited_fd("/fd:1"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_smallest_gives_defaults),
		cmocka_unit_test(test_parse_full_reads_everything),
		cmocka_unit_test(test_parse_bad_names_the_field),
		cmocka_unit_test(test_inherited_fd_only_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
