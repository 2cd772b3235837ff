/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "vmd/priv/user.h"

static const char help_vmd[] =
	"Usage: vmd [OPTION]...\n"
	"The daemon that starts and supervises virtual machines.\n"
	"\n"
	"  --state-dir DIR    images, disks, database (root: /var/lib/vmd, else\n"
	"                     ~/.local/state/vmd)\n"
	"  --run-dir DIR      sockets and logs of running VMs (root: /run/vmd,\n"
	"                     else $XDG_RUNTIME_DIR/vmd, else run in the state\n"
	"                     directory)\n"
	"  --socket PATH      API socket (RUN-DIR/vmd.sock)\n"
	"  --max-starts N     VMs that come up at once, the others wait (two for\n"
	"                     each processor, at least 4)\n"
	"  --user NAME        whom vmd becomes when root starts it (vmd); \"root\":\n"
	"                     nobody, VMs are root's as well\n"
	"  --uid-first N      first of 131072 users for VMs (1879048192)\n"
	"  --system           as a service: root's directories, by the vmd-priv that\n"
	"                     runs\n"
	"  --log-level LEVEL  error, warn, info or debug (info)\n"
	"  --log-format FMT   auto, text or json (auto)\n"
	"  --no-jail          run the processes of VMs without namespaces, users\n"
	"                     and roots of their own, on a host that allows none\n"
	"  --foreground       accepted; vmd never goes to the background\n"
	"  --version, --help\n"
	"\n"
	"VMs keep running when vmd ends; the next vmd takes them over.\n";

static const char help_priv[] =
	"Usage: vmd-priv [OPTION]...\n"
	"The part of vmd that is root: started by vmd-priv.service, or by a vmd that\n"
	"root starts. Options as for vmd(8), the same for both.\n"
	"\n"
	"  --state-dir DIR, --run-dir DIR, --socket PATH, --user NAME, --uid-first N,\n"
	"  --no-jail, --log-level LEVEL, --log-format FMT, --version, --help\n"
	"  --hold-cgroup      nothing but to stay in its cgroup, for vmd-vms.service\n"
	"  --ready-fd N       written to when it serves; then it also ends by itself a\n"
	"                     minute after the last vmd has gone\n";

static int set(char **slot, const char *value, struct err *e)
{
	char cwd[PATH_MAX];

	free(*slot);
	*slot = NULL;
	if (value[0] == '/') {
		*slot = strdup(value);
	} else {
		if (!getcwd(cwd, sizeof(cwd)))
			return err_sys(e, errno, "finding out where we are");
		if (asprintf(slot, "%s/%s", cwd, value) < 0)
			*slot = NULL;
	}
	return *slot ? 0 : err_sys(e, ENOMEM, "reading the options");
}

static int join(char **slot, const char *dir, const char *rest, struct err *e)
{
	AUTO(free) char *path = NULL;

	if (asprintf(&path, "%s%s", dir, rest) < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "reading the options");
	}
	return set(slot, path, e);
}

static int fill_state(struct options *o, struct err *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (o->state_dir)
		return 0;
	if (o->system || geteuid() == 0)
		return set(&o->state_dir, "/var/lib/vmd", e);
	if (state && state[0] == '/')
		return join(&o->state_dir, state, "/vmd", e);
	if (home && home[0] == '/')
		return join(&o->state_dir, home, "/.local/state/vmd", e);
	return err_set(e, ERR_INVALID, "no_home", 0,
		       "HOME is not set: say where the state shall lie with "
		       "--state-dir");
}

static int fill_defaults(struct options *o, struct err *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool own_state = o->state_dir != NULL;
	int rc = fill_state(o, e);

	if (rc == 0 && !o->run_dir) {
		if (!own_state && (o->system || geteuid() == 0))
			rc = set(&o->run_dir, "/run/vmd", e);
		else if (!own_state && runtime && runtime[0] == '/')
			rc = join(&o->run_dir, runtime, "/vmd", e);
		else
			rc = join(&o->run_dir, o->state_dir, "/run", e);
	}
	if (rc == 0 && !o->socket_path)
		rc = join(&o->socket_path, o->run_dir, "/vmd.sock", e);
	if (rc == 0 && !o->user && !(o->user = strdup(PRIV_USER)))
		rc = err_sys(e, ENOMEM, "reading the options");
	return rc;
}

