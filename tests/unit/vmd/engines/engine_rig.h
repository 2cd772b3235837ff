/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM of an engine in a directory of its own, where scripts stand in the
 * place of the host's programs, and what the engine told about it.
 */
#ifndef TESTS_UNIT_VMD_ENGINES_ENGINE_RIG_H
#define TESTS_UNIT_VMD_ENGINES_ENGINE_RIG_H

#include "tests/unit/tmpdir.h"
#include "tests/unit/until.h"
#include "vmd/engines/engine.h"

enum {
	ENGINE_DEADLINE_MS = 60000,
	SKIPPED = 77
};

struct engine_rig {
	const struct engine_ops *engine;
	struct tmpdir dir; /* the run directory, first in PATH */
	char *path; /* PATH as it was */
	struct loop *loop;
	struct engine_vm *vm;
	struct vm_launch launch;
	bool release_at_end; /* in the callback itself */
	/* What was told. */
	struct vm_process processes[VM_PROCESSES_MAX];
	size_t process_count;
	unsigned int running, agents, ended, warnings, recovered;
	int agent_fd; /* of the last agent */
	char console[256];
	size_t console_len;
	enum vm_end end;
	struct err err; /* of the end or the warning */
	unsigned int pauses;
	char pause[32]; /* why it is paused, or "" */
};

/* For cmocka's setup, below one that knows the engine; and teardown. */
struct engine_rig *engine_rig_new(const struct engine_ops *engine);
int engine_rig_teardown(void **state);

/* A program of the host that does body, a shell script. */
void engine_rig_program(const struct engine_rig *r, const char *name,
			const char *body);
void engine_rig_start(struct engine_rig *r);
/* As a new daemon does, that knows nothing but the processes. */
int engine_rig_adopt(struct engine_rig *r, enum vm_end *end, struct err *e);
int engine_rig_start_may_fail(struct engine_rig *r, struct err *e);
const struct vm_process *engine_rig_process(const struct engine_rig *r,
					    const char *role);

#define RUN_UNTIL(r, cond) \
	UNTIL(ENGINE_DEADLINE_MS, cond, loop_run_once((r)->loop, 10))

#endif
