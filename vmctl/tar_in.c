/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extraction by libarchive with all its guards on, below a directory we changed
 * into; the names were checked before by tar_in_path().
 */
#include "vmctl/tar_in.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmctl/libarchive.h"

enum {
	BLOCK = 65536
};

static bool component_ok(const char *s, size_t len)
{
	return len > 0 && !(len == 1 && s[0] == '.') &&
	       !(len == 2 && s[0] == '.' && s[1] == '.');
}

bool tar_in_path(const char *path, char top[static 256], const char *name,
		 char *out, size_t room)
{
	size_t len, top_len;
	const char *rest;
	int n;

	while (path[0] == '.' && path[1] == '/')
		path += 2;
	top_len = strcspn(path, "/");
	if (!component_ok(path, top_len) || top_len >= 256)
		return false;
	if (!top[0]) {
		memcpy(top, path, top_len);
		top[top_len] = '\0';
	} else if (strlen(top) != top_len || memcmp(top, path, top_len) != 0) {
		return false;
	}
	for (rest = path + top_len; *rest; rest += len) {
		rest++; /* the slash */
		len = strcspn(rest, "/");
		if (len == 0 && !*rest)
			break; /* "dir/" */
		if (!component_ok(rest, len))
			return false;
	}
	n = snprintf(out, room, "%s%s", name, path + top_len);
	return n > 0 && (size_t)n < room;
}

static int fail(struct archive *a, struct err *e, const char *what)
{
	const char *why = la.archive_error_string(a);
	int sys = la.archive_errno(a);

	return err_set(e, sys == ENOSPC ? ERR_NO_SPACE : ERR_INTERNAL,
		       sys == ENOSPC ? "disk_full" : "copy_failed",
		       sys > 0 ? sys : EIO, "cannot write %s: %s", what,
		       why ? why : "unknown error");
}

static int hostile(struct err *e, const char *path)
{
	return err_set(e, ERR_PROTOCOL, "unsafe_path", 0,
		       "the guest sent '%.200s', which would leave the copied "
		       "tree; the copy was ended there",
		       path);
}

/* Names checked and replaced, bits removed. 1: to be left out. */
static int make_safe(struct archive_entry *entry, char top[static 256],
		     const char *name, struct err *e)
{
	const char *path = la.archive_entry_pathname(entry);
	const char *link = la.archive_entry_hardlink(entry);
	char safe[PATH_MAX];

	if (!path || !tar_in_path(path, top, name, safe, sizeof(safe)))
		return hostile(e, path ? path : "");
	la.archive_entry_set_pathname(entry, safe);
	if (link) {
		if (!tar_in_path(link, top, name, safe, sizeof(safe)))
			return hostile(e, link);
		la.archive_entry_set_hardlink(entry, safe);
	} else {
		switch (la.archive_entry_filetype(entry)) {
		case AE_IFREG:
		case AE_IFDIR:
		case AE_IFLNK:
			break;
		default:
			return 1;
		}
	}
	la.archive_entry_set_perm(entry, la.archive_entry_perm(entry) & 0777);
	la.archive_entry_set_fflags(entry, 0, 0);
	return 0;
}

/* A file is replaced by a file only, a directory by nothing, as with cp(1). */
static int check_kind(struct archive_entry *entry, struct err *e)
{
	const char *path = la.archive_entry_pathname(entry);
	bool directory = la.archive_entry_filetype(entry) == AE_IFDIR;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno != ENOTDIR
			       ? 0
			       : err_set(e, ERR_CONFLICT, "copy_failed",
					 ENOTDIR,
					 "cannot make '%.200s': a part of the "
					 "path is no directory",
					 path);
	if (S_ISDIR(st.st_mode) == directory)
		return 0;
	if (directory)
		return err_set(
			e, ERR_CONFLICT, "copy_failed", ENOTDIR,
			"cannot copy a directory onto '%.200s', which is "
			"none: remove it, or name another destination",
			path);
	return err_set(e, ERR_CONFLICT, "copy_failed", EISDIR,
		       "cannot copy a file onto the directory '%.200s': "
		       "remove it, or name another destination",
		       path);
}

