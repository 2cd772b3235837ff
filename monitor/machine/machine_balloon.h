/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's balloon; see virtio/balloon.h. Under the machine lock. */
#ifndef MONITOR_MACHINE_BALLOON_H
#define MONITOR_MACHINE_BALLOON_H

#include <jansson.h>

#include "monitor/machine/machine.h"

/* Plugs it in if the configuration has one. */
int machine_add_balloon(struct machine *m, struct err *e);
/* Asks the guest for so much. Codes: not_found (there is no balloon),
 * request_invalid (not less than the guest has). */
int machine_set_balloon(struct machine *m, uint64_t amount_mib, struct err *e);
/* What was asked for and given, and what the guest says of its memory; NULL
 * without a balloon. A new reference. */
json_t *machine_balloon_json(const struct machine *m);

#endif