static unsigned default_starts(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 2 ? 2 * (unsigned)cpus : 4;
}

static int set_text(char **slot, const char *value, struct err *e)
{
	free(*slot);
	*slot = strdup(value);
	return *slot ? 0 : err_sys(e, ENOMEM, "reading the options");
}

static int take_format(struct options *o, const char *name, struct err *e)
{
	static const char *const names[] = { "auto", "text", "json" };

	for (int i = 0; i < 3; i++) {
		if (strcmp(name, names[i]) == 0) {
			o->log_format = (enum log_format)i;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, "bad_option", 0,
		       "--log-format must be auto, text or json, not '%s'",
		       name);
}

static int take_number(struct options *o, int c, struct err *e)
{
	uint64_t n = 0;
	int rc;

	if (c == 'm') {
		rc = parse_u64(optarg, 1, 10000, "--max-starts", &n, e);
		o->starts_max = (unsigned)n;
	} else if (c == 'U') {
		rc = parse_u64(optarg, 0, INT32_MAX, "--uid-first", &n, e);
		o->uid_first = (uint32_t)n;
	} else {
		rc = parse_u64(optarg, 0, INT32_MAX, "--ready-fd", &n, e);
		o->ready_fd = (int)n;
	}
	return rc;
}

/* One option: 0, 1 (nothing else is to be done), or an error. */
static int take(struct options *o, enum options_program program, int c,
		const char *arg, struct err *e)
{
	switch (c) {
	case 's':
		return set(&o->state_dir, optarg, e);
	case 'r':
		return set(&o->run_dir, optarg, e);
	case 'S':
		return set(&o->socket_path, optarg, e);
	case 'u':
		return set_text(&o->user, optarg, e);
	case 'f':
		return take_format(o, optarg, e);
	case 'm':
	case 'U':
	case 'R':
		return take_number(o, c, e);
	case 'y':
		o->system = true;
		return 0;
	case 'J':
		o->no_jail = true;
		return 0;
	case 'F':
		return 0;
	case 'l':
		return log_level_from_name(optarg, &o->log_level)
			       ? 0
			       : err_set(e, ERR_INVALID, "bad_option", 0,
					 "--log-level must be error, warn, "
					 "info or debug, not '%s'",
					 optarg);
	case 'v':
		(void)fputs("vmd " VMD_VERSION "\n", stdout);
		return 1;
	case 'h':
		(void)fputs(program == OPTIONS_VMD ? help_vmd : help_priv,
			    stdout);
		return 1;
	default:
		return err_set(e, ERR_INVALID, "bad_option", 0,
			       "unknown option or missing value at '%s': "
			       "see vmd --help",
			       arg);
	}
}

int options_parse(struct options *o, enum options_program program, int argc,
		  char **argv, struct err *e)
{
	bool is_vmd = program == OPTIONS_VMD;
	const struct option table[] = {
		{ "state-dir", required_argument, NULL, 's' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "socket", required_argument, NULL, 'S' },
		{ "max-starts", required_argument, NULL, 'm' },
		{ "user", required_argument, NULL, 'u' },
		{ "uid-first", required_argument, NULL, 'U' },
		{ "log-level", required_argument, NULL, 'l' },
		{ "log-format", required_argument, NULL, 'f' },
		{ is_vmd ? "system" : "ready-fd",
		  is_vmd ? no_argument : required_argument, NULL,
		  is_vmd ? 'y' : 'R' },
		{ "no-jail", no_argument, NULL, 'J' },
		{ "foreground", no_argument, NULL, 'F' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, rc = 0;

	*o = (struct options){ .log_level = LOG_LEVEL_INFO,
			       .starts_max = default_starts(),
			       .uid_first = PRIV_UID_FIRST,
			       .ready_fd = -1 };
	opterr = 0;
	while (rc == 0 && (c = getopt_long(argc, argv, "", table, NULL)) >= 0)
		rc = take(o, program, c, argv[optind - 1], e);
	if (rc == 0 && optind < argc)
		rc = err_set(e, ERR_INVALID, "bad_option", 0,
			     "unexpected argument '%s': see vmd --help",
			     argv[optind]);
	return rc == 0 ? fill_defaults(o, e) : rc;
}

void options_done(struct options *o)
{
	free(o->state_dir);
	free(o->run_dir);
	free(o->socket_path);
	free(o->user);
}
