/* SPDX-License-Identifier: Apache-2.0 */
/* See build.h. */
#include "images/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "images/publish.h"
#include "images/recipe.h"
#include "images/report.h"

static void publish_progress(const char *step, uint64_t done, uint64_t total,
			     void *data)
{
	(void)data;
	report_progress(step, done, total);
}

static int check_request(const struct build_request *q,
			 const struct recipe *recipe, struct err *e)
{
	int rc = 0;

	if (!parse_name_ok(q->name))
		return err_set(e, ERR_INVALID, "name_invalid", 0,
			       "'%.80s' is not a name for an image: 1 to %d "
			       "lower-case letters, digits, '.', '_' and '-', "
			       "beginning with a letter or a digit",
			       q->name, IMAGE_NAME_MAX);
	if (!parse_name_ok(q->staging_id))
		return err_set(e, ERR_INVALID, "staging_invalid", 0,
			       "'%.80s' is not a name for a staging directory",
			       q->staging_id);
	if (q->option_count > RECIPE_OPTIONS_MAX)
		return err_set(e, ERR_INVALID, "option_invalid", 0,
			       "At most %d options are taken",
			       RECIPE_OPTIONS_MAX);
	for (size_t i = 0; !rc && i < q->option_count; i++)
		rc = recipe_check_option(recipe, q->options[i], e);
	return rc;
}

static int check_name_free(struct image_store *s, const char *name,
			   struct err *e)
{
	struct err ignored = ERR_INIT;
	struct image img;

	/* A damaged image counts as present. */
	if (image_store_read_manifest(s, name, &img, &ignored) < 0 &&
	    ignored.kind == ERR_NOT_FOUND)
		return 0;
	return err_set(e, ERR_CONFLICT, "image_exists", EEXIST,
		       "there is an image '%s' already; remove it first, or "
		       "choose another name",
		       name);
}

/* Both under the lock that a sweep takes (sweep.c). */
static int make_locked(const struct image_store *s, const char *id, int *ret_fd,
		       struct err *e)
{
	AUTO(fd) int fd = -1;

	if (mkdirat(s->staging_fd, id, 0700) < 0) {
		if (errno == EEXIST)
			return err_set(e, ERR_CONFLICT, "staging_exists",
				       EEXIST,
				       "a build with the staging directory "
				       "'%s' exists already",
				       id);
		return err_sys(e, errno, "create staging/%s", id);
	}
	fd = openat(s->staging_fd, id,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Held until we end: a sweep sees that the owner lives. */
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, errno, "open staging/%s", id);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int make_staging(const struct image_store *s, const char *id,
			int *ret_fd, struct err *e)
{
	int rc;

	if (flock(s->staging_fd, LOCK_SH) < 0)
		return err_sys(e, errno, "lock the staging directories");
	rc = make_locked(s, id, ret_fd, e);
	(void)flock(s->staging_fd, LOCK_UN);
	return rc;
}

static int build_in(const struct build_request *q, struct image_store *s,
		    const struct recipe *recipe, int staging_fd,
		    struct image *img, struct err *e)
{
	AUTO(free) char *path = NULL;
	struct utsname uts;
	struct publish publish = { .store = s,
				   .staging_fd = staging_fd,
				   .replace = q->replace,
				   .progress = publish_progress };
	struct recipe_run run = { .recipe = recipe,
				  .options = q->options,
				  .option_count = q->option_count,
				  .no_jail = q->no_jail,
				  .publish = &publish,
				  .img = img };
	int rc;

	if (uname(&uts) < 0 ||
	    asprintf(&path, "%s/staging/%s", s->dir, q->staging_id) < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "build the image");
	}
	run.staging_path = path;
	(void)snprintf(img->name, sizeof(img->name), "%s", q->name);
	(void)snprintf(img->recipe, sizeof(img->recipe), "%s", recipe->name);
	(void)snprintf(img->arch, sizeof(img->arch), "%.15s", uts.machine);
	rc = recipe_run(&run, e);
	return rc < 0 ? rc : image_publish(&publish, img, e);
}

int image_build(const struct build_request *request, struct image *ret,
		struct err *e)
{
	AUTO(recipe) struct recipe recipe = { .name = "" };
	struct image img = { .name = "" };
	struct image_store *s;
	int rc = recipe_open(request->recipe, &recipe, e), fd = -1;

	if (!rc)
		rc = check_request(request, &recipe, e);
	if (rc < 0)
		return rc;
	s = image_store_open(request->store_dir, e);
	if (!s)
		return -EIO;
	if (!request->replace)
		rc = check_name_free(s, request->name, e);
	if (!rc)
		rc = make_staging(s, request->staging_id, &fd, e);
	if (!rc) {
		rc = build_in(request, s, &recipe, fd, &img, e);
		close_fd(&fd); /* the sweep takes the lock */
		(void)image_store_sweep_one(s, request->staging_id, NULL);
	}
	image_store_free(s);
	if (!rc)
		*ret = img;
	return rc;
}
