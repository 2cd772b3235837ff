/* SPDX-License-Identifier: Apache-2.0 */
/* One handler per route; handlers.c has the table. */
#ifndef VMD_HANDLERS_H
#define VMD_HANDLERS_H

#include "vmd/http/http.h"
#include "vmd/vm/vm.h"

/* handlers_host.c */
handler_fn handle_version, handle_host, handle_openapi, handle_metrics;
/* handlers_vm.c */
handler_fn handle_vm_create, handle_vm_list, handle_vm_get, handle_vm_wait;
/* handlers_vm_verbs.c */
handler_fn handle_vm_delete, handle_vm_start, handle_vm_stop, handle_vm_restart;
/* exec.c, dial.c, console.c, logs.c, files.c */
handler_fn handle_vm_exec, handle_vm_dial, handle_vm_console, handle_vm_logs,
	handle_files_get, handle_files_put;
/* handlers_image.c */
handler_fn handle_image_list, handle_image_create, handle_image_get,
	handle_image_delete;
/* handlers_operation.c */
handler_fn handle_operation_list, handle_operation_get, handle_operation_cancel,
	handle_operation_wait;

/* The VM of the path, or NULL after a 404. */
struct vm *request_vm(struct request *r);
/* Whether a header If-Match names the VM's revision; 412 was sent if not. */
bool request_match(struct request *r, const struct vm *vm);

#endif
