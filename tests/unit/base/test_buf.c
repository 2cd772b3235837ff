/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void test_buf_is_a_queue(void **state)
{
	struct buf b = BUF_INIT(1000);
	char *text;

	(void)state;
	assert_int_equal(buf_append(&b, "hello ", 6), 0);
	assert_int_equal(buf_printf(&b, "%d", 42), 0);
	text = buf_to_string(&b);
	assert_string_equal(text, "hello 42");
	free(text);
	buf_consume(&b, 6);
	assert_memory_equal(buf_head(&b), "42", 2);
	buf_consume(&b, 2);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
}

static void test_buf_refuses_over_limit_and_keeps_content(void **state)
{
	struct buf b = BUF_INIT(16);

	(void)state;
	assert_int_equal(buf_append(&b, "0123456789abcdef", 16), 0);
	assert_int_equal(buf_append(&b, "x", 1), -ENOBUFS);
	assert_int_equal(buf_append(&b, "x", SIZE_MAX), -ENOBUFS);
	buf_consume(&b, 8);
	assert_int_equal(buf_append(&b, "ghijklmn", 8), 0);
	assert_memory_equal(buf_head(&b), "89abcdefghijklmn", 16);
	buf_done(&b);
}

static void test_buf_reserve_commit_survives_growth(void **state)
{
	struct buf b = BUF_INIT(100000);
	size_t total = 0;

	(void)state;
	for (int i = 0; i < 300; i++) {
		uint8_t *room = buf_reserve(&b, 301);

		assert_non_null(room);
		memset(room, i & 0xff, 301);
		buf_commit(&b, 301);
		total += 301;
	}
	assert_int_equal(buf_len(&b), total);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(buf_head(&b)[0], i & 0xff);
		assert_int_equal(buf_head(&b)[300], i & 0xff);
		buf_consume(&b, 301);
	}
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_is_a_queue),
		cmocka_unit_test(test_buf_refuses_over_limit_and_keeps_content),
		cmocka_unit_test(test_buf_reserve_commit_survives_growth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
