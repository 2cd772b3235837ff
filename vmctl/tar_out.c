/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of libarchive pushes into a buffer; tar_out_read() makes one step
 * of the walk whenever the buffer is empty.
 */
#include "vmctl/tar_out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/checked.h"
#include "vmctl/libarchive.h"

enum {
	CHUNK = 65536,
	BUFFER_MAX = 1 << 20
};

struct tar_out {
	struct archive *disk, *tar;
	struct archive_entry *entry;
	struct archive_entry_linkresolver *links;
	char *source, *name;
	size_t source_len;
	struct buf ready;
	bool in_file, ended;
	int64_t written, size; /* of the file being sent */
	uint64_t bytes;
};

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data,
			   size_t len)
{
	struct tar_out *t = ctx;

	if (buf_append(&t->ready, data, len) == 0)
		return (la_ssize_t)len;
	la.archive_set_error(a, ENOMEM, "out of memory");
	return -1;
}

static int fail(struct archive *a, struct err *e, const char *what)
{
	const char *why = la.archive_error_string(a);
	int sys = la.archive_errno(a);

	return err_set(e, sys == EACCES ? ERR_PERMISSION : ERR_INTERNAL,
		       "read_failed", sys > 0 ? sys : EIO, "cannot read %s: %s",
		       what, why ? why : "unknown error");
}

