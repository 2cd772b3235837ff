/* SPDX-License-Identifier: Apache-2.0 */
/* See cursor.h. A cursor is POSITION.SIGNATURE. */
#include "vmd/routes/cursor.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
	SIGNATURE_BYTES = 8,
	SIGNATURE_LEN = 2 * SIGNATURE_BYTES
};

static void put_hex(const uint8_t *data, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", data[i]);
}

/* Kept in the store: a cursor is good for the next daemon, too. */
static int read_key(struct daemon *d, struct err *e)
{
	uint8_t raw[sizeof(d->cursor_key) / 2];
	int rc;

	if (d->cursor_key[0])
		return 0;
	rc = store_meta_get(d->store, "cursor_key", d->cursor_key,
			    sizeof(d->cursor_key), e);
	if (rc < 0 || strlen(d->cursor_key) + 1 == sizeof(d->cursor_key))
		return rc;
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return err_sys(e, EIO, "making a key for cursors");
	put_hex(raw, sizeof(raw), d->cursor_key);
	rc = store_meta_put(d->store, "cursor_key", d->cursor_key, e);
	if (rc < 0)
		d->cursor_key[0] = '\0';
	return rc;
}

static int sign(struct daemon *d, const char *list, const char *position,
		char ret[static SIGNATURE_LEN + 1], struct err *e)
{
	uint8_t digest[SIGNATURE_BYTES];
	struct hmac_sha256_ctx hmac;
	int rc = read_key(d, e);

	if (rc < 0)
		return rc;
	hmac_sha256_set_key(&hmac, strlen(d->cursor_key),
			    (const uint8_t *)d->cursor_key);
	hmac_sha256_update(&hmac, strlen(list) + 1, (const uint8_t *)list);
	hmac_sha256_update(&hmac, strlen(position), (const uint8_t *)position);
	hmac_sha256_digest(&hmac, sizeof(digest), digest);
	put_hex(digest, sizeof(digest), ret);
	return 0;
}

int cursor_make(struct daemon *d, const char *list, const char *position,
		char ret[static CURSOR_MAX], struct err *e)
{
	char signature[SIGNATURE_LEN + 1];
	int rc = sign(d, list, position, signature, e);

	if (rc == 0)
		(void)snprintf(ret, CURSOR_MAX, "%.63s.%s", position,
			       signature);
	return rc;
}

int cursor_read(struct daemon *d, const char *list, const char *cursor,
		char ret_position[static CURSOR_POSITION_MAX], struct err *e)
{
	size_t len = strcspn(cursor, ".");
	char signature[SIGNATURE_LEN + 1];
	int rc;

	ret_position[0] = '\0';
	if (!cursor[0])
		return 0;
	if (len < CURSOR_POSITION_MAX && cursor[len] == '.' &&
	    strlen(cursor + len + 1) == SIGNATURE_LEN) {
		memcpy(ret_position, cursor, len);
		ret_position[len] = '\0';
		rc = sign(d, list, ret_position, signature, e);
		if (rc < 0)
			return rc;
		if (memeql_sec(signature, cursor + len + 1, SIGNATURE_LEN))
			return 0;
	}
	return err_set(e, ERR_INVALID, "bad_cursor", 0,
		       "'%.64s' is no cursor of this list: take next_cursor of "
		       "the page before, or begin without one",
		       cursor);
}
