/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the image store (see store.h). Removal and sweeping are in sweep.c,
 * putting things in is publish.c, part of vmd-image.
 */
#include "images/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lookup.h"
#include "base/parse.h"
#include "base/suggest.h"
#include "images/store_internal.h"

enum {
	IMAGES_MAX = 4096
};

static const char suffix[] = ".json";

static int open_part(const char *dir, const char *part, int *ret_fd,
		     struct err *e)
{
	AUTO(free) char *path = NULL;
	int rc;

	if (asprintf(&path, "%s/%s", dir, part) < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "image store %s", dir);
	}
	rc = file_make_dirs(path, 0700, e);
	if (rc < 0)
		return err_wrap(e, rc, "image store %s", dir);
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return err_sys(e, errno, "open %s", path);
	return 0;
}

struct image_store *image_store_open(const char *dir, struct err *e)
{
	struct image_store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s) {
		(void)err_sys(e, ENOMEM, "image store %s", dir);
		return NULL;
	}
	s->blobs_fd = s->manifests_fd = s->staging_fd = -1;
	rc = open_part(dir, "blobs/sha256", &s->blobs_fd, e);
	if (!rc)
		rc = open_part(dir, "manifests", &s->manifests_fd, e);
	if (!rc)
		rc = open_part(dir, "staging", &s->staging_fd, e);
	if (!rc) {
		s->dir = realpath(dir, NULL);
		if (!s->dir)
			rc = err_sys(e, errno, "image store %s", dir);
	}
	if (rc < 0) {
		image_store_free(s);
		return NULL;
	}
	return s;
}

void image_store_free(struct image_store *s)
{
	if (!s)
		return;
	close_fd(&s->blobs_fd);
	close_fd(&s->manifests_fd);
	close_fd(&s->staging_fd);
	free(s->dir);
	free(s);
}

int image_store_lock(const struct image_store *s, bool wait, struct err *e)
{
	AUTO(fd)
	int fd = openat(s->manifests_fd, "../lock",
			O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(e, errno, "open the lock of the image store");
	while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
		if (errno != EINTR)
			return err_sys(e, errno, "lock the image store");
	}
	return take_fd(&fd);
}

static int damaged(struct err *e, int rc, const char *name)
{
	/* An error of the host stays what it is; bad content is corruption. */
	if (e && (e->kind == ERR_INVALID || e->kind == ERR_LIMIT)) {
		e->kind = ERR_CORRUPT;
		(void)strcpy(e->code, "image_corrupt");
		rc = -EBADMSG;
	}
	return err_wrap(e, rc,
			"the manifest of image '%s' is damaged; remove the "
			"image and build it again",
			name);
}

int image_store_read_manifest(const struct image_store *s, const char *name,
			      struct image *ret, struct err *e)
{
	struct err own = ERR_INIT;
	char file[IMAGE_NAME_MAX + sizeof(suffix)];
	AUTO(free) char *text = NULL;
	AUTO(json) json_t *j = NULL;
	struct image img = { .name = "" };
	size_t len = 0;
	int rc;

	if (!e)
		e = &own;
	if (!parse_name_ok(name))
		return err_set(e, ERR_NOT_FOUND, "image_not_found", ENOENT,
			       "there is no image '%.80s'", name);
	(void)snprintf(file, sizeof(file), "%s%s", name, suffix);
	rc = file_read(s->manifests_fd, file, MANIFEST_BYTES_MAX, &text, &len,
		       e);
	if (rc == -ENOENT)
		return err_set(e, ERR_NOT_FOUND, "image_not_found", ENOENT,
			       "there is no image '%s'", name);
	if (!rc)
		rc = json_parse_strict(text, len, file, &j, e);
	if (!rc)
		rc = image_from_json(j, &img, e);
	if (!rc && strcmp(img.name, name) != 0)
		rc = err_set(e, ERR_INVALID, "manifest_invalid", 0,
			     "it says that it is '%s'", img.name);
	if (rc)
		return damaged(e, rc, name);
	*ret = img;
	return 0;
}

static int check_blob(const struct image_store *s, const struct image *img,
		      const struct image_blob *blob, const char *what,
		      struct err *e)
{
	struct stat st;

