/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/vm/vm_peer.c: a process of a VM is never taken for a client. */
#include "tests/unit/test.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "vmd/priv/jails.h"
#include "vmd/priv/proto.h"
#include "vmd/priv/user.h"
#include "vmd/vm/vm.h"

/* Somebody in a jail, and so in a pid namespace of their own. */
static struct process jailed(void)
{
	const char *argv[] = { "/usr/bin/sleep", "1000", NULL };
	struct process p = PROCESS_INIT;
	struct jail_spec jail;
	struct process_spec spec = { .argv = argv, .jail = &jail };
	struct err e = ERR_INIT;

	jail_of(JAIL_QEMU, "x", PRIV_UID_FIRST + 7, &jail);
	if (process_spawn(&spec, &p, &e) < 0)
		fail_msg("%s", e.msg);
	return p;
}

static void end(struct process *p)
{
	struct process_exit x;

	(void)process_signal(p, SIGKILL);
	assert_int_equal(process_wait(p, 20000, &x), 0);
	process_close(p);
}

static void test_owns_peer_knows_uids_and_namespaces(void **state)
{
	static struct daemon d;
	static struct vm vm;
	struct process ours = jailed(), other = jailed();

	(void)state;
	LIST_INIT(&d.vms);
	LIST_INSERT_HEAD(&d.vms, &vm, link);
	vm.processes[0].pid = ours.pid;
	vm.process_count = 1;
	/* Whatever the process: that user has no business here. */
	assert_true(vm_owns_peer(&d, PRIV_UID_FIRST + 1, getpid()));
	assert_true(vm_owns_peer(&d, PRIV_UID_FIRST + PRIV_RANGE - 1, 1));
	assert_false(vm_owns_peer(&d, PRIV_UID_FIRST, getpid()));
	assert_false(vm_owns_peer(&d, PRIV_UID_FIRST + PRIV_RANGE, getpid()));
	/* Rootless: the same user, told by where it is. */
	assert_false(vm_owns_peer(&d, getuid(), getpid()));
	assert_true(vm_owns_peer(&d, getuid(), ours.pid));
	/* A container of the same user is no VM of ours. */
	assert_false(vm_owns_peer(&d, getuid(), other.pid));
	end(&ours);
	end(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owns_peer_knows_uids_and_namespaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
