/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a recipe (see recipe.h) and understanding what it says.
 *
 * The recipe is the first process of a PID namespace (recipe_jail.c): when it is
 * killed, or we are, every process below it ends with it and everything it mounted
 * is gone, so that removing the staging directory can never walk into a mounted
 * /dev. Without a jail (--no-jail) it runs as us, and its process group is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/process.h"
#include "base/text.h"
#include "images/recipe.h"
#include "images/recipe_jail.h"
#include "images/report.h"

enum {
	LINE_MAX_BYTES = 1024,
	TAIL_BYTES = 4096,
	ENV_MAX = 32
};

struct running {
	const struct recipe_run *run;
	struct loop *loop;
	struct process child;
	struct process_exit end;
	struct loop_source said, output, ended;
	struct buf line; /* unfinished line of the protocol */
	char tail[TAIL_BYTES]; /* last output of its tools */
	size_t tail_len;
	char step[200];
	uint64_t done, total;
	bool cancelled, too_long;
	struct err told; /* its own word on why it failed */
};

/* Copies text with anything but printable ASCII made harmless. */
static void clean_copy(char *to, size_t size, const char *from)
{
	size_t i = 0;

	for (; i < size - 1 && from[i]; i++)
		to[i] = text_printable(from[i]) ? from[i] : '?';
	to[i] = '\0';
}

static void on_set(struct running *r, char *rest)
{
	struct image *img = r->run->img;
	char *value = rest + strcspn(rest, " ");
	const struct {
		const char *name;
		char *to;
		size_t size;
	} texts[] = {
		{ "kernel_release", img->kernel_release,
		  sizeof(img->kernel_release) },
		{ "kernel_format", img->kernel_format,
		  sizeof(img->kernel_format) },
		{ "cmdline", img->cmdline, sizeof(img->cmdline) },
		{ "command", img->command, sizeof(img->command) },
	};

	if (*value)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strcmp(rest, texts[i].name) == 0)
			clean_copy(texts[i].to, texts[i].size, value);
	}
	if (strcmp(rest, "init") == 0)
		img->init = strcmp(value, "system") == 0 ? IMAGE_INIT_SYSTEM
							 : IMAGE_INIT_AGENT;
	if (strcmp(rest, "min_memory_bytes") == 0)
		img->min_memory_bytes = strtoull(value, NULL, 10);
}

static void on_artifact(struct running *r, char *rest)
{
	char *file = rest + strcspn(rest, " ");

	if (*file)
		*file++ = '\0';
	if (strchr(file, '/') || file[0] == '.' || !file[0])
		return; /* publishing will miss it and say so */
	for (unsigned k = 0; k < ARTIFACT_COUNT; k++) {
		if (strcmp(rest, artifact_names[k]) == 0)
			clean_copy(r->run->publish->files[k],
				   sizeof(r->run->publish->files[k]), file);
	}
}

static void on_error(struct running *r, char *rest)
{
	char kind[24] = "", code[48] = "";
	int at = 0;

	(void)sscanf(rest, "%23[a-z_] %47[a-z0-9_] %n", kind, code, &at);
	if (!at || r->told.kind != ERR_NONE)
		return;
	r->told.kind = err_kind_from_name(kind);
	memcpy(r->told.code, code, sizeof(code));
	clean_copy(r->told.msg, sizeof(r->told.msg), rest + at);
}

static void on_line(struct running *r, char *line)
{
	char *rest = strstr(line, ": ");

	if (!rest)
		return;
	*rest = '\0';
	rest += 2;
	if (strcmp(line, "step") == 0) {
		clean_copy(r->step, sizeof(r->step), rest);
		report_progress(r->step, r->done, r->total);
	} else if (strcmp(line, "progress") == 0) {
		char *end = NULL;

		r->done = strtoull(rest, &end, 10) & INT32_MAX;
		r->total = strtoull(end, NULL, 10) & INT32_MAX;
		report_progress(r->step, r->done, r->total);
	} else if (strcmp(line, "set") == 0) {
		on_set(r, rest);
	} else if (strcmp(line, "artifact") == 0) {
		on_artifact(r, rest);
	} else if (strcmp(line, "error") == 0) {
		on_error(r, rest);
	}
}

