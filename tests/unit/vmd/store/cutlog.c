/* SPDX-License-Identifier: Apache-2.0 */
/* See cutlog.h. */
#include "cutlog.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	RECORD_MAX = 16384,
	BATCH_MAX = 262144
};

static atomic_uint copies;
static __thread bool inside; /* our own calls are not noted */

/* The function of that name behind us. */
#define REAL(name)                                  \
	static __typeof__(&name) real;              \
	if (!real) {                                \
		void *at = dlsym(RTLD_NEXT, #name); \
		memcpy(&real, &at, sizeof(at));     \
	}

static const char *dir_name(void)
{
	return getenv("CUTLOG_DIR");
}

/* Records that belong together are written together: a rename is one change. */
static __thread char batch[BATCH_MAX];
static __thread size_t batch_len;
static __thread bool batching;

static void append(const char *text, size_t len)
{
	char path[256];
	AUTO(fd) int fd = -1;

	if (batching) {
		if (len > sizeof(batch) - batch_len)
			abort();
		memcpy(batch + batch_len, text, len);
		batch_len += len;
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/log", dir_name());
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		abort();
}

void cutlog_note(const char *text)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "A %.200s\n", text);

	inside = true;
	append(line, (size_t)len);
	inside = false;
}

static void note_names(char kind, int fd)
{
	static const char types[] = { [DT_DIR] = 'd', [DT_REG] = 'f' };
	char line[RECORD_MAX];
	struct dirent *e;
	struct stat st;
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	size_t len;

	if (!dir || fstat(fd, &st) < 0)
		abort();
	len = (size_t)snprintf(line, sizeof(line), "%c %llu", kind,
			       (unsigned long long)st.st_ino);
	while ((e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0 ||
		    (e->d_type != DT_DIR && e->d_type != DT_REG))
			continue;
		len += (size_t)snprintf(line + len, sizeof(line) - len,
					" %llu:%c:%s",
					(unsigned long long)e->d_ino,
					types[e->d_type], e->d_name);
		if (len > sizeof(line) - 300)
			abort();
	}
	line[len++] = '\n';
	append(line, len);
	(void)closedir(dir);
}

/* A copy of the file as it is, to be noted when it is durable. */
static void copy_file(int fd, char name[static 64])
{
	char path[320], self[64], block[65536];
	AUTO(fd) int from = -1;
	AUTO(fd) int to = -1;
	ssize_t n;

	(void)snprintf(name, 64, "%d-%u", (int)getpid(),
		       atomic_fetch_add(&copies, 1));
	(void)snprintf(path, sizeof(path), "%s/%s", dir_name(), name);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	from = open(self, O_RDONLY | O_CLOEXEC);
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (from < 0 || to < 0)
		abort();
	while ((n = read(from, block, sizeof(block))) > 0)
		if (write(to, block, (size_t)n) != n)
			abort();
}

/* NULL: nothing is noted now. Nor in a child on its way into a jail, first of its
 * process namespace: what it makes lies nowhere else. */
static const char *root_dir(void)
{
	return getpid() == 1 ? NULL : getenv("CUTLOG_ROOT");
}

static bool below_root(int fd, struct stat *st)
{
	const char *root = root_dir();
	char self[64], path[4096];
	ssize_t n;

	if (inside || !root || !root[0] || fstat(fd, st) < 0)
		return false;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	/* NOLINTNEXTLINE(readability-suspicious-call-argument) */
	n = readlink(self, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return strncmp(path, root, strlen(root)) == 0 ||
	       /* it has no name yet, or not any more */
	       strstr(path, " (deleted)") != NULL;
}

static void note_tree(char kind, const char *path, bool files)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : opendir(path);
	struct dirent *e;
	char child[4096];

	if (!dir)
		return;
	note_names(kind, fd);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.' &&
		    (!e->d_name[1] || e->d_name[1] == '.'))
			continue;
		(void)snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
		if (e->d_type == DT_DIR) {
			note_tree(kind, child, files);
		} else if (files && e->d_type == DT_REG) {
			AUTO(fd) int file = open(child, O_RDONLY | O_CLOEXEC);
			char line[160], name[64];

			copy_file(file, name);
			append(line,
			       (size_t)snprintf(
				       line, sizeof(line), "S %llu %s\n",
				       (unsigned long long)e->d_ino, name));
		}
	}
	(void)closedir(dir);
}

void cutlog_begin(const char *dir, const char *root)
{
	(void)setenv("CUTLOG_DIR", dir, 1);
	inside = true;
	note_tree('D', root, true);
	inside = false;
	(void)setenv("CUTLOG_ROOT", root, 1);
}

void cutlog_end(void)
{
	(void)unsetenv("CUTLOG_ROOT");
}

/* A name has changed somewhere below the root: all names, as they are. */
static int changed(int rc)
{
	const char *root = root_dir();
	int saved = errno;

	if (rc == 0 && root && root[0] && !inside) {
		inside = true;
		batching = true;
		note_tree('V', root, false);
		batching = false;
		append(batch, batch_len);
		batch_len = 0;
		inside = false;
	}
	errno = saved;
	return rc;
}

