/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: JSON objects, one per line, one answer line each.
 *
 *   {"action":"status"}    -> {"state":"running","vcpus":1,"uptime_ms":12,
 *                              "memory_backing":"anonymous"}
 *   {"action":"stats"}     exits and accesses so far; see stats.h
 *   {"action":"shutdown"}  the ACPI power button
 *   {"action":"kill"}      ends the process, exit status 5
 *   {"action":"pause"} {"action":"resume"}
 *                          answered when it is done: when no vCPU runs and no
 *                          request is in flight; when what a full disk refused
 *                          was tried again
 *   {"action":"resize_drive","drive_id":ID}
 *                          the drive's file has another size: the guest is told
 *   {"action":"watch"}     answers like status, then with another such line
 *                          whenever the guest is paused by itself
 *
 * Paused by itself means that the host's disk is full: "reason":"disk_full" in
 * the status. Resuming tries again what the guest was writing.
 *
 * The others answer {"ok":true} or {"error":{"code":...,"message":...}}. At most
 * 8 clients; a line has at most 4 KiB; whoever breaks the rules is hung up on.
 * Clients may do everything that stopping the VM means: the socket's mode is
 * the access control. Lock: the machine lock.
 */
#ifndef MONITOR_CONTROL_H
#define MONITOR_CONTROL_H

#include "base/listener.h"
#include "monitor/machine/machine.h"

enum {
	CONTROL_CLIENTS_MAX = 8,
	CONTROL_LINE_MAX = 4096
};

/* Pausing and resuming may take their time. */
enum control_wait {
	CONTROL_WAIT_NONE,
	CONTROL_WAIT_PAUSE,
	CONTROL_WAIT_RESUME
};

/* What an answer brings with it. */
struct control_reply {
	bool watches; /* the client wants to be told of changes */
	enum control_wait waits; /* the answer comes later */
};

struct control_client {
	struct control *control;
	int fd; /* -1: free */
	bool watches;
	/* What it has asked for is not done: it is answered then, and asks
	 * nothing else meanwhile. */
	enum control_wait waits;
	struct loop_source source;
	size_t len;
	char line[CONTROL_LINE_MAX];
};

struct control {
	struct machine *machine;
	struct listener listener;
	struct loop_timer later; /* lines that came behind one that waited */
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

/* path as in config_backend. *ret is heap-allocated. */
int control_new(struct machine *m, const char *path, struct control **ret,
		struct err *e);
void control_free(struct control *c);

/* One request line (without newline) to one answer, malloc'd, or NULL: there is
 * no memory, or ret->waits. */
char *control_answer(struct machine *m, const char *line, size_t len,
		     struct control_reply *ret);

#endif
