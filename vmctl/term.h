/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal: raw mode that is always undone, size, progress line. */
#ifndef VMCTL_TERM_H
#define VMCTL_TERM_H

#include <stdbool.h>
#include <stdint.h>

/* Raw mode of standard input. Undone by term_restore(), at exit, and before the
 * death by SIGTERM, SIGHUP, SIGQUIT and crashes. */
int term_raw(void);
void term_restore(void);

/* Rows and columns of the terminal; 24 by 80 when there is none. */
void term_size(uint16_t *ret_rows, uint16_t *ret_columns);

/* One line on stderr that is drawn over; nothing when it is no terminal. */
void progress_show(const char *step, uint64_t done, uint64_t total);
void progress_clear(void);

#endif
