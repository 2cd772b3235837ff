/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP over the unix socket by libcurl's easy interface. The body of an answer
 * goes to a bounded buffer (JSON, problems) or to the caller's sink (streams).
 */
#include "api/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/client/libcurl.h"
#include "api/names.h"
#include "api/problem.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sock.h"
#include "base/text.h"

/* A page of a thousand VMs with long commands still fits. */
enum {
	ANSWER_MAX = 64 << 20,
	PROBLEM_MAX = 256 << 10,
	QUEUE_WAIT_MS = 100
};

struct api_client {
	char *socket_path;
	CURL *curl;
	bool (*interrupt)(void *ctx);
	void *interrupt_ctx;
	bool interrupted;
	char left_out[256];
};

/* One call in progress; lives on the stack of the caller. */
struct call {
	struct api_client *client;
	struct buf answer;
	api_sink_fn *sink;
	api_source_fn *source;
	void *ctx;
	struct err *e;
	int failed; /* what sink or source returned */
	bool began; /* some of the body was given or taken */
	struct api_patience patience;
	bool too_large;
};

struct api_client *api_client_new(const char *socket_path, struct err *e)
{
	struct api_client *c = calloc(1, sizeof(*c));

	if (c)
		c->socket_path = strdup(socket_path);
	if (c && c->socket_path)
		return c;
	api_client_free(c);
	(void)err_sys(e, ENOMEM, "HTTP client");
	return NULL;
}

void api_client_free(struct api_client *c)
{
	if (!c)
		return;
	if (c->curl)
		libcurl.easy_cleanup(c->curl);
	free(c->socket_path);
	free(c);
}

/* The handle of the next request, without what the last one had set. */
static int begin(struct api_client *c, struct err *e)
{
	int rc = libcurl_load(e);

	if (rc < 0)
		return rc;
	if (!c->curl)
		c->curl = libcurl.easy_init();
	if (!c->curl)
		return err_sys(e, ENOMEM, "HTTP client");
	libcurl.easy_reset(c->curl);
	return 0;
}

const char *api_client_socket(const struct api_client *c)
{
	return c->socket_path;
}

void api_client_set_interrupt(struct api_client *c, bool (*fn)(void *ctx),
			      void *ctx)
{
	c->interrupt = fn;
	c->interrupt_ctx = ctx;
}

static long call_status(const struct call *call)
{
	long status = 0;

	(void)libcurl.easy_getinfo(call->client->curl, CURLINFO_RESPONSE_CODE,
				   &status);
	return status;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct call *call = ctx;
	size_t len = size * count;
	long status = call_status(call);

	if (call->sink && status >= 200 && status < 300) {
		call->began = true;
		call->failed = call->sink(call->ctx, data, len, call->e);
		return call->failed < 0 ? 0 : len;
	}
	if (buf_append(&call->answer, data, len) == 0)
		return len;
	call->too_large = true;
	return 0;
}

/* Headers and, behind a body, trailers. */
static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	static const char name[] = API_LEFT_OUT_HEADER ":";
	struct api_client *c = ctx;
	size_t len = size * count, skip = sizeof(name) - 1;

	if (len <= skip || strncasecmp(data, name, skip) != 0)
		return len;
	while (skip < len && data[skip] == ' ')
		skip++;
	(void)snprintf(c->left_out, sizeof(c->left_out), "%.*s",
		       (int)(len - skip), data + skip);
	c->left_out[strcspn(c->left_out, "\r\n")] = '\0';
	for (char *p = c->left_out; *p; p++)
		if (!text_printable(*p))
			*p = '?';
	return len;
}

const char *api_client_left_out(const struct api_client *c)
{
	return c->left_out;
}

static size_t on_read(char *data, size_t size, size_t count, void *ctx)
{
	struct call *call = ctx;
	ssize_t n = call->source(call->ctx, data, size * count, call->e);

	call->began = true;
	if (n >= 0)
		return (size_t)n;
	call->failed = (int)n;
	return CURL_READFUNC_ABORT;
}

