/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the host end of a network interface: a tap or passt's socket. */
#ifndef MONITOR_NET_OPEN_H
#define MONITOR_NET_OPEN_H

#include "monitor/config/config.h"

/* *ret is owned by the caller. Code net_failed. Before lock-down only. */
int net_open(const struct config_net *net, int *ret, struct err *e);

#endif