static void take_lines(struct running *r)
{
	for (;;) {
		const uint8_t *head = buf_head(&r->line);
		size_t len = buf_len(&r->line);
		const uint8_t *nl = len ? memchr(head, '\n', len) : NULL;
		char line[LINE_MAX_BYTES + 1];
		size_t n;

		if (!nl)
			return;
		n = (size_t)(nl - head);
		if (n <= LINE_MAX_BYTES) {
			memcpy(line, head, n);
			line[n] = '\0';
			on_line(r, line);
		}
		buf_consume(&r->line, n + 1);
	}
}

/* Reads what there is; false at the end of the pipe. */
static bool read_said(struct running *r)
{
	for (;;) {
		uint8_t *room = buf_reserve(&r->line, LINE_MAX_BYTES);
		ssize_t n;

		if (!room) { /* a line without an end: drop it */
			buf_consume(&r->line, buf_len(&r->line));
			continue;
		}
		n = read(r->said.fd, room, LINE_MAX_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		buf_commit(&r->line, (size_t)n);
		take_lines(r);
	}
}

static void keep_tail(struct running *r, const char *data, size_t len)
{
	size_t over;

	if (len > sizeof(r->tail)) {
		data += len - sizeof(r->tail);
		len = sizeof(r->tail);
	}
	over = r->tail_len + len > sizeof(r->tail)
		       ? r->tail_len + len - sizeof(r->tail)
		       : 0;
	memmove(r->tail, r->tail + over, r->tail_len - over);
	memcpy(r->tail + r->tail_len - over, data, len);
	r->tail_len += len - over;
}

static bool read_output(struct running *r)
{
	char data[4096];

	for (;;) {
		ssize_t n = read(r->output.fd, data, sizeof(data));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		keep_tail(r, data, (size_t)n);
		(void)file_write_full(STDERR_FILENO, data, (size_t)n);
	}
}

static void said_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	if (!read_said(source->data))
		loop_remove(source);
}

static void output_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	if (!read_output(source->data))
		loop_remove(source);
}

static void child_ended(struct loop_source *source, uint32_t events)
{
	struct running *r = source->data;

	(void)events;
	if (!process_reap(&r->child, &r->end))
		return;
	/* A child of the child may still hold the pipes: do not wait for it. */
	if (loop_source_active(&r->said))
		(void)read_said(r);
	if (loop_source_active(&r->output))
		(void)read_output(r);
	loop_stop(r->loop, 0);
}

static void on_signal(const siginfo_t *info, void *data)
{
	struct running *r = data;

	(void)info;
	if (r->cancelled)
		return;
	r->cancelled = true;
	/* The recipe is in our group, so that who kills the group kills all of
	 * us; our own copy of the signal is blocked and read here. */
	if (getpgrp() == getpid())
		(void)kill(0, SIGTERM);
	(void)process_signal(&r->child, SIGKILL);
}

/* The last line that the tools printed, or NULL. */
static const char *last_line(struct running *r, char *buf, size_t size)
{
	size_t end = r->tail_len, start;
	char raw[256];

	while (end && (r->tail[end - 1] == '\n' || r->tail[end - 1] == ' '))
		end--;
	start = end;
	while (start && r->tail[start - 1] != '\n' && end - start < 240)
		start--;
	if (start == end)
		return NULL;
	memcpy(raw, r->tail + start, end - start);
	raw[end - start] = '\0';
	clean_copy(buf, size, raw);
	return buf;
}

