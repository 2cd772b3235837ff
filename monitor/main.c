/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd-monitor: runs one guest from one JSON file. The stages, in order, with
 * what each must and must not do:
 *
 *  1 arguments   must not touch anything but the command line
 *  2 config      must read and check all of it; must not open what it names
 *  3 resources   must open every file, socket and device; must not trust them
 *  4 guest       must load kernel and tables; must not start anything
 *  5 privilege   must drop all of it: threads keep what they are born with;
 *                nothing is opened by path after it
 *  6 threads     must create every thread, each with the filter of its role
 *                before anything else; must not run the guest
 *  7 lock-down   must filter the loop thread's calls, too
 *  8 run         must survive whatever the guest does
 *  9 end         must say how it ended; must not wait for the guest
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "monitor/bus_error.h"
#include "monitor/config/config.h"
#include "monitor/control.h"
#include "monitor/lockdown/broker.h"
#include "monitor/lockdown/lockdown.h"
#include "monitor/machine/machine.h"
#include "monitor/metrics.h"
#include "monitor/probe.h"
#include "monitor/status.h"

struct options {
	const char *config;
	const char *id;
	const char *kvm;
	enum log_level level;
	enum log_format format;
	bool has_level; /* it was asked for: the configuration does not count */
	bool check, probe, no_lockdown;
};

static const char usage[] =
	"Usage: vmd-monitor --config FILE|fd:N [OPTION]...\n"
	"       vmd-monitor --probe-kvm\n"
	"Runs one virtual machine with KVM; see vmd-monitor(1).\n"
	"\n"
	"  --config FILE|fd:N   the machine, as JSON\n"
	"  --id ID              name of the VM in log records\n"
	"  --kvm PATH|fd:N      KVM's device (/dev/kvm)\n"
	"  --check              check the configuration and what it names, exit\n"
	"  --probe-kvm          time a tiny guest, print JSON and exit\n"
	"  --log-level LEVEL    error, warn, info (default) or debug\n"
	"  --log-format FORMAT  auto, text or json (auto: text on a terminal)\n"
	"  --no-lockdown        keep all system calls (for debuggers)\n"
	"  --version, --help\n"
	"\n"
	"Exit status: 0 guest powered off, 1 host error, 2 bad command line or\n"
	"configuration, 3 guest reset, 4 guest crashed, 5 killed on request,\n"
	"6 no usable KVM, 64 and above: guest wrote to the debug exit port.\n";

enum {
	OPT_CONFIG = 1,
	OPT_ID,
	OPT_KVM,
	OPT_CHECK,
	OPT_PROBE,
	OPT_LEVEL,
	OPT_FORMAT,
	OPT_NO_LOCKDOWN,
	OPT_VERSION,
	OPT_HELP
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "id", required_argument, NULL, OPT_ID },
	{ "kvm", required_argument, NULL, OPT_KVM },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "probe-kvm", no_argument, NULL, OPT_PROBE },
	{ "log-level", required_argument, NULL, OPT_LEVEL },
	{ "log-format", required_argument, NULL, OPT_FORMAT },
	{ "no-lockdown", no_argument, NULL, OPT_NO_LOCKDOWN },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static bool set_format(struct options *o, const char *name)
{
	if (strcmp(name, "auto") == 0)
		o->format = LOG_FORMAT_AUTO;
	else if (strcmp(name, "text") == 0)
		o->format = LOG_FORMAT_TEXT;
	else if (strcmp(name, "json") == 0)
		o->format = LOG_FORMAT_JSON;
	else
		return false;
	return true;
}

