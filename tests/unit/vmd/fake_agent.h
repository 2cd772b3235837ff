/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the agent protocol, for tests. Commands it knows by
 * argv[0]: true; exit N; echo TEXT; length TEXT; cat; flood BYTES; hang. Services
 * it has, by port, for TCP and UDP alike: see below; any other port is an echo.
 */
#ifndef FAKE_AGENT_H
#define FAKE_AGENT_H

#include "agent/wire.h"
#include "base/loop.h"

enum fake_service {
	FAKE_REFUSES = 1,
	FAKE_RESETS = 2, /* at the first byte */
	FAKE_ECHO = 7,
	FAKE_HOLDS = 9, /* takes a window and no more */
	FAKE_ENDS = 11, /* the same, and says at once that it has said all */
	FAKE_FLOOD = 19,
	FAKE_GREETS = 25, /* speaks first, then an echo */
	FAKE_CHEATS = 66, /* breaks the protocol on its stream */
};

/* The last command: "FLAGS COLUMNSxROWS CWD USER ARGV... ENV...". */
extern char fake_exec[1024];

struct fake_agent;
/* Connections that agents have open. */
extern unsigned fake_dials;
/* Their guests stand still: nothing is read from the daemon. */
extern bool fake_agents_still;

struct fake_agent *fake_agent_new(struct loop *loop, int fd,
				  void (*shutdown)(void *data), void *data);
void fake_agent_free(struct fake_agent *a);
void fake_agent_detached(struct fake_agent *a, uint32_t tag, uint32_t status);

#endif
