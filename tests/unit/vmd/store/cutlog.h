/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log of what reached the disk: a library put before the C library that notes
 * each fsync with the content that it made durable, and each change of a name.
 * From the log the state of a directory tree after a power cut at any moment can
 * be made again. For the test program and, by LD_PRELOAD, for its children.
 *
 * One line per record in DIR/log, appended with one write:
 *   S INO FILE             the file's content is durable; a copy is DIR/FILE
 *   D INO [INO:TYPE:NAME]  the directory's names are durable
 *   V INO [...]            its names as they are, durable or not
 *   A TEXT                 somebody was told something
 */
#ifndef CUTLOG_H
#define CUTLOG_H

#include <stdbool.h>

/* Notes what happens below root from now on, this and children's; and first
 * everything as durable that is there. NULL: stops. */
void cutlog_begin(const char *dir, const char *root);
void cutlog_end(void);
void cutlog_note(const char *text);

#endif
