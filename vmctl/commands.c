/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands. */
#include "vmctl/command.h"

#include <stdint.h>
#include <string.h>

#define END                  \
	{                    \
		.name = NULL \
	}
#define FLAG(c, n, h)                             \
	{                                         \
		.letter = c, .name = n, .help = h \
	}
#define VALUE(c, n, v, h)                                     \
	{                                                     \
		.letter = c, .name = n, .value = v, .help = h \
	}
#define WORD(c, n, v, h, w)                                              \
	{                                                                \
		.letter = c, .name = n, .value = v, .help = h, .word = w \
	}
#define EACH(c, n, v, h)                                                      \
	{                                                                     \
		.letter = c, .name = n, .value = v, .help = h, .repeat = true \
	}

const struct option_row global_options[] = {
	WORD('o', "output", "table|json|name", "form of the output",
	     WORD_OUTPUT),
	WORD(0, "socket", "PATH",
	     "the daemon's socket (default: $VMD_SOCKET, else your own "
	     "daemon's, else /run/vmd/vmd.sock)",
	     WORD_FILE),
	FLAG('h', "help", "show help"), END
};

/* What a VM is made with; the same for run and create. */
#define VM_OPTIONS                                                    \
	VALUE(0, "name", "NAME", "name of the VM"),                   \
		VALUE(0, "cpus", "N", "virtual CPUs (default 1)"),    \
		VALUE('m', "memory", "SIZE",                          \
		      "memory: 512M, 2G (default 256M)"),             \
		VALUE(0, "disk", "SIZE", "size of the root disk"),    \
		WORD(0, "engine", "auto|microvm|qemu",                \
		     "what runs it (default auto)", WORD_ENGINE),     \
		WORD(0, "net", "user|none", "network (default user)", \
		     WORD_NETWORK),                                   \
		EACH('p', "publish", "[ADDR:]HOST:GUEST[/udp]",       \
		     "publish a port of the guest on the host"),      \
		EACH('l', "label", "KEY=VALUE", "label the VM"),      \
		VALUE(0, "ttl", "DURATION",                           \
		      "delete the VM after 90s, 10m, 2h, 1d"),        \
		VALUE(0, "kernel-args", "TEXT",                       \
		      "add to the kernel's command line"),            \
		VALUE(0, "timeout", "DURATION",                       \
		      "fail when the guest is not ready by then (default 2m)")

#define EXEC_OPTIONS                                                                  \
	FLAG('i', "interactive", "forward standard input"),                           \
		FLAG('t', "tty", "run the command on a terminal"),                    \
		EACH('e', "env", "NAME[=VALUE]",                                      \
		     "set a variable (without =VALUE: the one of your environment)"), \
		VALUE('w', "workdir", "DIR",                                          \
		      "working directory of the command"),                            \
		VALUE('u', "user", "USER",                                            \
		      "user of the command: name, uid, uid:gid")

