/* SPDX-License-Identifier: Apache-2.0 */
/* See http_share.h. */
#include "vmd/http/http_share.h"

#include <stdlib.h>
#include <unistd.h>

bool http_share_allows(uid_t uid, size_t own, size_t total, size_t max,
		       size_t reserve)
{
	size_t open = max > reserve ? max - reserve : 0;

	if (uid == 0 || uid == geteuid())
		return total < max;
	return total < open && own < open - total;
}

struct http_member *http_share_take(struct http_shares *s, uid_t uid,
				    bool *ret_full)
{
	struct http_member *m;

	LIST_FOREACH(m, &s->members, link)
		if (m->uid == uid)
			break;
	*ret_full = !http_share_allows(uid, m ? m->count : 0, s->total, s->max,
				       s->reserve);
	if (*ret_full)
		return NULL;
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m)
			return NULL;
		m->uid = uid;
		LIST_INSERT_HEAD(&s->members, m, link);
	}
	m->count++;
	s->total++;
	return m;
}

void http_share_give(struct http_shares *s, struct http_member *m)
{
	if (!m)
		return;
	s->total--;
	if (--m->count > 0)
		return;
	LIST_REMOVE(m, link);
	free(m);
}
