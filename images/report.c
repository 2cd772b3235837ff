/* SPDX-License-Identifier: Apache-2.0 */
/* See report.h. */
#include "images/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* One write per line, so that a reader never sees half of one mixed up. */
static void write_line(json_t *j)
{
	static const char fallback[] =
		"{\"error\":{\"kind\":\"limit\",\"code\":\"no_memory\","
		"\"message\":\"out of memory\"}}\n";
	AUTO(free) char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;

	if (text)
		text[len++] = '\n'; /* in place of the NUL */
	(void)file_write_full(STDOUT_FILENO, text ? text : fallback,
			      text ? len : sizeof(fallback) - 1);
	json_decref(j);
}

void report_progress(const char *step, uint64_t done, uint64_t total)
{
	write_line(json_pack("{s:s, s:I, s:I}", "step", step, "done",
			     (json_int_t)done, "total", (json_int_t)total));
}

void report_error(const struct err *e)
{
	json_t *inner = json_pack("{s:s, s:s}", "kind", err_kind_name(e->kind),
				  "code", e->code);

	if (inner &&
	    json_object_set_new(inner, "message", json_string(e->msg)) < 0)
		/* not UTF-8: a tool's output got into the message */
		(void)json_object_set_new(inner, "message",
					  json_string("(message not UTF-8)"));
	write_line(json_pack("{s:o}", "error", inner));
}

void report_result(json_t *result)
{
	write_line(json_pack("{s:o}", "result", result));
}
