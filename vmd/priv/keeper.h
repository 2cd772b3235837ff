/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where no service manager does it, vmd-priv is two processes: one that serves, and
 * its parent, which starts it again when it was killed or has crashed. The parent
 * waits and does nothing else.
 */
#ifndef VMD_PRIV_KEEPER_H
#define VMD_PRIV_KEEPER_H

#include <stdbool.h>

/*
 * Runs serve(ctx, again) in a child, whose exit status it returns. Again (true), when
 * a signal ended it that nobody had sent through us, and it had lived for a second:
 * what dies at once is not kept. SIGTERM and SIGINT go to the child. *fd is closed
 * here when the first child has it. One thread; signals stay blocked.
 */
int priv_keep(int (*serve)(void *ctx, bool again), void *ctx, int *fd);

#endif
