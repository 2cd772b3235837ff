/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmctl cp: files and trees into or out of a VM, as tar streams over HTTP. A
 * download runs on a thread of its own and feeds the extraction by a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "vmctl/ctx.h"
#include "vmctl/tar_in.h"
#include "vmctl/tar_out.h"
#include "vmctl/term.h"

/* Bytes of a stream that surely hold its first header, long name included. */
enum {
	HEAD_MAX = 16384
};
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

static char *files_path(const char *vm, const char *path, struct err *e)
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
	if (!encoded || asprintf(&suffix, "/files?path=%s", encoded) < 0) {
		suffix = NULL;
		(void)err_sys(e, ENOMEM, "request");
		return NULL;
	}
	return ctx_path("vms", vm, suffix, e);
}

/* ---- into the VM --------------------------------------------------------- */

static int take_head(void *ctx, const void *data, size_t len, struct err *e)
{
	struct buf *head = ctx;
	size_t room = HEAD_MAX - buf_len(head);

	if (buf_append(head, data, len < room ? len : room) < 0)
		return err_sys(e, ENOMEM, "copy");
	if (buf_len(head) < HEAD_MAX &&
	    tar_first_is_directory(buf_head(head), buf_len(head)) < 0)
		return 0;
	/* Enough was seen: end the download. */
	return err_set(e, ERR_CANCELLED, "head_seen", 0, "enough");
}

/* 1: a directory of the guest, 0: a file or nothing, negative: an error. */
static int guest_directory(struct ctx *ctx, const char *vm, const char *path,
			   struct err *e)
{
	AUTO(free) char *url = files_path(vm, path, e);
	AUTO(buf) struct buf head = BUF_INIT(HEAD_MAX);
	struct err why = ERR_INIT;
	int rc;

	if (!url)
		return -EINVAL;
	rc = api_client_download(ctx->client, url, take_head, &head, &why);
	if (buf_len(&head) > 0)
		return tar_first_is_directory(buf_head(&head),
					      buf_len(&head)) == 1;
	/* No such VM, no daemon: an error. No such file: it will be made. */
	if (rc < 0 && (why.kind == ERR_UNAVAILABLE ||
		       why.kind == ERR_PERMISSION || why.kind == ERR_CONFLICT ||
		       strcmp(why.code, "vm_not_found") == 0)) {
		*e = why;
		return rc;
	}
	return 0;
}

static char *last_component(const char *path)
{
	size_t len = strlen(path), start;

	while (len > 0 && path[len - 1] == '/')
		len--;
	start = len;
	while (start > 0 && path[start - 1] != '/')
		start--;
	return strndup(path + start, len - start);
}

/* "." and ".." have no name of their own: the directory's real one. */
static char *source_name(const char *source)
{
	char *name = last_component(source);
	AUTO(free) char *real = NULL;

	if (name && *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return name;
	free(name);
	real = realpath(source, NULL);
	return real ? last_component(real) : NULL;
}

struct upload {
	struct tar_out *tar;
};

static ssize_t upload_read(void *ctx, void *data, size_t room, struct err *e)
{
	struct upload *u = ctx;
	ssize_t n = tar_out_read(u->tar, data, room, e);

	show(tar_out_bytes(u->tar));
	return n;
}

static ssize_t stdin_read(void *ctx, void *data, size_t room, struct err *e)
{
	ssize_t n = read(STDIN_FILENO, data, room);

	(void)ctx;
	return n < 0 ? err_sys(e, errno, "standard input") : n;
}

static int push(struct ctx *ctx, const char *source, const char *vm,
		const char *path, struct err *e)
{
	AUTO(free) char *name = NULL;
	AUTO(free) char *parent = NULL;
	AUTO(free) char *url = NULL;
	struct upload upload = { .tar = NULL };
	size_t len = strlen(path);
	bool raw = strcmp(source, "-") == 0;
	int rc = 1;

	if (!raw && access(source, F_OK) < 0)
		return err_sys(e, errno, "cannot read %s", source);
	if (!raw && (len == 0 || path[len - 1] != '/'))
		rc = guest_directory(ctx, vm, path, e);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		parent = strdup(path);
		name = raw ? NULL : source_name(source);
	} else {
		const char *slash = strrchr(path, '/');

		name = last_component(path);
		parent = strndup(path,
				 slash == path ? 1 : (size_t)(slash - path));
	}
	if (!parent || (!raw && (!name || !*name)))
		return usage_error(e, "'%.200s' has no name to copy it under",
				   source);
	url = files_path(vm, parent, e);
	if (!url)
		return -EINVAL;
	if (raw)
		return api_client_upload(ctx->client, url, stdin_read, NULL, e);
	upload.tar = tar_out_new(source, name, e);
	if (!upload.tar)
		return -EIO;
	rc = api_client_upload(ctx->client, url, upload_read, &upload, e);
	tar_out_free(upload.tar);
	return rc;
}

