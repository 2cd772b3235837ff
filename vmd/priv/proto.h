/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vmd asks of vmd-priv: one fixed-width struct per operation, on a
 * SOCK_SEQPACKET socket of the same host, one message per request and per reply,
 * descriptors by SCM_RIGHTS. No paths, no names of users, no numbers of users: an
 * id of a VM or of an operation, an index into a range, a role out of a list. The
 * arguments of a program are bytes that nobody here looks into: they reach a
 * program that has fewer rights than who sent them.
 *
 * Both ends are of one build: HELLO compares the versions first.
 */
#ifndef VMD_PRIV_PROTO_H
#define VMD_PRIV_PROTO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define PRIV_SOCKET "priv.sock" /* in the run directory */

enum {
	PRIV_PROTOCOL = 3, /* changes with every struct below */
	PRIV_MAGIC = 0x31565250, /* "PRV1" */
	PRIV_ID_SIZE = 32, /* 26 characters, the rest is 0 */
	PRIV_FDS_MAX = 16,
	PRIV_BOOT_MAX = 2,
	PRIV_ALL_FDS_MAX = 1 + PRIV_BOOT_MAX + PRIV_FDS_MAX,
	PRIV_TARGET_MAX = 32, /* descriptors of a child are below */
	PRIV_ARGS_MAX = 256,
	PRIV_ARG_BYTES_MAX = 64 * 1024,
	PRIV_STRAYS_MAX = 64,
	/* Of the range: the first for a daemon that has no user, then VMs, the last
	 * is nobody's; the second half is what
	 * "other users" are inside image builds. */
	PRIV_PASST_ROOM = 4 * 1024 * 1024, /* see passt.c */
	PRIV_SLOTS = 65536,
	PRIV_SLOT_LAST = PRIV_SLOTS - 2,
	PRIV_RANGE = 2 * PRIV_SLOTS,
	PRIV_CGROUP_TEXT = 320,
	PRIV_CGROUP_FIX = 160,
	PRIV_PIDS_MAX = 65536, /* of a VM; more than any needs */
	PRIV_CPU_PERCENT_MAX = 1000000
};

/* Less than a monitor needs to say why it fails. */
#define PRIV_MEMORY_MIN (UINT64_C(1) << 20)

/* What may be started, by whom and where is in server_spawn.c. */
enum priv_role {
	PRIV_ROLE_MONITOR,
	PRIV_ROLE_QEMU,
	PRIV_ROLE_PASST,
	PRIV_ROLE_IMAGE, /* vmd-image for an operation: marked with its id */
	PRIV_ROLE_SWEEP, /* vmd-image for nobody: ends with the client */
	PRIV_ROLE_COUNT
};

enum priv_op {
	PRIV_HELLO,
	PRIV_SPAWN,
	PRIV_SIGNAL,
	PRIV_REAP,
	PRIV_STRAYS,
	PRIV_TASK_END,
	PRIV_PORT_BIND,
	PRIV_API_SOCKET,
	PRIV_CGROUP_END, /* of a VM that has ended */
	PRIV_CGROUP_SWEEP, /* of VMs that nobody knows */
	PRIV_QUIT,
	PRIV_KVM_OPEN, /* /dev/kvm, opened: no VM has more of it */
	PRIV_OP_COUNT
};

struct priv_head {
	uint32_t magic;
	uint32_t op; /* enum priv_op */
};

struct priv_hello {
	char version[32];
	/* The directories and the API's socket that both must mean. */
	uint64_t state_dev, state_ino, run_dev, run_ino, api_dev, api_ino;
	char api_name[112];
};

enum {
	PRIV_SPAWN_KVM = 1, /* /dev/kvm in its root */
	PRIV_SPAWN_JAIL =
		2, /* within vmd; vmd-priv does what it was told itself */
};

/* Followed by argc - 1 strings (all but the name of the program), each with its
 * NUL. Descriptors: the VM's run directory (roles of a VM), boot_count files for
 * its root (QEMU: kernel and initrd), then fd_count. */
