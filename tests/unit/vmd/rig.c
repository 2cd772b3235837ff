/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sock.h"
#include "vmd/priv/user.h"
#include "vmd/store/store_sql.h"

uint64_t rig_memory;

static int memory(uint64_t *ret, struct err *e)
{
	(void)e;
	*ret = rig_memory;
	return 0;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(file_write_full(fd, text, strlen(text)), 0);
	close(fd);
}

/* Two images whose blobs are short texts. */
static void make_images(struct rig *r)
{
	struct image image = { .kernel_format = "elf",
			       .init = IMAGE_INIT_AGENT };
	static const char digits[] = "0123456789abcdef";
	char path[512];

	assert_true(snprintf(path, sizeof(path), "%s/images/blobs/sha256",
			     r->state) > 0);
	assert_int_equal(file_make_dirs(path, 0700, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/images/manifests", r->state);
	assert_int_equal(file_make_dirs(path, 0700, NULL), 0);
	for (int i = 0; i < 3; i++) {
		struct image_blob *blob = i == 0   ? &image.kernel
					  : i == 1 ? &image.initrd
						   : &image.root;

		for (int c = 0; c < IMAGE_DIGEST_LEN; c++)
			blob->digest[c] = digits[i + 1];
		blob->size_bytes = 6;
		(void)snprintf(path, sizeof(path), "%s/images/blobs/sha256/%s",
			       r->state, blob->digest);
		write_file(path, "kernel", 0400);
	}
	(void)strcpy(image.recipe, "tiny");
	(void)strcpy(image.arch, "x86_64");
	(void)strcpy(image.created, "2026-01-02T03:04:05.678Z");
	(void)strcpy(image.kernel_release, "6.1.0");
	(void)strcpy(image.command, "/bin/sh");
	image.min_memory_bytes = 32 << 20;
	image.disk_bytes = 2 << 20;
	for (int i = 0; i < 2; i++) {
		AUTO(json) json_t *json = NULL;
		AUTO(free) char *text = NULL;

		(void)strcpy(image.name, i ? "tiny" : "disk");
		if (i) {
			image.root = (struct image_blob){ 0 };
			image.disk_bytes = 0;
		}
		json = image_to_json(&image);
		text = json_to_text(json);
		(void)snprintf(path, sizeof(path),
			       "%s/images/manifests/%s.json", r->state,
			       image.name);
		write_file(path, text, 0600);
	}
}

static void make_script(struct rig *r)
{
	/* The real one, where what it does needs no image. */
	const char *program = getenv("VMD_IMAGE_PROGRAM");
	char text[2048];

	(void)snprintf(
		text, sizeof(text),
		"#!/bin/sh\nmode=$(cat %s/mode)\necho \"$@\" >> %s/calls\n"
		"if [ \"$1\" = sweep ]; then\n"
		"[ -e %s/sweep-hangs ] && exec sleep 1000\n"
		"rm -rf \"$3\"/staging/*\necho '{\"result\":{\"removed\":1}}'\n"
		"exit\nfi\n"
		"case $1 in discard|reap) exec %s \"$@\";; esac\n"
		"case $mode in\n"
		"hang) sleep 1000 & echo >%s/hangs; wait;;\n"
		"fail) echo '{\"error\":{\"kind\":\"no_space\",\"code\":"
		"\"disk_full\",\"message\":\"the disk is full\"}}'; exit 1;;\n"
		"crash) echo 'tool says no' >&2; exit 3;;\n"
		"*) echo '{\"step\":\"copying\",\"done\":1,\"total\":2}'\n"
		"[ \"$1\" = clone ] && echo disk > \"$5\"\n"
		"echo '{\"result\":{}}';;\nesac\n",
		r->dir, r->dir, r->dir, program ? program : "true", r->dir);
	write_file(r->script, text, 0700);
}

void rig_file(const struct rig *r, const char *name, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	write_file(path, text, 0600);
}

void rig_start(struct rig *r)
{
	struct err e = ERR_INIT;
	int dirfd, fd;

	assert_false(r->open);
	if (daemon_open(&r->d, r->loop, &r->config, &e) < 0 ||
	    daemon_reconcile(&r->d, &e) < 0)
		fail_msg("%s", e.msg);
	dirfd = open(r->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sock_listen_unix(dirfd, "vmd.sock", 0660, &fd, &e), 0);
	close(dirfd);
	r->http = http_new(&r->d, fd, &e);
	assert_non_null(r->http);
	r->open = true;
}

void rig_drop(struct rig *r)
{
	if (!r->open)
		return;
	r->d.stopping = true;
	http_free(r->http);
	daemon_close(&r->d);
	r->open = false;
}

int rig_setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	log_init("vmd", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	(void)umask(0077); /* as the daemon's main() */
	assert_non_null(r);
	(void)strcpy(r->dir, "/tmp/vmd-test-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	(void)snprintf(r->state, sizeof(r->state), "%s/state", r->dir);
	(void)snprintf(r->run, sizeof(r->run), "%s/run", r->dir);
	(void)snprintf(r->script, sizeof(r->script), "%s/vmd-image", r->dir);
	rig_memory = UINT64_C(8) << 30;
	make_images(r);
	make_script(r);
	r->config = (struct daemon_config){
		.state_dir = r->state,
		.run_dir = r->run,
		.image_program = r->script,
		.engines = fake_engines,
		.engine_choose = fake_choose,
		.memory_available = memory,
		.slow_ms = 30000,
		.lease_ms = 30000,
		.kill_ms = 2000,
		.keep_operations = 100,
		.starts_max = 4,
		.uid_first = PRIV_UID_FIRST,
	};
	r->loop = loop_new(NULL);
	assert_non_null(r->loop);
	rig_start(r);
	*state = r;
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *r = *state;

	rig_drop(r);
	loop_free(r->loop);
	fake_reset();
	/* A child that was killed a moment ago may still make a file in it. */
	UNTIL(10000, file_remove_tree(AT_FDCWD, r->dir, NULL) == 0,
	      poll(NULL, 0, 5));
	free(r);
	return 0;
}

void rig_settle(struct rig *r)
{
	UNTIL(10000, loop_run_once(r->loop, 20) == 0, 0);
}

bool rig_swept(const struct rig *r)
{
	return !r->d.sweep && !r->d.emptying && LIST_EMPTY(&r->d.retired_tasks);
}

void rig_spin(struct rig *r, unsigned ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		(void)loop_run_once(r->loop, 5);
}

int rig_connect(struct rig *r)
{
	int dirfd = open(r->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	assert_int_equal(sock_connect_unix(dirfd, "vmd.sock", &fd, NULL), 0);
	close(dirfd);
	return fd;
}

static void parse(struct answer *a, char *text, size_t len)
{
	char *body = memmem(text, len, "\r\n\r\n", 4);

	if (!body || sscanf(text, "HTTP/1.1 %d", &a->status) != 1) {
		a->head = text;
		return;
	}
	body[2] = '\0';
	body += 4;
	a->head = text;
	a->body = body;
	a->body_len = len - (size_t)(body - text);
	a->json = json_loadb(body, a->body_len, 0, NULL);
}

struct answer rig_parse(char *text, size_t len)
{
	struct answer a = { 0 };

	parse(&a, text, len);
	return a;
}

void rig_raw(struct rig *r, const void *data, size_t len, struct answer *ret)
{
	uint64_t end = clock_mono_ms() + 15000;
	int fd = rig_connect(r);
	struct buf in = BUF_INIT(64 << 20);
	size_t at = 0;

	*ret = (struct answer){ 0 };
	for (;;) {
		ssize_t n;

		if (at < len) {
			n = send(fd, (const char *)data + at, len - at,
				 MSG_NOSIGNAL);
			if (n > 0)
				at += (size_t)n;
		}
		(void)loop_run_once(r->loop, 2);
		n = recv(fd, buf_reserve(&in, 65536), 65536, 0);
		if (n > 0)
			buf_commit(&in, (size_t)n);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		if (clock_mono_ms() > end)
			break;
	}
	close(fd);
	parse(ret, buf_to_string(&in), buf_len(&in));
	buf_done(&in);
}

void rig_call(struct rig *r, const char *method, const char *path,
	      const char *headers, const char *body, struct answer *ret)
{
	struct buf out = BUF_INIT(64 << 20);

	(void)buf_printf(&out, "%s %s HTTP/1.1\r\nHost: vmd\r\n%s", method,
			 path, headers);
	(void)buf_printf(&out, "Connection: close\r\n");
	if (body && !strstr(headers, "Content-Type"))
		(void)buf_printf(&out, "Content-Type: application/json\r\n");
	if (body)
		(void)buf_printf(&out, "Content-Length: %zu\r\n", strlen(body));
	(void)buf_printf(&out, "\r\n");
	if (body)
		(void)buf_append(&out, body, strlen(body));
	rig_raw(r, buf_head(&out), buf_len(&out), ret);
	buf_done(&out);
	rig_assert_listed(method, path, ret);
}

void answer_done(struct answer *a)
{
	json_decref(a->json);
	free(a->head);
	*a = (struct answer){ 0 };
}

const char *answer_text(const struct answer *a, const char *path)
{
	static char number[32];
	const json_t *at = a->json;
	char part[64];

	while (at && *path) {
		size_t n = strcspn(path, ".");

		(void)snprintf(part, sizeof(part), "%.*s", (int)n, path);
		at = json_object_get(at, part);
		path += n + (path[n] == '.');
	}
	if (json_is_integer(at)) {
		(void)snprintf(number, sizeof(number), "%lld",
			       (long long)json_integer_value(at));
		return number;
	}
	if (json_is_null(at))
		return "null";
	return json_is_string(at) ? json_string_value(at) : "(absent)";
}

const char *answer_code(const struct answer *a)
{
	return answer_text(a, "code");
}

void rig_expect(struct rig *r, const char *method, const char *path,
		const char *body, const char *what, const char *want)
{
	struct answer a;

	rig_call(r, method, path, "", body, &a);
	if (strcmp(answer_text(&a, what), want) != 0)
		fail_msg("%s %s: %s is not %s: %s", method, path, what, want,
			 a.body);
	answer_done(&a);
}

char *rig_create(struct rig *r, const char *extra, struct answer *ret)
{
	char body[1024];

	(void)snprintf(body, sizeof(body), "{\"image\":\"tiny\"%s%s}",
		       extra[0] ? "," : "", extra);
	rig_call(r, "POST", "/v1/vms?wait=10", "", body, ret);
	return strdup(answer_text(ret, "vm.id"));
}

size_t rig_entries(const struct rig *r, const char *sub)
{
	char path[256];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, sub);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		(void)closedir(dir);
	return n;
}

size_t rig_rows(struct rig *r, const char *sql)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;

	assert_int_equal(store_prepare(r->d.store, sql, &stmt, NULL), 0);
	assert_int_equal(store_step(r->d.store, stmt, NULL), 1);
	return (size_t)sqlite3_column_int64(stmt, 0);
}

void rig_assert_nothing_left(struct rig *r)
{
	/* What was killed is being reaped, what is in the trash unlinked. */
	RIG_UNTIL(r, LIST_EMPTY(&r->d.retired_tasks) &&
			     rig_entries(r, "state/trash") == 0 &&
			     rig_entries(r, "run/trash") == 0);
	assert_int_equal(r->d.vm_count, 0);
	assert_int_equal(fake_living(), 0);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
	assert_int_equal(rig_entries(r, "run/vms"), 0);
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM journal"), 0);
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM vm"), 0);
}

size_t rig_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

void rig_assert_valid(const struct api_object *object, const struct answer *a)
{
	struct err e = ERR_INIT;

	if (api_validate(object, a->json, &e) < 0)
		fail_msg("%s: %s", e.msg, a->body);
}

uint16_t rig_free_port(void)
{
	for (;;) {
		struct sockaddr_in in = { .sin_family = AF_INET,
					  .sin_addr.s_addr =
						  htonl(INADDR_LOOPBACK) };
		socklen_t len = sizeof(in);
		AUTO(fd) int tcp = socket(AF_INET, SOCK_STREAM, 0);
		AUTO(fd) int udp = socket(AF_INET, SOCK_DGRAM, 0);

		assert_true(
			bind(tcp, (struct sockaddr *)&in, sizeof(in)) == 0 &&
			getsockname(tcp, (struct sockaddr *)&in, &len) == 0);
		if (bind(udp, (struct sockaddr *)&in, sizeof(in)) == 0)
			return ntohs(in.sin_port);
	}
}
