/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that a guest has taken over may try. Each attack works where
 * nothing stands in its way: escape.c tries it there first (the control), so
 * that a failure in a jail means the jail.
 */
#ifndef TESTS_ESCAPE_ATTACKS_H
#define TESTS_ESCAPE_ATTACKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors that an attacker finds open. */
enum {
	ESCAPE_FD_TARGET = 30, /* struct escape_target, to be read */
	ESCAPE_FD_REPORT = 31, /* struct escape_report, to be written */
	ESCAPE_FD_TTY = 32, /* a terminal */
	ESCAPE_FD_KVM = 33,
	ESCAPE_FD_FILE = 34, /* somebody's file, for reading */
};

/* What there is to be attacked; all of it open to everybody outside. */
struct escape_target {
	uint32_t attack; /* index */
	pid_t victim; /* a process on the host */
	uint16_t tcp_port; /* of the host's loopback */
	int32_t ipc_key; /* of shared memory, a queue and semaphores */
	char dir[96]; /* anybody may write here */
	char file[112]; /* another VM's, in it */
	char api[108]; /* a listening socket, in it */
	char control[108]; /* another VM's, in it */
	char abstract[64]; /* the name of an abstract socket */
	char cgroup[96]; /* a cgroup.procs, or "" */
};

struct escape_report {
	uint32_t attack;
	int32_t result; /* 0: it succeeded; else -errno */
};

enum attack_flag {
	/* The control runs in namespaces that are thrown away, or it would do
	 * harm; without: where it is harmless, among the host's. */
	ATTACK_APART = 1 << 0,
	/* Hosts differ: a control that fails is a skip, not a failure. */
	ATTACK_MAYBE = 1 << 1,
	/* QEMU needs that itself. */
	ATTACK_NOT_QEMU = 1 << 2,
	/* Nothing but the list of system calls forbids it. */
	ATTACK_CALL = 1 << 3,
	/* A cgroup stands in its way, where this host has them. */
	ATTACK_CGROUP = 1 << 4,
};

struct attack {
	const char *name;
	int (*run)(const struct escape_target *t); /* as escape_report.result */
	unsigned flags;
};

extern const struct attack attacks[];
extern const size_t attack_count;

/* Reads the target, runs its attack, reports; returns. */
void attack_run_told(void);

#endif
