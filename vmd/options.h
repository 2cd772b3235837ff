/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vmd and the directories that follow from it. */
#ifndef VMD_OPTIONS_H
#define VMD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

enum options_program {
	OPTIONS_VMD,
	OPTIONS_VMD_PRIV
};

struct options {
	char *state_dir, *run_dir, *socket_path; /* absolute */
	char *user; /* whom vmd becomes when it is root */
	uint32_t uid_first; /* of the range for VMs */
	bool system; /* by a vmd-priv that runs, as a service */
	bool no_jail;
	int ready_fd; /* vmd-priv: told when it serves, -1 */
	enum log_level log_level;
	enum log_format log_format;
	unsigned starts_max;
};

/* 0: go on; 1: done (help, version); negative: error. */
int options_parse(struct options *o, enum options_program program, int argc,
		  char **argv, struct err *e);
void options_done(struct options *o);

#endif
