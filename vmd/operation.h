/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: every verb that takes time. A running one is an object here and a
 * row in the store; a finished one is the row alone.
 */
#ifndef VMD_OPERATION_H
#define VMD_OPERATION_H

#include "vmd/daemon.h"

struct operation {
	enum api_op_kind kind;
	struct op_row row; /* with the words of kind and resource */
	struct daemon *daemon;
	uid_t uid; /* who asked for it, or DAEMON_ITSELF */
	/*
	 * Ends what the operation does, leaving nothing; it finishes (soon) with
	 * `why`: ERR_CANCELLED by request, ERR_TIMEOUT past the deadline.
	 */
	void (*stop)(struct operation *op, const struct err *why);
	void *owner;
	struct loop_timer deadline;
	LIST_ENTRY(operation) link;
};

/* The row is written at once. deadline_ms 0: the owner keeps time itself. */
struct operation *operation_new(struct daemon *d, enum api_op_kind kind,
				const char *resource_id, uint64_t deadline_ms,
				struct err *e);
/* In memory only: progress is not worth a write to the disk. */
void operation_progress(struct operation *op, uint64_t done, uint64_t total,
			const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Words for one that did not end in time. */
void operation_overdue(const struct operation *op, struct err *ret);
/* Success when why is NULL; cancelled when its kind is ERR_CANCELLED. Frees, or
 * keeps it until the store takes its end. */
void operation_finish(struct operation *op, const struct err *why);

struct operation *operation_find(struct daemon *d, const char *id);
/* The id that ref means: it whole, or a unique beginning of it. */
int operation_resolve(struct daemon *d, const char *ref,
		      char ret_id[static ID_LEN + 1], struct err *e);
/* A running or a finished one. */
int operation_get(struct daemon *d, const char *id, struct op_row *ret,
		  struct err *e);
int operation_cancel(struct daemon *d, const char *id, struct err *e);
json_t *operation_to_json(const struct op_row *row);

#endif
