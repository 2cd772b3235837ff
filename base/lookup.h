/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of many a reference means: the one whose whole id it is, else the one
 * whose exact name it is, else the only one whose id begins with it. An id thus
 * always means what it was given to, whatever others are named.
 */
#ifndef BASE_LOOKUP_H
#define BASE_LOOKUP_H

#include <stddef.h>

#include "base/err.h"

enum {
	/* A shorter text is no beginning of an id: it would mean something else
	 * tomorrow. */
	LOOKUP_PREFIX_MIN = 4
};

enum lookup_rank {
	LOOKUP_NONE,
	LOOKUP_PREFIX,
	LOOKUP_NAME,
	LOOKUP_ID
};

struct lookup {
	const char *ref;
	size_t len;
	enum lookup_rank rank; /* of what was found so far */
	unsigned count; /* of that rank */
	const void *found;
};

/* ref is borrowed until lookup_end(). */
void lookup_begin(struct lookup *l, const char *ref);
/* One candidate. name NULL: it has none; item is what lookup_end() returns. */
void lookup_offer(struct lookup *l, const char *id, const char *name,
		  const void *item);
/*
 * The item, or NULL with ERR_NOT_FOUND "<noun>_not_found" or ERR_INVALID
 * ambiguous_id. noun: "image"; label: how a person calls it ("VM").
 */
const void *lookup_end(const struct lookup *l, const char *noun,
		       const char *label, struct err *e);

#endif