/* ---- out of the VM ------------------------------------------------------- */

struct download {
	struct ctx *ctx;
	const char *url;
	int fd; /* the pipe's end for writing, owned by the thread */
	int rc;
	struct err e;
};

static int to_fd(void *ctx, const void *data, size_t len, struct err *e)
{
	const struct download *d = ctx;
	int rc = file_write_full(d->fd, data, len);

	return rc < 0 ? err_sys(e, -rc,
				d->fd == STDOUT_FILENO ? "standard output"
						       : "copy")
		      : 0;
}

static void *download_main(void *ctx)
{
	struct download *d = ctx;

	d->rc = api_client_download(d->ctx->client, d->url, to_fd, d, &d->e);
	(void)close(d->fd);
	return NULL;
}

/* DESTINATION/name when it is a directory, else DESTINATION. */
static char *pull_target(const char *destination, const char *path,
			 struct err *e)
{
	AUTO(free) char *name = last_component(path);
	size_t len = strlen(destination);
	char *target = NULL;
	struct stat st;
	bool exists = stat(destination, &st) == 0;

	if (!exists && len > 0 && destination[len - 1] == '/') {
		(void)err_sys(e, ENOENT, "cannot copy into %s", destination);
		return NULL;
	}
	if (!exists || !S_ISDIR(st.st_mode))
		return strdup(destination);
	if (!name || !*name) {
		(void)usage_error(e,
				  "'%.200s' has no name to copy it under; "
				  "name a destination that does not exist",
				  path);
		return NULL;
	}
	if (asprintf(&target, "%s%s%s", destination,
		     destination[len - 1] == '/' ? "" : "/", name) < 0)
		return NULL;
	return target;
}

static int pull_tree(struct ctx *ctx, const char *url, const char *target,
		     struct err *e)
{
	struct download d = { .ctx = ctx, .url = url, .fd = -1 };
	pthread_t thread;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	d.fd = fds[1];
	rc = pthread_create(&thread, NULL, download_main, &d);
	if (rc != 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return err_sys(e, rc, "thread");
	}
	rc = tar_in_extract(fds[0], target, show, e);
	/* Ends a download that goes on: its next write fails with EPIPE. */
	(void)close(fds[0]);
	(void)pthread_join(thread, NULL);
	/* A broken download explains a broken archive; not the other way. */
	if (d.rc < 0 && !(rc < 0 && d.e.sys == EPIPE)) {
		*e = d.e;
		return d.rc;
	}
	return rc;
}

static int pull(struct ctx *ctx, const char *vm, const char *path,
		const char *destination, struct err *e)
{
	AUTO(free) char *url = files_path(vm, path, e);
	AUTO(free) char *target = NULL;
	struct download d = { .fd = STDOUT_FILENO };

	if (!url)
		return -EINVAL;
	if (strcmp(destination, "-") == 0)
		return api_client_download(ctx->client, url, to_fd, &d, e);
	target = pull_target(destination, path, e);
	return target ? pull_tree(ctx, url, target, e) : -EINVAL;
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
	return rc < 0 ? ctx_fail(ctx, &e) : EXIT_OK;
}
