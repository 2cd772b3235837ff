/* SPDX-License-Identifier: Apache-2.0 */
/* Options into the JSON of requests. */
#ifndef VMCTL_SPEC_H
#define VMCTL_SPEC_H

#include <jansson.h>

#include "base/err.h"
#include "base/port_bind.h"
#include "vmctl/args.h"

/* "[ADDR:]HOST:GUEST[/tcp|/udp]", ADDR may be "[::1]". New reference or NULL. */
json_t *spec_port(const char *text, struct err *e);
/* [ADDRESS:]HOST:GUEST[/udp]. what names it in messages, address is that of a text
 * without one; HOST is at least min_host. */
int spec_port_read(const char *what, const char *text, const char *address,
		   uint64_t min_host, struct port_spec *ret, struct err *e);

/* NAME=VALUE, or NAME for our own environment's value. */
int spec_env(json_t *env, const char *text, struct err *e);

/* KEY=VALUE into a map. what names it in messages. */
int spec_pair(json_t *map, const char *what, const char *text, struct err *e);

/* The VmCreate object of the image and the VM options. */
json_t *spec_vm(const struct args *args, const char *image, struct err *e);

/* command, env, cwd, user: into a VmCreate or ExecRequest object. The command is
 * operands from `first` on; none: the member is left out. */
int spec_command(json_t *object, const struct args *args, size_t first,
		 struct err *e);

/* A key for Idempotency-Key: 32 hex digits. */
void spec_random_key(char out[static 33]);

#endif
