/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the command line. Options may stand anywhere before the guest command
 * (the operand after `before_command` others, or what follows "--"). Short
 * options can be bundled ("-it"), values be joined ("-p80:80", "--cpus=2").
 */
#include "vmctl/args.h"

#include "base/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CANDIDATES_MAX = 64
};

struct reader {
	int argc, at;
	char **argv;
	struct args *args;
	struct err *e;
};

static const struct option_row *find_long(const struct option_row *rows,
					  const char *name, size_t len)
{
	for (; rows && rows->name; rows++)
		if (strlen(rows->name) == len &&
		    memcmp(rows->name, name, len) == 0)
			return rows;
	return NULL;
}

static const struct option_row *find_letter(const struct option_row *rows,
					    char letter)
{
	for (; rows && rows->name; rows++)
		if (rows->letter == letter)
			return rows;
	return NULL;
}

static const struct option_row *command_options(const struct args *a)
{
	return a->command ? a->command->options : NULL;
}

static const char *display_name(const struct args *a, char out[static 64])
{
	if (!a->command)
		(void)snprintf(out, 64, "vmctl");
	else if (a->command->group)
		(void)snprintf(out, 64, "vmctl %s %s", a->command->group,
			       a->command->name);
	else
		(void)snprintf(out, 64, "vmctl %s", a->command->name);
	return out;
}

static int unknown_option(struct reader *r, const char *word)
{
	const char *list[CANDIDATES_MAX] = { NULL };
	size_t n = 0, len = strcspn(word, "=");
	char name[64], command[64];
	const char *near;

	for (const struct option_row *o = command_options(r->args);
	     o && o->name && n < CANDIDATES_MAX - 8; o++)
		list[n++] = o->name;
	for (const struct option_row *o = global_options;
	     o->name && n < CANDIDATES_MAX - 1; o++)
		list[n++] = o->name;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(len > 60 ? 60 : len),
		       word);
	near = strncmp(name, "--", 2) == 0 ? suggest(name + 2, list) : NULL;
	display_name(r->args, command);
	if (near)
		return err_set(r->e, ERR_INVALID, "usage", 0,
			       "%s has no option '%s'; did you mean '--%s'? "
			       "See '%s --help'",
			       command, name, near, command);
	return err_set(r->e, ERR_INVALID, "usage", 0,
		       "%s has no option '%s'; see '%s --help'", command, name,
		       command);
}

static int add_value(struct reader *r, const struct option_row *o,
		     const char *value)
{
	struct args *a = r->args;

	for (size_t i = 0; o->value && !o->repeat && i < a->value_count; i++)
		if (a->values[i].option == o)
			return err_set(r->e, ERR_INVALID, "usage", 0,
				       "option --%s is given twice", o->name);
	a->values[a->value_count].option = o;
	a->values[a->value_count++].value = value;
	return 0;
}

static int need_value(struct reader *r, const struct option_row *o)
{
	return err_set(r->e, ERR_INVALID, "usage", 0,
		       "option --%s needs a value: --%s %s", o->name, o->name,
		       o->value);
}

static int read_long(struct reader *r, const char *word)
{
	const char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const struct option_row *o;

	o = find_long(command_options(r->args), word + 2, len - 2);
	if (!o)
		o = find_long(global_options, word + 2, len - 2);
	if (!o)
		return unknown_option(r, word);
	if (!o->value && eq)
		return err_set(r->e, ERR_INVALID, "usage", 0,
			       "option --%s takes no value", o->name);
	if (!o->value)
		return add_value(r, o, NULL);
	if (eq)
		return add_value(r, o, eq + 1);
	if (r->at >= r->argc)
		return need_value(r, o);
	return add_value(r, o, r->argv[r->at++]);
}

static int read_letters(struct reader *r, const char *word)
{
	for (const char *p = word + 1; *p; p++) {
		const struct option_row *o =
			find_letter(command_options(r->args), *p);
		int rc;

		if (!o)
			o = find_letter(global_options, *p);
		if (!o) {
			char name[3] = { '-', *p, '\0' };

			return unknown_option(r, name);
		}
		if (o->value && p[1])
			return add_value(r, o, p[1] == '=' ? p + 2 : p + 1);
		if (o->value && r->at >= r->argc)
			return need_value(r, o);
		rc = add_value(r, o, o->value ? r->argv[r->at++] : NULL);
		if (rc < 0 || o->value)
			return rc;
	}
	return 0;
}

/* What the same thing is called elsewhere; what is not near by its letters. */
static const struct {
	const char *word, *command;
} synonyms[] = {
	{ "ps", "ls" },		 { "list", "ls" },
	{ "info", "inspect" },	 { "show", "inspect" },
	{ "get", "inspect" },	 { "delete", "rm" },
	{ "destroy", "rm" },	 { "remove", "rm" },
	{ "del", "rm" },	 { "shell", "exec" },
	{ "ssh", "exec" },	 { "launch", "run" },
	{ "new", "create" },	 { "init", "create" },
	{ "kill", "stop" },	 { "shutdown", "stop" },
	{ "poweroff", "stop" },	 { "reboot", "restart" },
	{ "attach", "console" }, { "log", "logs" },
	{ "copy", "cp" },	 { "push", "cp" },
	{ "pull", "cp" },	 { "images", "image ls" },
	{ "rmi", "image rm" },	 { "build", "image build" },
	{ "op", "operation" },	 { "check", "doctor" },
};

