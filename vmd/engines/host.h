/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host can do: the facts behind the choice of an engine and behind
 * `vmctl doctor`. Programs are asked, devices are tried; nothing is concluded
 * from a file being there.
 *
 * Probes run small programs with a time limit and block for it, so the daemon
 * asks at its start; the results are kept until host_forget().
 */
#ifndef VMD_HOST_H
#define VMD_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Linux guests are bearable from here on; interpreters manage about 1. */
enum {
	HOST_KVM_MIPS_MIN = 50
};

struct host_kvm {
	bool usable; /* KVM runs guests at a speed Linux can use */
	uint32_t mips; /* of the probe guest, 0 when it did not run */
	char reason[256]; /* one sentence, for people */
	char fix[256]; /* a command, or "" */
};

struct host_qemu {
	bool usable;
	char path[256];
	char version[64]; /* "7.2.22" */
	char reason[256];
	char fix[256];
};

const struct host_kvm *host_kvm(void);
const struct host_qemu *host_qemu(void);
/* Path of a vmd-monitor that can be started, or NULL. */
const char *host_monitor(void);
/* The next question probes anew. */
void host_forget(void);

struct host_check {
	char name[24];
	bool ok;
	bool required; /* vmd does not work without it */
	char detail[256];
	char fix[256];
};

enum {
	HOST_CHECKS_MAX = 16
};

/* Everything `vmctl doctor` shows; state_path is where disks live. */
size_t host_checks(const char *state_path,
		   struct host_check ret[static HOST_CHECKS_MAX]);

/*
 * Runs a program and keeps what it writes to stdout and stderr, cut to size - 1
 * bytes. fd (-1: none) is its descriptor 3. Its exit status, 128 + signal, or a negative errno (-ETIMEDOUT: it was
 * killed).
 */
int host_run(const char *const *argv, int fd, uint64_t timeout_ms, char *out,
	     size_t size);

#endif
