/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/separate.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/process_identity.h"
#include "vmd/priv/identity.h"
#include "vmd/priv/privops.h"
#include "vmd/priv/user.h"

/* Image builds need most file capabilities; these nobody here needs. */
static const unsigned unwanted[] = {
	CAP_SYS_MODULE,	  CAP_SYS_RAWIO,       CAP_SYS_BOOT,
	CAP_SYS_TIME,	  CAP_SYS_PACCT,       CAP_MAC_ADMIN,
	CAP_MAC_OVERRIDE, CAP_SYSLOG,	       CAP_AUDIT_CONTROL,
	CAP_WAKE_ALARM,	  CAP_LINUX_IMMUTABLE, CAP_SYS_TTY_CONFIG,
};

static int give_up_some(struct err *e)
{
	if (capng_get_caps_process() < 0)
		return err_set(e, ERR_INTERNAL, "capabilities_failed", 0,
			       "cannot read the capabilities of this process");
	for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
		(void)capng_update(CAPNG_DROP,
				   CAPNG_EFFECTIVE | CAPNG_PERMITTED |
					   CAPNG_INHERITABLE |
					   CAPNG_BOUNDING_SET,
				   unwanted[i]);
	/* In a container some are not ours to drop: less was there already. */
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		log_debug("not all unneeded capabilities could be dropped");
	return 0;
}

static int raise_limit(struct err *e)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_sys(e, errno, "reading the limit of open files");
	/* Enough for thousands of VMs; children inherit it, and some close every
	 * descriptor up to the limit one by one. */
	limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_sys(e, errno, "raising the limit of open files");
	return 0;
}

/* Connects to the vmd-priv that serves our directories. */
static int join(struct separation *s, const struct options *o, struct err *e)
{
	AUTO(free) char *dir = strdup(o->socket_path);
	AUTO(free) char *name = strdup(o->socket_path);
	AUTO(fd) int state = -1;
	AUTO(fd) int api = -1;
	struct priv_hello hello;
	int rc;

	if (!dir || !name)
		return err_sys(e, ENOMEM, "reaching vmd-priv");
	close_fd(&s->run_dirfd);
	s->run_dirfd = open(o->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->run_dirfd < 0)
		return err_set(e, ERR_UNAVAILABLE, "priv_gone", errno,
			       "vmd-priv does not run: there is no run "
			       "directory %s",
			       o->run_dir);
	state = open(o->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state < 0)
		return err_sys(e, errno, "opening %s", o->state_dir);
	/* To look at: we may have the right to pass through it only. */
	api = open(dirname(dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (api < 0)
		return err_sys(e, errno, "opening the directory of %s",
			       o->socket_path);
	rc = priv_hello_fill(&hello, state, s->run_dirfd, api, basename(name),
			     e);
	return rc < 0 ? rc : privops_join(s->run_dirfd, &hello, e);
}

static int start_priv(struct separation *s, const struct options *o,
		      struct err *e)
{
	AUTO(free) char *program = process_find_program("vmd-priv");
	AUTO(fd) int rd = -1;
	AUTO(fd) int wr = -1;
	char first[16], byte;
	static const char *const levels[] = { "error", "warn", "info",
					      "debug" };
	static const char *const formats[] = { "auto", "text", "json" };
	const char *argv[] = { program,
			       "--state-dir",
			       o->state_dir,
			       "--run-dir",
			       o->run_dir,
			       "--socket",
			       o->socket_path,
			       "--user",
			       o->user,
			       "--uid-first",
			       first,
			       "--log-level",
			       levels[o->log_level],
			       "--log-format",
			       formats[o->log_format],
			       "--ready-fd",
			       "3",
			       o->no_jail ? "--no-jail" : NULL,
			       NULL };
	int pipe_fds[2], rc;

	if (!program)
		return err_set(e, ERR_UNAVAILABLE, "program_missing", ENOENT,
			       "the program vmd-priv is not installed beside "
			       "vmd");
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "starting vmd-priv");
	rd = pipe_fds[0];
	wr = pipe_fds[1];
	(void)snprintf(first, sizeof(first), "%u", o->uid_first);
	const struct process_fd fds[] = { { 1, 1 }, { 2, 2 }, { wr, 3 } };
	const struct process_spec spec = { .argv = argv,
					   .fds = fds,
					   .fd_count = ARRAY_LEN(fds),
					   .cwd = "/",
					   .new_session = true };

	rc = process_spawn(&spec, &s->priv, e);
	if (rc < 0)
		return rc;
	close_fd(&wr);
	while ((rc = (int)read(rd, &byte, 1)) < 0 && errno == EINTR)
		;
	return rc == 1 ? 0
		       : err_set(e, ERR_UNAVAILABLE, "priv_failed", 0,
				 "vmd-priv, the part of vmd that stays root, "
				 "did not start; what it says stands above");
}

/* The one that runs for these directories, or a new one. */
static int find_priv(struct separation *s, const struct options *o,
		     struct err *e)
{
	int rc = join(s, o, e);

	if (rc == 0)
		return 0;
	/* Of another version or other directories, and nobody needs it. */
	if (rc == -EPROTO || rc == -EXDEV)
		privops_quit();
	err_clear(e);
	rc = start_priv(s, o, e);
	return rc < 0 ? rc : join(s, o, e);
}

static int stop_being_root(const struct options *o, struct err *e)
{
	struct process_identity identity = { 0 };
	struct priv_user user;
	int rc = priv_user_find(o->user, o->uid_first, &user, e);

	if (rc < 0)
		return rc;
	identity.uid = user.uid;
	identity.gid = user.gid;
	if (process_become(&identity, -1) < 0)
		return err_sys(e, errno, "becoming user %u", user.uid);
	return 0;
}

int separate(struct separation *s, const struct options *o, struct err *e)
{
	bool root = geteuid() == 0;
	int rc = raise_limit(e);

	*s = (struct separation){ .run_dirfd = -1,
				  .priv = PROCESS_INIT,
				  .priv_end = LOOP_SOURCE_INIT };
	if (rc < 0)
		return rc;
	if (!o->system && (!root || strcmp(o->user, "root") == 0)) {
		if (root)
			log_warn("--user root: vmd and all VMs are root's");
		return root ? give_up_some(e) : 0;
	}
	s->active = true;
	s->by_hand = root;
	rc = root ? find_priv(s, o, e) : join(s, o, e);
	if (rc == 0 && root)
		rc = stop_being_root(o, e);
	/* Again, as whom we are from now on. */
	if (rc == 0 && root)
		rc = join(s, o, e);
	return rc;
}

static void on_priv_end(struct loop_source *source, uint32_t events)
{
	struct separation *s = source->data;
	struct process_exit end;
	char how[128];

	(void)events;
	if (!process_reap(&s->priv, &end))
		return;
	loop_remove(&s->priv_end);
	log_error("vmd-priv %s: VMs go on, none can be started or ended by "
		  "force until it is back, or vmd is restarted",
		  process_exit_text(&end, how));
}

void separate_watch(struct separation *s, struct loop *loop)
{
	/* Found, not started: not our child, but it can be watched. */
	if (s->by_hand && s->priv.pidfd < 0)
		(void)privops_process(&s->priv);
	if (s->priv.pidfd >= 0)
		(void)loop_add(loop, &s->priv_end, s->priv.pidfd, EPOLLIN,
			       on_priv_end, s);
}

void separate_done(struct separation *s)
{
	loop_remove(&s->priv_end);
	if (s->by_hand)
		privops_quit();
	process_close(&s->priv);
	close_fd(&s->run_dirfd);
}
