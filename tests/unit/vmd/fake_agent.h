/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the agent protocol, for tests. Commands it knows by
 * argv[0]: true; exit N; echo TEXT; length TEXT; cat; flood BYTES; hang.
 */
#ifndef FAKE_AGENT_H
#define FAKE_AGENT_H

#include "agent/wire.h"
#include "base/loop.h"

struct fake_agent;

struct fake_agent *fake_agent_new(struct loop *loop, int fd,
				  void (*shutdown)(void *data), void *data);
void fake_agent_free(struct fake_agent *a);
void fake_agent_detached(struct fake_agent *a, uint32_t tag, uint32_t status);

#endif
