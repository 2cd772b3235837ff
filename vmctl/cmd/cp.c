/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmctl cp: files and trees into or out of a VM, as tar streams over HTTP. The
 * same code makes and unpacks them here and in the guest (agent/tar.h);
 * docs/copy.md lists every case.
 *
 * Trust: what comes out of a VM is hostile. It can only appear under the name that
 * was asked for, nothing is followed through a link below it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/tar.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "vmctl/ctx.h"
#include "vmctl/spool.h"
#include "vmctl/term.h"

#define SHOW_STEP (UINT64_C(4) << 20)

static void show(uint64_t bytes)
{
	static uint64_t shown;
	char size[24], line[64];

	if (bytes < shown + SHOW_STEP)
		return;
	shown = bytes;
	(void)snprintf(line, sizeof(line), "%s copied",
		       format_size(bytes, size));
	progress_show(line, 0, 0);
}

/* "VM:PATH" -> 1 and both parts; a path of ours -> 0. ./a:b is ours. */
static int split(const char *word, char **ret_vm, const char **ret_path)
{
	const char *colon = strchr(word, ':');
	const char *slash = strchr(word, '/');

	if (!colon || colon == word || (slash && slash < colon))
		return 0;
	*ret_vm = strndup(word, (size_t)(colon - word));
	*ret_path = colon + 1;
	return *ret_vm ? 1 : -ENOMEM;
}

static char *files_path(const char *vm, const char *path, const char *more,
			struct err *e)
{
	AUTO(free) char *encoded = api_percent_encode(path);
	AUTO(free) char *suffix = NULL;

	if (path[0] != '/') {
		(void)usage_error(e,
				  "the path in the VM must be absolute: write "
				  "%.64s:/%.128s, not %.64s:%.128s",
				  vm, path, vm, path);
		return NULL;
	}
	if (!encoded ||
	    asprintf(&suffix, "/files?path=%s%s", encoded, more) < 0) {
		suffix = NULL;
		(void)err_sys(e, ENOMEM, "request");
		return NULL;
	}
	return ctx_path("vms", vm, suffix, e);
}

static void tell_left_out(void *unused, const char *name, const char *why)
{
	(void)unused;
	progress_clear();
	(void)fprintf(stderr, "vmctl: left out: %s: %s\n", name, why);
}

/* Something is missing in the copy: what the other end says, and our status. */
static int end_copy(struct ctx *ctx, const struct tar_left *left)
{
	const char *theirs = api_client_left_out(ctx->client);

	progress_clear();
	if (*theirs)
		(void)fprintf(stderr, "vmctl: left out by the guest: %s\n",
			      theirs);
	return *theirs || (left && left->count) ? EXIT_FAILURE : EXIT_OK;
}

/* The last component; "." for what has no name of its own. */
static char *last_component(const char *path)
{
	size_t len = strlen(path), start;

	while (len > 0 && path[len - 1] == '/')
		len--;
	start = len;
	while (start > 0 && path[start - 1] != '/')
		start--;
	if (len == start ||
	    (len - start == 2 && path[start] == '.' && path[start + 1] == '.'))
		return strdup(".");
	return strndup(path + start, len - start);
}

/* ---- into the VM --------------------------------------------------------- */

static ssize_t upload_read(void *ctx, void *data, size_t room, struct err *e)
{
	struct tar_writer *w = ctx;
	ssize_t n = tar_writer_read(w, data, room);

	show(tar_writer_bytes(w));
	return n < 0 ? err_set(e, ERR_INTERNAL, "read_failed", (int)-n, "%s",
			       tar_writer_error(w))
		     : n;
}

static ssize_t stdin_read(void *ctx, void *data, size_t room, struct err *e)
{
	ssize_t n;

	(void)ctx;
	do
		n = read(STDIN_FILENO, data, room);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, errno, "standard input") : n;
}

static int push_stream(struct ctx *ctx, const char *url, struct err *e)
{
	int rc = api_client_upload(ctx->client, url, stdin_read, NULL, e);

	return rc < 0 ? rc : end_copy(ctx, NULL);
}

static int push_tree(struct ctx *ctx, const char *source, const char *url,
		     struct err *e)
{
	struct tar_writer *w;
	int fd = spool_open(source, e), rc;

