/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of Firecracker's configuration file that this monitor can do without:
 * taken where the guest is the same without them, and refused with their meaning
 * where it is not. What is null or absent means nothing anywhere.
 *
 * Source: Firecracker's API definition (firecracker.yaml, FullVmConfiguration)
 * and its documentation of --config-file, versions 1.0 to 1.13.
 */
#ifndef MONITOR_CONFIG_FIRECRACKER_H
#define MONITOR_CONFIG_FIRECRACKER_H

#include <jansson.h>

#include "base/err.h"
#include "monitor/config/config.h"

/*
 * Each looks at the fields of one object that are Firecracker's alone; path is
 * its name in messages. 0, or a negative errno with code config_invalid.
 */
int firecracker_check_machine(const json_t *o, const char *path, struct err *e);
int firecracker_check_drive(const json_t *o, const char *path, struct err *e);
int firecracker_check_net(const json_t *o, const char *path, struct err *e);
int firecracker_check_balloon(const json_t *o, struct err *e);
/* A rate limiter that limits nothing is none. */
int firecracker_check_limiter(const json_t *o, const char *path,
			      const char *field, struct err *e);
/* Its bandwidth or ops alone: without a size or a time there is no limit. */
int firecracker_check_bucket(const json_t *o, const char *path,
			     const char *field, struct err *e);
/* The sections that are devices or services we do not have. */
int firecracker_check_sections(const json_t *config, struct err *e);

/*
 * As Firecracker does, the kernel is told of the root device, unless boot_args
 * has a root= of its own. The string belongs to c->json.
 */
int firecracker_add_root(struct config *c, struct err *e);

#endif
