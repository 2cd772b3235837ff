/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recipe that attacks the host: every attack first without the jail, where it
 * must succeed (the control), then in it, where it must not; as root and as an
 * ordinary user. And what a recipe is to have.
 */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/sock.h"
#include "images/build.h"

enum {
	NOBODY = 65534
};

enum flag {
	ROOT = 1, /* without the jail only root can */
	/* Hosts differ: then there is no control, which is said. */
	MAYBE = 2,
	/* The landlock scopes of Linux 6.12. */
	SCOPES = 4
};

/* Perl, which every Debian has, makes a system call: it is there when the answer is
 * anything but ENOSYS. */
#define CALL(number, args)                                      \
	"perl -e '$! = 0; $r = syscall(" number ", " args "); " \
	"exit($r < 0 && $! == 38)'"
#define CONNECT(path)                                      \
	"perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM" \
	", 0) or exit 1; exit(!connect(S, pack_sockaddr_un(" path ")))'"

/* In a shell: status 0 when it succeeded. $DIR is the directory of the store, with
 * `secret` and a socket, $VICTIM a process of the starter's. */
static const struct attack {
	const char *name, *script;
	unsigned flags;
} attacks[] = {
	{ "read a file that all may read", "cat $DIR/secret", 0 },
	{ "read another build's directory", "ls $DIR/staging", 0 },
	{ "list the images", "ls $DIR/manifests", 0 },
	{ "list /root", "ls /root", ROOT },
	{ "list /home", "ls /home", 0 },
	{ "list /var/lib", "ls /var/lib/dpkg", 0 },
	{ "list /run", "ls /run", 0 },
	{ "read the shadow file", "cat /etc/shadow", ROOT },
	{ "read the host's id", "cat /etc/machine-id || cat /etc/hostname", 0 },
	{ "list /sys", "ls /sys/kernel", 0 },
	{ "write to /usr", "test -w /usr/bin", ROOT },
	{ "write to the recipes", "test -w $VMD_RECIPES/lib.sh", 0 },
	{ "write beside the staging directory", "touch ../x && rm ../x", 0 },
	{ "set the core pattern", "test -w /proc/sys/kernel/core_pattern",
	  ROOT | MAYBE },
	{ "reach sysrq", "test -w /proc/sysrq-trigger", ROOT | MAYBE },
	{ "connect to a socket", CONNECT("\"$ENV{DIR}/socket\""), 0 },
	{ "connect to an abstract socket",
	  CONNECT("\"\\0vmd-recipe-$ENV{VICTIM}\""), SCOPES },
	{ "see a process", "test -d /proc/$VICTIM", 0 },
	{ "signal a process", "kill -0 $VICTIM", 0 },
	{ "read its environment", "cat /proc/$VICTIM/environ", 0 },
	{ "read its memory", "head -c 0 /proc/$VICTIM/mem", MAYBE },
	{ "enter its root", "ls /proc/$VICTIM/root/", MAYBE },
	{ "trace it",
	  "perl -e 'exit(syscall(101, 16, $ENV{VICTIM} + 0, 0, 0) != 0)'",
	  MAYBE },
	{ "make a device", "mknod d c 1 1", ROOT },
	{ "read the host's disk",
	  "mknod d b $(stat -c '%Hd %Ld' $DIR 2>/dev/null || echo 8 0) && "
	  "head -c 512 d",
	  ROOT | MAYBE },
	{ "find a disk in /dev", "find /dev -type b | grep .", ROOT | MAYBE },
	{ "have /dev/mem or /dev/kvm", "ls /dev/mem || ls /dev/kvm", MAYBE },
	{ "mount read-write again",
	  "mkdir m && unshare -m sh -c 'mount --bind . m && mount -o "
	  "remount,bind,ro m && ! touch m/x && mount -o remount,bind,rw m && "
	  "touch m/x'",
	  ROOT },
	{ "another user namespace", "unshare --user true", 0 },
	{ "become a user of the host",
	  "perl -e '$) = \"0 0\"; $> = 0; open(F, \">\", \"o\") or exit 1; "
	  "exit((stat F)[4])' && "
	  "grep -q '^ *0 *0 ' /proc/self/uid_map",
	  ROOT },
	{ "an open terminal", "echo >/dev/tty || test -e /dev/tty", 0 },
	{ "set the clock", "date -s \"@$(date +%s)\"", ROOT | MAYBE },
	{ "more files than it may", "ulimit -n 5000", ROOT | MAYBE },
	{ "keyctl", CALL("250", "0, -3, 0"), 0 },
	{ "add_key",
	  CALL("248",
	       "my $t = \"user\", my $d = \"vmd\", my $p = \"x\", 1, -1"),
	  0 },
	{ "bpf", CALL("321", "0, 0, 0"), 0 },
	{ "io_uring", CALL("425", "0, 0"), 0 },
	{ "userfaultfd", CALL("323", "0"), 0 },
	{ "perf_event_open", CALL("298", "0, 0, 0, 0, 0"), 0 },
	{ "kexec_load", CALL("246", "0, 0, 0, 0"), MAYBE },
	{ "init_module", CALL("175", "0, 0, 0"), MAYBE },
	{ "ptrace", CALL("101", "3, 0, 0, 0"), 0 },
	{ "process_vm_readv", CALL("310", "0, 0, 0, 0, 0, 0"), 0 },
	{ "open_by_handle_at", CALL("304", "-1, 0, 0"), 0 },
	{ "setns", CALL("308", "-1, 0"), 0 },
	{ "quotactl", CALL("179", "0, 0, 0, 0"), 0 },
	{ "a vsock", CALL("41", "40, 1, 0"), MAYBE },
	{ "a socket of the kernel's ciphers", CALL("41", "38, 5, 0"), MAYBE },
};