	if (fd == -1)
		return -EIO;
	w = tar_writer_new(source, fd < 0 ? -1 : fd, true);
	if (!w)
		return err_sys(e, errno, "cannot read %s", source);
	tar_writer_left(w)->tell = tell_left_out;
	rc = api_client_upload(ctx->client, url, upload_read, w, e);
	if (rc == 0)
		rc = end_copy(ctx, tar_writer_left(w));
	tar_writer_free(w);
	return rc;
}

static int push(struct ctx *ctx, const char *source, const char *vm,
		const char *path, struct err *e)
{
	bool raw = strcmp(source, "-") == 0;
	AUTO(free) char *url = files_path(vm, path, raw ? "" : "&at=true", e);

	if (!url)
		return -EINVAL;
	return raw ? push_stream(ctx, url, e) : push_tree(ctx, source, url, e);
}

/* ---- out of the VM ------------------------------------------------------- */

static int to_stdout(void *ctx, const void *data, size_t len, struct err *e)
{
	int rc = file_write_full(STDOUT_FILENO, data, len);

	(void)ctx;
	return rc < 0 ? err_sys(e, -rc, "standard output") : 0;
}

static int reader_failed(struct tar_reader *r, int rc, struct err *e)
{
	if (rc == -EPROTO)
		return err_set(e, ERR_PROTOCOL, "bad_archive", EPROTO,
			       "what the guest sent is wrong: %s",
			       tar_reader_error(r));
	return err_set(e, rc == -ENOSPC ? ERR_NO_SPACE : ERR_CONFLICT,
		       rc == -ENOSPC ? "disk_full" : "copy_failed", -rc, "%s",
		       tar_reader_error(r));
}

static int to_reader(void *ctx, const void *data, size_t len, struct err *e)
{
	struct tar_reader *r = ctx;
	int rc = tar_reader_feed(r, data, len);

	show(tar_reader_bytes(r));
	return rc < 0 ? reader_failed(r, rc, e) : 0;
}

static int pull_tree(struct ctx *ctx, const char *url, const char *path,
		     const char *destination, struct err *e)
{
	/* Owner is who runs vmctl; what could be a trap on this host is not made:
	 * devices, pipes, set-id bits. */
	static const struct tar_policy policy = { .through = true,
						  .mode_mask = 0777 };
	AUTO(free) char *name = last_component(path);
	struct tar_reader *r =
		name ? tar_reader_new_at(destination, name, &policy) : NULL;
	int rc;

	if (!r)
		return err_sys(e, ENOMEM, "copy");
	tar_reader_left(r)->tell = tell_left_out;
	rc = api_client_download(ctx->client, url, to_reader, r, e);
	if (rc == 0) {
		rc = tar_reader_finish(r);
		rc = rc < 0 ? reader_failed(r, rc, e)
			    : end_copy(ctx, tar_reader_left(r));
	}
	tar_reader_free(r);
	return rc;
}

static int pull(struct ctx *ctx, const char *vm, const char *path,
		const char *destination, struct err *e)
{
	AUTO(free) char *url = files_path(vm, path, "", e);
	int rc;

	if (!url)
		return -EINVAL;
	if (strcmp(destination, "-") != 0)
		return pull_tree(ctx, url, path, destination, e);
	rc = api_client_download(ctx->client, url, to_stdout, NULL, e);
	return rc < 0 ? rc : end_copy(ctx, NULL);
}

int cmd_cp(struct ctx *ctx, const struct args *args)
{
	const char *source = args->operands[0],
		   *destination = args->operands[1];
	AUTO(free) char *from_vm = NULL;
	AUTO(free) char *to_vm = NULL;
	const char *from = source, *to = destination;
	struct err e = ERR_INIT;
	int rc = 0;

	if (split(source, &from_vm, &from) < 0 ||
	    split(destination, &to_vm, &to) < 0)
		rc = err_sys(&e, ENOMEM, "copy");
	else if (!from_vm == !to_vm)
		rc = usage_error(&e,
				 "one of SOURCE and DESTINATION must be "
				 "VM:PATH; usage: vmctl cp %s",
				 args->command->operands);
	else if (to_vm)
		rc = push(ctx, source, to_vm, to, &e);
	else
		rc = pull(ctx, from_vm, from, destination, &e);
	progress_clear();
	return rc < 0 ? ctx_fail(ctx, &e) : rc;
}
