/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has the privilege: vmd-priv, which is root while vmd is an ordinary user, or
 * nobody (a normal user's daemon), or vmd itself (--user root).
 */
#ifndef VMD_SEPARATE_H
#define VMD_SEPARATE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/process.h"
#include "vmd/options.h"

struct separation {
	bool active; /* by vmd-priv */
	bool by_hand; /* which ends with us */
	int run_dirfd;
	struct process priv; /* the one that we started, or none */
	struct loop_source priv_end;
};

/*
 * First of all that vmd does: finds or starts vmd-priv and stops being root, for
 * good. Without one, as root, it gives up the capabilities that nothing needs.
 */
int separate(struct separation *s, const struct options *o, struct err *e);
/* Tells in the log when the vmd-priv of a start by hand ends. */
void separate_watch(struct separation *s, struct loop *loop);
/* The vmd-priv of a vmd that root started ends with it, unless another vmd is
 * connected. After every separate(). */
void separate_done(struct separation *s);

#endif
