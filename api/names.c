/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the API. */
#include "api/names.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"

const char *const api_vm_states[] = {
	[API_VM_CREATING] = "creating", [API_VM_STOPPED] = "stopped",
	[API_VM_STARTING] = "starting", [API_VM_RUNNING] = "running",
	[API_VM_READY] = "ready",	[API_VM_PAUSED] = "paused",
	[API_VM_STOPPING] = "stopping", [API_VM_FAILED] = "failed",
	[API_VM_DELETING] = "deleting", [API_VM_UNKNOWN] = "unknown",
	[API_VM_STATE_COUNT] = NULL,
};

const char *const api_op_states[] = {
	[API_OP_RUNNING] = "running", [API_OP_SUCCEEDED] = "succeeded",
	[API_OP_FAILED] = "failed",   [API_OP_CANCELLED] = "cancelled",
	[API_OP_STATE_COUNT] = NULL,
};

const char *const api_vm_wait_states[] = { "ready", "stopped", "deleted",
					   "exited", NULL };
const char *const api_engines[] = { "auto", "microvm", "qemu", NULL };
const char *const api_vm_engines[] = { "microvm", "qemu", NULL };
const char *const api_network_modes[] = { "user", "none", NULL };
const char *const api_protocols[] = { "tcp", "udp", NULL };
const char *const api_recipes[] = { "tiny", "debian", NULL };
const char *const api_signals[] = { "HUP",  "INT",  "QUIT", "TERM", "KILL",
				    "USR1", "USR2", "STOP", "CONT", "WINCH",
				    "ALRM", "TSTP", NULL };
const char *const api_op_kinds[] = { "vm_create",  "vm_start",	"vm_stop",
				     "vm_restart", "vm_delete", "image_build",
				     NULL };
static_assert(ARRAY_LEN(api_op_kinds) == API_OP_KIND_COUNT + 1,
	      "a word for each kind");
const char *const api_resource_kinds[] = { "vm", "image", NULL };

/* In the order of api_signals. */
static const int signal_numbers[] = { SIGHUP,  SIGINT,	 SIGQUIT, SIGTERM,
				      SIGKILL, SIGUSR1,	 SIGUSR2, SIGSTOP,
				      SIGCONT, SIGWINCH, SIGALRM, SIGTSTP };

static_assert(ARRAY_LEN(signal_numbers) + 1 == ARRAY_LEN(api_signals),
	      "a number for each name");

int api_signal_number(const char *name)
{
	int i = api_name_index(api_signals, name);

	return i < 0 ? 0 : signal_numbers[i];
}

const char *api_signal_name(int number)
{
	for (size_t i = 0; i < ARRAY_LEN(signal_numbers); i++)
		if (signal_numbers[i] == number)
			return api_signals[i];
	return NULL;
}

bool api_id_ok(const char *text)
{
	return strlen(text) == API_ID_LEN &&
	       strspn(text, API_ID_ALPHABET) == API_ID_LEN;
}

int api_name_index(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

const char *api_vm_state_name(enum api_vm_state state)
{
	assert(state < API_VM_STATE_COUNT);
	return api_vm_states[state];
}

bool api_vm_state_from_name(const char *name, enum api_vm_state *ret)
{
	int i = api_name_index(api_vm_states, name);

	if (i < 0)
		return false;
	*ret = (enum api_vm_state)i;
	return true;
}

const char *api_op_state_name(enum api_op_state state)
{
	assert(state < API_OP_STATE_COUNT);
	return api_op_states[state];
}

bool api_op_state_from_name(const char *name, enum api_op_state *ret)
{
	int i = api_name_index(api_op_states, name);

	if (i < 0)
		return false;
	*ret = (enum api_op_state)i;
	return true;
}
