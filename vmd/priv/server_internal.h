/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the server. */
#ifndef VMD_PRIV_SERVER_INTERNAL_H
#define VMD_PRIV_SERVER_INTERNAL_H

#include <limits.h>

#include "api/names.h"
#include "vmd/id.h"
#include "vmd/priv/server.h"

enum {
	/* How many ends are kept for a vmd that is being restarted. */
	PRIV_ENDED_MAX = 4096
};

/* One that was started here; kept until somebody asked how it ended. */
struct priv_child {
	struct priv_server *server;
	LIST_ENTRY(priv_child) link;
	struct process process;
	struct process_exit end; /* valid when ended */
	struct loop_source source;
	enum priv_role role;
	char id[ID_LEN + 1];
	int client; /* of SWEEP: whose it is */
	bool ended, forget;
};

/* A request, copied and of the right length; descriptors still unchecked. */
struct priv_call {
	struct priv_server *server;
	int client;
	struct priv_request request;
	const char *args; /* SPAWN: what follows it */
	size_t arg_bytes;
	const int *fds;
	size_t fd_count;
	struct priv_reply *reply;
	int *ret_fd;
};

/* A field for an id to a string: false unless it is one, padded with zeros. */
bool priv_id_take(const char raw[static PRIV_ID_SIZE],
		  char ret[static ID_LEN + 1]);

/* server_spawn.c */
int priv_do_spawn(struct priv_call *c, struct err *e);
/* server_process.c */
int priv_do_signal(struct priv_call *c, struct err *e);
int priv_do_reap(struct priv_call *c, struct err *e);
int priv_child_add(struct priv_call *c, enum priv_role role, const char *id,
		   const struct process *p, struct err *e);
struct priv_child *priv_child_find(struct priv_server *s, pid_t pid,
				   uint64_t start_time);
void priv_child_free(struct priv_child *child);
/* server_scan.c */
int priv_do_strays(struct priv_call *c, struct err *e);
int priv_do_task_end(struct priv_call *c, struct err *e);
/* Whether it bears the mark of one of our run directories, and of which VM. */
bool priv_works_for(const struct priv_server *s, pid_t pid,
		    char ret_id[static ID_LEN + 1]);
/* The path of an open file or directory: false when it has none. */
bool priv_path_of(int fd, char ret[static PATH_MAX]);
/* server_socket.c */
int priv_do_kvm_open(struct priv_call *c, struct err *e);
int priv_do_port_bind(struct priv_call *c, struct err *e);
int priv_do_api_socket(struct priv_call *c, struct err *e);

#endif
