/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See publish.h. The files come from a recipe and from packages, which have ended
 * when we look (recipe.h): what they left is taken for hostile. A file is one
 * that has no other name, opened without following links, and ours from then on.
 */
#include "images/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

enum {
	DISK_ALIGN = 4096
};

const char *const artifact_names[ARTIFACT_COUNT] = {
	[ARTIFACT_KERNEL] = "kernel",
	[ARTIFACT_INITRD] = "initrd",
	[ARTIFACT_ROOT] = "root",
};

struct hashing {
	const struct publish *p;
	char step[80];
	uint64_t total;
};

static void hash_progress(uint64_t done, void *data)
{
	const struct hashing *h = data;

	if (h->p->progress)
		h->p->progress(h->step, done, h->total, h->p->data);
}

/* Size up to which a file has data; past it there is only a hole. */
static int data_end(int fd, uint64_t size, uint64_t *ret_end)
{
	off_t at = 0, end = 0;

	while ((uint64_t)at < size) {
		off_t data = lseek(fd, at, SEEK_DATA);

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			return -errno;
		end = lseek(fd, data, SEEK_HOLE);
		if (end < 0)
			return -errno;
		at = end;
	}
	*ret_end = (uint64_t)end;
	return 0;
}

/* Cuts the hole at the end of a disk off: see disk_bytes in store.h. */
static int trim_disk(int fd, struct image *img, struct stat *st, struct err *e)
{
	uint64_t end = 0;
	int rc;

	img->disk_bytes = (uint64_t)st->st_size;
	if (st->st_size % DISK_ALIGN)
		return err_set(e, ERR_INVALID, "recipe_invalid", 0,
			       "the recipe made a root disk of %lld bytes, "
			       "which is not a multiple of %d",
			       (long long)st->st_size, DISK_ALIGN);
	rc = data_end(fd, img->disk_bytes, &end);
	if (rc < 0)
		return err_sys(e, -rc, "find the end of the root disk's data");
	end = (end + DISK_ALIGN - 1) & ~(uint64_t)(DISK_ALIGN - 1);
	if (!end)
		return err_set(e, ERR_INVALID, "recipe_invalid", 0,
			       "the recipe made an empty root disk");
	if (end < img->disk_bytes && ftruncate(fd, (off_t)end) < 0)
		return err_sys(e, errno, "cut the root disk");
	st->st_size = (off_t)end;
	return 0;
}

static int prepare(const struct publish *p, enum artifact_kind kind,
		   struct image *img, struct image_blob *blob, struct err *e)
{
	const char *file = p->files[kind];
	AUTO(fd)
	int fd = openat(p->staging_fd, file,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct hashing h = { .p = p };
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return err_sys(e, errno, "the recipe's %s (%s)",
			       artifact_names[kind], file);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "stat %s", file);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size == 0)
		return err_set(e, ERR_INVALID, "recipe_invalid", 0,
			       "the recipe's %s (%s) is empty or not a plain "
			       "file of its own",
			       artifact_names[kind], file);
	/* It was the recipe's user's, who is nobody that may change it. */
	if ((st.st_uid != geteuid() || st.st_gid != getegid()) &&
	    fchown(fd, geteuid(), getegid()) < 0)
		return err_sys(e, errno, "take over the %s",
			       artifact_names[kind]);
	if (kind == ARTIFACT_ROOT)
		rc = trim_disk(fd, img, &st, e);
	if (rc < 0)
		return rc;
	(void)snprintf(h.step, sizeof(h.step), "hashing the %s",
		       artifact_names[kind]);
	h.total = (uint64_t)st.st_size;
	hash_progress(0, &h);
	rc = digest_file(fd, blob->digest, &blob->size_bytes, hash_progress, &h,
			 e);
	if (rc < 0)
		return rc;
	if (fchmod(fd, 0444) < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "write the %s to disk",
			       artifact_names[kind]);
	return 0;
}

/* What the store has under a digest. */
enum there {
	THERE_NOT,
	THERE_GOOD,
	THERE_BAD /* size or content is not what its name says */
};

static enum there look_at_blob(const struct publish *p, enum artifact_kind kind,
			       const struct image_blob *blob)
{
	AUTO(fd)
	int fd = openat(p->store->blobs_fd, blob->digest,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct hashing h = { .p = p, .total = blob->size_bytes };
	char hex[IMAGE_DIGEST_LEN + 1];
	uint64_t size = 0;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? THERE_NOT : THERE_BAD;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != blob->size_bytes)
		return THERE_BAD;
	(void)snprintf(h.step, sizeof(h.step),
		       "checking the %s that is there already",
		       artifact_names[kind]);
	hash_progress(0, &h);
	return digest_file(fd, hex, &size, hash_progress, &h, NULL) == 0 &&
			       strcmp(hex, blob->digest) == 0
		       ? THERE_GOOD
		       : THERE_BAD;
}

