/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine did so far, in numbers: how often and why its vCPUs left the
 * guest, which device they met, how many interrupt messages were sent. Counting
 * costs a few instructions at an exit that costs thousands.
 */
#ifndef MONITOR_STATS_H
#define MONITOR_STATS_H

#include <jansson.h>

#include "monitor/machine/machine.h"

/*
 * {"exits":{"io":N,...},"reads":{"serial":N,...},"writes":{...},"messages":N,
 * "drives":{ID:{"engine":"io_uring" or "threads","in_flight":N}}}, the first
 * three without what is zero; NULL: no memory. Lock: the machine lock.
 */
json_t *stats_json(const struct machine *m);

/* "anonymous" or "memfd": what guest memory is made of. */
const char *stats_backing(const struct machine *m);

#endif
