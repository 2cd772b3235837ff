/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmctl completion: scripts made from the table of commands. Names of VMs,
 * images and operations are asked of the daemon when the key is pressed.
 */
#include <stdio.h>
#include <string.h>

#include "vmctl/ctx.h"

/* Words that are always the same, or a command that prints them. */
static const struct {
	enum word_kind kind;
	const char *words;
	const char *command;
} word_sources[] = {
	{ WORD_VM, NULL, "vmctl ls -o name" },
	{ WORD_IMAGE, NULL, "vmctl image ls -o name" },
	{ WORD_OPERATION, NULL, "vmctl operation ls -o name" },
	{ WORD_ENGINE, "auto microvm qemu", NULL },
	{ WORD_RECIPE, "tiny debian", NULL },
	{ WORD_STATE,
	  "creating stopped starting running ready paused stopping failed "
	  "deleting unknown exited deleted",
	  NULL },
	{ WORD_OUTPUT, "table json name", NULL },
	{ WORD_SHELL, "bash zsh fish", NULL },
	{ WORD_NETWORK, "user none", NULL },
};

static void print_source(enum word_kind kind, const char *open,
			 const char *close)
{
	for (size_t i = 0; i < sizeof(word_sources) / sizeof(word_sources[0]);
	     i++) {
		if (word_sources[i].kind != kind)
			continue;
		if (word_sources[i].words)
			(void)printf("%s", word_sources[i].words);
		else
			(void)printf("%s%s 2>/dev/null%s", open,
				     word_sources[i].command, close);
	}
}

static void print_names(void)
{
	const char *group = "";

	for (const struct command *c = commands; c->name; c++) {
		if (!c->group)
			(void)printf("%s ", c->name);
		else if (strcmp(c->group, group) != 0)
			(void)printf("%s ", group = c->group);
	}
}

static void print_group_names(const char *group)
{
	for (const struct command *c = commands; c->name; c++)
		if (c->group && strcmp(c->group, group) == 0)
			(void)printf("%s ", c->name);
}

static void print_options(const struct option_row *rows)
{
	for (; rows->name; rows++)
		(void)printf("--%s ", rows->name);
}

/* One case arm per option that has known values. */
static void bash_values(const struct option_row *rows)
{
	for (; rows->name; rows++) {
		if (!rows->value || rows->word == WORD_FILE)
			continue;
		(void)printf("\t\t--%s", rows->name);
		if (rows->letter)
			(void)printf("|-%c", rows->letter);
		(void)fputs(") words=\"", stdout);
		print_source(rows->word, "$(", ")");
		(void)fputs("\" ;;\n", stdout);
	}
}

static void bash_command(const struct command *c)
{
	(void)printf("\t'%s%s%s')\n\t\tcase $prev in\n",
		     c->group ? c->group : "", c->group ? " " : "", c->name);
	bash_values(c->options);
	bash_values(global_options);
	(void)fputs("\t\t*) if [[ $cur == -* ]]; then words=\"", stdout);
	print_options(c->options);
	print_options(global_options);
	(void)fputs("\"; else words=\"", stdout);
	print_source(c->word, "$(", ")");
	(void)fputs("\"; fi ;;\n\t\tesac ;;\n", stdout);
}

static void bash(const char *function)
{
	const char *group = "";

	(void)printf("# bash completion of vmctl\n"
		     "%s() {\n"
		     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} "
		     "prev=${COMP_WORDS[COMP_CWORD-1]} words='' cmd='' i w\n"
		     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		     "\t\tw=${COMP_WORDS[i]}\n"
		     "\t\tcase $w in\n"
		     "\t\t--socket|-o|--output) ((i++)) ;;\n"
		     "\t\t-*) ;;\n"
		     "\t\timage|operation) if [[ -z $cmd ]]; then cmd=$w; else "
		     "break; fi ;;\n"
		     "\t\t*) cmd=${cmd:+$cmd }$w; break ;;\n"
		     "\t\tesac\n"
		     "\tdone\n"
		     "\tcase $cmd in\n"
		     "\t'') words=\"",
		     function);
	print_names();
	print_options(global_options);
	(void)fputs("\" ;;\n", stdout);
	for (const struct command *c = commands; c->name; c++) {
		if (c->group && strcmp(c->group, group) != 0) {
			group = c->group;
			(void)printf("\t'%s') words=\"", group);
			print_group_names(group);
			(void)fputs("\" ;;\n", stdout);
		}
		bash_command(c);
	}
	(void)printf("\tesac\n"
		     "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		     "}\n"
		     "complete -o default -F %s vmctl\n",
		     function);
}

