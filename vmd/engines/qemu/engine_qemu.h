/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engine_qemu.c (start, adopt, the engine's verbs) and qemu_control.c (the
 * conversation over QMP, the reason of an end) share; nobody else includes it.
 */
#ifndef VMD_ENGINE_QEMU_H
#define VMD_ENGINE_QEMU_H

#include "vmd/engines/engine_base.h"
#include "vmd/engines/qemu/qmp.h"

enum {
	QEMU_EMULATED_FACTOR = 4,
	QEMU_RECONNECT_MS = 500,
	/* Of qmp.log: an end and what may follow it lie in here. */
	QEMU_LOG_TAIL_BYTES = 65536,
};

struct qemu_vm {
	struct engine_vm base; /* first: an engine_vm is a qemu_vm */
	struct qmp *qmp; /* NULL: not connected */
	bool qmp_ready;
	bool kvm; /* what -accel said; valid when !adopted */
	bool adopted;
	bool port_opened; /* the agent has had its port open */
	uint64_t timeout_ms;
	struct loop_timer reconnect;
	const char *pause; /* why it is about to pause, or does */
	unsigned events; /* since qmp.log was looked at */
};

/* Per command and for the greeting: 5 s; tests make it shorter. */
extern uint64_t qemu_timeout_ms;

/* Connects to the monitor; the rest follows by itself. */
int qemu_control_open(struct qemu_vm *q, struct err *e);
void qemu_control_close(struct qemu_vm *q);
/* Prepares the timers; before anything else here. */
void qemu_control_init(struct qemu_vm *q);

/*
 * The end that qmp.log tells of. false: it tells of none.
 */
bool qemu_logged_end(int dirfd, enum vm_end *ret_end, struct err *ret_err);

/* "qemu_died" with the last lines of qemu.log. */
void qemu_set_died(struct err *e, int dirfd, const struct process_exit *x);

#endif