static const struct option_row run_options[] = {
	EXEC_OPTIONS,
	FLAG('d', "detach", "print the id and return; the command goes on"),
	FLAG(0, "rm", "delete the VM when the command ends (default)"),
	FLAG(0, "keep", "keep the VM, running, when the command ends"),
	VM_OPTIONS,
	END
};
static const struct option_row create_options[] = {
	VM_OPTIONS, FLAG(0, "start", "start it too"), END
};
static const struct option_row exec_options[] = { EXEC_OPTIONS, END };
static const struct option_row stop_options[] = {
	VALUE('t', "timeout", "DURATION",
	      "time for the guest to power off (default 10s)"),
	FLAG('f', "force", "end it at once, without asking the guest"), END
};
static const struct option_row rm_options[] = {
	FLAG('f', "force", "stop it first; a missing VM is no error"), END
};
static const struct option_row ls_options[] = {
	EACH('l', "label", "KEY=VALUE", "only VMs with that label"),
	WORD(0, "state", "STATE", "only VMs in that state", WORD_STATE),
	FLAG('q', "quiet", "only ids"), END
};
static const struct option_row logs_options[] = {
	FLAG('f', "follow", "stay and print what comes"),
	VALUE(0, "tail", "SIZE",
	      "begin SIZE bytes before the end (default 64K, most 1M)"),
	END
};
static const struct option_row console_options[] = {
	FLAG(0, "no-replay", "do not print what came before"), END
};
static const struct option_row forward_options[] = {
	VALUE('a', "address", "ADDR",
	      "listen on ADDR (default 127.0.0.1), where none is given"),
	END
};
static const struct option_row wait_options[] = {
	WORD(0, "for", "ready|stopped|exited|deleted",
	     "state to wait for (default ready)", WORD_STATE),
	VALUE(0, "timeout", "DURATION", "give up after (default 5m)"), END
};
static const struct option_row build_options[] = {
	VALUE(0, "name", "NAME", "name of the image (default: the recipe's)"),
	EACH('O', "option", "KEY=VALUE", "option of the recipe"),
	FLAG('d', "detach", "print the operation's id and return"), END
};
static const struct option_row operation_wait_options[] = {
	VALUE(0, "timeout", "DURATION", "give up after (default: never)"), END
};
static const struct option_row none[] = { END };