/* "clone" of "vmd-image clone ..."; of the daemon its name. */
static const char *who(void)
{
	static char text[64];
	char all[512];
	AUTO(fd) int fd = -1;
	size_t first;
	ssize_t n;

	if (text[0])
		return text;
	fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, all, sizeof(all) - 2);
	all[n > 0 ? n : 0] = '\0';
	all[(n > 0 ? n : 0) + 1] = '\0';
	first = strlen(all) + 1;
	(void)snprintf(text, sizeof(text), "%.60s",
		       strcmp(program_invocation_short_name, "vmd-image") != 0
			       ? "vmd"
			       : all + first);
	return text;
}

/* What is the same in each run: ids, digests and noise become words. */
static void make_general(const char *path, char *to, size_t size)
{
	const char *end = strstr(path, " (deleted)");
	size_t used = 0;

	while (*path && path != end && used + 8 < size) {
		size_t word = strspn(path, "0123456789abcdefghijklmnopqrstuvw"
					   "xyzABCDEFGHIJKLMNOPQRSTUVWXYZ#");

		if (word == 26 || word == 64 || word == 16 || path[0] == '#') {
			to[used++] = '*';
			path += word;
		} else {
			size_t n = word ? word : 1;

			if (n >= size - used - 1)
				break;
			memcpy(to + used, path, n);
			used += n;
			path += n;
		}
	}
	to[used] = '\0';
}

/* "@ who address what": told before a sync, of which code it comes. */
static int site_line(int fd, const void *caller, char *line, size_t size)
{
	const char *root = getenv("CUTLOG_ROOT");
	char self[64], path[4096], what[200];
	Dl_info info = { .dli_fbase = NULL };
	const char *at = path;
	ssize_t n;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	/* NOLINTNEXTLINE(readability-suspicious-call-argument) */
	n = readlink(self, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	if (root && strncmp(path, root, strlen(root)) == 0)
		at += strlen(root);
	make_general(at[0] == '/' ? at + 1 : at, what, sizeof(what));
	if (!dladdr(caller, &info))
		abort();
	return snprintf(
		line, size, "@ %s %s:%lx %s\n", who(),
		strstr(info.dli_fname, "sqlite") ? "sqlite" : "ours",
		(unsigned long)((uintptr_t)caller - (uintptr_t)info.dli_fbase),
		what[0] ? what : ".");
}

/* A slow disk: while there is a file "hold", the WAL is not written to it. */
static void be_slow(int fd)
{
	char self[64], path[4096], hold[320];
	ssize_t n;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	/* NOLINTNEXTLINE(readability-suspicious-call-argument) */
	n = readlink(self, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	(void)snprintf(hold, sizeof(hold), "%s/hold", dir_name());
	if (strstr(path, "-wal"))
		for (int ms = 0; access(hold, F_OK) == 0 && ms < 20000; ms++)
			(void)usleep(1000);
}

/* Nothing is written to the real disk: what would be durable is in the log. */
static int synced(int fd, const void *caller)
{
	char line[640], name[64] = "";
	struct stat st;
	bool ours = below_root(fd, &st);
	int rc, saved;

	if (ours)
		be_slow(fd);
	inside = true;
	if (ours && S_ISREG(st.st_mode))
		copy_file(fd, name);
	rc = fcntl(fd, F_GETFD) < 0 ? -1 : 0;
	saved = errno;
	if (rc == 0 && ours && (name[0] || S_ISDIR(st.st_mode))) {
		size_t len = (size_t)site_line(fd, caller, line, sizeof(line));

		batching = true;
		append(line, len);
		if (name[0])
			append(line,
			       (size_t)snprintf(
				       line, sizeof(line), "S %llu %s\n",
				       (unsigned long long)st.st_ino, name));
		else
			note_names('D', fd);
		batching = false;
		append(batch, batch_len);
		batch_len = 0;
	}
	inside = false;
	errno = saved;
	return rc;
}

/* In the place of the C library's.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
int fsync(int fd)
{
	return synced(fd, __builtin_return_address(0));
}

int fdatasync(int fd)
{
	return synced(fd, __builtin_return_address(0));
}

int renameat(int from, const char *a, int to, const char *b)
{
	REAL(renameat);
	return changed(real(from, a, to, b));
}

int renameat2(int from, const char *a, int to, const char *b, unsigned flags)
{
	REAL(renameat2);
	return changed(real(from, a, to, b, flags));
}

int linkat(int from, const char *a, int to, const char *b, int flags)
{
	REAL(linkat);
	if (getenv("CUTLOG_NO_LINKS")) {
		errno = EXDEV;
		return -1;
	}
	return changed(real(from, a, to, b, flags));
}

int unlinkat(int fd, const char *name, int flags)
{
	REAL(unlinkat);
	return changed(real(fd, name, flags));
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	REAL(mkdirat);
	return changed(real(fd, name, mode));
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
