/* SPDX-License-Identifier: Apache-2.0 */
/* What process_spawn() does for a child that becomes somebody else. */
#ifndef BASE_PROCESS_IDENTITY_H
#define BASE_PROCESS_IDENTITY_H

#include "base/process.h"

/*
 * In the child, between clone and exec: async-signal-safe calls only. With a
 * user namespace it waits for the end of mapped_fd first. 0, or -1 and errno.
 */
int process_become(const struct process_identity *identity, int mapped_fd);

/* In the parent: the id maps of the child's user namespace. 0, or -1 and errno. */
int process_map_ids(pid_t pid, const struct process_identity *identity);

#endif