static int verdict(struct running *r, struct err *e)
{
	static const char full[] = "No space left on device";
	const char *name = r->run->recipe->name;
	char line[256];
	const char *last;

	if (r->cancelled)
		return err_set(e, ERR_CANCELLED, "operation_cancelled", 0,
			       "the build was cancelled");
	if (r->end.known && r->end.status == 0 && r->end.signal == 0 &&
	    r->told.kind == ERR_NONE)
		return 0;
	if (memmem(r->tail, r->tail_len, full, sizeof(full) - 1) ||
	    r->told.kind == ERR_NO_SPACE)
		return err_set(e, ERR_NO_SPACE, "disk_full", ENOSPC, "%s",
			       r->told.kind == ERR_NO_SPACE
				       ? r->told.msg
				       : "the disk of the image store became "
					 "full during the build. Free some "
					 "space and build again");
	last = last_line(r, line, sizeof(line));
	if (r->told.kind != ERR_NONE)
		return err_set(e, r->told.kind, r->told.code, 0, "%s%s%s%s",
			       r->told.msg, last ? " (last output: " : "",
			       last ? last : "", last ? ")" : "");
	if (r->end.signal)
		return err_set(e, ERR_INTERNAL, "recipe_failed", 0,
			       "the recipe '%s' was ended by signal %d while "
			       "%s",
			       name, r->end.signal, r->step);
	return err_set(e, ERR_INTERNAL, "recipe_failed", 0,
		       "the recipe '%s' failed with status %d while %s; its "
		       "last output: %s",
		       name, r->end.status, r->step, last ? last : "(none)");
}

/* Of our environment: how to reach the network, and by what vmd finds a process
 * of an operation. */
static bool passes_on(const char *variable)
{
	static const char *const names[] = { "http_proxy",   "https_proxy",
					     "ftp_proxy",    "no_proxy",
					     "HTTP_PROXY",   "HTTPS_PROXY",
					     "FTP_PROXY",    "NO_PROXY",
					     "VMD_OPERATION" };
	size_t len = strcspn(variable, "=");

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i]) == len &&
		    strncmp(variable, names[i], len) == 0)
			return true;
	return false;
}

/* The environment of the recipe; NULL when out of memory. */
static char **make_env(const struct recipe_run *run, const char *agent)
{
	char **env = calloc(ENV_MAX + RECIPE_OPTIONS_MAX, sizeof(*env));
	bool jailed = !run->no_jail;
	const char *const own[][2] = {
		{ "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
			  "/sbin:/bin" },
		{ "HOME", jailed ? "/tmp" : run->staging_path },
		{ "TMPDIR", jailed ? RECIPE_JAIL_BUILD : run->staging_path },
		{ "VMD_RECIPES",
		  jailed ? RECIPE_JAIL_RECIPES : run->recipe->dir },
		{ "VMD_AGENT",
		  agent ? jailed ? RECIPE_JAIL_AGENT : agent : "" },
	};
	size_t n = 0;
	bool ok = env != NULL;

	for (char **p = environ; ok && *p && n < ENV_MAX - 8; p++)
		if (passes_on(*p))
			ok = (env[n++] = strdup(*p)) != NULL;
	for (size_t i = 0; ok && i < ARRAY_LEN(own); i++)
		ok = asprintf(&env[n++], "%s=%s", own[i][0], own[i][1]) > 0;
	for (size_t i = 0; ok && i < run->option_count; i++)
		ok = asprintf(&env[n++], "VMD_OPT_%s", run->options[i]) > 0;
	if (!ok && env) {
		while (n)
			free(env[--n]);
		free(env);
		env = NULL;
	}
	return env;
}

static void free_env(char **env)
{
	for (char **p = env; env && *p; p++)
		free(*p);
	free(env);
}