static int on_progress(void *ctx, curl_off_t dltotal, curl_off_t dlnow,
		       curl_off_t ultotal, curl_off_t ulnow)
{
	struct api_client *c = ctx;

	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	if (!c->interrupt || !c->interrupt(c->interrupt_ctx))
		return 0;
	c->interrupted = true;
	return 1;
}

/*
 * Why libcurl got no connection: -EAGAIN when the daemon's queue is full. It
 * takes that for a connection that is being made, finds that there is none, and
 * has forgotten why; so the daemon is asked again.
 */
static int connect_failure(struct call *call, CURLcode rc)
{
	AUTO(fd) int fd = -1;
	long sys = 0;
	int again;

	if (rc != CURLE_COULDNT_CONNECT)
		return 0;
	(void)libcurl.easy_getinfo(call->client->curl, CURLINFO_OS_ERRNO, &sys);
	if (sys != 0 && sys != EAGAIN)
		return (int)-sys;
	again = sock_connect_unix(AT_FDCWD, call->client->socket_path, &fd,
				  NULL);
	return again == 0 ? -EAGAIN : again; /* by now there is room */
}

/* Nothing was done, because of others: after a while it may be. */
static bool may_try_again(struct call *call, CURLcode rc, long status)
{
	curl_off_t seconds = 0;

	if (connect_failure(call, rc) == -EAGAIN)
		return api_patience_wait(&call->patience, QUEUE_WAIT_MS);
	if (rc != CURLE_OK || status != 503 || call->began)
		return false;
	(void)libcurl.easy_getinfo(call->client->curl, CURLINFO_RETRY_AFTER,
				   &seconds);
	if (seconds < 1 || seconds > 10 ||
	    !memmem(buf_head(&call->answer), buf_len(&call->answer),
		    "\"too_many_", 10))
		return false;
	if (!api_patience_wait(&call->patience, (unsigned)seconds * 1000))
		return false;
	buf_consume(&call->answer, buf_len(&call->answer));
	return true;
}

static int answer_to_err(struct call *call, long status, struct err *e)
{
	AUTO(json) json_t *problem = NULL;
	const char *text = buf_len(&call->answer) > 0
				   ? (const char *)buf_head(&call->answer)
				   : "";

	/* Anything malformed is reported by api_problem_to_err(). */
	(void)json_parse_strict(text, buf_len(&call->answer), "answer",
				&problem, NULL);
	return api_problem_to_err(problem, (int)status, e);
}

static int perform(struct call *call, const char *path, struct err *e)
{
	struct api_client *c = call->client;
	char message[CURL_ERROR_SIZE] = "";
	AUTO(free) char *url = NULL;
	long status;
	CURLcode rc;

	if (asprintf(&url, "http://vmd%s", path) < 0) {
		url = NULL;
		return err_sys(e, ENOMEM, "request");
	}
	c->interrupted = false;
	c->left_out[0] = '\0';
	(void)libcurl.easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_header);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_URL, url);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH,
				  c->socket_path);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http");
	(void)libcurl.easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, 10L);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_USERAGENT,
				  "vmctl/" VMD_VERSION);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_WRITEDATA, call);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_ERRORBUFFER, message);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION,
				  on_progress);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_XFERINFODATA, c);
	call->patience = (struct api_patience){ .interrupt = c->interrupt,
						.ctx = c->interrupt_ctx };
	do {
		rc = libcurl.easy_perform(c->curl);
		status = call_status(call);
	} while (may_try_again(call, rc, status));
	(void)libcurl.easy_setopt(c->curl, CURLOPT_ERRORBUFFER, NULL);
	if (c->interrupted)
		return err_set(e, ERR_CANCELLED, "interrupted", EINTR,
			       "interrupted");
	if (call->failed < 0)
		return call->failed;
	if (rc == CURLE_COULDNT_CONNECT)
		return api_connect_error(c->socket_path,
					 -connect_failure(call, rc), e);
	/* A refused upload may end before all was sent: the answer counts. */
	if (status >= 300 && !call->too_large)
		return answer_to_err(call, status, e);
	if (call->too_large)
		return err_set(e, ERR_PROTOCOL, "bad_answer", 0,
			       "the daemon's answer is larger than %zu bytes",
			       call->answer.limit);
	if (rc != CURLE_OK)
		return err_set(e, ERR_UNAVAILABLE, "bad_answer", 0,
			       "the daemon at %s broke off: %s", c->socket_path,
			       message[0] ? message
					  : libcurl.easy_strerror(rc));
	return 0;
}

