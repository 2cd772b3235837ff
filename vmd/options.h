/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vmd and the directories that follow from it. */
#ifndef VMD_OPTIONS_H
#define VMD_OPTIONS_H

#include "base/err.h"
#include "base/log.h"

struct options {
	bool no_jail;
	char *state_dir, *run_dir, *socket_path; /* absolute */
	enum log_level log_level;
	enum log_format log_format;
	unsigned starts_max;
};

/* 0: go on; 1: done (help, version); negative: error. */
int options_parse(struct options *o, int argc, char **argv, struct err *e);
void options_done(struct options *o);

#endif
