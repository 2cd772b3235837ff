/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine for tests: a VM is a sleeping process and, behind a socket pair, an
 * agent that speaks the real protocol. Its VMs outlive the daemon object, so
 * that a test can drop the daemon and let a new one adopt them. Faults are a
 * parameter of the test.
 */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include "vmd/engines/engine.h"

enum fake_fault {
	FAKE_OK,
	FAKE_START_REFUSED, /* start() fails */
	FAKE_DIES_STARTING, /* ended(FAILED) instead of running() */
	FAKE_NEVER_READY, /* runs, prints, no agent */
	FAKE_IGNORES_SHUTDOWN, /* only kill() helps */
	FAKE_SLOW_KILL, /* kill() takes a while, as a host may */
	FAKE_ADOPT_FAILS, /* adopt() cannot tell */
};

extern enum fake_fault fake_fault;
/* Bytes of stdin that agents have received. */
extern uint64_t fake_stdin_bytes;
extern char fake_cmdline[2048]; /* of the last start */
extern unsigned fake_starts, fake_shutdowns, fake_resumes;
extern bool fake_room; /* on the disk: resuming helps */
/* Detached commands that were started. */
extern unsigned fake_detached;

extern const struct engine_ops fake_engine;
extern const struct engine_ops *const fake_engines[];
int fake_choose(const char *wanted, const struct vm_launch *launch,
		const struct engine_ops **ret, char ret_reason[static 256],
		struct err *e);

/* VMs are processes of a program in dir that the daemon takes for an engine's,
 * NULL: of sleep, which it does not. */
void fake_program(const char *dir);

/* Its disk's write met a full disk. */
void fake_pause(const char *id);

/* VMs whose process lives, handle or not. */
unsigned fake_running(void);
/* The same, asked of the host: somebody else may have ended them. */
unsigned fake_living(void);
/* The guest ends by itself; with no daemon the next adopt() reports it. */
void fake_end(const char *id, enum vm_end end);
void fake_print(const char *id, const char *text);
bool fake_has_agent(const char *id);
/* Its agent closes the connection. */
void fake_lose_agent(const char *id);
/* A detached command of that VM ends. */
void fake_command_ends(const char *id, uint32_t status);
/* Ends whatever is left. */
void fake_reset(void);

#endif
