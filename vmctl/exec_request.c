/* SPDX-License-Identifier: Apache-2.0 */
/* The ExecRequest of run and exec. */
#include "vmctl/exec_request.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/spec.h"
#include "vmctl/term.h"

int exec_request_check(const struct args *args, struct err *e)
{
	if (args_has(args, "tty") && args_has(args, "interactive") &&
	    !isatty(STDIN_FILENO))
		return usage_error(e, "--tty with --interactive needs a "
				      "terminal on standard input; leave out "
				      "--tty");
	return 0;
}

json_t *exec_request_new(const struct args *args, size_t first, bool attach,
			 struct err *e)
{
	AUTO(json) json_t *request = NULL;
	bool tty = args_has(args, "tty");
	const char *term = getenv("TERM");
	uint16_t rows, columns;

	term_size(&rows, &columns);
	request = json_pack("{s:b, s:b, s:b, s:i, s:i}", "tty", tty, "stdin",
			    args_has(args, "interactive"), "attach", attach,
			    "rows", rows, "columns", columns);
	if (!request || spec_command(request, args, first, e) < 0)
		return NULL;
	if (tty && term && *term) {
		json_t *env = json_object_get(request, "env");

		if (!json_object_get(env, "TERM"))
			(void)json_object_set_new(env, "TERM",
						  json_string(term));
	}
	if (api_validate(&api_exec_request, request, e) < 0) {
		(void)is_usage_error(e);
		return NULL;
	}
	return take_ptr(request);
}
