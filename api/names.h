/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the API that are values: states, engines, kinds. */
#ifndef API_NAMES_H
#define API_NAMES_H

#include <stdbool.h>

enum api_vm_state {
	API_VM_CREATING, /* disk and records are being made */
	API_VM_STOPPED,
	API_VM_STARTING, /* processes are being made; no CPU has run */
	API_VM_RUNNING, /* CPUs run; the agent has not said ready */
	API_VM_READY, /* commands can be run */
	API_VM_PAUSED, /* the host stopped its CPUs; `reason` says why */
	API_VM_STOPPING,
	API_VM_FAILED, /* see `error` */
	API_VM_DELETING,
	API_VM_UNKNOWN, /* cannot be judged; `reason` says why */
	API_VM_STATE_COUNT
};

enum api_op_state {
	API_OP_RUNNING,
	API_OP_SUCCEEDED,
	API_OP_FAILED,
	API_OP_CANCELLED,
	API_OP_STATE_COUNT
};

enum api_op_kind {
	API_OP_VM_CREATE,
	API_OP_VM_START,
	API_OP_VM_STOP,
	API_OP_VM_RESTART,
	API_OP_VM_DELETE,
	API_OP_IMAGE_BUILD,
	API_OP_KIND_COUNT
};

/* Each in the order of its enum, NULL-terminated. */
extern const char *const api_vm_states[];
extern const char *const api_op_states[];
extern const char
	*const api_vm_wait_states[]; /* ready stopped deleted exited */
extern const char *const api_engines[]; /* auto microvm qemu */
extern const char *const api_vm_engines[]; /* microvm qemu */
extern const char *const api_network_modes[]; /* user none */
extern const char *const api_protocols[]; /* tcp udp */
extern const char *const api_recipes[]; /* tiny debian */
extern const char *const api_signals[]; /* "INT", without SIG */
extern const char *const api_op_kinds[];
extern const char *const api_resource_kinds[]; /* vm image */

const char *api_vm_state_name(enum api_vm_state state);
/* false for a word nobody knows. */
bool api_vm_state_from_name(const char *name, enum api_vm_state *ret);
const char *api_op_state_name(enum api_op_state state);
bool api_op_state_from_name(const char *name, enum api_op_state *ret);

/* A copy that is done, but not of all: "name: reason" of the first, and how many
 * more. Header of a PUT, trailer of a GET of files. */
#define API_LEFT_OUT_HEADER "Vmd-Left-Out"
/* Codes of an exec that did not start: vmctl returns 127 and 126 for them. */
#define API_CODE_COMMAND_NOT_FOUND	"command_not_found"
#define API_CODE_COMMAND_NOT_EXECUTABLE "command_not_executable"
/* More than Linux takes: vmctl returns 126, as a shell does. */
#define API_CODE_ARGUMENT_LIST_TOO_LONG "argument_list_too_long"

/* Number of "INT" on Linux (any architecture we run on), or 0. */
int api_signal_number(const char *name);
/* "KILL" for 9; "9" is never the answer: NULL for a number without a name. */
const char *api_signal_name(int number);

/* Ids of VMs and operations: API_ID_LEN characters of API_ID_ALPHABET. */
#define API_ID_ALPHABET "abcdefghijklmnopqrstuvwxyz234567"
enum {
	API_ID_LEN = 26
};
/* true when text is a whole identifier. */
bool api_id_ok(const char *text);

/* Position of name in a NULL-terminated list, or -1. */
int api_name_index(const char *const *names, const char *name);

#endif
