/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd offers when it is there: readiness, watchdog, a socket, the
 * journal. Without it every call does nothing. */
#ifndef VMD_SD_H
#define VMD_SD_H

#include "base/loop.h"

/* The listening unix socket handed over, non-blocking, or -1. */
int sd_listen_socket(void);
/* Records go to the journal when stderr is connected to it. */
void sd_log_to_journal(void);
void sd_ready(const char *status);
void sd_stopping(void);
/* Keep-alives from the loop, only when the unit asks for them. */
void sd_watchdog(struct loop *loop);

#endif
