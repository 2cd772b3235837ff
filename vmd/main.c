/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd: options, state, reconciliation, API, loop. Nothing is served before what
 * the last daemon left was judged. Ends on SIGTERM and SIGINT: VMs stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/sock.h"
#include "vmd/engines/host.h"
#include "vmd/http/http.h"
#include "vmd/options.h"
#include "vmd/priv/privops.h"
#include "vmd/sd.h"
#include "vmd/separate.h"

static bool emulates(const struct engine_ops *engine)
{
	return engine == &engine_qemu && !host_kvm()->usable;
}

static json_t *checks(struct daemon *d)
{
	struct host_check found[HOST_CHECKS_MAX];
	size_t n = host_checks(d->config->state_dir, found);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:b, s:s, s:o}", "name", found[i].name,
				  "ok", found[i].ok, "detail", found[i].detail,
				  "fix", json_text_or_null(found[i].fix)));
	return list;
}

static void on_signal(const siginfo_t *info, void *data)
{
	log_info("signal %d: stopping; VMs keep running", info->si_signo);
	loop_stop(data, 0);
}

/* Without vmd-priv; root's belongs to the group that may use it. */
static int make_socket(const struct options *o, int *ret_fd, struct err *e)
{
	AUTO(free) char *dir_copy = strdup(o->socket_path);
	AUTO(free) char *name_copy = strdup(o->socket_path);
	const struct group *group = geteuid() == 0 ? getgrnam("vmd") : NULL;
	AUTO(fd) int dirfd = -1;
	const char *name;
	int rc;

	if (!dir_copy || !name_copy)
		return err_sys(e, ENOMEM, "opening the API socket");
	name = basename(name_copy);
	dirfd = open(dirname(dir_copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(e, errno, "opening the directory of %s",
			       o->socket_path);
	rc = sock_listen_unix(dirfd, name, 0660, ret_fd, e);
	if (rc == 0 && group &&
	    fchownat(dirfd, name, 0, group->gr_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "giving the API socket to its group");
	return rc;
}

static int open_socket(const struct options *o, bool separated, int *ret_fd,
		       struct err *e)
{
	int rc;

	*ret_fd = sd_listen_socket();
	if (*ret_fd >= 0)
		return 0;
	rc = separated ? privops_api_socket(ret_fd, e)
		       : make_socket(o, ret_fd, e);
	if (rc == -EADDRINUSE)
		return err_set(e, ERR_CONFLICT, "address_in_use", EADDRINUSE,
			       "another daemon listens on %s: stop it, or give "
			       "this one another --socket (and --state-dir, "
			       "--run-dir)",
			       o->socket_path);
	if (rc == -ENAMETOOLONG)
		return err_sys(e, ENAMETOOLONG,
			       "socket %s: give a shorter --socket",
			       o->socket_path);
	return rc;
}

static int serve(const struct options *o, bool separated, struct daemon *d,
		 struct err *e)
{
	struct http *http;
	sigset_t signals;
	int fd = -1, rc;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	rc = loop_signals(d->loop, &signals, on_signal, d->loop, e);
	if (rc == 0)
		rc = open_socket(o, separated, &fd, e);
	if (rc < 0)
		return rc;
	http = http_new(d, fd, e);
	if (!http)
		return -EIO;
	(void)malloc_trim(0);
	sd_ready("serving the API");
	sd_watchdog(d->loop);
	log_info("vmd %s serves %s: %zu VMs, %llu taken over", VMD_VERSION,
		 o->socket_path, d->vm_count,
		 (unsigned long long)d->count.vms_adopted);
	/* With the debug log one that was only not scheduled is told apart. */
	loop_measure(d->loop, o->log_level == LOG_LEVEL_DEBUG);
	(void)loop_run(d->loop);
	sd_stopping();
	d->stopping = true;
	http_free(http);
	if (d->lost.kind == ERR_NONE)
		return 0;
	*e = d->lost;
	return -EIO;
}

/* What somebody who takes a VM's process over can do to the host depends on it. */
static void tell_limits(void)
{
	const char *text, *fix;

	if (privops_cgroups(&text, &fix))
		log_info("each VM has a cgroup: %s", text);
	else
		log_warn("what a VM's processes use of memory, processes and "
			 "CPU is not limited: %s%s%s",
			 text, fix[0] ? "; " : "", fix);
}

static int run(const struct options *o, struct separation *separation,
	       struct err *e)
{
	AUTO(free) char *image_program = process_find_program("vmd-image");
	struct daemon_config config = {
		.state_dir = o->state_dir,
		.run_dir = o->run_dir,
		.socket_path = o->socket_path,
		.image_program = image_program ? image_program : "vmd-image",
		.engines = engines,
		.engine_choose = engine_choose,
		.engine_emulates = emulates,
		.jailed = !o->no_jail,
		.separated = separation->active,
		.uid_first = o->uid_first,
		.memory_available = host_memory_available,
		.host_checks = checks,
		.slow_ms = UINT64_C(1000) * HTTP_SLOW_SECONDS,
		.lease_ms = 30000,
		.kill_ms = 10000,
		.keep_operations = 1000,
		.starts_max = o->starts_max,
	};
	struct loop *loop = loop_new(e);
	struct daemon d;
	int rc;

	if (!loop)
		return -ENOMEM;
	separate_watch(separation, loop);
	rc = daemon_open(&d, loop, &config, e);
	/* Probed now, while nobody waits: a tiny guest is run and timed. */
	for (size_t i = 0; rc == 0 && engines[i]; i++) {
		struct engine_status status = { 0 };

		engines[i]->probe(&status);
		log_info("engine %s: %s%s", engines[i]->name,
			 status.usable ? "" : "not usable: ", status.detail);
	}
	if (rc == 0)
		privops_cgroups_open();
	if (rc == 0)
		tell_limits();
	if (rc == 0)
		rc = daemon_reconcile(&d, e);
	if (rc == 0)
		rc = serve(o, separation->active, &d, e);
	daemon_close(&d);
	privops_cgroups_close();
	loop_free(loop);
	return rc;
}

int main(int argc, char **argv)
{
	struct separation separation;
	struct options options;
	struct err e = ERR_INIT;
	int rc;

	if (file_open_standard() < 0)
		return 1;
	rc = options_parse(&options, OPTIONS_VMD, argc, argv, &e);
	if (rc > 0)
		return 0;
	if (rc < 0) {
		(void)fprintf(stderr, "vmd: %s\n", e.msg);
		options_done(&options);
		return 2;
	}
	/* One thread: one arena; and memory goes back to the system early. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 131072);
	(void)mallopt(M_MMAP_THRESHOLD, 65536);
	(void)umask(0077);
	(void)signal(SIGPIPE, SIG_IGN);
	log_init("vmd", options.log_level, options.log_format);
	log_never_wait();
	sd_log_to_journal();
	rc = separate(&separation, &options, &e);
	if (rc == 0)
		rc = run(&options, &separation, &e);
	separate_done(&separation);
	if (rc < 0)
		log_error("%s", e.msg);
	options_done(&options);
	return rc < 0 ? 1 : 0;
}
