/* SPDX-License-Identifier: Apache-2.0 */
/* See err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#undef err_set /* the analyzer's, see err.h */
#undef err_sys
#undef err_wrap
#undef err_field
#undef err_subject
#undef err_amounts

struct kind_info {
	const char *name;
	int sys; /* what err_set returns when no errno was given */
};

static const struct kind_info kinds[ERR_KIND_COUNT] = {
	[ERR_NONE] = { "none", EINVAL },
	[ERR_INVALID] = { "invalid", EINVAL },
	[ERR_NOT_FOUND] = { "not_found", ENOENT },
	[ERR_CONFLICT] = { "conflict", EBUSY },
	[ERR_PERMISSION] = { "permission", EACCES },
	[ERR_LIMIT] = { "limit", EDQUOT },
	[ERR_NO_SPACE] = { "no_space", ENOSPC },
	[ERR_TIMEOUT] = { "timeout", ETIMEDOUT },
	[ERR_CANCELLED] = { "cancelled", ECANCELED },
	[ERR_UNAVAILABLE] = { "unavailable", EAGAIN },
	[ERR_UNSUPPORTED] = { "unsupported", EOPNOTSUPP },
	[ERR_CORRUPT] = { "corrupt", EBADMSG },
	[ERR_PROTOCOL] = { "protocol", EPROTO },
	[ERR_INTERNAL] = { "internal", EIO },
};

struct sys_info {
	int sys;
	enum err_kind kind;
	const char *code;
};

static const struct sys_info sys_table[] = {
	{ EACCES, ERR_PERMISSION, "permission_denied" },
	{ EPERM, ERR_PERMISSION, "permission_denied" },
	{ EROFS, ERR_PERMISSION, "read_only_file_system" },
	{ ENOENT, ERR_NOT_FOUND, "not_found" },
	{ ENODEV, ERR_NOT_FOUND, "not_found" },
	{ ENXIO, ERR_NOT_FOUND, "not_found" },
	{ EEXIST, ERR_CONFLICT, "exists" },
	{ EBUSY, ERR_CONFLICT, "busy" },
	{ EADDRINUSE, ERR_CONFLICT, "address_in_use" },
	{ ENOSPC, ERR_NO_SPACE, "disk_full" },
	{ EDQUOT, ERR_NO_SPACE, "disk_full" },
	{ EFBIG, ERR_LIMIT, "file_too_big" },
	{ ENOMEM, ERR_LIMIT, "no_memory" },
	{ EMFILE, ERR_LIMIT, "too_many_files" },
	{ ENFILE, ERR_LIMIT, "too_many_files" },
	{ ETIMEDOUT, ERR_TIMEOUT, "timeout" },
	{ ECANCELED, ERR_CANCELLED, "cancelled" },
	{ ECONNREFUSED, ERR_UNAVAILABLE, "connection_refused" },
	{ ECONNRESET, ERR_UNAVAILABLE, "connection_lost" },
	{ EPIPE, ERR_UNAVAILABLE, "connection_lost" },
	{ EOPNOTSUPP, ERR_UNSUPPORTED, "not_supported" },
	{ ENOSYS, ERR_UNSUPPORTED, "not_supported" },
	{ EINVAL, ERR_INVALID, "invalid_argument" },
	{ ENAMETOOLONG, ERR_INVALID, "name_too_long" },
	{ EBADMSG, ERR_CORRUPT, "corrupt" },
	{ EPROTO, ERR_PROTOCOL, "protocol_error" },
};

const char *err_kind_name(enum err_kind kind)
{
	if ((unsigned)kind >= ERR_KIND_COUNT)
		return "internal";
	return kinds[kind].name;
}

enum err_kind err_kind_from_name(const char *name)
{
	for (unsigned k = 1; k < ERR_KIND_COUNT; k++) {
		if (name && strcmp(name, kinds[k].name) == 0)
			return (enum err_kind)k;
	}
	return ERR_INTERNAL;
}

static int __attribute__((format(printf, 5, 0)))
err_vset(struct err *e, enum err_kind kind, const char *code, int sys,
	 const char *fmt, va_list args)
{
	int number = sys ? sys : kinds[kind].sys;

	if (e) {
		e->kind = kind;
		e->sys = sys;
		e->field[0] = e->subject[0] = e->suggestion[0] = '\0';
		e->amounts = false;
		(void)snprintf(e->code, sizeof(e->code), "%s", code);
		(void)vsnprintf(e->msg, sizeof(e->msg), fmt, args);
	}
	return -number;
}

int err_set(struct err *e, enum err_kind kind, const char *code, int sys,
	    const char *fmt, ...)
{
	va_list args;
	int rc;

	va_start(args, fmt);
	rc = err_vset(e, kind, code, sys, fmt, args);
	va_end(args);
	return rc;
}

int err_sys(struct err *e, int sys, const char *fmt, ...)
{
	enum err_kind kind = ERR_INTERNAL;
	const char *code = "system_error";
	va_list args;

	for (size_t i = 0; i < sizeof(sys_table) / sizeof(sys_table[0]); i++) {
		if (sys_table[i].sys == sys) {
			kind = sys_table[i].kind;
			code = sys_table[i].code;
			break;
		}
	}
	va_start(args, fmt);
	(void)err_vset(e, kind, code, sys, fmt, args);
	va_end(args);
	if (e) {
		size_t used = strlen(e->msg);

		/* Safe in all threads: glibc since 2.32, musl always. */
		(void)snprintf(e->msg + used, sizeof(e->msg) - used, ": %s",
			       strerror(sys));
	}
	return sys > 0 ? -sys : -EIO;
}

int err_wrap(struct err *e, int rc, const char *fmt, ...)
{
	char context[256], old[sizeof(e->msg)];
	va_list args;

	if (!e)
		return rc;
	va_start(args, fmt);
	(void)vsnprintf(context, sizeof(context), fmt, args);
	va_end(args);
	memcpy(old, e->msg, sizeof(old));
	(void)snprintf(e->msg, sizeof(e->msg), "%s: %.*s", context,
		       (int)(sizeof(e->msg) - strlen(context) - 3), old);
	return rc;
}

int err_field(struct err *e, int rc, const char *field)
{
	if (e && !e->field[0])
		(void)snprintf(e->field, sizeof(e->field), "%s", field);
	return rc;
}

int err_subject(struct err *e, int rc, const char *subject,
		const char *suggestion)
{
	if (e) {
		(void)snprintf(e->subject, sizeof(e->subject), "%s", subject);
		(void)snprintf(e->suggestion, sizeof(e->suggestion), "%s",
			       suggestion ? suggestion : "");
	}
	return rc;
}

int err_amounts(struct err *e, int rc, uint64_t asked, uint64_t limit,
		uint64_t available)
{
	if (e) {
		e->amounts = true;
		e->asked = asked;
		e->limit = limit;
		e->available = available;
	}
	return rc;
}
