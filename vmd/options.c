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

static const char help[] =
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
	"  --log-level LEVEL  error, warn, info or debug (info)\n"
	"  --log-format FMT   auto, text or json (auto)\n"
	"  --no-jail          run the processes of VMs without namespaces, users\n"
	"                     and roots of their own, on a host that allows none\n"
	"  --foreground       accepted; vmd never goes to the background\n"
	"  --version, --help\n"
	"\n"
	"VMs keep running when vmd ends; the next vmd takes them over.\n";

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
	if (geteuid() == 0)
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
		if (!own_state && geteuid() == 0)
			rc = set(&o->run_dir, "/run/vmd", e);
		else if (!own_state && runtime && runtime[0] == '/')
			rc = join(&o->run_dir, runtime, "/vmd", e);
		else
			rc = join(&o->run_dir, o->state_dir, "/run", e);
	}
	if (rc == 0 && !o->socket_path)
		rc = join(&o->socket_path, o->run_dir, "/vmd.sock", e);
	return rc;
}

static unsigned default_starts(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 2 ? 2 * (unsigned)cpus : 4;
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

int options_parse(struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option table[] = {
		{ "state-dir", required_argument, NULL, 's' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "socket", required_argument, NULL, 'S' },
		{ "max-starts", required_argument, NULL, 'm' },
		{ "log-level", required_argument, NULL, 'l' },
		{ "log-format", required_argument, NULL, 'f' },
		{ "no-jail", no_argument, NULL, 'J' },
		{ "foreground", no_argument, NULL, 'F' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t n = 0;
	int c, rc = 0;

	*o = (struct options){ .log_level = LOG_LEVEL_INFO,
			       .starts_max = default_starts() };
	opterr = 0;
	while (rc == 0 && (c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		if (c == 's')
			rc = set(&o->state_dir, optarg, e);
		else if (c == 'r')
			rc = set(&o->run_dir, optarg, e);
		else if (c == 'S')
			rc = set(&o->socket_path, optarg, e);
		else if (c == 'm') {
			rc = parse_u64(optarg, 1, 10000, "--max-starts", &n, e);
			o->starts_max = (unsigned)n;
		} else if (c == 'f')
			rc = take_format(o, optarg, e);
		else if (c == 'J')
			o->no_jail = true;
		else if (c == 'v' || c == 'h') {
			(void)fputs(c == 'h' ? help : "vmd " VMD_VERSION "\n",
				    stdout);
			return 1;
		} else if (c == 'l' &&
			   !log_level_from_name(optarg, &o->log_level))
			rc = err_set(e, ERR_INVALID, "bad_option", 0,
				     "--log-level must be error, warn, info or "
				     "debug, not '%s'",
				     optarg);
		else if (c == '?')
			rc = err_set(e, ERR_INVALID, "bad_option", 0,
				     "unknown option or missing value at '%s': "
				     "see vmd --help",
				     argv[optind - 1]);
	}
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
}