struct world {
	struct fixture *fixture;
	pid_t victim;
	int socket, abstract;
};

static bool as_somebody; /* in the child of as_user() */

/* cmocka's failures are for the process that it runs in. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "FAILED: %s\n", what);
	if (as_somebody)
		_exit(1);
	fail();
}

static void make_world(struct world *w)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char path[160];
	void *state = NULL;
	int n;

	must(fixture_setup(&state) == 0, "a store");
	w->fixture = state;
	(void)snprintf(path, sizeof(path), "%s/recipes", w->fixture->dir);
	must(mkdir(path, 0755) == 0 && setenv("VMD_RECIPES", path, 1) == 0,
	     "the recipes' directory");
	must(chmod(w->fixture->dir, 0755) == 0, "mode");
	fixture_write(w->fixture, "recipes/lib.sh", "");
	fixture_write(w->fixture, "secret", "secret\n");
	(void)snprintf(path, sizeof(path), "%s/socket", w->fixture->dir);
	must(sock_listen_unix(AT_FDCWD, path, 0666, &w->socket, NULL) == 0,
	     "a socket");
	w->victim = fork();
	if (w->victim == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)prctl(PR_SET_DUMPABLE, 1);
		for (;;)
			(void)pause();
	}
	n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "vmd-recipe-%d",
		     (int)w->victim);
	w->abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(w->abstract, (struct sockaddr *)&un,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			      (size_t)n)) == 0 &&
		     listen(w->abstract, 8) == 0,
	     "an abstract socket");
}

static void end_world(struct world *w)
{
	void *state = w->fixture;

	(void)kill(w->victim, SIGKILL);
	(void)waitpid(w->victim, NULL, 0);
	(void)close(w->socket);
	(void)close(w->abstract);
	must(fixture_teardown(&state) == 0, "the store is removed");
}

/* Runs a script as recipe: its exit status; -1: it was not run, see e. */
static int run(struct world *w, const char *script, bool no_jail, struct err *e)
{
	const struct build_request q = { .store_dir = w->fixture->dir,
					 .staging_id = "attack",
					 .recipe = "attack",
					 .name = "attack",
					 .no_jail = no_jail };
	AUTO(free) char *text = NULL;
	struct image img;
	int status = -1;

	must(asprintf(
		     &text,
		     "#!/bin/sh\n# summary: an attack\n"
		     "export DIR=%s VICTIM=%d\n( %s ) </dev/null >/dev/null 2>&1\n"
		     "exit $((40 + !!$?))\n",
		     w->fixture->dir, (int)w->victim, script) > 0,
	     "memory");
	fixture_write(w->fixture, "recipes/attack", text);
	must(image_build(&q, &img, e) < 0, "it makes no image");
	(void)sscanf(e->msg, "the recipe 'attack' failed with status %d",
		     &status);
	return status == 40 || status == 41 ? status - 40 : -1;
}

static bool have_scopes(void)
{
	/* LANDLOCK_CREATE_RULESET_VERSION */
	return syscall(444, NULL, 0, 1) >= 6;
}

static void try_one(struct world *w, const struct attack *a)
{
	struct err e = ERR_INIT;
	bool control = !(a->flags & ROOT) || geteuid() == 0;
	int without = control ? run(w, a->script, true, &e) : 0, within;

	if (without != 0 && (a->flags & MAYBE))
		print_message("SKIP control: %s: %s\n", a->name, e.msg);
	else if (without != 0)
		must(false, a->name);
	if ((a->flags & SCOPES) && !have_scopes()) {
		print_message("SKIP: %s: this kernel has no landlock scopes\n",
			      a->name);
		return;
	}
	err_clear(&e);
	within = run(w, a->script, false, &e);
	if (within != 1)
		(void)fprintf(stderr, "%s\n", e.msg);
	must(within == 1, a->name);
}

