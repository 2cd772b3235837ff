/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c and config_devices.c share. */
#ifndef MONITOR_CONFIG_INTERNAL_H
#define MONITOR_CONFIG_INTERNAL_H

#include "base/json.h"
#include "monitor/config/config.h"

enum {
	CONFIG_ID_MAX = 64,
	CONFIG_SUN_PATH_MAX = 107,
};

#define FIELDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* A string that is not empty, of max bytes at most. */
int config_get_name(const json_t *o, const char *path, const char *field,
		    bool required, size_t max, const char **ret, struct err *e);
int config_get_path(const json_t *o, const char *path, const char *field,
		    bool required, const char **ret, struct err *e);

/* Sections: each fills its part of c. */
int config_parse_drives(const json_t *array, struct config *c, struct err *e);
int config_parse_nets(const json_t *array, struct config *c, struct err *e);
int config_parse_vsock(const json_t *o, struct config *c, struct err *e);
int config_parse_entropy(const json_t *o, struct config *c, struct err *e);
int config_parse_balloon(const json_t *o, struct config *c, struct err *e);
int config_parse_serial(const json_t *o, struct config *c, struct err *e);
int config_parse_console(const json_t *o, struct config *c, struct err *e);

#endif
