/* SPDX-License-Identifier: Apache-2.0 */
/* What the maker of the filters and their user agree on. */
#ifndef MONITOR_LOCKDOWN_SELF_H
#define MONITOR_LOCKDOWN_SELF_H

enum {
	/* Stands for the process's own id; Linux has none above 2^22. */
	LOCKDOWN_SELF = 0x7fabcdef,
	LOCKDOWN_FILTER_MAX = 512, /* instructions of one filter */
};

#endif
