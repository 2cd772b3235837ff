/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the kernel command line: agent/init.c and net.c. */
#include <string.h>

#include "agent/agent.h"
#include "tests/unit/test.h"

/* What main.c gives to the others. */
uint64_t now_ms(void)
{
	return 0;
}

void agent_poll_add(struct agent *a, int fd, short events, poll_fn *fn,
		    void *data)
{
	(void)a;
	(void)fd;
	(void)events;
	(void)fn;
	(void)data;
}

static struct boot b;

static void parse(const char *text)
{
	char line[4096];

	(void)strncpy(line, text, sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	boot_parse(line, &b);
}

static void test_nothing_gives_defaults(void **state)
{
	(void)state;
	parse("console=ttyS0 quiet root=/dev/sda1 xvmd.root=/dev/x\n");
	assert_string_equal(b.root, "");
	assert_string_equal(b.rootfs, "ext4");
	assert_string_equal(b.net, "");
	assert_false(b.system || b.debug || b.read_only);
}

static void test_words_are_taken(void **state)
{
	(void)state;
	parse("vmd.root=/dev/vda vmd.rootfs=erofs ro vmd.init=system "
	      "vmd.net=-,10.0.2.15/24,10.0.2.2,10.0.2.3,1400 vmd.debug=1 "
	      "vmd.hostname=a-b vmd.agent=serial\n");
	assert_string_equal(b.root, "/dev/vda");
	assert_string_equal(b.rootfs, "erofs");
	assert_string_equal(b.hostname, "a-b");
	assert_string_equal(b.agent, "serial");
	assert_string_equal(b.net, "-,10.0.2.15/24,10.0.2.2,10.0.2.3,1400");
	assert_true(b.system && b.debug && b.read_only);
}

static void test_the_last_word_wins(void **state)
{
	(void)state;
	parse("vmd.init=system vmd.init=agent vmd.root=/dev/a "
	      "vmd.root=/dev/b");
	assert_false(b.system);
	assert_string_equal(b.root, "/dev/b");
}

static void test_too_long_is_left_out(void **state)
{
	char text[300] = "vmd.hostname=";

	(void)state;
	memset(text + strlen(text), 'h', 65);
	parse(text);
	assert_string_equal(b.hostname, "");
	parse("vmd.root=");
	assert_string_equal(b.root, "");
}

static void test_boot_parse_window_is_bounded(void **state)
{
	static const char *const bad[] = { "vmd.window=", "vmd.window=535",
					   "vmd.window=-1", "vmd.window=64k",
					   "vmd.window=99999999999" };

	(void)state;
	parse("vmd.window=131072");
	assert_int_equal(b.window, 131072);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		parse(bad[i]);
		assert_int_equal(b.window, 0);
	}
}

static void test_net_parse_fields(void **state)
{
	struct wire_net n;

	(void)state;
	assert_true(net_parse("-,10.0.2.15/24,10.0.2.2,10.0.2.3,1400", &n));
	assert_int_equal(n.interface.len, 0);
	assert_int_equal(n.address.len, 12);
	assert_memory_equal(n.gateway.ptr, "10.0.2.2", n.gateway.len);
	assert_memory_equal(n.dns.ptr, "10.0.2.3", n.dns.len);
	assert_int_equal(n.mtu, 1400);
	assert_true(net_parse("eth1,fd00::2/64,,", &n));
	assert_memory_equal(n.interface.ptr, "eth1", 4);
	assert_int_equal(n.gateway.len + n.dns.len + n.mtu, 0);
	assert_true(net_parse("-,10.0.0.2", &n));
}

static void test_net_parse_malformed_refused(void **state)
{
	static const char *const bad[] = { "",
					   "-",
					   "-,",
					   "-,,1.2.3.4",
					   "-,1.2.3.4/8,,,x",
					   "-,1.2.3.4,,,67",
					   "-,1.2.3.4,,,65536",
					   "-,1.2.3.4,,,1500,x" };
	struct wire_net n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (net_parse(bad[i], &n))
			fail_msg("taken: %s", bad[i]);
}

static void test_net_setup_bad_input_says_why(void **state)
{
	struct wire_net n = { .interface = wire_str("nosuch0"),
			      .address = wire_str("10.0.0.2/24") };
	struct failure f;

	(void)state;
	assert_false(net_setup(&n, 0, &f));
	assert_non_null(strstr(f.msg, "nosuch0"));
	n.interface = wire_str("an-interface-name-that-is-too-long");
	assert_false(net_setup(&n, 0, &f));
	n.interface = wire_str("lo");
	n.address = wire_str("10.0.0.2/33");
	assert_false(net_setup(&n, 0, &f));
	assert_string_equal(f.code, WIRE_CODE_BAD_REQUEST);
	n.address = wire_str("10.0.0.256/24");
	assert_false(net_setup(&n, 0, &f));
	n.address = wire_str("10.0.0.2/24");
	n.gateway = wire_str("gateway");
	assert_false(net_setup(&n, 0, &f));
	assert_string_equal(f.code, WIRE_CODE_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_gives_defaults),
		cmocka_unit_test(test_words_are_taken),
		cmocka_unit_test(test_the_last_word_wins),
		cmocka_unit_test(test_too_long_is_left_out),
		cmocka_unit_test(test_boot_parse_window_is_bounded),
		cmocka_unit_test(test_net_parse_fields),
		cmocka_unit_test(test_net_parse_malformed_refused),
		cmocka_unit_test(test_net_setup_bad_input_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
