/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power cut at every moment. A daemon works; each sync of it and of vmd-image,
 * and each change of a name, is noted (cutlog.h). For every point of that log the
 * state directory is made again as a disk may have it then: only what was synced;
 * or every name, but of the files only what was synced. A daemon is started on it,
 * in another boot: what was acknowledged is there and whole, and nothing that is
 * not whole passes for good.
 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cutlog.h"
#include "images/digest.h"
#include "rig.h"
#include "vmd/store/store_sql.h"

enum {
	INODES_MAX = 4096,
	RECORDS_MAX = 4000,
	SKIPPED = 77
};

/* What a point of the log says of an inode. */
struct inode {
	unsigned long long ino;
	const char *content; /* a copy's name; NULL: never synced */
	const char *names; /* durable, or as they are */
};

struct replay {
	struct rig *r;
	char log_dir[80];
	char *records[RECORDS_MAX];
	size_t count;
	struct inode inodes[INODES_MAX];
	size_t inode_count;
	unsigned long long root;
	unsigned cuts;
	char where[320]; /* for messages */
};

/* --- what is recorded --- */

static void ack(const char *what, const char *id)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s %s", what, id);
	cutlog_note(text);
}

static char *create(struct rig *r, const char *name, bool start)
{
	char body[160], headers[64];
	struct answer a;
	char *id;

	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"disk\",\"name\":\"%s\",\"start\":%s}",
		       name, start ? "true" : "false");
	(void)snprintf(headers, sizeof(headers), "Idempotency-Key: %s\r\n",
		       name);
	rig_call(r, "POST", "/v1/vms?wait=20", headers, body, &a);
	assert_string_equal(answer_text(&a, "operation.state"), "succeeded");
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	ack("created", id);
	return id;
}

static void work(struct rig *r)
{
	AUTO(free) char *a = create(r, "a", false);
	AUTO(free) char *b = create(r, "b", true);
	struct answer answer;

	rig_expect(r, "POST", "/v1/images?wait=20",
		   "{\"name\":\"good\",\"recipe\":\"tiny\"}", "state",
		   "succeeded");
	ack("built", "good");
	rig_expect(r, "POST", "/v1/vms/b/stop?wait=20", NULL, "state",
		   "succeeded");
	ack("stopped", b);
	ack("deleting", a);
	rig_expect(r, "DELETE", "/v1/vms/a?wait=20", NULL, "state",
		   "succeeded");
	ack("deleted", a);
	RIG_UNTIL(r, rig_swept(r));
	ack("removing", "good");
	rig_call(r, "DELETE", "/v1/images/good", "", NULL, &answer);
	assert_int_equal(answer.status, 204);
	answer_done(&answer);
	ack("removed", "good");
	RIG_UNTIL(r, rig_swept(r));
	/* A checkpoint, too. */
	for (int i = 0; i < 250; i++)
		assert_int_equal(store_meta_put(r->d.store, "n", "x", NULL), 0);
	RIG_UNTIL(r, store_is_durable(r->d.store));
	ack("noted", "n");
	RIG_UNTIL(r, !r->d.store->checkpointing);
	rig_settle(r);
}

/* --- how it is made again --- */

static struct inode *inode(struct replay *p, unsigned long long ino)
{
	for (size_t i = 0; i < p->inode_count; i++)
		if (p->inodes[i].ino == ino)
			return &p->inodes[i];
	assert_true(p->inode_count < INODES_MAX);
	p->inodes[p->inode_count] = (struct inode){ .ino = ino };
	return &p->inodes[p->inode_count++];
}

static void apply(struct replay *p, const char *record, bool names_last)
{
	char *rest = NULL;
	unsigned long long ino = strtoull(record + 2, &rest, 10);

	if (record[0] == 'S')
		inode(p, ino)->content = rest + 1;
	else if (record[0] == 'D' || (record[0] == 'V' && names_last))
		inode(p, ino)->names = rest;
}

static void put_file(const struct replay *p, const struct inode *i,
		     const char *path)
{
	char from[200], block[65536];
	AUTO(fd) int in = -1;
	AUTO(fd)
	int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(out >= 0);
	if (!i->content) /* a name without content: what a power cut leaves */
		return;
	(void)snprintf(from, sizeof(from), "%s/%s", p->log_dir, i->content);
	in = open(from, O_RDONLY | O_CLOEXEC);
	assert_true(in >= 0);
	while ((n = read(in, block, sizeof(block))) > 0)
		assert_int_equal(write(out, block, (size_t)n), n);
}

