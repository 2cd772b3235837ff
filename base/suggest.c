/* SPDX-License-Identifier: Apache-2.0 */
/* See suggest.h: optimal string alignment distance on short words. */
#include "base/suggest.h"

#include <string.h>

enum {
	WORD_MAX = 32,
	SLIPS_MAX = 2
};

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned edit_distance(const char *a, const char *b)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > WORD_MAX || m > WORD_MAX)
		return 255;
	for (unsigned i = 0; i <= n; i++)
		d[i][0] = i;
	for (unsigned j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		for (size_t j = 1; j <= m; j++) {
			unsigned cost = a[i - 1] != b[j - 1];

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
				       d[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[n][m];
}

void suggest_begin(struct suggest *s, const char *word)
{
	*s = (struct suggest){ .word = word,
			       .len = strlen(word),
			       .distance = 255,
			       .left = SUGGEST_CANDIDATES_MAX };
}

void suggest_offer(struct suggest *s, const char *candidate)
{
	size_t len = strlen(candidate);
	unsigned distance;

	/* Further away than any answer may be. */
	if (len + SLIPS_MAX < s->len || len > s->len + SLIPS_MAX || !s->left)
		return;
	s->left--;
	distance = edit_distance(s->word, candidate);
	if (distance < s->distance) {
		s->distance = distance;
		s->best = candidate;
	}
}

const char *suggest_end(const struct suggest *s)
{
	/* Two slips, but not half of the word. */
	return s->best && s->distance <= SLIPS_MAX &&
			       (size_t)s->distance * 2 <= strlen(s->best)
		       ? s->best
		       : NULL;
}

const char *suggest(const char *word, const char *const *candidates)
{
	struct suggest s;

	suggest_begin(&s, word);
	for (size_t i = 0; candidates[i]; i++)
		suggest_offer(&s, candidates[i]);
	return suggest_end(&s);
}