static void try_all(void)
{
	struct world w;

	make_world(&w);
	for (size_t i = 0; i < ARRAY_LEN(attacks); i++)
		try_one(&w, &attacks[i]);
	end_world(&w);
}

/* An ordinary user of this test, in a child, when it is root. */
static void as_user(void (*test)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (getuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
				      setresuid(NOBODY, NOBODY, NOBODY) < 0))
			_exit(2);
		as_somebody = true;
		test();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_attacks_of_a_recipe_fail(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("SKIP: not root\n");
		skip();
	}
	try_all();
}

static void test_attacks_of_a_users_recipe_fail(void **state)
{
	(void)state;
	as_user(try_all);
}

static void allowed(struct world *w, const char *script)
{
	struct err e = ERR_INIT;

	if (run(w, script, false, &e) != 0) {
		(void)fprintf(stderr, "%s: %s\n", script, e.msg);
		must(false, "what a recipe needs");
	}
}

static void check_needs(void)
{
	struct world w;

	make_world(&w);
	must(setenv("SECRET", "x", 1) == 0 &&
		     setenv("http_proxy", "http://127.0.0.1:9", 1) == 0,
	     "environment");
	allowed(&w, "[ \"$(id -u) $(pwd) $$\" = '0 /build 1' ]");
	allowed(&w, "[ -z \"${SECRET:-}\" ] && [ \"$http_proxy\" ]");
	allowed(&w, "[ \"$(cat /proc/self/oom_score_adj)\" -ge 300 ]");
	allowed(&w, "[ \"$(cd /proc/self/fd; echo *)\" = '0 1 2 3' ] || "
		    "ls /proc/self/fd | grep -vx '[0-9]' | wc -l | grep -qx 0");
	allowed(&w, "mkdir m && mount -t tmpfs x m && echo a >m/a && "
		    "umount m && [ ! -e m/a ]");
	allowed(&w, "mkdir p && mount -t proc p p && [ -d p/self ]");
	allowed(&w, "mkdir -p r/bin r/lib && : >r/null && mount --bind "
		    "/dev/null r/null && echo x >r/null");
	allowed(&w, "echo x >/tmp/y && cat /etc/passwd && ls /etc/apt");
	allowed(&w, "awk 'BEGIN { exit 0 }' && perl -e 1 && dpkg --version");
	allowed(&w, "setpriv --version && chmod 4755 $(mktemp -p .)");
	unsetenv("http_proxy");
	end_world(&w);
}

static void check_owners(void)
{
	struct world w;

	make_world(&w);
	allowed(&w, "touch f && chown 33:42 f && [ \"$(stat -c %u:%g f)\" = "
		    "33:42 ] && setpriv --reuid 1 --clear-groups id -u");
	/* Nobody of the host's is among its users. */
	allowed(&w, "! awk '{ print $2 }' /proc/self/uid_map | grep -qx 0");
	end_world(&w);
}

static void test_recipe_has_what_it_needs(void **state)
{
	(void)state;
	if (geteuid() == 0) {
		check_needs();
		check_owners();
	}
	as_user(check_needs);
}

static void test_recipe_ends_with_who_runs_it(void **state)
{
	struct world w;
	char path[160];
	struct stat st;
	pid_t pid;

	(void)state;
	make_world(&w);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = ERR_INIT;

		/* A tick a moment, also from one that has left the session. */
		(void)run(&w,
			  "trap '' TERM HUP; (setsid sh -c 'while :; do "
			  "echo >>tick; sleep 0.05; done') & sleep 100",
			  false, &e);
		_exit(0);
	}
	(void)snprintf(path, sizeof(path), "%s/staging/attack/tick",
		       w.fixture->dir);
	for (int i = 0; i < 400 && stat(path, &st) < 0; i++)
		(void)usleep(25000);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* Until two looks in a row see the same. */
	for (int i = 0; i < 100; i++) {
		off_t before = st.st_size;

		(void)usleep(300000);
		assert_int_equal(stat(path, &st), 0);
		if (st.st_size == before) {
			end_world(&w);
			return;
		}
	}
	fail_msg("it goes on");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attacks_of_a_recipe_fail),
		cmocka_unit_test(test_attacks_of_a_users_recipe_fail),
		cmocka_unit_test(test_recipe_has_what_it_needs),
		cmocka_unit_test(test_recipe_ends_with_who_runs_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
