/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking things out of the image store: images by name, blobs that no manifest
 * uses, staging directories whose owner is gone.
 *
 * A running vmd-image holds flock() on its staging directory, so that a sweep
 * leaves it alone; it makes and locks it under a shared lock of the directory
 * above, which a sweep holds exclusively while it tries. Blobs are removed only
 * under the store's lock and only when every manifest could be read: what an
 * unreadable manifest needs is not known, so nothing is thrown away.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/process.h"
#include "images/digest.h"
#include "images/store_internal.h"

enum {
	/* A subordinate user's files, removed through a user namespace. */
	HELPER_MS = 60000
};

struct digests {
	char (*hex)[IMAGE_DIGEST_LEN + 1];
	size_t count;
};

static void digests_add(struct digests *d, const struct image_blob *blob)
{
	if (blob->digest[0])
		memcpy(d->hex[d->count++], blob->digest, sizeof(d->hex[0]));
}

static int compare_hex(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int used_digests(const struct image_store *s, struct digests *ret,
			struct err *e)
{
	char(*names)[IMAGE_NAME_MAX + 1] = NULL;
	size_t count = 0;
	int rc = image_store_names(s, &names, &count, e);

	if (rc < 0)
		return rc;
	ret->hex = calloc(3 * count + 1, sizeof(ret->hex[0]));
	if (!ret->hex)
		rc = err_sys(e, ENOMEM, "sweep the image store");
	for (size_t i = 0; !rc && i < count; i++) {
		struct image img;

		rc = image_store_read_manifest(s, names[i], &img, e);
		if (rc < 0)
			break;
		digests_add(ret, &img.kernel);
		digests_add(ret, &img.initrd);
		digests_add(ret, &img.root);
	}
	free(names);
	if (!rc)
		qsort(ret->hex, ret->count, sizeof(ret->hex[0]), compare_hex);
	return rc;
}

static DIR *open_dir(int dirfd, const char *what, struct err *e)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		(void)err_sys(e, errno, "sweep the image store: list %s", what);
		if (fd >= 0)
			(void)close(fd);
	}
	return dir;
}

int image_store_collect(const struct image_store *s, struct err *e)
{
	struct digests used = { .hex = NULL };
	int rc = used_digests(s, &used, e), removed = 0;
	DIR *dir = rc < 0 ? NULL : open_dir(s->blobs_fd, "blobs", e);
	struct dirent *entry;

	if (!dir) {
		free(used.hex);
		return rc < 0 ? rc : -EIO;
	}
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (!digest_hex_ok(name) ||
		    (used.count && bsearch(name, used.hex, used.count,
					   sizeof(used.hex[0]), compare_hex)))
			continue;
		if (unlinkat(s->blobs_fd, name, 0) == 0)
			removed++;
		else if (errno != ENOENT)
			rc = err_sys(e, errno, "remove blob %.12s", name);
	}
	(void)closedir(dir);
	free(used.hex);
	return rc < 0 ? rc : removed;
}

/* Removes unused blobs now, or leaves them to the next sweep: 0 or a count. */
static int collect_if_free(const struct image_store *s)
{
	struct err e = ERR_INIT;
	AUTO(fd) int lock = image_store_lock(s, false, &e);
	int n;

	if (lock < 0) {
		log_debug("unused blobs stay for now: %s", e.msg);
		return 0;
	}
	n = image_store_collect(s, &e);
	if (n < 0) {
		log_debug("unused blobs stay for now: %s", e.msg);
		return 0;
	}
	return n;
}

int image_store_remove(struct image_store *s, const char *name, struct err *e)
{
	char file[IMAGE_NAME_MAX + 8];

	if (!parse_name_ok(name))
		return err_set(e, ERR_NOT_FOUND, "image_not_found", ENOENT,
			       "there is no image '%.80s'", name);
	(void)snprintf(file, sizeof(file), "%s.json", name);
	if (unlinkat(s->manifests_fd, file, 0) < 0) {
		if (errno == ENOENT)
			return err_set(e, ERR_NOT_FOUND, "image_not_found",
				       ENOENT, "there is no image '%s'", name);
		return err_sys(e, errno, "remove image '%s'", name);
	}
	return fsync(s->manifests_fd) < 0
		       ? err_sys(e, errno, "remove image '%s' from the disk",
				 name)
		       : 0;
}

/*
 * A build without root works as a range of subordinate users; what a killed one
 * leaves can only be removed by somebody who has them too.
 */
static int remove_as_subordinate(const struct image_store *s, const char *id,
				 struct err *e)
{
	AUTO(free) char *path = NULL;
	struct process child = PROCESS_INIT;
	struct process_exit end = { .known = false };
	int rc;

	if (asprintf(&path, "%s/staging/%s", s->dir, id) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	const char *const argv[] = { "unshare",	   "--user",
				     "--map-auto", "--map-root-user",
				     "rm",	   "-rf",
				     "--",	   path,
				     NULL };
	const struct process_spec spec = { .argv = argv,
					   .die_with_parent = true };

	rc = process_spawn(&spec, &child, e);
	if (rc < 0)
		return rc;
	rc = process_wait(&child, HELPER_MS, &end);
	if (rc < 0)
		(void)process_signal(&child, SIGKILL);
	else if (end.status || end.signal)
		rc = -EACCES;
	process_close(&child);
	return rc;
}

int image_store_sweep_one(const struct image_store *s, const char *id,
			  struct err *e)
{
	AUTO(fd) int fd = -1;
	bool lives;
	int rc;

	/* A build that has just made its directory has its lock, too. */
	if (flock(s->staging_fd, LOCK_EX) < 0)
		return err_sys(e, errno, "lock the staging directories");
	fd = openat(s->staging_fd, id,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	lives = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
	(void)flock(s->staging_fd, LOCK_UN);
	if (lives)
		return 0;
	rc = file_remove_tree(s->staging_fd, id, e);
	if ((rc == -EACCES || rc == -EPERM) && geteuid() != 0) {
		rc = remove_as_subordinate(s, id, NULL);
		if (!rc)
			rc = file_remove_tree(s->staging_fd, id, e);
	}
	return rc < 0 ? rc : 1;
}

int image_store_sweep(struct image_store *s, struct err *e)
{
	DIR *dir = open_dir(s->staging_fd, "staging", e);
	struct dirent *entry;
	int removed = 0, rc = 0;

	if (!dir)
		return -EIO;
	while ((entry = readdir(dir))) {
		const char *id = entry->d_name;
		int one;

		if (strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
			continue;
		one = image_store_sweep_one(s, id, e);
		if (one < 0)
			rc = one; /* the others are still worth sweeping */
		else
			removed += one;
	}
	(void)closedir(dir);
	if (rc < 0)
		return err_wrap(e, rc, "sweep the image store");
	return removed + collect_if_free(s);
}