static int start(struct running *r, int said_fd, int output_fd, struct err *e)
{
	const struct recipe_run *run = r->run;
	const struct process_fd fds[] = { { .from = output_fd, .to = 1 },
					  { .from = output_fd, .to = 2 },
					  { .from = said_fd, .to = 3 } };
	AUTO(free) char *found = process_find_program("vmd-agent");
	const char *agent = getenv("VMD_AGENT") ? getenv("VMD_AGENT") : found;
	AUTO(free) char *inside = NULL;
	struct recipe_jail jail;
	char **env;
	int rc = 0;

	if (asprintf(&inside, RECIPE_JAIL_RECIPES "/%s", run->recipe->name) <
	    0) {
		inside = NULL;
		return err_sys(e, ENOMEM, "run the recipe");
	}
	if (!run->no_jail)
		rc = recipe_jail_fill(&jail, run, agent,
				      run->publish->staging_fd, e);
	if (rc < 0)
		return rc;
	env = make_env(run, agent);
	if (!env)
		return err_sys(e, ENOMEM, "run the recipe");
	const char *argv[] = { "/bin/sh",
			       run->no_jail ? run->recipe->path : inside,
			       NULL };
	const struct process_spec spec = {
		.argv = argv,
		.envp = (const char *const *)(uintptr_t)env,
		.fds = fds,
		.fd_count = 3,
		.cwd = run->no_jail ? run->staging_path : NULL,
		.die_with_parent = true,
		.jail = run->no_jail ? NULL : &jail.spec,
		.identity = !run->no_jail && jail.has_identity ? &jail.identity
							       : NULL,
	};

	rc = process_spawn(&spec, &r->child, e);
	free_env(env);
	return rc < 0 ? err_wrap(e, rc, "run the recipe '%s'",
				 run->recipe->name)
		      : 0;
}

static int watch(struct running *r, int said_fd, int output_fd, struct err *e)
{
	sigset_t set;
	int rc;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	rc = loop_signals(r->loop, &set, on_signal, r, e);
	if (rc < 0)
		return rc;
	(void)file_set_nonblock(said_fd);
	(void)file_set_nonblock(output_fd);
	rc = loop_add(r->loop, &r->said, said_fd, EPOLLIN, said_ready, r);
	if (!rc)
		rc = loop_add(r->loop, &r->output, output_fd, EPOLLIN,
			      output_ready, r);
	if (!rc)
		rc = loop_add(r->loop, &r->ended, r->child.pidfd, EPOLLIN,
			      child_ended, r);
	return rc < 0 ? err_sys(e, -rc, "watch the recipe") : 0;
}

int recipe_run(const struct recipe_run *run, struct err *e)
{
	struct running r = {
		.run = run,
		.child = PROCESS_INIT,
		.said = LOOP_SOURCE_INIT,
		.output = LOOP_SOURCE_INIT,
		.ended = LOOP_SOURCE_INIT,
		.line = BUF_INIT((size_t)4 * LINE_MAX_BYTES),
		.step = "starting",
		.told = ERR_INIT,
	};
	int said[2] = { -1, -1 }, output[2] = { -1, -1 }, rc;

	if (pipe2(said, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0) {
		rc = err_sys(e, errno, "run the recipe");
		close_fd(&said[0]);
		close_fd(&said[1]);
		return rc;
	}
	r.loop = loop_new(e);
	rc = r.loop ? start(&r, said[1], output[1], e) : -ENOMEM;
	close_fd(&said[1]);
	close_fd(&output[1]);
	if (!rc) {
		rc = watch(&r, said[0], output[0], e);
		if (!rc)
			(void)loop_run(r.loop);
		else
			(void)process_signal(&r.child, SIGKILL);
	}
	loop_remove(&r.said);
	loop_remove(&r.output);
	loop_remove(&r.ended);
	if (!rc)
		rc = verdict(&r, e);
	process_close(&r.child);
	loop_free(r.loop);
	buf_done(&r.line);
	close_fd(&said[0]);
	close_fd(&output[0]);
	return rc;
}
