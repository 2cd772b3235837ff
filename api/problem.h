/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 9457 problem objects from and to struct err. The object also travels in
 * operations ("error"), VMs ("error") and exec messages ({"error": …}).
 */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define API_PROBLEM_TYPE "application/problem+json"

/* HTTP status of a kind. Codes with a status of their own (method_not_allowed
 * 405, body_too_large 413, wait_timeout 408) are known too. */
int api_problem_status(const struct err *e);

/* The same request may succeed later without a change. */
bool api_problem_retryable(enum err_kind kind);

/* A new reference; NULL only when out of memory. rejections (borrowed, may be
 * NULL) is an array of strings or objects. Bytes that are not UTF-8 become '?'. */
json_t *api_problem_new(const struct err *e, const json_t *rejections);

/* Fills *e from what a peer sent; anything malformed becomes ERR_PROTOCOL
 * bad_problem. status is the HTTP status, or 0. Returns a negative errno. */
int api_problem_to_err(const json_t *problem, int status, struct err *e);

#endif
