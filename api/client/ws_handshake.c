/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the WebSocket handshake (RFC 6455, section 4). */
#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/client/ws.h"

void api_ws_accept_value(const char *key,
			 char out[static API_WS_ACCEPT_LEN + 1])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx sha;

	sha1_init(&sha);
	sha1_update(&sha, strlen(key), (const uint8_t *)key);
	sha1_update(&sha, sizeof(guid) - 1, (const uint8_t *)guid);
	sha1_digest(&sha, sizeof(digest), digest);
	base64_encode_raw(out, sizeof(digest), digest);
	out[API_WS_ACCEPT_LEN] = '\0';
}

struct answer {
	int status;
	bool upgrade, connection, accept;
	size_t content_length;
};

static int bad_head(struct err *e, const char *why)
{
	return err_set(e, ERR_PROTOCOL, "bad_handshake", 0,
		       "the daemon's WebSocket handshake is wrong: %s", why);
}

/* One of the comma-separated words is the wanted one. */
static bool has_word(const char *value, size_t len, const char *word)
{
	size_t want = strlen(word), at = 0;

	while (at < len) {
		size_t end = at;

		while (end < len && value[end] != ',')
			end++;
		while (at < end && (value[at] == ' ' || value[at] == '\t'))
			at++;
		if (end - at >= want &&
		    strncasecmp(value + at, word, want) == 0 &&
		    strspn(value + at + want, " \t") >= end - at - want)
			return true;
		at = end + 1;
	}
	return false;
}

static bool name_is(const char *line, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(line, name, len) == 0;
}

static int read_header(struct answer *a, const char *line, size_t len,
		       const char *accept, struct err *e)
{
	const char *colon = memchr(line, ':', len);
	const char *value;
	size_t name_len, value_len;

	if (!colon || colon == line)
		return bad_head(e, "a header without a name");
	name_len = (size_t)(colon - line);
	value = colon + 1;
	value_len = len - name_len - 1;
	while (value_len > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		value_len--;
	}
	while (value_len > 0 &&
	       (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--;
	if (name_is(line, name_len, "Upgrade"))
		a->upgrade = has_word(value, value_len, "websocket");
	else if (name_is(line, name_len, "Connection"))
		a->connection = has_word(value, value_len, "upgrade");
	else if (name_is(line, name_len, "Sec-WebSocket-Accept"))
		a->accept = value_len == strlen(accept) &&
			    memcmp(value, accept, value_len) == 0;
	else if (name_is(line, name_len, "Sec-WebSocket-Extensions") ||
		 name_is(line, name_len, "Sec-WebSocket-Protocol"))
		return a->status == 101 ? bad_head(e, "it uses what we did not "
						      "offer")
					: 0;
	else if (name_is(line, name_len, "Content-Length")) {
		a->content_length = 0;
		for (size_t i = 0; i < value_len; i++) {
			if (value[i] < '0' || value[i] > '9' || i > 8)
				return bad_head(e, "a bad Content-Length");
			a->content_length = a->content_length * 10 +
					    (size_t)(value[i] - '0');
		}
	}
	return 0;
}

int api_ws_check_answer(const char *head, size_t len, const char *accept,
			size_t *ret_length, struct err *e)
{
	struct answer a = { .status = 0 };
	const char *end = head + len;
	const char *line = head;

	*ret_length = 0;
	if (memchr(head, '\0', len))
		return bad_head(e, "a NUL byte");
	if (len < 14 || memcmp(head, "HTTP/1.1 ", 9) != 0 ||
	    strspn(head + 9, "0123456789") != 3)
		return bad_head(e, "not HTTP/1.1");
	a.status = (head[9] - '0') * 100 + (head[10] - '0') * 10 +
		   (head[11] - '0');
	for (;;) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		size_t n;
		int rc;

		if (!next || next == line || next[-1] != '\r')
			return bad_head(e, "lines must end with CR LF");
		n = (size_t)(next - line) - 1;
		if (n == 0)
			break;
		rc = line == head ? 0 : read_header(&a, line, n, accept, e);
		if (rc < 0)
			return rc;
		line = next + 1;
	}
	*ret_length = a.content_length;
	if (a.status != 101)
		return a.status;
	if (!a.upgrade || !a.connection)
		return bad_head(e, "no Upgrade to websocket");
	if (!a.accept)
		return bad_head(e, "Sec-WebSocket-Accept does not match");
	return 101;
}
