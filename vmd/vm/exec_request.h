/* SPDX-License-Identifier: Apache-2.0 */
/* From a validated ExecRequest (or VmCreate) to the agent's EXEC. */
#ifndef VMD_EXEC_REQUEST_H
#define VMD_EXEC_REQUEST_H

#include <jansson.h>

#include "agent/wire.h"
#include "base/err.h"

struct exec_request {
	struct wire_exec wire; /* points into the JSON and into items */
	uint8_t *items; /* arguments and "NAME=value" as they go on the wire */
};

/* 0, or argument_list_too_long: more than Linux takes. */
int exec_request_check(const json_t *json, struct err *e);
/* json must outlive *ret. fallback runs when no command is named. */
int exec_request_build(const json_t *json, const char *fallback,
		       struct exec_request *ret, struct err *e);
void exec_request_done(struct exec_request *r);

#endif
