/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as Firecracker takes and prints them (folder firecracker/, given as the
 * only argument), and what of them is refused.
 */
#include "../test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "monitor/config/config.h"

static const char *files;

static void load(const char *name, struct config *c)
{
	struct err e = ERR_INIT;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", files, name);
	if (config_load(path, c, &e) < 0)
		fail_msg("%s", e.msg);
}

static void test_every_file_is_taken(void **state)
{
	DIR *dir = opendir(files);
	struct dirent *d;
	int count = 0;

	(void)state;
	assert_non_null(dir);
	while ((d = readdir(dir))) {
		struct config c;

		if (d->d_name[0] == '.')
			continue;
		load(d->d_name, &c);
		config_done(&c);
		count++;
	}
	assert_int_equal(closedir(dir), 0);
	assert_int_equal(count, 4);
}

static void test_meaning_is_kept(void **state)
{
	struct config c;

	(void)state;
	load("everything.json", &c);
	assert_int_equal(c.vcpu_count, 1);
	assert_int_equal(c.mem_bytes, UINT64_C(512) << 20);
	assert_string_equal(c.boot_args,
			    "console=ttyS0 panic=-1 root=PARTUUID=0eaa91a0-01 "
			    "ro -- --init-option");
	assert_true(c.drives[0].writeback && !c.drives[1].writeback);
	/* Unicast, of our own making, and each another one. */
	assert_int_equal(c.nets[0].mac[0] & 3, 2);
	assert_memory_not_equal(c.nets[0].mac, c.nets[1].mac, 6);
	assert_string_equal(c.serial.log_path, "serial.log");
	assert_string_equal(c.log_path, "firecracker.log");
	assert_true(c.has_log_level && c.log_level == LOG_LEVEL_DEBUG);
	assert_string_equal(c.metrics_path, "metrics.json");
	assert_true(c.has_vsock && c.has_entropy);
	config_done(&c);
	load("printed.json", &c);
	assert_string_equal(c.boot_args,
			    "console=ttyS0 reboot=k panic=1 pci=off "
			    "root=/dev/vda rw");
	assert_null(c.initrd_path);
	assert_false(c.has_vsock || c.has_entropy || c.has_log_level);
	config_done(&c);
	load("old-names.json", &c);
	assert_string_equal(c.boot_args,
			    "console=ttyS0 reboot=k panic=1 pci=off "
			    "root=/dev/vda1");
	assert_string_equal(c.log_path, "/dev/null");
	config_done(&c);
	load("smallest.json", &c);
	assert_int_equal(c.vcpu_count, 1);
	assert_int_equal(c.mem_bytes, UINT64_C(128) << 20);
	config_done(&c);
}

#define MACHINE "\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":64"
#define DRIVE                                                     \
	"\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"p\"," \
	"\"is_root_device\":true"
#define NET                                                              \
	"\"network-interfaces\":[{\"iface_id\":\"n\",\"host_dev_name\":" \
	"\"tap0\""

/* What would make another guest of it; the message says what it needs. */
static const struct {
	const char *fields, *names, *needs;
} refused[] = {
	{ MACHINE ",\"smt\":true}", "machine-config.smt", "sibling threads" },
	{ MACHINE ",\"ht_enabled\":true}", "ht_enabled", "sibling threads" },
	{ MACHINE ",\"cpu_template\":\"T2\"}", "cpu_template: T2", "needs" },
	{ MACHINE ",\"huge_pages\":\"2M\"}", "huge_pages: 2M", "hugetlbfs" },
	{ MACHINE ",\"smt\":\"no\"}", "machine-config.smt", "" },
	{ DRIVE ",\"io_engine\":\"Fast\"}]", "drives[0].io_engine", "Sync" },
	{ DRIVE ",\"socket\":\"s\"}]", "drives[0].socket", "vhost-user" },
	{ DRIVE ",\"partuuid\":\"a b\"}]", "partuuid", "" },
	{ DRIVE ",\"rate_limiter\":{\"ops\":{\"size\":1,\"refill_time\":1}}}]",
	  "drives[0].rate_limiter.ops", "cgroup" },
	{ DRIVE ",\"rate_limiter\":{\"x\":{}}}]", "rate_limiter", "x" },
	{ NET ",\"rx_rate_limiter\":{\"bandwidth\":{\"size\":9,"
	      "\"refill_time\":1}}}]",
	  "rx_rate_limiter", "tc(8)" },
	{ NET ",\"allow_mmds_requests\":true}]", "allow_mmds_requests",
	  "metadata service" },
	{ "\"balloon\":{\"amount_mib\":4096}", "balloon.amount_mib", "" },
	{ "\"balloon\":{\"amount_mib\":0,\"free_page_hinting\":true}",
	  "balloon.free_page_hinting", "reporting" },
	{ "\"balloon\":{\"amount_mib\":0,\"x\":1}", "balloon", "x" },
	{ "\"mmds-config\":{\"network_interfaces\":[\"n\"]}", "mmds-config",
	  "metadata service" },
	{ "\"cpu-config\":\"template.json\"", "cpu-config", "bit by bit" },
	{ "\"memory-hotplug\":{\"total_size_mib\":1024}", "memory-hotplug",
	  "mem_size_mib" },
	{ "\"pmem\":[{\"id\":\"p\",\"path_on_host\":\"x\"}]", "pmem", "drive" },
	{ "\"logger\":{\"level\":\"Loud\"}", "logger.level", "Error" },
	{ "\"logger\":{\"module\":\"api_server\"}", "logger.module", "" },
	{ "\"logger\":{\"x\":null}", "logger", "x" },
	{ "\"metrics\":{}", "metrics_path", "" },
	{ "\"serial\":{\"serial_out_path\":\"a\",\"log_path\":\"b\"}", "serial",
	  "leave one out" },
	{ "\"serial\":{\"rate_limiter\":{\"size\":5,\"refill_time\":5}}",
	  "serial.rate_limiter", "limit" },
};

static void test_what_needs_more_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct config c = { .json = NULL };
		struct err e = ERR_INIT;
		char text[512];

		(void)snprintf(text, sizeof(text),
			       "{\"boot-source\":{\"kernel_image_path\":\"k\"},"
			       "%s}",
			       refused[i].fields);
		if (config_parse(text, strlen(text), &c, &e) == 0)
			fail_msg("taken: %s", text);
		assert_string_equal(e.code, "config_invalid");
		if (!strstr(e.msg, refused[i].names) ||
		    !strstr(e.msg, refused[i].needs))
			fail_msg("%s: message is \"%s\"", text, e.msg);
	}
}

/* The whole command line has its room at one place of the guest. */
static void test_root_that_does_not_fit_is_refused(void **state)
{
	static char text[80000], args[65600];
	struct config c = { .json = NULL };
	struct err e = ERR_INIT;

	(void)state;
	memset(args, 'a', 65530);
	(void)snprintf(text, sizeof(text),
		       "{\"boot-source\":{\"kernel_image_path\":\"k\","
		       "\"boot_args\":\"%s\"}," DRIVE "}]}",
		       args);
	assert_true(config_parse(text, strlen(text), &c, &e) < 0);
	assert_non_null(strstr(e.msg, "root="));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_file_is_taken),
		cmocka_unit_test(test_meaning_is_kept),
		cmocka_unit_test(test_what_needs_more_is_refused_by_name),
		cmocka_unit_test(test_root_that_does_not_fit_is_refused),
	};

	assert_true(argc == 2);
	files = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
