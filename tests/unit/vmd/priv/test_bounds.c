/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd/priv/bounds.c: what is not on the list is there for nobody, and everybody's
 * own list is on it. The lists are looked at by an interpreter of filters.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "vmd/priv/bounds.h"

/* filter_qemu, filter_passt, filter_build, filter_priv; the monitor's filter_loop,
 * filter_broker, filter_vcpu, filter_disk, filter_ring */
#include "images/recipe_filter.inc"
#include "monitor/lockdown/lockdown_self.h"
#include "monitor/lockdown_filter.inc"
#include "vmd/bounds_filter.inc"
#include "vmd/jail_filter.inc"

enum {
	CALLS = 480 /* more than the kernel of today has */
};

struct list {
	const char *name;
	const struct sock_filter *ops;
	size_t count;
};

static const struct list priv = { "vmd-priv", filter_priv,
				  ARRAY_LEN(filter_priv) };
static const struct list children[] = {
	{ "QEMU", filter_qemu, ARRAY_LEN(filter_qemu) },
	{ "passt", filter_passt, ARRAY_LEN(filter_passt) },
	{ "a build", filter_build, ARRAY_LEN(filter_build) },
};
static const struct list monitors[] = {
	{ "loop", filter_loop, ARRAY_LEN(filter_loop) },
	{ "broker", filter_broker, ARRAY_LEN(filter_broker) },
	{ "vcpu", filter_vcpu, ARRAY_LEN(filter_vcpu) },
	{ "disk", filter_disk, ARRAY_LEN(filter_disk) },
	{ "ring", filter_ring, ARRAY_LEN(filter_ring) },
};

static uint32_t load(const struct seccomp_data *data, uint32_t at)
{
	uint32_t value;

	assert_true(at + sizeof(value) <= sizeof(*data) && at % 4 == 0);
	memcpy(&value, (const char *)data + at, sizeof(value));
	return value;
}

/* What the filter says: SECCOMP_RET_... with its data. */
static uint32_t judge(const struct list *l, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < l->count; pc++) {
		const struct sock_filter *op = &l->ops[pc];
		bool yes;

		switch (op->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = load(data, op->k);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= op->k;
			continue;
		case BPF_JMP | BPF_JA:
			pc += op->k;
			continue;
		case BPF_RET | BPF_K:
			return op->k;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == op->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > op->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= op->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = a & op->k;
			break;
		default:
			fail_msg("operation %#x", op->code);
			return 0;
		}
		pc += yes ? op->jt : op->jf;
	}
	fail_msg("the filter of %s has no end", l->name);
	return 0;
}

static uint32_t judge_call(const struct list *l, int nr, uint64_t argument)
{
	struct seccomp_data data = { .nr = nr, .arch = AUDIT_ARCH_X86_64 };

	for (size_t i = 0; i < ARRAY_LEN(data.args); i++)
		data.args[i] = argument;
	return judge(l, &data);
}

static bool allows(const struct list *l, int nr)
{
	/* AF_UNIX and AF_INET are among them, flags of no namespace, too. */
	for (uint64_t argument = 0; argument < 17; argument++)
		if (judge_call(l, nr, argument) == SECCOMP_RET_ALLOW)
			return true;
	return false;
}

static void test_lists_of_children_are_within_that_of_vmd_priv(void **state)
{
	unsigned count = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(children); i++)
		for (int nr = 0; nr < CALLS; nr++) {
			if (!allows(&children[i], nr))
				continue;
			count++;
			if (!allows(&priv, nr))
				fail_msg("%s may call %d", children[i].name,
					 nr);
		}
	assert_true(count > 300);
	/* The monitor's decide by arguments, too: every number they compare. */
	for (size_t i = 0; i < ARRAY_LEN(monitors); i++)
		for (size_t k = 0; k < monitors[i].count; k++) {
			const struct sock_filter *op = &monitors[i].ops[k];

			if (op->code == (BPF_JMP | BPF_JEQ | BPF_K) &&
			    op->k < CALLS && !allows(&priv, (int)op->k))
				fail_msg("the monitor's %s compares with %u",
					 monitors[i].name, op->k);
		}
}

