/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power cut at every moment. A daemon works; each sync of it and of vmd-image,
 * and each change of a name, is noted (cutlog.h). For every point of that log the
 * state directory is made again as a disk may have it then: only what was synced;
 * or every name, but of the files only what was synced. A daemon is started on it,
 * in another boot: what was acknowledged is there and whole, and nothing that is
 * not whole passes for good.
 *
 * Then the same log without the syncs of one place in the code, for each place: a
 * sync that is left out changes nothing of what the programs do, only of what is on
 * the disk. Some point of the log must show a loss then, or the sync is of no use
 * (or this test is). For the waits for a sync the log is made anew.
 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cutlog.h"
#include "images/digest.h"
#include "rig.h"
#include "vmd/store/store_sql.h"

enum {
	INODES_MAX = 4096,
	RECORDS_MAX = 8000,
	SITES_MAX = 64,
	AT_ONCE = 2,
	SYNC_CALLS = 13, /* in the source; each is tried below */
	NOTES = 2,
	SKIPPED = 77
};

/* What a disk may have of names: each directory is written by itself. */
enum names {
	NAMES_SYNCED, /* as they were at the last sync of each directory */
	NAMES_ALL, /* as they are */
	/* As they are, but of where a removal moves from and to as they were
	 * synced: the rename is on the disk after the unlinks that follow it. */
	NAMES_BUT_MOVES
};

/* What a point of the log says of an inode. */
struct inode {
	unsigned long long ino;
	const char *content; /* a copy's name; NULL: never synced */
	const char *names; /* durable, or as they are */
	const char *pending; /* names that become durable with another's */
};

/* Code that makes something durable, as the log tells it: who, from where in his
 * program, what. */
struct site {
	const char *key;
	bool dropped; /* its loss was tried */
};

struct replay {
	struct rig *r;
	char log_dir[80];
	char *text;
	char *records[RECORDS_MAX];
	int site_of[RECORDS_MAX]; /* -1: not a sync */
	size_t count, begin;
	struct site sites[SITES_MAX];
	size_t site_count;
	int dropped; /* the syncs of this site never were; -1: of none */
	int report_fd; /* -1, or whom a loss is told */
	struct inode inodes[INODES_MAX];
	size_t inode_count;
	unsigned long long root, vms, trash; /* directories */
	unsigned cuts;
	char where[320]; /* for messages */
};

/* What was promised does not hold. With a dropped sync that is what is wanted. */
static void __attribute__((format(printf, 2, 3), noreturn))
lost(const struct replay *p, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (p->report_fd < 0) {
		fail_msg("%s; %s", text, p->where);
		abort();
	}
	(void)!write(p->report_fd, text, strlen(text));
	_exit(1);
}

/* --- what waits for the disk, and does not when it is tried without --- */

static enum {
	HOLD_ALL,
	HOLD_BUT_ANSWERS, /* they are sent before the disk has what they say */
	HOLD_BUT_TRASH, /* so go the records of what was removed */
	HOLD_KINDS
} hold;
static const struct store_waiter *trash_waiter; /* the daemon's */
static bool in_loop; /* the daemon asks, not the test */

/* NOLINTBEGIN(bugprone-reserved-identifier) */
bool __real_store_is_durable(const struct store *s);
bool __wrap_store_is_durable(const struct store *s);
void __real_store_wait(struct store *s, struct store_waiter *w,
		       void (*fn)(struct store_waiter *w, const struct err *e),
		       void *data);
void __wrap_store_wait(struct store *s, struct store_waiter *w,
		       void (*fn)(struct store_waiter *w, const struct err *e),
		       void *data);
int __real_loop_run_once(struct loop *loop, int timeout_ms);
int __wrap_loop_run_once(struct loop *loop, int timeout_ms);

bool __wrap_store_is_durable(const struct store *s)
{
	return (in_loop && hold == HOLD_BUT_ANSWERS) ||
	       __real_store_is_durable(s);
}

