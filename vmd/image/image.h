/* SPDX-License-Identifier: Apache-2.0 */
/* Images, as far as the daemon looks after them: builds, and what they leave. */
#ifndef VMD_IMAGE_H
#define VMD_IMAGE_H

#include <jansson.h>

#include "vmd/operation.h"

/* 0 when no build of that name is under way, else ERR_CONFLICT
 * operation_running. */
int image_build_none(struct daemon *d, const char *name, struct err *e);
/* Starts the child for an operation that is in the store. body: an ImageCreate
 * that was checked. The operation ends by itself, also when that fails. */
void image_build_begin(struct operation *op, const json_t *body);

/* Removes what no build owns and no image needs, soon; one sweep at a time. */
void image_sweep(struct daemon *d);

#endif
