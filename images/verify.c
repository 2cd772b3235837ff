/* SPDX-License-Identifier: Apache-2.0 */
/* See verify.h. */
#include "images/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "images/digest.h"
#include "images/report.h"
#include "images/store_internal.h"

struct verifying {
	char step[120];
	uint64_t total;
};

static void show(uint64_t done, void *data)
{
	const struct verifying *v = data;

	report_progress(v->step, done, v->total);
}

static int verify_blob(const struct image_store *s, const struct image *img,
		       const struct image_blob *blob, const char *what,
		       struct verify_result *result, struct err *e)
{
	struct verifying v = { .total = blob->size_bytes };
	char hex[IMAGE_DIGEST_LEN + 1];
	AUTO(fd) int fd = -1;
	uint64_t size = 0;
	int rc;

	if (!blob->digest[0])
		return 0;
	(void)snprintf(v.step, sizeof(v.step), "checking the %s of '%s'", what,
		       img->name);
	fd = openat(s->blobs_fd, blob->digest,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open blob %.12s", blob->digest);
	show(0, &v);
	rc = digest_file(fd, hex, &size, show, &v, e);
	if (rc < 0)
		return err_wrap(e, rc, "image '%s'", img->name);
	if (strcmp(hex, blob->digest) != 0)
		return err_set(e, ERR_CORRUPT, "image_corrupt", 0,
			       "image '%s' is damaged: the content of its %s "
			       "(blob %.12s) has changed; remove the image and "
			       "build it again",
			       img->name, what, blob->digest);
	result->blobs++;
	result->bytes += size;
	return 0;
}

static int verify_one(struct image_store *s, const char *ref,
		      struct verify_result *result, struct err *e)
{
	struct image img;
	int rc = image_store_get(s, ref, &img, e);

	if (!rc)
		rc = verify_blob(s, &img, &img.kernel, "kernel", result, e);
	if (!rc)
		rc = verify_blob(s, &img, &img.initrd, "initrd", result, e);
	if (!rc)
		rc = verify_blob(s, &img, &img.root, "root disk", result, e);
	if (!rc)
		result->images++;
	return rc;
}

int image_verify(const char *store_dir, const char *ref,
		 struct verify_result *ret, struct err *e)
{
	struct verify_result result = { .images = 0 };
	char(*names)[IMAGE_NAME_MAX + 1] = NULL;
	struct image_store *s = image_store_open(store_dir, e);
	size_t count = 0;
	int rc = 0;

	if (!s)
		return -EIO;
	if (ref)
		rc = verify_one(s, ref, &result, e);
	else
		rc = image_store_names(s, &names, &count, e);
	for (size_t i = 0; !rc && i < count; i++)
		rc = verify_one(s, names[i], &result, e);
	free(names);
	image_store_free(s);
	if (!rc)
		*ret = result;
	return rc;
}
