/* SPDX-License-Identifier: Apache-2.0 */
/* agent/tar_*.c: fields, extended headers, and a tree there and back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar.h"
#include "tests/unit/test.h"

static char dir[] = "/tmp/vmd-tar-XXXXXX";
static uint8_t archive[1 << 20];
static struct tar_sparse sparse;

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/vmd-tar-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[80];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void test_number_forms(void **state)
{
	uint64_t v;

	(void)state;
	assert_true(tar_number("0000644", 8, &v) && v == 0644);
	assert_true(tar_number("  17 ", 6, &v) && v == 017);
	assert_true(tar_number("77777777", 8, &v) && v == 077777777);
	assert_true(tar_number("\0", 1, &v) && v == 0);
	assert_false(tar_number("12x4567", 8, &v));
	assert_false(tar_number("9", 1, &v));
	assert_true(tar_number("\x80\0\0\0\0\0\1\2", 8, &v) && v == 258);
	assert_false(tar_number("\xff\xff\xff\xff\xff\xff\xff\xff", 8, &v));
	assert_false(tar_number("\x80\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff",
				12, &v));
}

static void test_pax_records_applied(void **state)
{
	static struct tar_entry e;
	bool size = false;

	(void)state;
	assert_null(tar_apply_pax("12 path=a/b\n", 12, &e, &size, &sparse));
	assert_string_equal(e.name, "a/b");
	assert_false(size);
	assert_null(
		tar_apply_pax("19 mtime=-1.250000\n", 19, &e, &size, &sparse));
	assert_int_equal(e.mtime_s, -2);
	assert_int_equal(e.mtime_ns, 750000000);
	assert_null(tar_apply_pax("13 size=1234\n", 13, &e, &size, &sparse));
	assert_true(size && e.size == 1234);
	assert_null(tar_apply_pax("11 foo=bar\n", 11, &e, &size, &sparse));
}

static void test_pax_malformed_refused(void **state)
{
	static struct tar_entry e;
	static const char *const bad[] = {
		"12 path=a/b",
		"13 path=a/b\n",
		"x path=a\n",
		"99999999999999999999999999 p=a\n",
		"3 \n",
		"5 ab\n",
		"14 size=12x45\n",
		"12 mtime=1e\n\n",
		"0 path=a\n",
		"-2 path=a\n",
	};
	bool size;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t len = strlen(bad[i]);
		char *exact = malloc(len);

		assert_non_null(exact);
		memcpy(exact, bad[i], len);
		if (!tar_apply_pax(exact, len, &e, &size, &sparse))
			fail_msg("taken: %s", bad[i]);
		free(exact);
	}
}

static void test_encode_long_fields_come_back(void **state)
{
	static struct tar_entry e, back;
	uint8_t out[TAR_HEADERS_MAX];
	bool size = false;
	uint64_t pax_len;
	size_t len;

	(void)state;
	memset(e.name, 'n', TAR_NAME_MAX - 1);
	memset(e.link, 'l', TAR_NAME_MAX - 1);
	e.size = 1ull << 40;
	e.mtime_s = 1700000000;
	e.mtime_ns = 5;
	e.uid = e.gid = 4000000000u;
	e.type = '0';
	len = tar_encode_entry(&e, out);
	assert_true(len <= sizeof(out) && len % TAR_BLOCK == 0);
	assert_int_equal(out[offsetof(struct tar_header, type)], 'x');
	assert_true(tar_number((char *)out + offsetof(struct tar_header, size),
			       12, &pax_len));
	assert_null(tar_apply_pax((char *)out + TAR_BLOCK, (size_t)pax_len,
				  &back, &size, &sparse));
	assert_string_equal(back.name, e.name);
	assert_string_equal(back.link, e.link);
	assert_true(size && back.size == e.size && back.uid == e.uid);
	assert_int_equal(back.mtime_s, e.mtime_s);
	assert_int_equal(back.mtime_ns, 5);
}

static void make_file(const char *name, const char *text)
{
	char path[300];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

/* The archive of dir/src, taken `piece` bytes at a time. */
static size_t write_archive(size_t piece)
{
	char path[300];
	struct tar_writer *w;
	size_t len = 0;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/src", dir);
	w = tar_writer_new(path, -1, false);
	assert_non_null(w);
	while ((n = tar_writer_read(w, archive + len, piece)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	tar_writer_free(w);
	return len;
}

static void make_source(void)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/src", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/src/sub", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	make_file("src/a", "hello");
	make_file("src/sub/b", "");
	(void)snprintf(path, sizeof(path), "%s/src/link", dir);
	assert_int_equal(symlink("a", path), 0);
}

static struct tar_reader *reader_into(const char *name)
{
	const struct tar_policy policy = tar_policy_guest();
	char path[300];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	(void)mkdir(path, 0755);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return tar_reader_new(fd, &policy);
}

static void test_any_pieces_same_archive(void **state)
{
	static uint8_t first[sizeof(archive)];
	const size_t pieces[] = { 1, 7, 511, 513, 65536 };
	size_t len;

	(void)state;
	make_source();
	len = write_archive(sizeof(archive));
	assert_true(len % TAR_BLOCK == 0);
	memcpy(first, archive, len);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct tar_reader *r = reader_into("out");

		assert_int_equal(write_archive(pieces[i]), len);
		assert_memory_equal(first, archive, len);
		for (size_t at = 0; at < len; at += pieces[i]) {
			size_t n = len - at < pieces[i] ? len - at : pieces[i];

			assert_int_equal(tar_reader_feed(r, first + at, n), 0);
		}
		assert_int_equal(tar_reader_finish(r), 0);
		tar_reader_free(r);
	}
}