static void put_dir(struct replay *p, unsigned long long ino, const char *path)
{
	const char *at = inode(p, ino)->names;
	unsigned long long child;
	char type, name[256], full[1024];
	int used;

	assert_int_equal(mkdir(path, 0700), 0);
	while (at && sscanf(at, " %llu:%c:%255s%n", &child, &type, name,
			    &used) == 3) {
		at += used;
		(void)snprintf(full, sizeof(full), "%s/%s", path, name);
		/* Shared memory of SQLite and locks are nobody's state. */
		if (strstr(name, "-shm"))
			continue;
		if (type == 'd')
			put_dir(p, child, full);
		else
			put_file(p, inode(p, child), full);
	}
}

/* --- what must hold --- */

static bool was_told(const struct replay *p, size_t cut, const char *what,
		     const char *id)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "A %s %s", what, id);
	for (size_t i = 0; i < cut; i++)
		if (strcmp(p->records[i], text) == 0)
			return true;
	return false;
}

static void assert_file(const struct rig *r, const char *id, const char *name,
			off_t size)
{
	char path[300], text[8] = "";
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/vms/%s/%s", r->config.state_dir,
		       id, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		fail_msg("%s is not there", path);
	if (st.st_size != size || pread(fd, text, 6, 0) != 6 ||
	    memcmp(text, "kernel", 6) != 0)
		fail_msg("%s has %lld bytes and begins with '%.6s'", path,
			 (long long)st.st_size, text);
	close(fd);
}

static void assert_vms(struct replay *p, size_t cut)
{
	struct rig *r = p->r;
	struct err e = ERR_INIT;
	struct image image;
	struct vm *vm;

	LIST_FOREACH(vm, &r->d.vms, link)
	{
		/* Cut off while it was starting: it can be started again. */
		if (vm->row.state != API_VM_STOPPED &&
		    strcmp(vm->row.error.code, "daemon_restarted") != 0)
			fail_msg("VM %s is %s: %s", vm->row.name,
				 api_vm_state_name(vm->row.state),
				 vm->row.error.msg);
		if (was_told(p, cut, "deleted", vm->row.id))
			fail_msg("VM %s is there again", vm->row.name);
		if (vm_read_manifest(vm, &image, &e) < 0)
			fail_msg("%s; %s", e.msg, p->where);
		assert_file(r, vm->row.id, "kernel", 6);
		assert_file(r, vm->row.id, "initrd", 6);
		assert_file(r, vm->row.id, "root.raw", 2 << 20);
	}
	for (size_t i = 0; i < cut; i++) {
		struct stored_answer answer = { 0 };
		const char *id = p->records[i] + 10;
		bool found;

		if (strncmp(p->records[i], "A created ", 10) != 0)
			continue;
		if (!vm_find_id(&r->d, id) && !was_told(p, cut, "deleting", id))
			fail_msg("VM %s was acknowledged and is gone; %s", id,
				 p->where);
		assert_int_equal(store_answer_get(r->d.store, "0:a", &answer,
						  &found, NULL),
				 0);
		free(answer.body);
	}
}

static void assert_images(struct replay *p, size_t cut)
{
	struct err e = ERR_INIT;
	struct image image;
	int rc = image_store_get(p->r->d.images, "good", &image, &e);
	const struct image_blob *blobs[] = { &image.kernel, &image.root };

	if (was_told(p, cut, "removed", "good")) {
		assert_int_not_equal(rc, 0);
		return;
	}
	if (was_told(p, cut, "removing", "good") && rc < 0)
		return;
	if (was_told(p, cut, "built", "good") && rc < 0)
		fail_msg("%s", e.msg);
	if (rc < 0 && strcmp(e.code, "image_not_found") != 0)
		fail_msg("%s", e.msg);
	for (size_t i = 0; rc == 0 && i < 2; i++) {
		AUTO(free)
		char *path = image_store_blob_path(p->r->d.images, blobs[i]);
		AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
		char hex[IMAGE_DIGEST_LEN + 1];
		uint64_t size;

		assert_int_equal(digest_file(fd, hex, &size, NULL, NULL, NULL),
				 0);
		if (strcmp(hex, blobs[i]->digest) != 0)
			fail_msg("a blob of image good is not whole");
	}
}

/* Another boot: nothing of the last one runs. */
static void change_boot(const char *state)
{
	char path[200];
	sqlite3 *db = NULL;

	(void)snprintf(path, sizeof(path), "%s/vmd.db", state);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, "UPDATE meta SET value='x' WHERE key='boot_id'",
			 NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	(void)sqlite3_close(db);
}