const struct command commands[] = {
	{ .name = "run",
	  .operands = "IMAGE [[--] COMMAND [ARG...]]",
	  .summary = "make a VM, run a command in it, delete it",
	  .options = run_options,
	  .min = 1,
	  .max = SIZE_MAX,
	  .before_command = 1,
	  .word = WORD_IMAGE,
	  .guest_status = true,
	  .help = "Without a command the image's own is run. The first Ctrl-C "
		  "goes to the command, the\nsecond one ends the VM. A VM that "
		  "is detached without a command stays until\n'vmctl rm'.",
	  .run = cmd_run },
	{ .name = "create",
	  .operands = "IMAGE",
	  .summary = "make a VM that stays until it is removed",
	  .options = create_options,
	  .min = 1,
	  .max = 1,
	  .word = WORD_IMAGE,
	  .run = cmd_create },
	{ .name = "start",
	  .operands = "VM...",
	  .summary = "start VMs and wait until they are ready",
	  .options = none,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_VM,
	  .run = cmd_start },
	{ .name = "stop",
	  .operands = "VM...",
	  .summary = "stop VMs: ask the guest, then end it",
	  .options = stop_options,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_VM,
	  .run = cmd_stop },
	{ .name = "restart",
	  .operands = "VM...",
	  .summary = "stop and start VMs",
	  .options = stop_options,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_VM,
	  .run = cmd_restart },
	{ .name = "rm",
	  .operands = "VM...",
	  .summary = "delete VMs and their disks",
	  .options = rm_options,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_VM,
	  .run = cmd_rm },
	{ .name = "ls",
	  .operands = "",
	  .summary = "list VMs",
	  .options = ls_options,
	  .run = cmd_ls },
	{ .name = "inspect",
	  .operands = "VM...",
	  .summary = "show everything about VMs, as JSON",
	  .options = none,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_VM,
	  .run = cmd_inspect },
	{ .name = "exec",
	  .operands = "VM [--] COMMAND [ARG...]",
	  .summary = "run a command in a VM that runs",
	  .options = exec_options,
	  .min = 2,
	  .max = SIZE_MAX,
	  .before_command = 1,
	  .word = WORD_VM,
	  .guest_status = true,
	  .help = "The first Ctrl-C goes to the command, the second one leaves "
		  "it.",
	  .run = cmd_exec },
	{ .name = "cp",
	  .operands = "SOURCE VM:PATH | VM:PATH DESTINATION",
	  .summary = "copy files and trees into or out of a VM",
	  .options = none,
	  .min = 2,
	  .max = 2,
	  .word = WORD_FILE,
	  .help = "'-' as SOURCE or DESTINATION is a tar stream on standard "
		  "input or output.",
	  .run = cmd_cp },
	{ .name = "forward",
	  .operands = "VM [ADDR:]HOST:GUEST[/udp]...",
	  .summary = "lead ports of this machine into a VM, until Ctrl-C",
	  .options = forward_options,
	  .min = 2,
	  .max = SIZE_MAX,
	  .word = WORD_VM,
	  .help = "HOST 0 takes any free port; what is listened on is printed "
		  "first. The ports need not\nbe published, and the VM needs no "
		  "network.",
	  .run = cmd_forward },
	{ .name = "logs",
	  .operands = "VM",
	  .summary = "print what the VM's console printed",
	  .options = logs_options,
	  .min = 1,
	  .max = 1,
	  .word = WORD_VM,
	  .run = cmd_logs },
	{ .name = "console",
	  .operands = "VM",
	  .summary = "connect the terminal to the VM's console",
	  .options = console_options,
	  .min = 1,
	  .max = 1,
	  .word = WORD_VM,
	  .help = "Ctrl-] leaves the console; the VM runs on.",
	  .run = cmd_console },
	{ .name = "wait",
	  .operands = "VM",
	  .summary = "wait until a VM is in a state",
	  .options = wait_options,
	  .min = 1,
	  .max = 1,
	  .word = WORD_VM,
	  .run = cmd_wait },
	{ .group = "image",
	  .name = "build",
	  .operands = "RECIPE",
	  .summary = "build an image by a recipe: tiny or debian",
	  .options = build_options,
	  .min = 1,
	  .max = 1,
	  .word = WORD_RECIPE,
	  .help = "Ctrl-C cancels the build and leaves nothing behind.",
	  .run = cmd_image_build },
	{ .group = "image",
	  .name = "ls",
	  .operands = "",
	  .summary = "list images",
	  .options = none,
	  .run = cmd_image_ls },
	{ .group = "image",
	  .name = "inspect",
	  .operands = "IMAGE...",
	  .summary = "show everything about images, as JSON",
	  .options = none,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_IMAGE,
	  .run = cmd_image_inspect },
	{ .group = "image",
	  .name = "rm",
	  .operands = "IMAGE...",
	  .summary = "remove images that no VM uses",
	  .options = none,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_IMAGE,
	  .run = cmd_image_rm },
	{ .group = "operation",
	  .name = "ls",
	  .operands = "",
	  .summary = "list operations",
	  .options = none,
	  .run = cmd_operation_ls },
	{ .group = "operation",
	  .name = "inspect",
	  .operands = "OPERATION...",
	  .summary = "show everything about operations, as JSON",
	  .options = none,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_OPERATION,
	  .run = cmd_operation_inspect },
	{ .group = "operation",
	  .name = "cancel",
	  .operands = "OPERATION...",
	  .summary = "cancel operations",
	  .options = none,
	  .min = 1,
	  .max = SIZE_MAX,
	  .word = WORD_OPERATION,
	  .run = cmd_operation_cancel },
	{ .group = "operation",
	  .name = "wait",
	  .operands = "OPERATION",
	  .summary = "wait for the end of an operation",
	  .options = operation_wait_options,
	  .min = 1,
	  .max = 1,
	  .word = WORD_OPERATION,
	  .run = cmd_operation_wait },
	{ .name = "doctor",
	  .operands = "",
	  .summary = "check what VMs need of this host",
	  .options = none,
	  .offline = true,
	  .run = cmd_doctor },
	{ .name = "version",
	  .operands = "",
	  .summary = "show the versions of vmctl and of the daemon",
	  .options = none,
	  .offline = true,
	  .run = cmd_version },
	{ .name = "completion",
	  .operands = "bash|zsh|fish",
	  .summary = "print a completion script for a shell",
	  .options = none,
	  .min = 1,
	  .max = 1,
	  .word = WORD_SHELL,
	  .offline = true,
	  .run = cmd_completion },
	END
};

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

const struct command *command_find(const char *group, const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (same(c->group, group) && strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

bool command_group_exists(const char *group)
{
	for (const struct command *c = commands; c->name; c++)
		if (c->group && strcmp(c->group, group) == 0)
			return true;
	return false;
}
