/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its reply: to vmd-priv, or to the same code within vmd. */
#ifndef VMD_PRIV_CLIENT_H
#define VMD_PRIV_CLIENT_H

#include "vmd/priv/proto.h"
#include "vmd/priv/server.h"

struct priv_client {
	bool remote;
	struct priv_server within;
	int run_dirfd; /* where PRIV_SOCKET is; borrowed */
	struct priv_hello hello;
	int fd; /* connected, or -1 */
	uint32_t uid_first;
	uint32_t answer_ms; /* the longest wait for an answer; 0: 5 s */
	/* It did not answer: until then (clock_mono_ms()) it is not asked again,
	 * or each of many requests would keep the loop waiting. 0: it did. */
	uint64_t hung_until_ms;
	struct priv_reply welcome; /* to HELLO, or what it would be */
};

/*
 * size: of the operation's struct; tail: what follows it. Descriptors are
 * borrowed; *ret_fd (may be NULL) is the caller's. 0, or what the reply says.
 */
int priv_client_call(struct priv_client *c, struct priv_request *r, size_t size,
		     const void *tail, size_t tail_len, const int *fds,
		     size_t fd_count, struct priv_reply *reply, int *ret_fd,
		     struct err *e);
/* Connects and says hello. */
int priv_client_join(struct priv_client *c, struct err *e);

#endif
