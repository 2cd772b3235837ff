/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds how many of something there is a limited number of: connections and
 * operations under way, by uid.
 *
 * Nobody but root and the daemon's own user may hold more than is still free: one
 * user alone gets half, the next one half of the rest, and so on. So no user can
 * lock another one out, and nobody is held back while nobody else is there. A
 * reserve is for root and the daemon's user alone.
 */
#ifndef VMD_HTTP_SHARE_H
#define VMD_HTTP_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/types.h>

struct http_member {
	uid_t uid;
	size_t count;
	LIST_ENTRY(http_member) link;
};

struct http_shares {
	size_t total, max, reserve;
	LIST_HEAD(, http_member) members;
};

/* Whether a user that has `own` of `total` taken ones may take one more. */
bool http_share_allows(uid_t uid, size_t own, size_t total, size_t max,
		       size_t reserve);

/* One more for uid; NULL: not allowed (*ret_full) or no memory. */
struct http_member *http_share_take(struct http_shares *s, uid_t uid,
				    bool *ret_full);
/* NULL is fine. */
void http_share_give(struct http_shares *s, struct http_member *m);

#endif
