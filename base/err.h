/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error object: set and returned in one statement, wrapped with context on
 * the way up, logged or shown once at the boundary.
 *
 * `kind` is the class of the failure (it becomes the HTTP status and the exit
 * status), `code` the specific machine-readable name that the API shows
 * ("image_not_found"), `sys` an errno or 0, `msg` one sentence for a person:
 * what happened, to what, why, and what to do.
 *
 * The same as data, for programs that say it in their own words (a command line
 * has options where the API has fields): set by err_field() and so on, else "".
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum err_kind {
	ERR_NONE,
	ERR_INVALID, /* the request or the file is malformed */
	ERR_NOT_FOUND, /* the thing named does not exist */
	ERR_CONFLICT, /* wrong state, or it exists already */
	ERR_PERMISSION, /* the host or the policy forbids it */
	ERR_LIMIT, /* a quota or a host capacity is exhausted */
	ERR_NO_SPACE, /* a disk is full */
	ERR_TIMEOUT, /* a deadline passed */
	ERR_CANCELLED, /* somebody asked to stop */
	ERR_UNAVAILABLE, /* a peer or program is missing or not answering */
	ERR_UNSUPPORTED, /* well-formed, but not something we do */
	ERR_CORRUPT, /* stored data fails its checks */
	ERR_PROTOCOL, /* a peer broke its protocol */
	ERR_INTERNAL, /* the host failed us in a way not listed above */
	ERR_KIND_COUNT
};

#define ERR_UNKNOWN UINT64_MAX

struct err {
	enum err_kind kind;
	int sys;
	char code[48];
	char msg[720];
	char field[96]; /* of the request: "network.ports[0].protocol" */
	char subject[96]; /* the name, id or value it is about, as given */
	char suggestion[96]; /* what may have been meant instead */
	bool amounts; /* asked and so on are there, or ERR_UNKNOWN */
	uint64_t asked, limit, available; /* bytes, seconds or a count */
};

/*
 * Fills *e (which may be NULL: the error is then only returned) and returns
 * -sys, or a fixed negative errno of the kind when sys is 0. The result is
 * always negative. code is a short snake_case name, at most 47 characters.
 */
int err_set(struct err *e, enum err_kind kind, const char *code, int sys,
	    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/*
 * A failed system call: kind and code are derived from sys (EACCES/EPERM ->
 * permission_denied, ENOENT -> not_found, ENOSPC/EDQUOT -> disk_full, ENOMEM ->
 * no_memory, ...), strerror text is appended to the message. Returns -sys.
 */
int err_sys(struct err *e, int sys, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message; returns rc unchanged. */
int err_wrap(struct err *e, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Which field of the request it is about, unless that is known already: the
 * innermost that fails says it. Returns rc; e may be NULL here and below. */
int err_field(struct err *e, int rc, const char *field);
/* What it is about, and what may have been meant (NULL: nothing near). */
int err_subject(struct err *e, int rc, const char *subject,
		const char *suggestion);
/* Amounts in the unit of the field; ERR_UNKNOWN for what there is not. */
int err_amounts(struct err *e, int rc, uint64_t asked, uint64_t limit,
		uint64_t available);

#ifdef __clang_analyzer__
/* The analyzer reads one file at a time: tell it that failures are negative. */
static inline int err_negative(int rc)
{
	return rc < 0 ? rc : -1;
}
#define err_set(...)	 err_negative(err_set(__VA_ARGS__))
#define err_sys(...)	 err_negative(err_sys(__VA_ARGS__))
#define err_wrap(...)	 err_negative(err_wrap(__VA_ARGS__))
#define err_field(...)	 err_negative(err_field(__VA_ARGS__))
#define err_subject(...) err_negative(err_subject(__VA_ARGS__))
#define err_amounts(...) err_negative(err_amounts(__VA_ARGS__))
#endif

/* Stable lower-case name of a kind ("not_found"); never NULL. */
const char *err_kind_name(enum err_kind kind);

/* The kind with that name, or ERR_INTERNAL for a name nobody knows. */
enum err_kind err_kind_from_name(const char *name);

#define ERR_INIT                  \
	{                         \
		.kind = ERR_NONE, \
	}

static inline void err_clear(struct err *e)
{
	*e = (struct err)ERR_INIT;
}

#endif
