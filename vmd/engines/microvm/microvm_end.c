/* SPDX-License-Identifier: Apache-2.0 */
/* See microvm_end.h. */
#include "vmd/engines/microvm/microvm_end.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

enum {
	STATUS_MAX = 16384
};

static enum vm_end end_of_reason(const char *reason)
{
	static const struct {
		const char *reason;
		enum vm_end end;
	} known[] = {
		{ "poweroff", VM_END_POWEROFF },
		{ "reset", VM_END_RESET },
		{ "crash", VM_END_CRASH },
		{ "killed", VM_END_KILLED },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!strcmp(known[i].reason, reason))
			return known[i].end;
	}
	return VM_END_FAILED;
}

static void copy_text(char *out, size_t size, const char *raw)
{
	size_t n = strnlen(raw, size - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = text_printable(raw[i]) ? raw[i] : '?';
	out[n] = '\0';
}

bool microvm_recorded_end(int dirfd, enum vm_end *ret_end, struct err *ret_err)
{
	AUTO(free) char *text = NULL;
	AUTO(json) json_t *j = NULL;
	const json_t *error;
	const char *reason, *code, *message;
	char clean_code[48], clean[512];
	size_t len = 0;

	if (file_read(dirfd, "status.json", STATUS_MAX, &text, &len, NULL) <
		    0 ||
	    json_parse_strict(text, len, "status.json", &j, NULL) < 0)
		return false;
	reason = json_string_value(json_object_get(j, "reason"));
	if (!reason)
		return false;
	*ret_end = end_of_reason(reason);
	error = json_object_get(j, "error");
	code = json_string_value(json_object_get(error, "code"));
	message = json_string_value(json_object_get(error, "message"));
	copy_text(clean_code, sizeof(clean_code), code ? code : "");
	copy_text(clean, sizeof(clean), message ? message : "");
	if (*ret_end == VM_END_FAILED)
		(void)err_set(ret_err, ERR_UNAVAILABLE,
			      clean_code[0] ? clean_code : "monitor_failed", 0,
			      "the microVM monitor gave up: %s",
			      clean[0] ? clean : "no reason given");
	else if (*ret_end == VM_END_CRASH)
		(void)err_set(ret_err, ERR_INTERNAL, "guest_crashed", 0, "%s",
			      clean[0] ? clean
				       : "the guest crashed (triple fault or "
					 "KVM error)");
	return true;
}
