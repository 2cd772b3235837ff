/* SPDX-License-Identifier: Apache-2.0 */
/* What vmctl can see of the host by itself, when no daemon answers. */
#ifndef VMCTL_HOST_CHECKS_H
#define VMCTL_HOST_CHECKS_H

#include <jansson.h>

/* {"engines": [], "checks": […]} as in the API's Host; NULL: out of memory. */
json_t *host_checks_new(void);

#endif