struct priv_spawn {
	uint32_t role; /* enum priv_role */
	uint32_t argc;
	uint32_t arg_bytes;
	uint32_t fd_count;
	uint32_t boot_count; /* 0 to PRIV_BOOT_MAX */
	uint32_t slot; /* whom it becomes: 1 to PRIV_SLOTS - 2; no VM: 0 */
	uint32_t flags;
	uint32_t pad;
	char id[PRIV_ID_SIZE]; /* of the VM or the operation; SWEEP: empty */
	int32_t targets
		[PRIV_FDS_MAX]; /* number of each descriptor in the child */
	/* Of the VM's cgroup, which MONITOR and QEMU make; others join the one that
	 * is there, and have 0 here. */
	uint64_t memory_max, memory_high, swap_max; /* bytes */
	uint32_t pids_max;
	uint32_t cpu_percent; /* of one CPU */
};

struct priv_signal {
	uint64_t start_time;
	int32_t pid;
	int32_t signal; /* SIGTERM or SIGKILL */
	uint32_t group; /* 0, or 1: its whole process group */
	uint32_t forget; /* 1: nobody will ask how it ended */
};

struct priv_reap {
	uint64_t start_time;
	int32_t pid;
	int32_t pad;
};

struct priv_cgroup_end {
	char id[PRIV_ID_SIZE]; /* of a VM */
};

struct priv_task_end {
	char id[PRIV_ID_SIZE]; /* of an operation */
};

/* Answered from the lowest pid above `after` on, PRIV_STRAYS_MAX at a time. */
struct priv_strays {
	int32_t after;
	int32_t pad;
};

struct priv_port {
	uint8_t address[16]; /* network order; IPv4: the first 4 */
	uint16_t port; /* host order */
	uint8_t ipv6; /* 0 or 1 */
	uint8_t udp; /* 0 or 1 */
	uint32_t pad;
};

struct priv_request {
	struct priv_head head;
	union {
		struct priv_hello hello;
		struct priv_spawn spawn;
		struct priv_signal signal;
		struct priv_reap reap;
		struct priv_task_end task_end;
		struct priv_strays strays;
		struct priv_port port;
		struct priv_cgroup_end cgroup_end;
	} u;
};

struct priv_stray {
	char id[PRIV_ID_SIZE]; /* of the VM in whose directory it works */
	uint64_t start_time;
	int32_t pid;
	int32_t pad;
};

/* rc 0: the union holds the result; below 0: kind, code and text say why not. */
struct priv_reply {
	uint32_t magic;
	int32_t rc;
	uint32_t kind;
	char code[48];
	char text[720];
	uint32_t pad;
	union {
		struct {
			uint32_t uid_first; /* of the range, 0: there is none */
			uint32_t cgroup_limits; /* all, of each VM: 0 or 1 */
			char cgroup_text
				[PRIV_CGROUP_TEXT], /* what, or why not */
				cgroup_fix[PRIV_CGROUP_FIX]; /* or "" */
		} hello;
		struct {
			uint64_t start_time;
			int32_t pid;
			int32_t pad;
		} spawn; /* and its pidfd */
		struct {
			uint32_t ended, known;
			int32_t status, signal;
		} reap;
		struct {
			uint32_t count;
			uint32_t pad;
			struct priv_stray list[PRIV_STRAYS_MAX];
		} strays;
		struct {
			uint64_t oom_limit, oom_killed; /* as cgroup_oom */
			uint32_t gone; /* 0: ask again */
			uint32_t pad;
		} cgroup_end;
	} u;
};

/* The same on both sides, without holes: what is sent is what was set. */
static_assert(sizeof(struct priv_head) == 8, "head");
static_assert(sizeof(struct priv_hello) == 192, "hello");
static_assert(sizeof(struct priv_spawn) == 32 + 32 + 64 + 32, "spawn");
static_assert(sizeof(struct priv_signal) == 24, "signal");
static_assert(sizeof(struct priv_reap) == 16, "reap");
static_assert(sizeof(struct priv_cgroup_end) == 32, "cgroup_end");
static_assert(sizeof(struct priv_task_end) == 32, "task_end");
static_assert(sizeof(struct priv_strays) == 8, "strays");
static_assert(sizeof(struct priv_port) == 24, "port");
static_assert(sizeof(struct priv_stray) == 48, "stray");
static_assert(offsetof(struct priv_request, u) == 8, "request");
static_assert(offsetof(struct priv_reply, u) == 784, "reply");

enum {
	PRIV_REQUEST_MAX = sizeof(struct priv_request) + PRIV_ARG_BYTES_MAX
};

#endif
