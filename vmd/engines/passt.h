/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User-mode network of a VM: one passt process per VM on one end of a socket
 * pair, the engine's process on the other. passt ends when the VM does. It is for
 * what the guest begins; published ports are vmd/ports.h.
 *
 * The guest has the fixed address GUEST/24 and reaches the outside through the
 * host's own routes; it does not reach the host's loopback (--no-map-gw). No
 * DHCP: the addresses are on the kernel command line.
 */
#ifndef VMD_PASST_H
#define VMD_PASST_H

#include "base/err.h"
#include "base/process.h"
#include "vmd/engines/engine.h"

#define PASST_GUEST_CIDR    "10.0.2.15/24"
#define PASST_GUEST_ADDRESS "10.0.2.15"
#define PASST_GATEWAY	    "10.0.2.2"
#define PASST_DNS	    "10.0.2.3"
/*
 * vmd.net= of the kernel command line (read by the agent). The window is what one
 * connection can have under way: passt (until 2023-10) drops what its socket to
 * the VM has no room for, and sends it again two seconds later. Passt answers
 * within a fraction of a millisecond, so more would not be faster.
 */
#define PASST_CMDLINE                                                 \
	"vmd.net=-," PASST_GUEST_CIDR "," PASST_GATEWAY "," PASST_DNS \
	" vmd.window=131072"
/* Same for every VM: each has a network of its own. */
#define PASST_GUEST_MAC "52:54:00:12:34:56"

/* Where the VM's process listens for passt, in the run directory. */
#define PASST_SOCKET "net.sock"

/*
 * A connection to the VM for passt, close-on-exec, with room for the windows of
 * many connections as far as we may.
 */
int passt_connect(int run_dirfd, int *ret_fd, struct err *e);

/* Starts passt on socket_fd (borrowed); its stderr goes to passt.log. */
int passt_start(const struct vm_launch *launch, int socket_fd,
		struct process *ret, struct err *e);

#endif