static int copy_data(struct archive *in, struct archive *out, const char *path,
		     uint64_t *bytes, void (*progress)(uint64_t bytes),
		     struct err *e)
{
	for (;;) {
		const void *data;
		size_t len;
		la_int64_t offset;
		int rc = la.archive_read_data_block(in, &data, &len, &offset);

		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc < ARCHIVE_OK)
			return err_set(
				e, ERR_PROTOCOL, "bad_archive", 0,
				"the guest's archive is broken at %.200s",
				path);
		if (la.archive_write_data_block(out, data, len, offset) < 0)
			return fail(out, e, path);
		*bytes += len;
		if (progress)
			progress(*bytes);
	}
}

static int extract(struct archive *in, struct archive *out, const char *name,
		   void (*progress)(uint64_t bytes), struct err *e)
{
	char top[256] = "";
	uint64_t bytes = 0;

	for (;;) {
		struct archive_entry *entry;
		int rc = la.archive_read_next_header(in, &entry);

		if (rc == ARCHIVE_EOF)
			break;
		if (rc < ARCHIVE_WARN)
			return err_set(e, ERR_PROTOCOL, "bad_archive", 0,
				       "the guest's archive is broken: %s",
				       la.archive_error_string(in));
		rc = make_safe(entry, top, name, e);
		if (rc < 0)
			return rc;
		if (rc > 0)
			continue;
		rc = check_kind(entry, e);
		if (rc < 0)
			return rc;
		if (la.archive_write_header(out, entry) < ARCHIVE_OK)
			return fail(out, e, la.archive_entry_pathname(entry));
		rc = copy_data(in, out, la.archive_entry_pathname(entry),
			       &bytes, progress, e);
		if (rc < 0)
			return rc;
	}
	if (!top[0])
		return err_set(e, ERR_PROTOCOL, "bad_archive", 0,
			       "the guest sent an empty archive");
	return la.archive_write_close(out) == ARCHIVE_OK ? 0
							 : fail(out, e, name);
}

static int extract_here(int fd, const char *name,
			void (*progress)(uint64_t bytes), struct err *e)
{
	struct archive *in, *out;
	int rc = libarchive_load(e);

	if (rc < 0)
		return rc;
	rc = -ENOMEM;
	in = la.archive_read_new();
	out = la.archive_write_disk_new();
	if (in && out) {
		(void)la.archive_read_support_format_tar(in);
		(void)la.archive_write_disk_set_options(
			out, ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
				     ARCHIVE_EXTRACT_SECURE_SYMLINKS |
				     ARCHIVE_EXTRACT_SECURE_NODOTDOT |
				     ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
		if (la.archive_read_open_fd(in, fd, BLOCK) == ARCHIVE_OK)
			rc = extract(in, out, name, progress, e);
		else
			rc = fail(in, e, "the archive");
	} else {
		(void)err_sys(e, ENOMEM, "tar");
	}
	(void)la.archive_read_free(in);
	(void)la.archive_write_free(out);
	return rc;
}

int tar_in_extract(int fd, const char *target, void (*progress)(uint64_t bytes),
		   struct err *e)
{
	AUTO(free) char *copy = strdup(target);
	AUTO(fd) int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *slash;
	int rc;

	if (!copy)
		return err_sys(e, ENOMEM, "copy");
	slash = strrchr(copy, '/');
	if (slash) {
		*slash = '\0';
		if (chdir(slash == copy ? "/" : copy) < 0)
			return err_sys(e, errno, "cannot copy into %s", copy);
	}
	if (!component_ok(slash ? slash + 1 : copy,
			  strlen(slash ? slash + 1 : copy)))
		rc = err_set(e, ERR_INVALID, "bad_target", 0,
			     "'%.200s' is no name for a copy", target);
	else
		rc = extract_here(fd, slash ? slash + 1 : copy, progress, e);
	if (back >= 0 && fchdir(back) < 0 && rc == 0)
		rc = err_sys(e, errno, "working directory");
	return rc;
}

int tar_first_is_directory(const void *data, size_t len)
{
	struct archive_entry *entry;
	struct archive *in;
	int rc = -1;

	if (libarchive_load(NULL) < 0)
		return -1;
	in = la.archive_read_new();
	if (!in)
		return -1;
	(void)la.archive_read_support_format_tar(in);
	if (la.archive_read_open_memory(in, data, len) == ARCHIVE_OK &&
	    la.archive_read_next_header(in, &entry) >= ARCHIVE_WARN)
		rc = la.archive_entry_filetype(entry) == AE_IFDIR;
	(void)la.archive_read_free(in);
	return rc;
}