	if (!blob->digest[0])
		return 0;
	if (fstatat(s->blobs_fd, blob->digest, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_sys(e, errno, "image '%s': %s", img->name,
				       what);
		return err_set(e, ERR_CORRUPT, "image_corrupt", 0,
			       "image '%s' is damaged: its %s (blob %.12s) is "
			       "missing; remove the image and build it again",
			       img->name, what, blob->digest);
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != blob->size_bytes)
		return err_set(e, ERR_CORRUPT, "image_corrupt", 0,
			       "image '%s' is damaged: its %s (blob %.12s) has "
			       "%lld bytes instead of %llu; remove the image "
			       "and build it again",
			       img->name, what, blob->digest,
			       (long long)st.st_size,
			       (unsigned long long)blob->size_bytes);
	return 0;
}

int image_store_check_blobs(const struct image_store *s,
			    const struct image *img, struct err *e)
{
	int rc = check_blob(s, img, &img->kernel, "kernel", e);

	if (!rc)
		rc = check_blob(s, img, &img->initrd, "initrd", e);
	if (!rc)
		rc = check_blob(s, img, &img->root, "root disk", e);
	return rc;
}

/* "debian.json" to "debian"; false for what is not a manifest's name. */
static bool name_of_file(const char *file, char ret[IMAGE_NAME_MAX + 1])
{
	size_t len = strlen(file);

	if (len < sizeof(suffix) || len - (sizeof(suffix) - 1) > IMAGE_NAME_MAX)
		return false;
	len -= sizeof(suffix) - 1;
	if (strcmp(file + len, suffix) != 0)
		return false;
	memcpy(ret, file, len);
	ret[len] = '\0';
	return parse_name_ok(ret);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

int image_store_names(const struct image_store *s,
		      char (**ret_names)[IMAGE_NAME_MAX + 1], size_t *ret_count,
		      struct err *e)
{
	char(*names)[IMAGE_NAME_MAX + 1] =
		calloc(IMAGES_MAX, IMAGE_NAME_MAX + 1);
	int fd = openat(s->manifests_fd, ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t count = 0;
	int rc = 0;

	if (!names || !dir) {
		rc = err_sys(e, names ? errno : ENOMEM, "list %s/manifests",
			     s->dir);
		free(names);
		if (dir)
			(void)closedir(dir);
		else if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	while (!rc && (errno = 0, entry = readdir(dir))) {
		if (!name_of_file(entry->d_name, names[count]))
			continue;
		if (++count == IMAGES_MAX)
			rc = err_set(e, ERR_LIMIT, "too_many_images", 0,
				     "%s has more than %d images", s->dir,
				     IMAGES_MAX - 1);
	}
	if (!rc && errno)
		rc = err_sys(e, errno, "list %s/manifests", s->dir);
	(void)closedir(dir);
	if (rc < 0) {
		free(names);
		return rc;
	}
	qsort(names, count, sizeof(names[0]), compare_names);
	*ret_names = names;
	*ret_count = count;
	return 0;
}

int image_store_list(struct image_store *s, struct image **ret,
		     size_t *ret_count, struct err *e)
{
	char(*names)[IMAGE_NAME_MAX + 1] = NULL;
	struct image *images;
	size_t count = 0, n = 0;
	int rc = image_store_names(s, &names, &count, e);

	if (rc < 0)
		return rc;
	images = calloc(count + 1, sizeof(*images));
	if (!images) {
		free(names);
		return err_sys(e, ENOMEM, "list images");
	}
	for (size_t i = 0; i < count; i++) {
		struct err one = ERR_INIT;
		struct image *img = &images[n];

		rc = image_store_read_manifest(s, names[i], img, &one);
		if (rc < 0 && one.kind == ERR_NOT_FOUND)
			continue; /* removed meanwhile */
		if (!rc)
			rc = image_store_check_blobs(s, img, &one);
		if (rc < 0) {
			memcpy(img->name, names[i], sizeof(names[i]));
			img->damaged = true;
		}
		n++;
	}
	free(names);
	*ret = images;
	*ret_count = n;
	return 0;
}

/* There is no such image; one of a similar name may be meant. */
static void suggest_image(const struct image *images, size_t count,
			  const char *ref, struct err *e)
{
	struct suggest near;

	suggest_begin(&near, ref);
	for (size_t i = 0; i < count; i++)
		if (!images[i].damaged)
			suggest_offer(&near, images[i].name);
	(void)err_subject(e, -ENOENT, ref, suggest_end(&near));
}

static int find_by_id(struct image_store *s, const char *ref, struct image *ret,
		      struct err *e)
{
	AUTO(free) struct image *images = NULL;
	const struct image *found;
	struct lookup l;
	size_t count = 0;
	int rc = image_store_list(s, &images, &count, e);

	if (rc < 0)
		return rc;
	lookup_begin(&l, ref);
	for (size_t i = 0; i < count; i++)
		if (!images[i].damaged)
			lookup_offer(&l, images[i].id, images[i].name,
				     &images[i]);
	found = lookup_end(&l, "image", "image", e);
	if (!found) {
		if (!l.count)
			suggest_image(images, count, ref, e);
		return l.count ? -EINVAL : -ENOENT;
	}
	*ret = *found;
	return 0;
}

int image_store_get(struct image_store *s, const char *ref, struct image *ret,
		    struct err *e)
{
	struct err own = ERR_INIT;
	struct image img;
	int rc;

	if (!e)
		e = &own;
	/* No name is as long as an id: what is found by name is no other's id. */
	rc = image_store_read_manifest(s, ref, &img, e);
	if (rc < 0 && e->kind == ERR_NOT_FOUND)
		return find_by_id(s, ref, ret, e);
	if (!rc)
		rc = image_store_check_blobs(s, &img, e);
	if (rc < 0)
		return rc;
	*ret = img;
	return 0;
}

char *image_store_blob_path(const struct image_store *s,
			    const struct image_blob *blob)
{
	char *path = NULL;

	if (!blob->digest[0] ||
	    asprintf(&path, "%s/blobs/sha256/%s", s->dir, blob->digest) < 0)
		return NULL;
	return path;
}
