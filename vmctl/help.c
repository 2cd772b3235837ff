/* SPDX-License-Identifier: Apache-2.0 */
/* Help, printed from the table of commands. */
#include "vmctl/help.h"

#include <stdio.h>
#include <string.h>

#include "vmctl/command.h"

enum {
	OPTION_COLUMN = 34
};

static void print_options(FILE *out, const struct option_row *rows)
{
	for (; rows->name; rows++) {
		char left[96];

		(void)snprintf(left, sizeof(left), "  %c%c%c --%s%s%s",
			       rows->letter ? '-' : ' ',
			       rows->letter ? rows->letter : ' ',
			       rows->letter ? ',' : ' ', rows->name,
			       rows->value ? " " : "",
			       rows->value ? rows->value : "");
		if (strlen(left) >= OPTION_COLUMN)
			(void)fprintf(out, "%s\n%*s%s\n", left, OPTION_COLUMN,
				      "", rows->help);
		else
			(void)fprintf(out, "%-*s%s\n", OPTION_COLUMN, left,
				      rows->help);
	}
}

void help_command(FILE *out, const struct command *c)
{
	(void)fprintf(out, "Usage: vmctl %s%s%s%s%s%s\n\n%s\n",
		      c->group ? c->group : "", c->group ? " " : "", c->name,
		      c->options->name ? " [OPTIONS]" : "",
		      *c->operands ? " " : "", c->operands, c->summary);
	if (c->options->name) {
		(void)fputs("\nOptions:\n", out);
		print_options(out, c->options);
	}
	(void)fputs("\nGlobal options:\n", out);
	print_options(out, global_options);
	if (c->help)
		(void)fprintf(out, "\n%s\n", c->help);
}

void help_all(FILE *out, const char *group)
{
	(void)fprintf(out,
		      "Usage: vmctl %s%sCOMMAND [OPTIONS] [ARGUMENTS]\n\n"
		      "Commands:\n",
		      group ? group : "", group ? " " : "");
	for (const struct command *c = commands; c->name; c++) {
		char name[40];

		if (group && (!c->group || strcmp(c->group, group) != 0))
			continue;
		(void)snprintf(name, sizeof(name), "%s%s%s",
			       c->group ? c->group : "", c->group ? " " : "",
			       c->name);
		(void)fprintf(out, "  %-20s%s\n", name, c->summary);
	}
	(void)fputs("\nGlobal options:\n", out);
	print_options(out, global_options);
	(void)fprintf(out, "\n'vmctl %s%sCOMMAND --help' says more.\n",
		      group ? group : "", group ? " " : "");
}