/* -1: go on; anything else: exit with it. */
static int parse_options(int argc, char **argv, struct options *o)
{
	bool good = true;
	int c;

	while (good &&
	       (c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_CONFIG:
			o->config = optarg;
			break;
		case OPT_ID:
			o->id = optarg;
			break;
		case OPT_KVM:
			o->kvm = optarg;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_PROBE:
			o->probe = true;
			break;
		case OPT_LEVEL:
			good = log_level_from_name(optarg, &o->level);
			o->has_level = true;
			break;
		case OPT_FORMAT:
			good = set_format(o, optarg);
			break;
		case OPT_NO_LOCKDOWN:
			o->no_lockdown = true;
			break;
		case OPT_VERSION:
			(void)puts("vmd-monitor " VMD_VERSION);
			return 0;
		case OPT_HELP:
			(void)fputs(usage, stdout);
			return 0;
		default:
			good = false;
		}
	}
	if (!good || optind != argc || (!o->probe && !o->config)) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

static void on_signal(const siginfo_t *info, void *data)
{
	machine_end(data, MACHINE_END_KILLED,
		    info->si_signo == SIGTERM ? "killed by SIGTERM"
					      : "killed by SIGINT");
}

static int watch_signals(struct loop *loop, struct machine *m, struct err *e)
{
	sigset_t set;

	/* A client that went away is an error of write(), not of ours. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	return loop_signals(loop, &set, on_signal, m, e);
}

/* Of the guest's memory a page can get lost at any time. */
static int watch_memory(const struct guest_mem *mem,
			const struct status_file *status, struct err *e)
{
	int rc = bus_error_init(status->fd, e);

	for (size_t i = 0; rc == 0 && i < mem->count; i++)
		bus_error_watch("guest memory", mem->regions[i].host,
				mem->regions[i].len, mem->regions[i].gpa);
	if (rc == 0 && bus_error_enter() < 0)
		return err_sys(e, errno, "a stack for signals");
	return rc;
}

static const struct {
	const char *reason;
	int status;
} ends[] = {
	[MACHINE_END_POWEROFF] = { "poweroff", EXIT_POWEROFF },
	[MACHINE_END_RESET] = { "reset", EXIT_RESET },
	[MACHINE_END_CRASH] = { "crash", EXIT_CRASH },
	[MACHINE_END_KILLED] = { "killed", EXIT_KILLED },
	[MACHINE_END_DEBUG_EXIT] = { "debug-exit", EXIT_DEBUG },
	[MACHINE_END_ERROR] = { "error", EXIT_HOST_ERROR },
};

/* Stage 9 for a machine that ran. */
static int report_end(const struct machine *m, const char *id,
		      struct status_file *status)
{
	struct err e = ERR_INIT;
	int code = ends[m->end].status;

	if (m->end == MACHINE_END_DEBUG_EXIT)
		code += m->debug_exit_value & 63;
	if (m->end == MACHINE_END_CRASH || m->end == MACHINE_END_ERROR) {
		(void)err_set(&e, ERR_INTERNAL,
			      m->end == MACHINE_END_CRASH ? "guest_crashed"
							  : "memory_lost",
			      0, "%s", m->end_text);
		log_vm(LOG_LEVEL_ERROR, id, "%s", m->end_text);
	} else {
		log_vm(LOG_LEVEL_DEBUG, id, "%s", m->end_text);
	}
	status_write(status, ends[m->end].reason, code, &e);
	return code;
}

/* Our own log as the configuration wants it. */
static int open_log(const struct options *o, const struct config *config,
		    struct err *e)
{
	const char *path = config->log_path, *why = NULL;
	AUTO(fd) int fd = -1;

	if (path) {
		fd = config_open(path, O_WRONLY | O_APPEND | O_CREAT,
				 CONFIG_LOG_KINDS, &why);
		if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
			return err_set(e, ERR_INVALID, "config_invalid", -fd,
				       "cannot open logger.log_path %s: %s",
				       path, why ? why : strerror(errno));
	}
	log_init("vmd-monitor",
		 config->has_log_level && !o->has_level ? config->log_level
							: o->level,
		 o->format);
	return 0;
}

/* Stages 3 to 8. */
static int run(const struct options *o, const struct config *config,
	       struct loop *loop, struct machine **m, struct control **control,
	       struct metrics **metrics, const struct status_file *status,
	       struct err *e)
{
	int rc = machine_new(config, loop, m, e);

	if (rc == 0)
		rc = watch_memory(&(*m)->vm.mem, status, e);
	if (rc == 0)
		rc = watch_signals(loop, *m, e);
	if (rc == 0 && config->control_socket_path)
		rc = control_new(*m, config->control_socket_path, control, e);
	if (rc == 0 && config->metrics_path)
		rc = metrics_new(*m, config->metrics_path, metrics, e);
	if (rc == 0)
		rc = machine_load_guest(*m, e);
	if (rc == 0 && !o->no_lockdown)
		rc = lockdown_process(e);
	if (rc == 0)
		rc = machine_start_threads(
			*m, o->no_lockdown ? NULL : lockdown_enter, e);
	if (rc == 0 && !o->no_lockdown)
		rc = lockdown_enter(LOCKDOWN_LOOP, e);
	return rc < 0 ? rc : machine_run(*m, e);
}

static int report_error(const struct err *e, const char *id,
			struct status_file *status)
{
	int code = status_of_error(e);

	log_vm(LOG_LEVEL_ERROR, id, "%s (%s)", e->msg, e->code);
	status_write(status, "error", code, e);
	return code;
}

int main(int argc, char **argv)
{
	struct options options = { .level = LOG_LEVEL_INFO };
	struct config config = { .json = NULL, .vsock_broker_fd = -1 };
	struct status_file status = STATUS_FILE_INIT;
	struct err e = ERR_INIT;
	struct loop *loop = NULL;
	struct machine *m = NULL;
	struct control *control = NULL;
	struct metrics *metrics = NULL;
	int code, rc;

	if (file_open_standard() < 0)
		return 1;
	/* Executed by descriptor, as in a jail, it is called by its number. */
	(void)prctl(PR_SET_NAME, "vmd-monitor", 0, 0, 0);
	code = parse_options(argc, argv, &options);
	if (code >= 0)
		return code;
	log_init("vmd-monitor", options.level, options.format);
#ifdef M_ARENA_MAX
	/* One heap for all threads: device code runs under one lock, and glibc
	 * counts CPUs, by a call that lock-down forbids, to make more. */
	(void)mallopt(M_ARENA_MAX, 1);
#endif
	if (options.probe)
		return probe_print(options.kvm);
	rc = config_load(options.config, &config, &e);
	config.kvm_path = options.kvm;
	if (rc == 0 && options.check) {
		rc = config_check_files(&config, &e);
		code = rc != 0 ? report_error(&e, options.id, &status) : 0;
		config_done(&config);
		return code;
	}
	if (rc == 0 && config.status_path)
		rc = status_open(&status, config.status_path, &e);
	if (rc == 0)
		rc = open_log(&options, &config, &e);
	/* Only a vsock with a path takes the guest's calls to the host. Before
	 * there is anything that the broker should not have. */
	if (rc == 0 && config.has_vsock &&
	    config_inherited_fd(config.vsock_uds_path) < 0)
		rc = broker_start(config.vsock_uds_path,
				  &config.vsock_broker_fd, &e);
	if (rc == 0) {
		loop = loop_new(&e);
		rc = loop ? run(&options, &config, loop, &m, &control, &metrics,
				&status, &e)
			  : -1;
	}
	code = rc != 0 ? report_error(&e, options.id, &status)
		       : report_end(m, options.id, &status);
	control_free(control);
	metrics_free(metrics);
	bus_error_unwatch();
	machine_free(m);
	loop_free(loop);
	status_close(&status);
	close_fd(&config.vsock_broker_fd);
	config_done(&config);
	return code;
}