/* Out of the way, for whoever wants to know what happened to it. */
static int quarantine(const struct publish *p, const struct image_blob *blob,
		      struct err *e)
{
	char path[96];

	(void)snprintf(path, sizeof(path), IMAGE_QUARANTINE "/%s",
		       blob->digest);
	if (mkdirat(p->store->blobs_fd, IMAGE_QUARANTINE, 0700) < 0 &&
	    errno != EEXIST)
		return err_sys(e, errno,
			       "make the quarantine of the image "
			       "store");
	if (renameat(p->store->blobs_fd, blob->digest, p->store->blobs_fd,
		     path) < 0)
		return err_sys(e, errno, "put blob %.12s aside", blob->digest);
	log_warn("blob %.12s of the image store was damaged: it is in "
		 "quarantine/ now, and replaced",
		 blob->digest);
	return 0;
}

/*
 * Gives a hashed file its name as a blob; the lock is held. One that is there
 * already (another image has it) stays, if it is what its name says.
 */
static int place(const struct publish *p, enum artifact_kind kind,
		 const struct image_blob *blob, enum there there, struct err *e)
{
	const char *file = p->files[kind];
	struct stat st;
	int rc = 0;

	if (fstatat(p->store->blobs_fd, blob->digest, &st,
		    AT_SYMLINK_NOFOLLOW) == 0) {
		if (there == THERE_NOT) /* it came meanwhile */
			there = look_at_blob(p, kind, blob);
		if (there == THERE_GOOD)
			return 0;
		rc = quarantine(p, blob, e);
	}
	if (rc < 0)
		return rc;
	if (renameat(p->staging_fd, file, p->store->blobs_fd, blob->digest) < 0)
		return err_sys(e, errno, "move %s into the image store", file);
	return 0;
}

static int write_manifest(const struct publish *p, struct image *img,
			  struct err *e)
{
	AUTO(json) json_t *j = image_to_json(img);
	AUTO(free)
	char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
	struct image checked;
	int rc;

	if (!text)
		return err_sys(e, ENOMEM, "write the manifest");
	/* What we could not read back must not be written. */
	rc = image_from_json(j, &checked, e);
	if (rc < 0) {
		if (e)
			(void)strcpy(e->code, "recipe_invalid");
		return err_wrap(e, rc, "the recipe '%s' is faulty",
				img->recipe);
	}
	*img = checked;
	return file_replace_content(p->staging_fd, "manifest.json", text,
				    strlen(text), 0444, e);
}

static int give_name(const struct publish *p, const struct image *img,
		     struct err *e)
{
	char file[IMAGE_NAME_MAX + 8];

	(void)snprintf(file, sizeof(file), "%s.json", img->name);
	if (fsync(p->store->blobs_fd) < 0)
		return err_sys(e, errno, "sync the image store");
	if (renameat2(p->staging_fd, "manifest.json", p->store->manifests_fd,
		      file, p->replace ? 0 : RENAME_NOREPLACE) < 0) {
		if (errno == EEXIST)
			return err_set(e, ERR_CONFLICT, "image_exists", EEXIST,
				       "there is an image '%s' already; remove "
				       "it first, or choose another name",
				       img->name);
		return err_sys(e, errno, "publish the image '%s'", img->name);
	}
	return fsync(p->store->manifests_fd) < 0
		       ? err_sys(e, errno, "write the image '%s' to the disk",
				 img->name)
		       : 0;
}

int image_publish(const struct publish *p, struct image *img, struct err *e)
{
	struct image_blob *const blobs[ARTIFACT_COUNT] = {
		[ARTIFACT_KERNEL] = &img->kernel,
		[ARTIFACT_INITRD] = &img->initrd,
		[ARTIFACT_ROOT] = &img->root,
	};
	enum there there[ARTIFACT_COUNT] = { THERE_NOT };
	AUTO(fd) int lock = -1;
	int rc = 0;

	for (unsigned k = 0; !rc && k < ARTIFACT_COUNT; k++) {
		if (p->files[k][0])
			rc = prepare(p, (enum artifact_kind)k, img, blobs[k],
				     e);
	}
	if (rc < 0)
		return rc;
	(void)clock_format_rfc3339(clock_wall_ms(), img->created);
	rc = write_manifest(p, img, e);
	if (rc < 0)
		return rc;
	/* Before the lock: it takes as long as reading the blob. */
	for (unsigned k = 0; k < ARTIFACT_COUNT; k++)
		if (p->files[k][0])
			there[k] = look_at_blob(p, (enum artifact_kind)k,
						blobs[k]);
	lock = image_store_lock(p->store, true, e);
	if (lock < 0)
		return lock;
	for (unsigned k = 0; !rc && k < ARTIFACT_COUNT; k++) {
		if (p->files[k][0])
			rc = place(p, (enum artifact_kind)k, blobs[k], there[k],
				   e);
	}
	return rc < 0 ? rc : give_name(p, img, e);
}