void __wrap_store_wait(struct store *s, struct store_waiter *w,
		       void (*fn)(struct store_waiter *w, const struct err *e),
		       void *data)
{
	if (hold != HOLD_BUT_TRASH || w != trash_waiter) {
		__real_store_wait(s, w, fn, data);
		return;
	}
	*w = (struct store_waiter){ .fn = fn, .data = data };
	hold = HOLD_BUT_ANSWERS;
	fn(w, NULL);
	hold = HOLD_BUT_TRASH;
}

int __wrap_loop_run_once(struct loop *loop, int timeout_ms)
{
	int rc;

	in_loop = true;
	rc = __real_loop_run_once(loop, timeout_ms);
	in_loop = false;
	return rc;
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* --- what is recorded --- */

static void ack(const char *what, const char *id)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s %s", what, id);
	cutlog_note(text);
}

/* A disk that takes nothing of the rows: see cutlog.c. */
static void disk_slow(bool on)
{
	char path[120];

	(void)snprintf(path, sizeof(path), "%s/hold", getenv("CUTLOG_DIR"));
	if (on)
		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	else
		assert_int_equal(unlink(path), 0);
}

static char *create(struct rig *r, const char *image, const char *name,
		    bool start)
{
	char body[160], headers[64], told[64];
	struct answer a;
	char *id;

	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"%s\",\"name\":\"%s\",\"start\":%s}", image,
		       name, start ? "true" : "false");
	(void)snprintf(headers, sizeof(headers), "Idempotency-Key: %s\r\n",
		       name);
	/* Told before the disk has it: then a look at the disk must show it. */
	if (hold == HOLD_BUT_ANSWERS && strcmp(name, "c") == 0)
		disk_slow(true);
	rig_call(r, "POST", "/v1/vms?wait=20", headers, body, &a);
	assert_string_equal(answer_text(&a, "operation.state"), "succeeded");
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	(void)snprintf(told, sizeof(told), "%s %s", id, name);
	ack("created", told);
	if (hold == HOLD_BUT_ANSWERS && strcmp(name, "c") == 0)
		disk_slow(false);
	return id;
}

/* Enough for a checkpoint; then what the next one must not undo. */
static void note(struct rig *r)
{
	char name[8];

	for (int i = 1; i <= NOTES; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		for (int n = 0; n < 250; n++)
			assert_int_equal(
				store_meta_put(r->d.store, name, "x", NULL), 0);
		RIG_UNTIL(r, store_is_durable(r->d.store));
		ack("noted", name);
		RIG_UNTIL(r, !r->d.store->checkpointing);
	}
}

static void delete_vm(struct rig *r, const char *name, const char *id)
{
	char path[64];

	ack("deleting", id);
	(void)snprintf(path, sizeof(path), "/v1/vms/%s?wait=20", name);
	rig_expect(r, "DELETE", path, NULL, "state", "succeeded");
	ack("deleted", id);
}

/* The same while the disk is slow: its files are gone before its row is. */
static void delete_before_the_row(struct rig *r, const char *name,
				  const char *id)
{
	char path[200], request[100];
	struct answer answer;
	int fd;

	disk_slow(true);
	ack("deleting", id);
	(void)snprintf(path, sizeof(path), "%s/vms/%s", r->state, id);
	(void)snprintf(request, sizeof(request),
		       "DELETE /v1/vms/%s HTTP/1.1\r\nHost: x\r\n\r\n", name);
	fd = rig_connect(r);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	RIG_UNTIL(r, access(path, F_OK) < 0 && rig_swept(r));
	disk_slow(false);
	RIG_UNTIL(r, store_is_durable(r->d.store));
	rig_call(r, "GET", "/v1/vms", "", NULL, &answer);
	assert_null(strstr(answer.body, id));
	answer_done(&answer);
	close(fd);
	ack("deleted", id);
}