static void cut_at(struct replay *p, size_t cut, bool names_last)
{
	struct rig *r = p->r;
	char state[120], run[120];

	p->inode_count = 0;
	for (size_t i = 0; i < cut; i++)
		apply(p, p->records[i], names_last);
	(void)snprintf(state, sizeof(state), "%s/cut", r->dir);
	(void)snprintf(run, sizeof(run), "%s/cut-run", r->dir);
	put_dir(p, p->root, state);
	(void)snprintf(p->where, sizeof(p->where),
		       "with %s, after %zu of %zu records, the last: %.200s",
		       names_last ? "all names" : "what was synced", cut,
		       p->count, p->records[cut - 1]);
	change_boot(state);
	r->config.state_dir = state;
	r->config.run_dir = run;
	(void)strcpy(r->run, run);
	rig_start(r);
	assert_vms(p, cut);
	assert_images(p, cut);
	rig_drop(r);
	assert_int_equal(file_remove_tree(AT_FDCWD, state, NULL), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, run, NULL), 0);
	p->cuts++;
}

/* --- the test --- */

static void use_programs(struct rig *r)
{
	char text[900];

	(void)snprintf(text, sizeof(text), "mkdir -m 755 %s/recipes %s/log", r->dir,
		       r->dir);
	assert_int_equal(system(text), 0); /* NOLINT(cert-env33-c) */
	rig_file(r, "recipes/lib.sh", "");
	rig_file(r, "recipes/tiny",
		 "#!/bin/sh\n# summary: a test\necho kernel >k\n"
		 "echo root >r\ntruncate -s 1M r\n"
		 "echo 'artifact: kernel k' >&3\n"
		 "echo 'artifact: root r' >&3\n"
		 "echo 'set: kernel_release 6.1' >&3\n"
		 "echo 'set: kernel_format elf' >&3\n");
	(void)snprintf(text, sizeof(text),
		       "#!/bin/sh\nexport VMD_RECIPES=%s/recipes\n"
		       "LD_PRELOAD=%s exec %s \"$@\"\n",
		       r->dir, getenv("VMD_CUTLOG"),
		       getenv("VMD_IMAGE_PROGRAM"));
	rig_file(r, "vmd-image", text);
	(void)snprintf(text, sizeof(text),
		       "chmod 755 %s/vmd-image %s/recipes/*", r->dir, r->dir);
	assert_int_equal(system(text), 0); /* NOLINT(cert-env33-c) */
}

static void read_log(struct replay *p, char **ret_text)
{
	char path[120], *save = NULL;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/log", p->log_dir);
	assert_int_equal(
		file_read(AT_FDCWD, path, 64 << 20, ret_text, &len, NULL), 0);
	for (char *line = strtok_r(*ret_text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		assert_true(p->count < RECORDS_MAX);
		p->records[p->count++] = line;
	}
}

static void test_power_cut_at_every_moment(void **state)
{
	static struct replay p;
	AUTO(free) char *text = NULL;
	size_t begin = 0;
	struct stat st;

	p = (struct replay){ .r = *state };
	use_programs(p.r);
	RIG_UNTIL(p.r, rig_swept(p.r) && store_is_durable(p.r->d.store));
	(void)snprintf(p.log_dir, sizeof(p.log_dir), "%s/log", p.r->dir);
	assert_int_equal(stat(p.r->state, &st), 0);
	p.root = st.st_ino;
	cutlog_begin(p.log_dir, p.r->state);
	cutlog_note("begin -");
	work(p.r);
	rig_drop(p.r);
	cutlog_end();
	fake_reset();
	read_log(&p, &text);
	p.r->config.image_program = "/bin/false";
	while (strcmp(p.records[begin], "A begin -") != 0)
		begin++;
	for (size_t cut = begin; cut <= p.count; cut++) {
		/* What was told changes nothing on the disk, but what must. */
		char last = cut == p.count ? 'A' : p.records[cut][0];

		if (last == 'A' || last == 'S' || last == 'D')
			cut_at(&p, cut, false);
		/* A change of a name is told by several records. */
		if (cut == p.count || last != 'V' ||
		    p.records[cut - 1][0] != 'V')
			cut_at(&p, cut, true);
	}
	printf("%u cuts in %zu records\n", p.cuts, p.count - begin);
	assert_true(p.cuts > 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_power_cut_at_every_moment),
	};

	if (!getenv("VMD_CUTLOG")) {
		printf("SKIP a sanitizer wants to be loaded first\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