static int start(struct tar_out *t, struct err *e)
{
	struct stat st;

	if (lstat(t->source, &st) < 0)
		return err_sys(e, errno, "cannot read %s", t->source);
	t->disk = la.archive_read_disk_new();
	t->tar = la.archive_write_new();
	t->entry = la.archive_entry_new();
	t->links = la.archive_entry_linkresolver_new();
	if (!t->disk || !t->tar || !t->entry || !t->links)
		return err_sys(e, ENOMEM, "tar");
	la.archive_entry_linkresolver_set_strategy(
		t->links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
	/* The link that was named is followed, as cp -r does. */
	(void)la.archive_read_disk_set_symlink_hybrid(t->disk);
	if (la.archive_write_set_format_pax_restricted(t->tar) != ARCHIVE_OK ||
	    la.archive_write_set_bytes_per_block(t->tar, 0) != ARCHIVE_OK ||
	    la.archive_write_open(t->tar, t, NULL, on_write, NULL) !=
		    ARCHIVE_OK)
		return fail(t->tar, e, "tar");
	if (la.archive_read_disk_open(t->disk, t->source) != ARCHIVE_OK)
		return fail(t->disk, e, t->source);
	return 0;
}

struct tar_out *tar_out_new(const char *source, const char *name, struct err *e)
{
	struct tar_out *t;

	if (libarchive_load(e) < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t) {
		(void)err_sys(e, ENOMEM, "tar");
		return NULL;
	}
	t->ready.limit = BUFFER_MAX;
	t->source = strdup(source);
	t->name = strdup(name);
	if (t->source) {
		t->source_len = strlen(t->source);
		while (t->source_len > 1 && t->source[t->source_len - 1] == '/')
			t->source[--t->source_len] = '\0';
	}
	if (t->source && t->name && start(t, e) == 0)
		return t;
	tar_out_free(t);
	return NULL;
}

void tar_out_free(struct tar_out *t)
{
	if (!t)
		return;
	la.archive_entry_free(t->entry);
	if (t->links)
		la.archive_entry_linkresolver_free(t->links);
	(void)la.archive_read_free(t->disk);
	if (t->tar)
		(void)la.archive_write_fail(t->tar);
	(void)la.archive_write_free(t->tar);
	buf_done(&t->ready);
	free(t->source);
	free(t->name);
	free(t);
}

uint64_t tar_out_bytes(const struct tar_out *t)
{
	return t->bytes;
}

/* The top's path is replaced by its name in the archive. */
static int rename_path(const struct tar_out *t, const char *path, char **ret)
{
	if (strncmp(path, t->source, t->source_len) != 0)
		return -EINVAL;
	return asprintf(ret, "%s%s", t->name, path + t->source_len) < 0
		       ? -ENOMEM
		       : 0;
}

static int send_header(struct tar_out *t, struct err *e)
{
	struct archive_entry *entry = t->entry, *spare = NULL;
	const char *link = la.archive_entry_hardlink(entry);
	char *path = NULL;

	la.archive_entry_set_uid(entry, 0);
	la.archive_entry_set_gid(entry, 0);
	la.archive_entry_set_uname(entry, NULL);
	la.archive_entry_set_gname(entry, NULL);
	la.archive_entry_acl_clear(entry);
	la.archive_entry_xattr_clear(entry);
	la.archive_entry_sparse_clear(entry);
	if (rename_path(t, la.archive_entry_pathname(entry), &path) < 0)
		return err_sys(e, ENOMEM, "tar");
	la.archive_entry_set_pathname(entry, path);
	free(path);
	if (!link)
		la.archive_entry_linkify(t->links, &entry, &spare);
	t->size = la.archive_entry_filetype(entry) == AE_IFREG
			  ? la.archive_entry_size(entry)
			  : 0;
	if (la.archive_entry_hardlink(entry))
		t->size = 0;
	t->written = 0;
	t->in_file = t->size > 0;
	if (la.archive_write_header(t->tar, entry) < ARCHIVE_WARN)
		return fail(t->tar, e, la.archive_entry_pathname(entry));
	return 0;
}

static int next_entry(struct tar_out *t, struct err *e)
{
	int rc;

	la.archive_entry_clear(t->entry);
	rc = la.archive_read_next_header2(t->disk, t->entry);
	if (rc == ARCHIVE_EOF) {
		t->ended = true;
		return la.archive_write_close(t->tar) == ARCHIVE_OK
			       ? 0
			       : fail(t->tar, e, "tar");
	}
	if (rc != ARCHIVE_OK)
		return fail(t->disk, e,
			    la.archive_entry_pathname(t->entry)
				    ? la.archive_entry_pathname(t->entry)
				    : t->source);
	(void)la.archive_read_disk_descend(t->disk);
	switch (la.archive_entry_filetype(t->entry)) {
	case AE_IFREG:
	case AE_IFDIR:
	case AE_IFLNK:
		return send_header(t, e);
	default:
		(void)fprintf(stderr,
			      "vmctl: warning: %s is left out: neither file, "
			      "directory nor link\n",
			      la.archive_entry_pathname(t->entry));
		return 0;
	}
}

/* Zeros up to `to`: holes, and a file that became shorter meanwhile. */
static int send_zeros(struct tar_out *t, int64_t to, struct err *e)
{
	static const char zeros[CHUNK];

	while (t->written < to && buf_len(&t->ready) < BUFFER_MAX / 2) {
		int64_t n = to - t->written;

		if (n > CHUNK)
			n = CHUNK;
		if (la.archive_write_data(t->tar, zeros, (size_t)n) < 0)
			return fail(t->tar, e, "tar");
		t->written += n;
	}
	return 0;
}

static int next_data(struct tar_out *t, struct err *e)
{
	static char chunk[CHUNK];
	la_ssize_t n = la.archive_read_data(t->disk, chunk, sizeof(chunk));

	if (n < 0)
		return fail(t->disk, e, la.archive_entry_sourcepath(t->entry));
	if (n == 0) {
		int rc = send_zeros(t, t->size, e);

		t->in_file = t->written < t->size;
		return rc;
	}
	if (n > t->size - t->written) /* it grew */
		n = (la_ssize_t)(t->size - t->written);
	if (n > 0 && la.archive_write_data(t->tar, chunk, (size_t)n) < 0)
		return fail(t->tar, e, "tar");
	t->written += n;
	t->bytes += (uint64_t)n;
	t->in_file = t->written < t->size;
	return 0;
}

ssize_t tar_out_read(void *ctx, void *data, size_t room, struct err *e)
{
	struct tar_out *t = ctx;
	size_t len;

	while (buf_len(&t->ready) == 0 && !t->ended) {
		int rc = t->in_file ? next_data(t, e) : next_entry(t, e);

		if (rc < 0)
			return rc;
	}
	len = buf_len(&t->ready) < room ? buf_len(&t->ready) : room;
	if (len > 0)
		memcpy(data, buf_head(&t->ready), len);
	buf_consume(&t->ready, len);
	return (ssize_t)len;
}
