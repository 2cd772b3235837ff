/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cursors of lists: a position, signed with a key that only this state directory
 * has, so that none is taken that was not given. A list that looks empty (or
 * begins again) because of a mistyped cursor would be believed.
 */
#ifndef VMD_CURSOR_H
#define VMD_CURSOR_H

#include "vmd/daemon.h"

enum {
	CURSOR_POSITION_MAX = 64, /* with the NUL */
	CURSOR_MAX = CURSOR_POSITION_MAX + 17
};

/* list: "vms"; position: [0-9a-z-]. */
int cursor_make(struct daemon *d, const char *list, const char *position,
		char ret[static CURSOR_MAX], struct err *e);
/* "" is the beginning: position "". ERR_INVALID bad_cursor. */
int cursor_read(struct daemon *d, const char *list, const char *cursor,
		char ret_position[static CURSOR_POSITION_MAX], struct err *e);

#endif
