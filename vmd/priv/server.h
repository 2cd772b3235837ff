/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The privileged side. priv_server_handle() is the one gate: it copies a request,
 * checks every length, index, id and descriptor, and only then acts. Who asks is
 * taken for hostile: a taken-over vmd may start the programs of the closed list
 * as users of the range, and end those again; root is not to be had from here.
 *
 * Without vmd-priv (a normal user's daemon, --user root, unit tests) privops.c
 * calls the same gate within vmd: the same checks, but no identities to give.
 */
#ifndef VMD_PRIV_SERVER_H
#define VMD_PRIV_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/process.h"
#include "vmd/priv/cgroups.h"
#include "vmd/priv/proto.h"

struct priv_child;

struct priv_server {
	/* NULL: within vmd, which watches its children by itself. */
	struct loop *loop;
	/* Directory of the run directories; borrowed. -1: the descriptor that a
	 * request brings is taken as it is (unit tests of engines). */
	int run_vms_fd;
	struct priv_hello hello; /* what a client must mean, too */
	uint32_t
		uid_first; /* of PRIV_RANGE ids; rootless jails do not look at it */
	uid_t user; /* of vmd itself, and of its image builds; 0: nobody changes */
	gid_t group; /* 0: none */
	bool no_jail;
	struct priv_cgroups
		cgroups; /* opened by whoever wants VMs to have some */
	const char *programs[PRIV_ROLE_COUNT]; /* NULL: looked for; borrowed */
	/* Where the API's socket belongs; -1: nobody may ask. */
	int api_dirfd;
	const char *api_name, *api_path;
	gid_t api_group;
	LIST_HEAD(, priv_child) children;
	size_t ended_count;
	size_t client_count;
	bool quit; /* it was asked for */
	bool no_namespace; /* user namespaces are not to be had: said once */
};

void priv_server_init(struct priv_server *s);
void priv_server_done(struct priv_server *s);

/*
 * Handles one request. data and fds are whatever came, borrowed; *ret_fd is a
 * descriptor that goes with the reply (owned by the caller) or -1. `client`
 * names the connection: what is bound to it ends with it.
 */
void priv_server_handle(struct priv_server *s, int client, const void *data,
			size_t len, const int *fds, size_t fd_count,
			struct priv_reply *reply, int *ret_fd);

/* The client has gone: what only it wanted ends. */
void priv_server_client_gone(struct priv_server *s, int client);

#endif