static const char *synonym(const char *group, const char *word)
{
	for (size_t i = 0; i < sizeof(synonyms) / sizeof(synonyms[0]); i++)
		if (strcmp(synonyms[i].word, word) == 0 &&
		    (!group || command_find(group, synonyms[i].command)))
			return synonyms[i].command;
	return NULL;
}

static int unknown_command(struct reader *r, const char *group,
			   const char *word)
{
	const char *list[CANDIDATES_MAX] = { NULL };
	char prefix[32];
	const char *near;
	size_t n = 0;

	for (const struct command *c = commands;
	     c->name && n < CANDIDATES_MAX - 1; c++) {
		if (group && c->group && strcmp(c->group, group) == 0)
			list[n++] = c->name;
		if (group)
			continue;
		if (!c->group)
			list[n++] = c->name;
		else if (n == 0 || strcmp(list[n - 1], c->group) != 0)
			list[n++] = c->group;
	}
	near = synonym(group, word);
	if (!near)
		near = suggest(word, list);
	(void)snprintf(prefix, sizeof(prefix), "%.30s%s", group ? group : "",
		       group ? " " : "");
	if (near)
		return err_set(r->e, ERR_INVALID, "usage", 0,
			       "there is no command '%s%.64s'; did you mean "
			       "'%s%s'? See 'vmctl %s--help'",
			       prefix, word, prefix, near, prefix);
	return err_set(r->e, ERR_INVALID, "usage", 0,
		       "there is no command '%s%.64s'; see 'vmctl %s--help'",
		       prefix, word, prefix);
}

static int read_command(struct reader *r, const char *word)
{
	struct args *a = r->args;

	a->command = command_find(a->group, word);
	if (a->command) {
		a->group = NULL;
		return 0;
	}
	if (!a->group && command_group_exists(word)) {
		a->group = word;
		return 0;
	}
	return unknown_command(r, a->group, word);
}

static void read_rest(struct reader *r)
{
	while (r->at < r->argc)
		r->args->operands[r->args->operand_count++] = r->argv[r->at++];
}

static int read_word(struct reader *r)
{
	struct args *a = r->args;
	const char *word = r->argv[r->at++];

	if (strcmp(word, "--") == 0 && a->command) {
		read_rest(r);
		return 0;
	}
	if (strncmp(word, "--", 2) == 0)
		return read_long(r, word);
	if (word[0] == '-' && word[1])
		return read_letters(r, word);
	if (!a->command)
		return read_command(r, word);
	a->operands[a->operand_count++] = word;
	if (a->command->before_command > 0 &&
	    a->operand_count > a->command->before_command)
		read_rest(r);
	return 0;
}

static int check_operands(struct reader *r)
{
	const struct args *a = r->args;
	char command[64];

	if (!a->command || args_has(a, "help"))
		return 0;
	display_name(a, command);
	if (a->operand_count < a->command->min)
		return err_set(r->e, ERR_INVALID, "usage", 0,
			       "too few arguments; usage: %s %s", command,
			       a->command->operands);
	if (a->operand_count > a->command->max)
		return err_set(r->e, ERR_INVALID, "usage", 0,
			       "too many arguments ('%.64s'); usage: %s%s%s",
			       a->operands[a->command->max], command,
			       a->command->operands[0] ? " " : "",
			       a->command->operands);
	return 0;
}

int args_parse(int argc, char **argv, struct args *ret, struct err *e)
{
	struct reader r = { argc, 1, argv, ret, e };
	int rc = 0;

	*ret = (struct args){ .command = NULL };
	/* A word of "-it" can be two values: one per character is enough. */
	size_t room = 1;
	for (int i = 1; i < argc; i++)
		room += strlen(argv[i]) + 1;
	ret->values = calloc(room, sizeof(*ret->values));
	ret->operands = calloc((size_t)argc + 1, sizeof(*ret->operands));
	if (!ret->values || !ret->operands)
		return err_sys(e, ENOMEM, "command line");
	while (rc == 0 && r.at < r.argc)
		rc = read_word(&r);
	return rc < 0 ? rc : check_operands(&r);
}

void args_done(struct args *a)
{
	free(a->values);
	free(a->operands);
	*a = (struct args){ .command = NULL };
}

bool args_has(const struct args *a, const char *option)
{
	for (size_t i = 0; i < a->value_count; i++) {
		/* A value that counts has its option. */
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		if (strcmp(a->values[i].option->name, option) == 0)
			return true;
	}
	return false;
}

const char *args_value(const struct args *a, const char *option)
{
	const char *value = NULL, *v;
	size_t cursor = 0;

	while ((v = args_next(a, option, &cursor)))
		value = v;
	return value;
}

const char *args_next(const struct args *a, const char *option, size_t *cursor)
{
	while (*cursor < a->value_count) {
		const struct arg_value *v = &a->values[(*cursor)++];

		if (strcmp(v->option->name, option) == 0)
			return v->value;
	}
	return NULL;
}
