/* SPDX-License-Identifier: Apache-2.0 */
/* See http_head.h. */
#include "vmd/http/http_head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

#define TOKEN                                                                \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%" \
	"&'*+-.^_`|~"

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "bad_request", 0,
		       "the request is no HTTP: %s", what);
}

/*
 * Where the head ends (behind the empty line), 0 when that has not come yet. A
 * line feed without its carriage return is refused at once: its sender waits for
 * an answer.
 */
static int find_end(const char *data, size_t len, size_t *ret, struct err *e)
{
	const char *at = data, *lf;

	*ret = 0;
	while ((lf = memchr(at, '\n', len - (size_t)(at - data)))) {
		if (lf == data || lf[-1] != '\r')
			return malformed(e, "a line must end with CR and LF");
		if (lf - at == 1) { /* an empty line */
			*ret = (size_t)(lf - data) + 1;
			return 0;
		}
		at = lf + 1;
	}
	return 0;
}

static int too_long(const char *data, size_t len, struct err *e)
{
	if (!memchr(data, '\n', len))
		return err_set(e, ERR_INVALID, "uri_too_long", 0,
			       "the request's first line has more than %d "
			       "bytes",
			       HTTP_TARGET_MAX);
	return err_set(e, ERR_INVALID, "headers_too_large", 0,
		       "the head of the request has more than %d bytes",
		       HTTP_HEAD_MAX);
}

/* http://host/path is to be understood as /path (RFC 9112, 3.2.2). */
static const char *origin_form(char *target)
{
	char *slash;

	if (strncasecmp(target, "http://", 7) != 0)
		return target;
	slash = target + 7 + strcspn(target + 7, "/?");
	return *slash == '/' ? slash : "/";
}

static int parse_version(struct http_head *h, const char *text, struct err *e)
{
	if (strncmp(text, "HTTP/", 5) != 0 || text[5] < '0' || text[5] > '9' ||
	    text[6] != '.' || text[7] < '0' || text[7] > '9' || text[8])
		return malformed(e, "the first line must be METHOD PATH "
				    "HTTP/1.1");
	if (text[5] != '1')
		return err_set(e, ERR_UNSUPPORTED, "http_version", 0,
			       "HTTP/%.3s is not spoken here: use HTTP/1.1",
			       text + 5);
	h->old = text[7] == '0';
	return 0;
}

static int parse_line(struct http_head *h, char *line, struct err *e)
{
	size_t method = strspn(line, TOKEN);
	char *target = line + method + 1, *version;

	if (method == 0 || method > 32 || line[method] != ' ')
		return malformed(e, "it does not begin with a method");
	line[method] = '\0';
	h->method = line;
	version = strchr(target, ' ');
	if (!version)
		return malformed(e, "the first line must be METHOD PATH "
				    "HTTP/1.1");
	*version++ = '\0';
	if (strlen(target) > HTTP_TARGET_MAX)
		return err_set(e, ERR_INVALID, "uri_too_long", 0,
			       "the path has %zu bytes, at most %d are taken",
			       strlen(target), HTTP_TARGET_MAX);
	for (const char *p = target; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return malformed(e, "the path has bytes that must be "
					    "percent-encoded");
	h->target = origin_form(target);
	if (h->target[0] != '/')
		return malformed(e, "the path must begin with /");
	return parse_version(h, version, e);
}

static int parse_header(struct http_head *h, char *line, struct err *e)
{
	size_t name = strspn(line, TOKEN), len;
	char *value = line + name + 1;

	if (name == 0 || line[name] != ':')
		return malformed(e, "a header must be NAME: VALUE");
	if (h->count == HTTP_HEADERS_MAX)
		return err_set(e, ERR_INVALID, "headers_too_large", 0,
			       "the request has more than %d headers",
			       HTTP_HEADERS_MAX);
	line[name] = '\0';
	value += strspn(value, " \t");
	len = strlen(value);
	while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		value[--len] = '\0';
	for (const char *p = value; *p; p++)
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
			return malformed(e, "a header has control characters");
	h->headers[h->count++] = (struct http_header){ line, value };
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
	h->close = h->old || http_head_has(h, "Connection", "close");
	return parse_length(h, e);
}

static int parse_lines(struct http_head *h, struct err *e)
{
	char *line = h->text, *end;
	int rc;

	end = strstr(line, "\r\n");
	*end = '\0';
	rc = parse_line(h, line, e);
	for (line = end + 2; rc == 0 && *line != '\r'; line = end + 2) {
		end = strstr(line, "\r\n");
		*end = '\0';
		rc = parse_header(h, line, e);
	}
	return rc == 0 ? check_framing(h, e) : rc;
}

int http_head_parse(struct http_head *h, const void *data, size_t len,
		    size_t *ret_used, struct err *e)
{
	const char *at = data;
	size_t skip = 0, end = 0;
	int rc;

	*h = (struct http_head){ 0 };
	if (len == 0)
		return 0;
	/* Some clients send an empty line behind a body (RFC 9112, 2.2). */
	while (skip + 2 <= len && skip < 8 && memcmp(at + skip, "\r\n", 2) == 0)
		skip += 2;
	at += skip;
	len -= skip;
	rc = find_end(at, len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX, &end, e);
	if (rc < 0)
		return rc;
	if (!end && len >= HTTP_HEAD_MAX)
		return too_long(at, len, e);
	if (!end)
		return 0;
	if (memchr(at, '\0', end))
		return malformed(e, "it has a NUL byte");
	h->text = malloc(end + 1);
	if (!h->text)
		return err_sys(e, ENOMEM, "reading a request");
	memcpy(h->text, at, end);
	h->text[end] = '\0';
	*ret_used = skip + end;
	rc = h->text[0] == '\r' ? malformed(e, "it is empty")
				: parse_lines(h, e);
	if (rc == 0)
		return 1;
	http_head_done(h);
	return rc;
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