static void test_what_nobody_needs_does_not_exist(void **state)
{
	static const int absent[] = {
		SYS_keyctl,
		SYS_add_key,
		SYS_request_key,
		SYS_bpf,
		SYS_userfaultfd,
		SYS_perf_event_open,
		SYS_kexec_load,
		SYS_kexec_file_load,
		SYS_init_module,
		SYS_finit_module,
		SYS_delete_module,
		SYS_ptrace,
		SYS_process_vm_readv,
		SYS_process_vm_writev,
		SYS_setns,
		SYS_open_by_handle_at,
		SYS_reboot,
		SYS_swapon,
		SYS_clock_settime,
		SYS_settimeofday,
		SYS_adjtimex,
		SYS_clock_adjtime,
		SYS_iopl,
		SYS_ioperm,
		SYS_modify_ldt,
		SYS_kcmp,
		SYS_pidfd_getfd,
		SYS_quotactl,
		SYS_acct,
		SYS_syslog,
		SYS_vhangup,
		SYS_fanotify_init,
		SYS_fsopen,
		SYS_move_pages,
		SYS_migrate_pages,
		SYS_memfd_secret,
	};
	const uint32_t none = SECCOMP_RET_ERRNO | ENOSYS;
	struct seccomp_data data = { .nr = SYS_read, .arch = AUDIT_ARCH_I386 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(absent); i++)
		for (uint64_t argument = 0; argument < 17; argument++)
			assert_int_equal(judge_call(&priv, absent[i], argument),
					 none);
	/* Of a later kernel, of x32, of another architecture. */
	for (int nr = CALLS; nr < 5000; nr++)
		assert_int_equal(judge_call(&priv, nr, 0), none);
	assert_int_equal(judge_call(&priv, 0x40000000, 0), none);
	assert_int_equal(judge(&priv, &data), none);
	/* Families and typing for others are refused by argument. */
	assert_int_equal(judge_call(&priv, SYS_socket, AF_VSOCK), none);
	assert_int_equal(judge_call(&priv, SYS_socket, AF_ALG), none);
	assert_int_equal(judge_call(&priv, SYS_ioctl, 0x5412), none);
	assert_int_equal(judge_call(&priv, SYS_ioctl, 0x541c), none);
	/* For the monitor. */
	for (size_t i = 0; i < ARRAY_LEN(children); i++)
		for (int nr = SYS_io_uring_setup; nr <= SYS_io_uring_register;
		     nr++)
			assert_false(allows(&children[i], nr));
	/* No user namespace inside of a build's. */
	assert_int_equal(judge_call(&children[2], SYS_unshare, CLONE_NEWUSER),
			 none);
	assert_int_equal(judge_call(&children[2], SYS_clone, CLONE_NEWUSER),
			 none);
	assert_int_equal(judge_call(&children[2], SYS_clone3, 0), none);
}

/* The errno of each call, as the exit status of a child that is bound. */
static int bound_child(void (*child)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = ERR_INIT;

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    priv_bound_calls(&e) < 0)
			_exit(200);
		child();
		_exit(201);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void call_keyctl(void)
{
	_exit(syscall(SYS_keyctl, 0, -3, 0) < 0 ? errno : 0);
}

static void call_unknown(void)
{
	_exit(syscall(4000) < 0 ? errno : 0);
}

static void exec_keyctl(void)
{
	(void)execl("/usr/bin/perl", "perl", "-e",
		    "exit(syscall(250, 0, -3, 0) < 0 ? $! + 0 : 0)", NULL);
}

static void exec_tools(void)
{
	(void)execl("/bin/sh", "sh", "-c",
		    "ls / >/dev/null && perl -e 'fork or exit; wait' && "
		    "echo a | tr a b | grep -q b",
		    NULL);
}

static void test_bound_process_and_its_children_have_no_other_call(void **state)
{
	(void)state;
	assert_int_equal(bound_child(call_keyctl), ENOSYS);
	assert_int_equal(bound_child(call_unknown), ENOSYS);
	assert_int_equal(bound_child(exec_keyctl), ENOSYS);
	assert_int_equal(bound_child(exec_tools), 0);
	/* Without, it would have been there. */
	assert_true(syscall(SYS_keyctl, 0, -3, 0) >= 0 || errno != ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_lists_of_children_are_within_that_of_vmd_priv),
		cmocka_unit_test(test_what_nobody_needs_does_not_exist),
		cmocka_unit_test(
			test_bound_process_and_its_children_have_no_other_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
