/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "vmctl/args.h"

#define PARSE(...)                                           \
	char *argv[] = { (char[]){ "vmctl" }, __VA_ARGS__ }; \
	int argc = (int)(sizeof(argv) / sizeof(argv[0]));    \
	struct err e = ERR_INIT;                             \
	struct args a;                                       \
	int rc = args_parse(argc, argv, &a, &e)
#define W(text) ((char[]){ text })

static void test_parse_options_end_at_guest_command(void **state)
{
	(void)state;
	PARSE(W("run"), W("--cpus=2"), W("tiny"), W("-it"), W("ls"), W("-l"),
	      W("--help"));
	assert_int_equal(rc, 0);
	assert_string_equal(args_value(&a, "cpus"), "2");
	assert_true(args_has(&a, "interactive"));
	assert_true(args_has(&a, "tty"));
	assert_false(args_has(&a, "help"));
	assert_int_equal(a.operand_count, 4);
	assert_string_equal(a.operands[3], "--help");
	args_done(&a);
}

static void test_parse_double_dash_ends_options(void **state)
{
	(void)state;
	PARSE(W("exec"), W("vm"), W("--"), W("-x"), W("--"));
	assert_int_equal(rc, 0);
	assert_int_equal(a.operand_count, 3);
	assert_string_equal(a.operands[1], "-x");
	assert_string_equal(a.operands[2], "--");
	args_done(&a);
}

static void test_parse_joined_letter_values(void **state)
{
	size_t cursor = 0;

	(void)state;
	PARSE(W("run"), W("-eA=1"), W("-e"), W("B=2"), W("-itp80:80"),
	      W("tiny"));
	assert_int_equal(rc, 0);
	assert_string_equal(args_next(&a, "env", &cursor), "A=1");
	assert_string_equal(args_next(&a, "env", &cursor), "B=2");
	assert_null(args_next(&a, "env", &cursor));
	assert_string_equal(args_value(&a, "publish"), "80:80");
	args_done(&a);
}

static void test_parse_group_and_global_first(void **state)
{
	(void)state;
	PARSE(W("--socket"), W("/s"), W("-ojson"), W("image"), W("ls"));
	assert_int_equal(rc, 0);
	assert_string_equal(a.command->group, "image");
	assert_string_equal(args_value(&a, "socket"), "/s");
	assert_string_equal(args_value(&a, "output"), "json");
	args_done(&a);
}

static void test_parse_twice_is_refused(void **state)
{
	(void)state;
	PARSE(W("run"), W("--cpus=2"), W("--cpus=3"), W("tiny"));
	assert_true(rc < 0);
	assert_string_equal(e.code, "usage");
	assert_non_null(strstr(e.msg, "twice"));
	args_done(&a);
}

static void test_parse_value_missing_or_too_much(void **state)
{
	(void)state;
	{
		PARSE(W("run"), W("tiny"), W("--name"));
		assert_true(rc < 0);
		assert_non_null(strstr(e.msg, "needs a value"));
		args_done(&a);
	}
	{
		PARSE(W("ls"), W("--quiet=yes"));
		assert_true(rc < 0);
		assert_non_null(strstr(e.msg, "takes no value"));
		args_done(&a);
	}
}

static void test_parse_unknown_suggests(void **state)
{
	(void)state;
	{
		PARSE(W("exce"), W("x"));
		assert_true(rc < 0);
		assert_non_null(strstr(e.msg, "'exec'"));
		args_done(&a);
	}
	{
		PARSE(W("run"), W("--memroy"), W("1G"), W("tiny"));
		assert_true(rc < 0);
		assert_non_null(strstr(e.msg, "--memory"));
		args_done(&a);
	}
}

/* Letters and names must be unique, also against the global ones. */
static void test_table_has_no_duplicates(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->name; c++) {
		assert_non_null(c->run);
		assert_true(c->max >= c->min);
		assert_ptr_equal(command_find(c->group, c->name), c);
		for (const struct option_row *o = c->options; o->name; o++) {
			const struct option_row *rows[] = { o + 1,
							    global_options };

			for (size_t i = 0; i < 2; i++)
				for (const struct option_row *p = rows[i];
				     p->name; p++) {
					assert_string_not_equal(o->name,
								p->name);
					if (o->letter)
						assert_int_not_equal(o->letter,
								     p->letter);
				}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_options_end_at_guest_command),
		cmocka_unit_test(test_parse_double_dash_ends_options),
		cmocka_unit_test(test_parse_joined_letter_values),
		cmocka_unit_test(test_parse_group_and_global_first),
		cmocka_unit_test(test_parse_twice_is_refused),
		cmocka_unit_test(test_parse_value_missing_or_too_much),
		cmocka_unit_test(test_parse_unknown_suggests),
		cmocka_unit_test(test_table_has_no_duplicates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
