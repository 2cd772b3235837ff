/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The published ports of a VM: vmd listens on the host and carries each
 * connection (or each UDP client's datagrams) to the guest's agent, which connects
 * to the service there. Needs no network of the guest; the same on both engines.
 *
 * They are the daemon's: bound before the VM starts, closed when it has ended or
 * the daemon does, bound again when a daemon takes a running VM over.
 *
 * Loop thread only. Clients and guests are hostile: connections and flows are
 * bounded, each holds one window, and nobody else waits for them.
 */
#ifndef VMD_VM_PORTS_H
#define VMD_VM_PORTS_H

#include <jansson.h>

#include "base/err.h"

struct port_spec;
struct vm;

/* From a validated Port of the API, with defaults. */
void port_spec_read(const json_t *port, struct port_spec *ret);

/* Binds them all; nobody is let in before the agent answers: clients wait. */
int vm_ports_open(struct vm *vm, struct err *e);
/* For a VM that runs already: what is taken by somebody else is tried again, and
 * the VM's reason says so. */
void vm_ports_adopt(struct vm *vm);
/* The agent answers / is lost. Connections have ended with the session. */
void vm_ports_ready(struct vm *vm);
void vm_ports_lost(struct vm *vm);
/* Resets what is open and stops listening. Harmless when nothing is open. */
void vm_ports_close(struct vm *vm);

#endif