static void work(struct rig *r)
{
	AUTO(free) char *a = create(r, "disk", "a", false);
	AUTO(free) char *b = create(r, "disk", "b", true);
	AUTO(free) char *c = create(r, "tiny", "c", false);
	AUTO(free) char *d = NULL;
	struct answer answer;

	/* Where there are no links its files are copies. */
	assert_int_equal(setenv("CUTLOG_NO_LINKS", "1", 1), 0);
	d = create(r, "tiny", "d", false);
	assert_int_equal(unsetenv("CUTLOG_NO_LINKS"), 0);
	rig_expect(r, "POST", "/v1/images?wait=20",
		   "{\"name\":\"good\",\"recipe\":\"tiny\"}", "state",
		   "succeeded");
	ack("built", "good");
	rig_expect(r, "POST", "/v1/vms/b/stop?wait=20", NULL, "state",
		   "succeeded");
	ack("stopped", b);
	delete_before_the_row(r, "a", a);
	RIG_UNTIL(r, rig_swept(r));
	delete_vm(r, "c", c);
	delete_vm(r, "d", d);
	RIG_UNTIL(r, rig_swept(r));
	ack("removing", "good");
	rig_call(r, "DELETE", "/v1/images/good", "", NULL, &answer);
	assert_int_equal(answer.status, 204);
	answer_done(&answer);
	ack("removed", "good");
	RIG_UNTIL(r, rig_swept(r));
	note(r);
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

/* Both ends of a rename are on the disk, or none. */
static void apply_to_moves(struct replay *p, char kind, unsigned long long ino,
			   const char *names)
{
	struct inode *this = inode(p, ino);
	struct inode *other = inode(p, ino == p->vms ? p->trash : p->vms);

	this->pending = names;
	if (kind != 'D')
		return;
	this->names = names;
	if (other->pending)
		other->names = other->pending;
}

static void apply(struct replay *p, const char *record, enum names names)
{
	char *rest = NULL;
	unsigned long long ino = strtoull(record + 2, &rest, 10);

	if (record[0] == 'S')
		inode(p, ino)->content = rest + 1;
	else if (record[0] != 'D' && record[0] != 'V')
		return;
	else if (names == NAMES_BUT_MOVES && (ino == p->vms || ino == p->trash))
		apply_to_moves(p, record[0], ino, rest);
	else if (record[0] == 'D' || names != NAMES_SYNCED)
		inode(p, ino)->names = rest;
}

static void put_file(const struct replay *p, const struct inode *i,
		     const char *path)
{
	char from[200], block[65536];
	AUTO(fd) int in = -1;
	AUTO(fd) int out = -1;
	ssize_t n;

	(void)snprintf(from, sizeof(from), "%s/%s", p->log_dir,
		       i->content ? i->content : "");
	/* Nobody writes to it again: the copy itself will do. */
	if (i->content && !strstr(path, "/vmd.db")) {
		assert_int_equal(link(from, path), 0);
		return;
	}
	out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(out >= 0);
	if (!i->content) /* a name without content: what a power cut leaves */
		return;
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

static void assert_file(const struct replay *p, const char *id,
			const char *name, off_t size)
{
	char path[300], text[8] = "";
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/vms/%s/%s",
		       p->r->config.state_dir, id, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		lost(p, "%s is not there", path);
	if (st.st_size != size || pread(fd, text, 6, 0) != 6 ||
	    memcmp(text, "kernel", 6) != 0)
		lost(p, "%s has %lld bytes and begins with '%.6s'", path,
		     (long long)st.st_size, text);
	close(fd);
}

/* Who repeats the request is told of what the first one began. */
static void assert_answer(struct replay *p, const char *key)
{
	struct stored_answer answer = { 0 };
	bool found = false;

	assert_int_equal(
		store_answer_get(p->r->d.store, key, &answer, &found, NULL), 0);
	free(answer.body);
	if (!found)
		lost(p, "the answer for key %s is gone", key);
}

static void assert_vms(struct replay *p, size_t cut)
{
	struct rig *r = p->r;
	struct err e = ERR_INIT;
	struct image image;
	struct vm *vm;

	LIST_FOREACH(vm, &r->d.vms, link) {
		/* Cut off while it was starting: it can be started again. */
		if (vm->row.state != API_VM_STOPPED &&
		    (was_told(p, cut, "stopped", vm->row.id) ||
		     strcmp(vm->row.error.code, "daemon_restarted") != 0))
			lost(p, "VM %s is %s: %s", vm->row.name,
			     api_vm_state_name(vm->row.state),
			     vm->row.error.msg);
		if (was_told(p, cut, "deleted", vm->row.id))
			lost(p, "VM %s is there again", vm->row.name);
		if (vm_read_manifest(vm, &image, &e) < 0)
			lost(p, "%s", e.msg);
		assert_file(p, vm->row.id, "kernel", 6);
		assert_file(p, vm->row.id, "initrd", 6);
		if (image.root.digest[0])
			assert_file(p, vm->row.id, "root.raw", 2 << 20);
	}
	for (size_t i = 0; i < cut; i++) {
		char id[32], name[16], key[24];

		if (sscanf(p->records[i], "A created %31s %15s", id, name) != 2)
			continue;
		if (!vm_find_id(&r->d, id) && !was_told(p, cut, "deleting", id))
			lost(p, "VM %s was acknowledged and is gone", id);
		(void)snprintf(key, sizeof(key), "%u:%s", (unsigned)getuid(),
			       name);
		assert_answer(p, key);
	}
}

/* What the store alone says. */
static void assert_notes(struct replay *p, size_t cut)
{
	char text[16];

	for (int i = 1; i <= NOTES; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "n%d", i);
		if (was_told(p, cut, "noted", name) &&
		    (store_meta_get(p->r->d.store, name, text, sizeof(text),
				    NULL) < 0 ||
		     strcmp(text, "x") != 0))
			lost(p, "%s was noted and is gone", name);
	}
}

static void assert_images(struct replay *p, size_t cut)
{
	struct err e = ERR_INIT;
	struct image image;
	int rc = image_store_get(p->r->d.images, "good", &image, &e);
	const struct image_blob *blobs[] = { &image.kernel, &image.root };

	if (was_told(p, cut, "removed", "good")) {
		if (rc == 0)
			lost(p, "image good is there again");
		return;
	}
	if (was_told(p, cut, "removing", "good") && rc < 0)
		return;
	if (was_told(p, cut, "built", "good") && rc < 0)
		lost(p, "%s", e.msg);
	if (rc < 0 && strcmp(e.code, "image_not_found") != 0)
		lost(p, "%s", e.msg);
	for (size_t i = 0; rc == 0 && i < 2; i++) {
		AUTO(free)
		char *path = image_store_blob_path(p->r->d.images, blobs[i]);
		AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
		char hex[IMAGE_DIGEST_LEN + 1];
		uint64_t size;

		assert_int_equal(digest_file(fd, hex, &size, NULL, NULL, NULL),
				 0);
		if (strcmp(hex, blobs[i]->digest) != 0)
			lost(p, "a blob of image good is not whole");
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

static void cut_at(struct replay *p, size_t cut, enum names names)
{
	static const char *const texts[] = { "what was synced", "all names",
					     "all names but of vms and trash" };
	struct rig *r = p->r;
	char state[120], run[120];

	p->inode_count = 0;
	for (size_t i = 0; i < cut; i++)
		if (p->site_of[i] < 0 || p->site_of[i] != p->dropped)
			apply(p, p->records[i], names);
	(void)snprintf(state, sizeof(state), "%s/cut%d", r->dir,
		       p->dropped + 1);
	(void)snprintf(run, sizeof(run), "%s/run%d", r->dir, p->dropped + 1);
	put_dir(p, p->root, state);
	(void)snprintf(p->where, sizeof(p->where),
		       "with %s, after %zu of %zu records, the last: %.200s",
		       texts[names], cut, p->count, p->records[cut - 1]);
	change_boot(state);
	r->config.state_dir = state;
	r->config.run_dir = run;
	(void)strcpy(r->run, run);
	rig_start(r);
	assert_vms(p, cut);
	assert_images(p, cut);
	assert_notes(p, cut);
	rig_drop(r);
	assert_int_equal(file_remove_tree(AT_FDCWD, state, NULL), 0);
	assert_int_equal(file_remove_tree(AT_FDCWD, run, NULL), 0);
	p->cuts++;
}

/* --- the test --- */

static void use_programs(struct rig *r)
{
	char text[900];

	(void)snprintf(text, sizeof(text), "mkdir -m 755 %s/recipes %s/log",
		       r->dir, r->dir);
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

static int site_of(struct replay *p, const char *key)
{
	for (size_t i = 0; i < p->site_count; i++)
		if (strcmp(p->sites[i].key, key) == 0)
			return (int)i;
	assert_true(p->site_count < SITES_MAX);
	p->sites[p->site_count] = (struct site){ .key = key };
	return (int)p->site_count++;
}

static void read_log(struct replay *p)
{
	char path[120], *save = NULL;
	int site = -1;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/log", p->log_dir);
	assert_int_equal(
		file_read(AT_FDCWD, path, 64 << 20, &p->text, &len, NULL), 0);
	for (char *line = strtok_r(p->text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '@') {
			site = site_of(p, line + 2);
			continue;
		}
		assert_true(p->count < RECORDS_MAX);
		p->site_of[p->count] = site;
		p->records[p->count++] = line;
		site = -1;
	}
}

/* A daemon begins where another has ended, works and is dropped; all that it wrote
 * is noted. */
static void record(struct replay *p, struct rig *r)
{
	static const char *const made[] = { "vms", "trash" };
	struct stat st;

	*p = (struct replay){ .r = r, .dropped = -1, .report_fd = -1 };
	use_programs(r);
	RIG_UNTIL(r, rig_swept(r));
	rig_drop(r); /* the WAL goes, as at each orderly end */
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "%s/%s", r->state, made[i]);
		assert_int_equal(file_remove_tree(AT_FDCWD, path, NULL), 0);
	}
	(void)snprintf(p->log_dir, sizeof(p->log_dir), "%s/log", r->dir);
	assert_int_equal(stat(r->state, &st), 0);
	p->root = st.st_ino;
	cutlog_begin(p->log_dir, r->state);
	rig_start(r);
	assert_int_equal(fstat(r->d.state_vms_fd, &st), 0);
	p->vms = st.st_ino;
	assert_int_equal(fstat(r->d.state_trash_fd, &st), 0);
	p->trash = st.st_ino;
	trash_waiter = &r->d.trash_waiter;
	RIG_UNTIL(r, store_is_durable(r->d.store));
	cutlog_note("begin -");
	work(r);
	rig_drop(r);
	cutlog_end();
	fake_reset();
	read_log(p);
	r->config.image_program = "/bin/false";
	while (strcmp(p->records[p->begin], "A begin -") != 0)
		p->begin++;
}

/* Each point from which the disk may come back, from the record `from` on. */
static void cut_everywhere(struct replay *p, size_t from)
{
	if (from < p->begin)
		from = p->begin;
	for (size_t cut = from + 1; cut <= p->count; cut++) {
		/* What was told changes nothing on the disk, but what must. */
		char last = cut == p->count ? 'A' : p->records[cut][0];

		if (last == 'A' || last == 'S' || last == 'D')
			cut_at(p, cut, NAMES_SYNCED);
		/* A change of a name is told by several records, the first of
		 * them tells of the root. */
		if (last == 'V' &&
		    strtoull(p->records[cut] + 2, NULL, 10) != p->root)
			continue;
		cut_at(p, cut, NAMES_ALL);
		if (last == 'V')
			cut_at(p, cut, NAMES_BUT_MOVES);
	}
}

static void test_power_cut_at_every_moment(void **state)
{
	static struct replay p;

	record(&p, *state);
	cut_everywhere(&p, 0);
	printf("%u cuts in %zu records\n", p.cuts, p.count - p.begin);
	assert_true(p.cuts > 80);
	free(p.text);
}

/* --- each sync that is not made, and each wait for one, is a loss --- */

/* In a process of its own: the first loss ends it. */
static pid_t try_without(struct replay *p, int site, int *ret_report)
{
	int fds[2];
	pid_t pid;
	size_t from = 0;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	(void)fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid) {
		(void)close(fds[1]);
		*ret_report = fds[0];
		return pid;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_DUMPABLE, 0);
	/* An assertion that fails is a loss, too: no daemon comes up on it. */
	(void)setenv("CMOCKA_TEST_ABORT", "1", 1);
	(void)!freopen("/dev/null", "w", stdout);
	(void)!freopen("/dev/null", "w", stderr);
	p->report_fd = fds[1];
	p->dropped = site;
	while (from < p->count && site >= 0 && p->site_of[from] != site)
		from++;
	cut_everywhere(p, site < 0 ? 0 : from);
	_exit(0);
}

/* true: it was seen. */
static bool end_of_try(pid_t pid, int report, const char *name)
{
	char text[400] = "no daemon comes up on it";
	ssize_t n = read(report, text, sizeof(text) - 1);
	int status;
	bool seen;

	if (n > 0)
		text[n] = '\0';
	(void)close(report);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	seen = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	/* SQLite syncs more than it must where we sync besides. */
	printf("%-48s %s\n", name,
	       seen			  ? text
	       : strstr(name, " sqlite:") ? "(SQLite's own)"
					  : "NOT DETECTED");
	return seen || strstr(name, " sqlite:");
}

static unsigned try_all(struct replay *p)
{
	pid_t pids[SITES_MAX];
	int reports[SITES_MAX];
	size_t begun = 0;
	unsigned bad = 0;

	for (size_t i = 0; i < p->site_count; i++) {
		for (; begun < p->site_count && begun < i + AT_ONCE; begun++)
			pids[begun] =
				try_without(p, (int)begun, &reports[begun]);
		if (!end_of_try(pids[i], reports[i], p->sites[i].key))
			bad++;
	}
	return bad;
}

/* A call that was added without being tried here, or one that went. */
static void assert_all_calls_are_known(void)
{
	char command[400], text[16] = "";
	FILE *f;

	(void)snprintf(command, sizeof(command),
		       "cd %s && cat $(find vmd images base -name '*.c') | "
		       "grep -cE '\\b(fsync|fdatasync|syncfs|sync_file_range|"
		       "msync|sync) ?\\('",
		       getenv("VMD_SOURCE"));
	f = popen(command, "re"); /* NOLINT(cert-env33-c) */
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	(void)pclose(f);
	assert_int_equal(atoi(text), SYNC_CALLS);
}

static void test_every_sync_is_needed(void **state)
{
	static struct replay p;
	size_t ours = 0;

	assert_all_calls_are_known();
	record(&p, *state);
	for (size_t i = 0; i < p.site_count; i++)
		ours += strstr(p.sites[i].key, " ours:") != NULL;
	/* Those that are called for several things count for each. */
	assert_true(ours >= SYNC_CALLS);
	assert_int_equal(try_all(&p), 0);
	free(p.text);
}

/* Not only the syncs: who speaks or removes before them loses something, too. */
static void test_every_wait_is_needed(void **state)
{
	static const char *const names[HOLD_KINDS] = {
		[HOLD_BUT_ANSWERS] = "vmd: answers wait for the rows",
		[HOLD_BUT_TRASH] =
			"vmd: records of the trash wait for the rows",
	};
	static struct replay p;
	unsigned bad = 0;
	int report;
	pid_t pid;

	for (unsigned i = HOLD_ALL + 1; i < HOLD_KINDS; i++) {
		void *one = *state;

		if (i > HOLD_ALL + 1)
			assert_int_equal(rig_setup(&one), 0);
		hold = i;
		record(&p, one);
		hold = HOLD_ALL;
		pid = try_without(&p, -1, &report);
		if (!end_of_try(pid, report, names[i]))
			bad++;
		free(p.text);
		if (i > HOLD_ALL + 1)
			assert_int_equal(rig_teardown(&one), 0);
	}
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_power_cut_at_every_moment),
		RIG_TEST(test_every_sync_is_needed),
		RIG_TEST(test_every_wait_is_needed),
	};

	if (!getenv("VMD_CUTLOG")) {
		printf("SKIP a sanitizer wants to be loaded first\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
