/* SPDX-License-Identifier: Apache-2.0 */
/* See http_head.h. */
#include "vmd/http/http_head.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "vmd/http/http_gate.h"

#define TOKEN                                                                \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%" \
	"&'*+-.^_`|~"

/* What is being copied. */
struct copying {
	struct http_head *head;
	char *at; /* NULL: the room it takes is counted */
	size_t room;
	bool trailing; /* a header that frames the body ends with blanks */
};

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "bad_request", 0,
		       "the request is no HTTP: %s", what);
}

/* http://host/path is to be understood as /path (RFC 9112, 3.2.2). */
static const char *origin_form(const char *target)
{
	const char *slash;

	if (strncasecmp(target, "http://", 7) != 0)
		return target;
	slash = target + 7 + strcspn(target + 7, "/?");
	return *slash == '/' ? slash : "/";
}

static const char *copy(struct copying *c, const char *text, size_t len)
{
	char *at = c->at;

	c->room += len + 1;
	if (!at)
		return NULL;
	memcpy(at, text, len);
	at[len] = '\0';
	c->at += len + 1;
	return at;
}

static bool frames(const char *name)
{
	return strcasecmp(name, "Transfer-Encoding") == 0 ||
	       strcasecmp(name, "Content-Length") == 0;
}

static enum MHD_Result copy_header(void *cls, enum MHD_ValueKind kind,
				   const char *name, size_t name_len,
				   const char *value, size_t value_len)
{
	struct copying *c = cls;
	size_t len = value_len;

	(void)kind;
	while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	/* The library looks at it with its blanks. */
	if (len < value_len && frames(name))
		c->trailing = true;
	if (c->head->count < HTTP_HEADERS_MAX)
		c->head->headers[c->head->count] =
			(struct http_header){ copy(c, name, name_len),
					      copy(c, value ? value : "",
						   len) };
	c->head->count++;
	return MHD_YES;
}

static void copy_head(struct copying *c, struct MHD_Connection *from,
		      const char *method, const char *target)
{
	c->head->count = 0;
	c->head->method = copy(c, method, strlen(method));
	c->head->target = copy(c, target, strlen(target));
	(void)MHD_get_connection_values_n(from, MHD_HEADER_KIND, copy_header,
					  c);
}

static int check_line(struct http_head *h, struct err *e)
{
	size_t method = strspn(h->method, TOKEN);

	if (method == 0 || method > 32 || h->method[method])
		return malformed(e, "it does not begin with a method");
	if (strlen(h->target) > HTTP_TARGET_MAX)
		return err_set(e, ERR_INVALID, "uri_too_long", 0,
			       "the path has %zu bytes, at most %d are taken",
			       strlen(h->target), HTTP_TARGET_MAX);
	for (const char *p = h->target; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return malformed(e, "the path has bytes that must be "
					    "percent-encoded");
	h->target = origin_form(h->target);
	if (h->target[0] != '/')
		return malformed(e, "the path must begin with /");
	return 0;
}

static int check_header(const struct http_header *header, struct err *e)
{
	size_t name = strspn(header->name, TOKEN);

	if (name == 0 || header->name[name])
		return malformed(e, "a header must be NAME: VALUE");
	for (const char *p = header->value; *p; p++)
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
			return malformed(e, "a header has control characters");
	return 0;
}

static size_t count_of(const struct http_head *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->count; i++)
		n += strcasecmp(h->headers[i].name, name) == 0;
	return n;
}

static int parse_length(struct http_head *h, struct err *e)
{
	const char *first = http_head_find(h, "Content-Length");

	for (size_t i = 0; i < h->count; i++)
		if (first && h->headers[i].value &&
		    strcasecmp(h->headers[i].name, "Content-Length") == 0 &&
		    strcmp(h->headers[i].value, first) != 0)
			return malformed(e, "it has two Content-Length that "
					    "differ");
	if (first && parse_u64(first, 0, INT64_MAX, "Content-Length",
			       &h->length, NULL) < 0)
		return malformed(e, "Content-Length must be a number of bytes");
	return 0;
}

/* How the body is framed and what shall become of the connection. */
static int check_framing(struct http_head *h, struct err *e)
{
	const char *coding = http_head_find(h, "Transfer-Encoding");
	const char *expect = http_head_find(h, "Expect");

	if (count_of(h, "Host") > 1 || (!h->old && count_of(h, "Host") == 0))
		return malformed(e, "it must have one header Host");
	if (coding && (h->old || count_of(h, "Content-Length") > 0))
		return malformed(e, "Transfer-Encoding does not go with "
				    "Content-Length, nor with HTTP/1.0");
	if (coding && (strcasecmp(coding, "chunked") != 0 ||
		       count_of(h, "Transfer-Encoding") > 1))
		return err_set(e, ERR_UNSUPPORTED, "transfer_encoding", 0,
			       "Transfer-Encoding must be chunked, not %.40s",
			       coding);
	if (expect && strcasecmp(expect, "100-continue") != 0)
		return err_set(e, ERR_UNSUPPORTED, "expectation_failed", 0,
			       "nothing but 100-continue can be expected, not "
			       "%.40s",
			       expect);
	h->chunked = coding;
	h->expects = expect && !h->old;
	return parse_length(h, e);
}

int http_head_take(struct http_head *h, struct MHD_Connection *from,
		   const char *method, const char *target, const char *version,
		   struct err *e)
{
	struct copying c = { .head = h };
	int rc = 0;

	*h = (struct http_head){ .old = strcmp(version, "HTTP/1.0") == 0 };
	copy_head(&c, from, method, target);
	if (h->count > HTTP_HEADERS_MAX)
		return err_set(e, ERR_INVALID, "headers_too_large", 0,
			       "the request has more than %d headers",
			       HTTP_HEADERS_MAX);
	h->text = malloc(c.room);
	if (!h->text)
		return err_sys(e, ENOMEM, "reading a request");
	c.at = h->text;
	copy_head(&c, from, method, target);
	rc = check_line(h, e);
	for (size_t i = 0; rc == 0 && i < h->count; i++)
		rc = check_header(&h->headers[i], e);
	if (rc == 0 && c.trailing)
		rc = malformed(e, "blanks follow the length of its body");
	return rc == 0 ? check_framing(h, e) : rc;
}

void http_head_done(struct http_head *h)
{
	free(h->text);
	*h = (struct http_head){ 0 };
}

const char *http_head_find(const struct http_head *h, const char *name)
{
	for (size_t i = 0; i < h->count; i++)
		if (strcasecmp(h->headers[i].name, name) == 0)
			return h->headers[i].value;
	return NULL;
}

static bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (*list) {
		size_t n;

		list += strspn(list, ", \t");
		n = strcspn(list, ", \t");
		if (n == len && strncasecmp(list, word, n) == 0)
			return true;
		list += n;
	}
	return false;
}

bool http_head_has(const struct http_head *h, const char *name,
		   const char *word)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->headers[i].value &&
		    strcasecmp(h->headers[i].name, name) == 0 &&
		    list_has(h->headers[i].value, word))
			return true;
	return false;
}
