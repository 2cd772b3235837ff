/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run of the monitor ended: as exit status, as a JSON record in the status
 * file, as a sentence.
 */
#ifndef MONITOR_STATUS_H
#define MONITOR_STATUS_H

#include "base/err.h"

/* Exit statuses of vmd-monitor, documented in vmd-monitor(1). */
enum exit_status {
	EXIT_POWEROFF = 0,
	EXIT_HOST_ERROR = 1,
	EXIT_USAGE = 2, /* command line or configuration */
	EXIT_RESET = 3,
	EXIT_CRASH = 4,
	EXIT_KILLED = 5,
	EXIT_NO_KVM = 6,
	EXIT_DEBUG = 64, /* plus the low six bits of the guest's byte */
};

struct status_file {
	int fd; /* empty until the end */
};

#define STATUS_FILE_INIT \
	{                \
		.fd = -1 \
	}

/*
 * Before lock-down: afterwards nothing is opened, made or renamed. path: "fd:N"
 * or a new file; a file there, the record of an earlier run, is replaced, so
 * that a run without an end has an empty record.
 */
int status_open(struct status_file *f, const char *path, struct err *e);
/*
 * Writes the record with one write: a reader waits for the end of the process.
 * It is not synced: after a crash of the host nobody asks how a guest ended.
 */
void status_write(struct status_file *f, const char *reason, int status,
		  const struct err *error);
void status_close(struct status_file *f);

/* The exit status that belongs to an error. */
int status_of_error(const struct err *e);

#endif