int api_client_call(struct api_client *c, const char *method, const char *path,
		    const json_t *body, const char *key, json_t **ret,
		    struct err *e)
{
	struct call call = { .client = c, .e = e };
	AUTO(buf) struct buf answer = BUF_INIT(0);
	AUTO(free) char *text = body ? json_to_text(body) : NULL;
	struct curl_slist *headers = NULL;
	char key_header[192];
	int rc;

	if (ret)
		*ret = NULL;
	if (body && !text)
		return err_sys(e, ENOMEM, "request");
	rc = begin(c, e);
	if (rc < 0)
		return rc;
	call.answer.limit = ANSWER_MAX;
	(void)libcurl.easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	headers = libcurl.slist_append(headers, "Expect:");
	if (text) {
		headers = libcurl.slist_append(
			headers, "Content-Type: application/json");
		(void)libcurl.easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE,
					  (curl_off_t)strlen(text));
		(void)libcurl.easy_setopt(c->curl, CURLOPT_POSTFIELDS, text);
	}
	if (key) {
		(void)snprintf(key_header, sizeof(key_header),
			       "Idempotency-Key: %.128s", key);
		headers = libcurl.slist_append(headers, key_header);
	}
	(void)libcurl.easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	rc = perform(&call, path, e);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
	libcurl.slist_free_all(headers);
	answer = call.answer;
	if (rc < 0 || !ret || buf_len(&answer) == 0)
		return rc;
	rc = json_parse_strict((const char *)buf_head(&answer),
			       buf_len(&answer), "the daemon's answer", ret, e);
	if (rc < 0 && e) {
		e->kind = ERR_PROTOCOL;
		(void)snprintf(e->code, sizeof(e->code), "bad_answer");
	}
	return rc;
}

int api_client_download(struct api_client *c, const char *path,
			api_sink_fn *sink, void *ctx, struct err *e)
{
	struct call call = { .client = c, .e = e, .sink = sink, .ctx = ctx };
	int rc = begin(c, e);

	if (rc < 0)
		return rc;
	call.answer.limit = PROBLEM_MAX;
	rc = perform(&call, path, e);
	buf_done(&call.answer);
	return rc;
}

int api_client_upload(struct api_client *c, const char *path,
		      api_source_fn *source, void *ctx, struct err *e)
{
	struct call call = {
		.client = c, .e = e, .source = source, .ctx = ctx
	};
	struct curl_slist *headers = NULL;
	int rc = begin(c, e);

	if (rc < 0)
		return rc;
	call.answer.limit = PROBLEM_MAX;
	/* Expect: 100-continue stays: a refusal comes before the data. */
	headers = libcurl.slist_append(headers,
				       "Content-Type: application/x-tar");
	headers = libcurl.slist_append(headers, "Transfer-Encoding: chunked");
	(void)libcurl.easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_UPLOAD, 1L);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_READFUNCTION, on_read);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_READDATA, &call);
	rc = perform(&call, path, e);
	(void)libcurl.easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
	libcurl.slist_free_all(headers);
	buf_done(&call.answer);
	return rc;
}

char *api_percent_encode(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = malloc(strlen(text) * 3 + 1);
	size_t n = 0;

	if (!out)
		return NULL;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || strchr("-._~", c)) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	out[n] = '\0';
	return out;
}
