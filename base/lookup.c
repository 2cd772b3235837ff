/* SPDX-License-Identifier: Apache-2.0 */
/* See lookup.h. */
#include "base/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void lookup_begin(struct lookup *l, const char *ref)
{
	*l = (struct lookup){ .ref = ref, .len = strlen(ref) };
}

static enum lookup_rank rank_of(const struct lookup *l, const char *id,
				const char *name)
{
	if (strcmp(id, l->ref) == 0)
		return LOOKUP_ID;
	if (name && strcmp(name, l->ref) == 0)
		return LOOKUP_NAME;
	if (l->len >= LOOKUP_PREFIX_MIN && strncmp(id, l->ref, l->len) == 0)
		return LOOKUP_PREFIX;
	return LOOKUP_NONE;
}

void lookup_offer(struct lookup *l, const char *id, const char *name,
		  const void *item)
{
	enum lookup_rank rank = rank_of(l, id, name);

	if (rank == LOOKUP_NONE || rank < l->rank)
		return;
	l->count = rank > l->rank ? 1 : l->count + 1;
	l->rank = rank;
	l->found = item;
}

const void *lookup_end(const struct lookup *l, const char *noun,
		       const char *label, struct err *e)
{
	char code[32];

	(void)snprintf(code, sizeof(code), "%s_not_found", noun);
	if (l->rank != LOOKUP_NONE && l->count == 1)
		return l->found;
	if (l->rank == LOOKUP_NONE)
		(void)err_set(e, ERR_NOT_FOUND, code, ENOENT,
			      "there is no %s '%.128s'", label, l->ref);
	else
		(void)err_set(e, ERR_INVALID, "ambiguous_id", 0,
			      "'%.128s' is the beginning of the ids of %u %ss: "
			      "give more of it",
			      l->ref, l->count, label);
	(void)err_subject(e, -ENOENT, l->ref, NULL);
	return NULL;
}
