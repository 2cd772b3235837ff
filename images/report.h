/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vmd-image says on standard output: one JSON object per line.
 *   {"step":"hashing the root","done":64,"total":300}   zero or more
 *   {"result":{...}} or {"error":{"kind","code","message"}}   the last line
 */
#ifndef IMAGES_REPORT_H
#define IMAGES_REPORT_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

void report_progress(const char *step, uint64_t done, uint64_t total);
void report_error(const struct err *e);
/* Takes over the reference. */
void report_result(json_t *result);

#endif
