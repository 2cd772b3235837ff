/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that a QEMU in the hands of its guest may send to vmd/engines/qemu/qmp.c. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "vmd/engines/qemu/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_reply(void *ctx, const json_t *ret, const struct err *e)
{
	(void)ctx;
	if (!ret == !e)
		abort(); /* exactly one of them */
}

static void on_ready(void *ctx)
{
	struct qmp **q = ctx;

	(void)qmp_execute(*q, "query-status", NULL, on_reply, NULL);
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct qmp **q = ctx;

	(void)data;
	/* Some owners leave in the middle. */
	if (name[0] == 'F') {
		qmp_free(*q);
		*q = NULL;
	}
}

static void on_closed(void *ctx, const struct err *e)
{
	(void)ctx;
	if (e->kind == ERR_NONE || !e->code[0] || !e->msg[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct qmp_ops ops = { on_ready, on_event, on_closed };
	static struct loop *loop;
	struct qmp *q = NULL;
	AUTO(fd) int peer = -1;
	int fds[2];

	if (!loop)
		loop = loop_new(NULL);
	if (!loop || sock_pair(fds) < 0)
		return 0;
	peer = fds[1];
	q = qmp_new(loop, fds[0], 1000, &ops, &q, NULL);
	if (size)
		(void)send(peer, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_fd(&peer);
	for (int i = 0; q && i < 4; i++)
		(void)loop_run_once(loop, 0);
	qmp_free(q);
	return 0;
}
