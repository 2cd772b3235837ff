/* SPDX-License-Identifier: Apache-2.0 */
/* Help, printed from the table of commands. */
#ifndef VMCTL_HELP_H
#define VMCTL_HELP_H

#include <stdio.h>

struct command;

void help_command(FILE *out, const struct command *c);
/* All commands, or those of one group. */
void help_all(FILE *out, const char *group);

#endif