/* zsh runs the bash function through its own emulation. */
static void zsh(void)
{
	(void)puts("#compdef vmctl\n"
		   "autoload -U +X compinit && compinit\n"
		   "autoload -U +X bashcompinit && bashcompinit");
	bash("_vmctl");
}

static void fish_quoted(const char *text)
{
	(void)putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			(void)putchar('\\');
		(void)putchar(*text);
	}
	(void)putchar('\'');
}

static void fish_options(const struct option_row *rows, const char *condition)
{
	for (; rows->name; rows++) {
		(void)printf("complete -c vmctl%s -l %s", condition,
			     rows->name);
		if (rows->letter)
			(void)printf(" -s %c", rows->letter);
		if (rows->value) {
			(void)printf(" -%c -a \"",
				     rows->word == WORD_FILE ? 'r' : 'x');
			print_source(rows->word, "(", ")");
			(void)putchar('"');
		}
		(void)fputs(" -d ", stdout);
		fish_quoted(rows->help);
		(void)putchar('\n');
	}
}

static void fish_command(const struct command *c, const char *last_group)
{
	char condition[160];

	if (!c->group)
		(void)printf("complete -c vmctl -n __fish_use_subcommand -a %s "
			     "-d ",
			     c->name);
	else if (strcmp(c->group, last_group) != 0)
		(void)printf("complete -c vmctl -n __fish_use_subcommand -a %s"
			     "\n",
			     c->group);
	if (c->group) {
		(void)printf("complete -c vmctl -n "
			     "'__fish_seen_subcommand_from %s; and not "
			     "__fish_seen_subcommand_from ",
			     c->group);
		print_group_names(c->group);
		(void)printf("' -a %s -d ", c->name);
	}
	fish_quoted(c->summary);
	(void)putchar('\n');
	(void)snprintf(condition, sizeof(condition),
		       " -n '__fish_seen_subcommand_from %s%s%s'",
		       c->group ? c->group : c->name,
		       c->group ? "; and __fish_seen_subcommand_from " : "",
		       c->group ? c->name : "");
	fish_options(c->options, condition);
	if (c->word == WORD_FILE)
		(void)printf("complete -c vmctl%s -F\n", condition);
	if (c->word == WORD_NONE || c->word == WORD_FILE)
		return;
	(void)printf("complete -c vmctl%s -a \"", condition);
	print_source(c->word, "(", ")");
	(void)puts("\"");
}

static void fish(void)
{
	const char *group = "";

	/* fish brings completions for another program of that name: they are
	 * loaded first, and then put away. */
	(void)puts("# fish completion of vmctl\n"
		   "complete -C 'vmctl ' >/dev/null\n"
		   "complete -c vmctl -e\n"
		   "complete -c vmctl -f");
	fish_options(global_options, "");
	for (const struct command *c = commands; c->name; c++) {
		fish_command(c, group);
		if (c->group)
			group = c->group;
	}
}

int cmd_completion(struct ctx *ctx, const struct args *args)
{
	const char *shell = args->operands[0];
	struct err e = ERR_INIT;

	if (strcmp(shell, "bash") == 0)
		bash("_vmctl");
	else if (strcmp(shell, "zsh") == 0)
		zsh();
	else if (strcmp(shell, "fish") == 0)
		fish();
	else {
		(void)usage_error(&e,
				  "there is no completion for '%.32s': bash, "
				  "zsh and fish are known",
				  shell);
		return ctx_fail(ctx, &e);
	}
	return EXIT_OK;
}
