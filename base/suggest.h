/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the nearest of many short words. */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <stddef.h>

enum {
	/* Compared at most, so that a wrong name among thousands costs a loop
	 * less than a millisecond; what is of another length is not counted. */
	SUGGEST_CANDIDATES_MAX = 1000
};

struct suggest {
	const char *word;
	size_t len;
	const char *best;
	unsigned distance;
	unsigned left; /* candidates that may be compared */
};

/* word and the candidates are borrowed until suggest_end(). */
void suggest_begin(struct suggest *s, const char *word);
void suggest_offer(struct suggest *s, const char *candidate);
/* The nearest, or NULL when none is near enough. */
const char *suggest_end(const struct suggest *s);

/* The same for an array that ends with NULL. */
const char *suggest(const char *word, const char *const *candidates);

/* Insertions, deletions, replacements and swaps of neighbours; at most 255. */
unsigned edit_distance(const char *a, const char *b);

#endif