static void test_every_cut_is_noticed(void **state)
{
	size_t len, end;

	(void)state;
	make_source();
	len = write_archive(4096);
	end = len - TAR_BLOCK; /* one zero block is an end mark already */
	for (size_t cut = 0; cut < end; cut += 101) {
		struct tar_reader *r = reader_into("cut");

		assert_int_equal(tar_reader_feed(r, archive, cut), 0);
		assert_int_equal(tar_reader_finish(r), -EPROTO);
		assert_true(tar_reader_error(r)[0]);
		tar_reader_free(r);
	}
}

static void test_every_broken_header_byte_is_noticed(void **state)
{
	(void)state;
	make_source();
	(void)write_archive(4096);
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		struct tar_reader *r;

		/* Behind the NUL of the checksum field: means nothing. */
		if (i == offsetof(struct tar_header, checksum) + 7)
			continue;
		r = reader_into("broken");
		archive[i] ^= 0x41;
		assert_true(tar_reader_feed(r, archive, 4096) < 0);
		/* It stays so. */
		assert_true(tar_reader_feed(r, archive, 1) < 0);
		archive[i] ^= 0x41;
		tar_reader_free(r);
	}
}

static void test_writer_missing_path_errno(void **state)
{
	(void)state;
	assert_null(tar_writer_new("/no/such/path", -1, false));
	assert_int_equal(errno, ENOENT);
	assert_null(tar_writer_new("/dev/null", -1, false));
	assert_int_equal(errno, ENOTSUP);
}

static const char *map_of(const char *text, uint64_t data)
{
	const char *wrong = NULL;
	bool end = false;

	tar_sparse_reset(&sparse);
	sparse.real_size = 1000;
	for (; *text && !wrong && !end; text++)
		wrong = tar_sparse_byte(&sparse, *text, &end);
	if (!wrong && !end)
		return "cut";
	return wrong ? wrong : tar_sparse_check(&sparse, data);
}

static void test_sparse_map_is_checked(void **state)
{
	static const char *const bad[] = {
		"x",
		"\n",
		"1\n5\n",
		"1\n\n5\n",
		"1\n-1\n5\n",
		"65537\n",
		"1\n0\n6\n",
		"2\n10\n3\n5\n2\n",
		"2\n0\n3\n2\n2\n",
		"1\n996\n5\n",
		"99999999999999999999\n",
		"1\n9223372036854775807\n5\n",
	};

	(void)state;
	assert_null(map_of("0\n", 0));
	assert_null(map_of("1\n10\n5\n", 5));
	assert_null(map_of("3\n0\n1\n10\n4\n1000\n0\n", 5));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!map_of(bad[i], 5))
			fail_msg("taken: %s", bad[i]);
	tar_sparse_done(&sparse);
}

static void test_sparse_records_are_checked(void **state)
{
	static const char *const bad[][2] = {
		{ "GNU.sparse.numbytes", "5" }, { "GNU.sparse.offset", "x" },
		{ "GNU.sparse.map", "1,2,3" },	{ "GNU.sparse.map", "5,1,4,1" },
		{ "GNU.sparse.major", "2" },	{ "SCHILY.filetype", "sparse" },
		{ "SCHILY.realsize", "5" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tar_sparse_reset(&sparse);
		if (!tar_sparse_record(&sparse, bad[i][0], bad[i][1]))
			fail_msg("taken: %s=%s", bad[i][0], bad[i][1]);
	}
	tar_sparse_reset(&sparse);
	assert_null(tar_sparse_record(&sparse, "SCHILY.filetype", "regular"));
	assert_false(sparse.given);
	tar_sparse_done(&sparse);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sparse_map_is_checked),
		cmocka_unit_test(test_sparse_records_are_checked),
		cmocka_unit_test(test_number_forms),
		cmocka_unit_test(test_pax_records_applied),
		cmocka_unit_test(test_pax_malformed_refused),
		cmocka_unit_test(test_encode_long_fields_come_back),
		cmocka_unit_test_setup_teardown(test_any_pieces_same_archive,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_cut_is_noticed,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_every_broken_header_byte_is_noticed, set_up,
			tear_down),
		cmocka_unit_test(test_writer_missing_path_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
