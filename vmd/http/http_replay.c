/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency-Key: the answer to a request that shall be done once is kept with
 * what the request made, in one transaction, and given again to the same client
 * (uid) for the same request. How long a client is ready to wait is not a part
 * of what it asks for: it may differ, and is honoured each time.
 */
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/http/http_internal.h"
#include "vmd/operation.h"
#include "vmd/vm/vm.h"

#define OPERATIONS "/v1/operations/"

static void add(struct sha256_ctx *sha, const void *data, size_t len)
{
	sha256_update(sha, len, data);
	sha256_update(sha, 1, (const uint8_t *)"");
}

static void fingerprint(struct request *r)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	sha256_init(&sha);
	add(&sha, r->route->method, strlen(r->route->method));
	add(&sha, r->route->path, strlen(r->route->path));
	add(&sha, buf_head(&r->raw), buf_len(&r->raw));
	sha256_digest(&sha, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(r->fingerprint + 2 * i, 3, "%02x", digest[i]);
}

/* The stored answer with its operation and VM as they are now. */
static void answer_now(struct request *r, json_t *body)
{
	const char *vm_id = json_string_value(
		json_object_get(json_object_get(body, "vm"), "id"));
	struct vm *vm = vm_id ? vm_find_id(r->daemon, vm_id) : NULL;
	char location[64];
	struct op_row op;

	if (operation_get(r->daemon, r->subject, &op, NULL) == 0) {
		json_t *json = operation_to_json(&op);

		if (vm_id) {
			(void)json_object_set_new(body, "operation", json);
		} else {
			json_decref(body);
			body = json;
		}
	}
	if (vm)
		(void)json_object_set_new(body, "vm", vm_to_json(vm));
	(void)snprintf(location, sizeof(location), OPERATIONS "%s", r->subject);
	request_json(r, r->replayed.status, body, location);
}

static void late_replay(struct request *r)
{
	answer_now(r, json_loads(r->replayed.body, 0, NULL));
}

static void poll_replay(struct request *r)
{
	struct op_row op;

	if (operation_get(r->daemon, r->subject, &op, NULL) < 0 ||
	    op.state != API_OP_RUNNING)
		late_replay(r);
}

static int find(struct request *r, const char *key, bool *ret_found,
		struct err *e)
{
	int rc;

	if (!key[0] || strlen(key) > 128)
		return err_set(e, ERR_INVALID, "bad_idempotency_key", 0,
			       "Idempotency-Key must have 1 to 128 characters");
	fingerprint(r);
	(void)snprintf(r->answer_key, sizeof(r->answer_key), "%u:%s",
		       (unsigned)r->uid, key);
	rc = store_answer_get(r->daemon->store, r->answer_key, &r->replayed,
			      ret_found, e);
	if (rc == 0 && *ret_found &&
	    strcmp(r->replayed.fingerprint, r->fingerprint) != 0)
		return err_set(e, ERR_CONFLICT, "idempotency_key_reused", 0,
			       "this Idempotency-Key was used for another "
			       "request: take a new one");
	return rc;
}

bool request_replay(struct request *r)
{
	const char *key = request_header(r, "Idempotency-Key");
	const size_t skip = strlen(OPERATIONS);
	struct err e = ERR_INIT;
	bool found = false;

	if (!key || !r->route->idempotency_key)
		return false;
	if (find(r, key, &found, &e) < 0) {
		r->answer_key[0] = '\0';
		request_fail(r, &e);
		return true;
	}
	if (!found)
		return false;
	r->answer_key[0] = '\0'; /* it is kept already */
	if (request_query_u64(r, "wait") == 0 ||
	    strncmp(r->replayed.location, OPERATIONS, skip) != 0)
		request_json(r, r->replayed.status,
			     json_loads(r->replayed.body, 0, NULL),
			     r->replayed.location);
	else
		request_wait(r, r->replayed.location + skip,
			     request_query_u64(r, "wait"), poll_replay,
			     late_replay);
	return true;
}

int request_remember(struct request *r, unsigned status, const char *location,
		     const json_t *body, struct err *e)
{
	AUTO(free) char *text = NULL;
	struct stored_answer answer = { .status = status };
	int rc;

	if (!r->answer_key[0])
		return 0;
	text = body ? json_to_text(body) : NULL;
	if (!text)
		return err_sys(e, ENOMEM, "keeping the answer");
	answer.body = text;
	memcpy(answer.fingerprint, r->fingerprint, sizeof(answer.fingerprint));
	(void)snprintf(answer.location, sizeof(answer.location), "%s",
		       location ? location : "");
	rc = store_answer_put(r->daemon->store, r->answer_key, &answer, e);
	if (rc == 0)
		r->answer_key[0] = '\0';
	return rc;
}
