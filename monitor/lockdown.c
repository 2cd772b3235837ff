/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up privilege; see lockdown.h. Which system calls stay is written in
 * lockdown_filter.c, which makes the filter at build time.
 */
#include "monitor/lockdown.h"

#include <cap-ng.h>
#include <errno.h>
#include <jansson.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"

static const struct sock_filter filter[] = {
#include "monitor/lockdown_filter.inc"
};

static int failed(struct err *e, int sys, const char *what)
{
	return err_set(e, ERR_INTERNAL, "lockdown_failed", sys,
		       "cannot lock the monitor down: %s: %s", what,
		       strerror(sys));
}

/* On all threads, or on none. */
static int filter_calls(struct err *e)
{
	/* A copy, because the kernel's type wants it writable. */
	struct sock_filter copy[ARRAY_LEN(filter)];
	struct sock_fprog program = { .len = ARRAY_LEN(filter),
				      .filter = copy };
	long rc;

	memcpy(copy, filter, sizeof(copy));
	rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_TSYNC, &program);
	if (rc < 0)
		return failed(e, errno, "installing the system call filter");
	if (rc > 0)
		return failed(e, EBUSY, "a thread refuses the filter");
	return 0;
}

int lockdown_drop_privilege(struct err *e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(e, errno, "no_new_privs");
	capng_clear(CAPNG_SELECT_ALL);
	/* An ordinary user has no bounding set to lower: that is fine. */
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return failed(e, errno ? errno : EPERM,
			      "dropping capabilities");
	return 0;
}

int lockdown_enter(struct err *e)
{
	/* The C library reads /etc/localtime when it is first asked for a
	 * date: a log record after lock-down must not be that. */
	tzset();
	/* So does the JSON library with /dev/urandom. */
	json_object_seed(0);
	return filter_calls(e);
}
