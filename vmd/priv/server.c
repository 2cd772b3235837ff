/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h: the gate, and the closed list behind it. */
#include "vmd/priv/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "vmd/priv/server_internal.h"

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_PROTOCOL, "bad_request", EPROTO,
		       "vmd-priv refuses a request: %s", what);
}

static int do_hello(struct priv_call *c, struct err *e)
{
	const struct priv_hello *theirs = &c->request.u.hello;
	const struct priv_hello *ours = &c->server->hello;

	if (memcmp(theirs->version, ours->version, sizeof(ours->version)) != 0)
		return err_set(e, ERR_CONFLICT, "priv_version", EPROTO,
			       "vmd-priv is of another version (%.31s)",
			       ours->version);
	if (memcmp(theirs, ours, sizeof(*ours)) != 0)
		return err_set(e, ERR_CONFLICT, "priv_directories", EXDEV,
			       "vmd-priv serves another state or run "
			       "directory");
	c->reply->u.hello.uid_first = c->server->uid_first;
	priv_cgroups_tell(&c->server->cgroups, c->reply);
	return 0;
}

static int do_cgroup_end(struct priv_call *c, struct err *e)
{
	struct cgroup_oom oom;
	char id[ID_LEN + 1];
	int rc;

	if (!priv_id_take(c->request.u.cgroup_end.id, id))
		return malformed(e, "the id of a VM");
	rc = priv_cgroups_end(&c->server->cgroups, id, &oom);
	if (rc < 0 && rc != -EBUSY)
		return err_sys(e, -rc, "removing the cgroup of VM %s", id);
	c->reply->u.cgroup_end.oom_limit = oom.limit;
	c->reply->u.cgroup_end.oom_killed = oom.killed;
	c->reply->u.cgroup_end.gone = rc == 0;
	return 0;
}

static int do_cgroup_sweep(struct priv_call *c, struct err *e)
{
	(void)e;
	priv_cgroups_sweep(&c->server->cgroups);
	return 0;
}

static int do_quit(struct priv_call *c, struct err *e)
{
	if (c->server->client_count > 1)
		return err_set(e, ERR_CONFLICT, "run_dir_in_use", EBUSY,
			       "another vmd uses this run directory");
	c->server->quit = true;
	return 0;
}

static const struct {
	size_t bytes; /* of its struct; SPAWN: without the arguments */
	size_t fds_max;
	int (*fn)(struct priv_call *c, struct err *e);
} operations[PRIV_OP_COUNT] = {
	[PRIV_HELLO] = { sizeof(struct priv_hello), 0, do_hello },
	[PRIV_SPAWN] = { sizeof(struct priv_spawn), PRIV_ALL_FDS_MAX,
			 priv_do_spawn },
	[PRIV_SIGNAL] = { sizeof(struct priv_signal), 0, priv_do_signal },
	[PRIV_REAP] = { sizeof(struct priv_reap), 0, priv_do_reap },
	[PRIV_STRAYS] = { sizeof(struct priv_strays), 0, priv_do_strays },
	[PRIV_TASK_END] = { sizeof(struct priv_task_end), 0, priv_do_task_end },
	[PRIV_PORT_BIND] = { sizeof(struct priv_port), 0, priv_do_port_bind },
	[PRIV_API_SOCKET] = { 0, 0, priv_do_api_socket },
	[PRIV_CGROUP_END] = { sizeof(struct priv_cgroup_end), 0,
			      do_cgroup_end },
	[PRIV_CGROUP_SWEEP] = { 0, 0, do_cgroup_sweep },
	[PRIV_QUIT] = { 0, 0, do_quit },
	[PRIV_KVM_OPEN] = { 0, 0, priv_do_kvm_open },
};

bool priv_id_take(const char raw[static PRIV_ID_SIZE],
		  char ret[static ID_LEN + 1])
{
	for (size_t i = ID_LEN; i < PRIV_ID_SIZE; i++)
		if (raw[i])
			return false;
	memcpy(ret, raw, ID_LEN);
	ret[ID_LEN] = '\0';
	return api_id_ok(ret);
}

static int check(struct priv_call *c, const void *data, size_t len,
		 struct err *e)
{
	struct priv_request *r = &c->request;
	size_t size;

	if (len < sizeof(r->head) || len > PRIV_REQUEST_MAX)
		return malformed(e, "its length");
	memset(r, 0, sizeof(*r));
	memcpy(r, data, len < sizeof(*r) ? len : sizeof(*r));
	if (r->head.magic != PRIV_MAGIC)
		return malformed(e, "another protocol");
	if (r->head.op >= PRIV_OP_COUNT)
		return malformed(e, "no such operation");
	size = sizeof(r->head) + operations[r->head.op].bytes;
	if (r->head.op == PRIV_SPAWN ? len < size : len != size)
		return malformed(e, "its length for this operation");
	if (c->fd_count > operations[r->head.op].fds_max)
		return malformed(e, "descriptors that do not belong there");
	if (r->head.op == PRIV_SPAWN) {
		c->args = (const char *)data + size;
		c->arg_bytes = len - size;
	}
	return 0;
}

void priv_server_handle(struct priv_server *s, int client, const void *data,
			size_t len, const int *fds, size_t fd_count,
			struct priv_reply *reply, int *ret_fd)
{
	struct priv_call c = { .server = s,
			       .client = client,
			       .fds = fds,
			       .fd_count = fd_count,
			       .reply = reply,
			       .ret_fd = ret_fd };
	struct err e = ERR_INIT;
	int rc;

	*ret_fd = -1;
	memset(reply, 0, sizeof(*reply));
	reply->magic = PRIV_MAGIC;
	rc = check(&c, data, len, &e);
	if (rc == 0)
		rc = operations[c.request.head.op].fn(&c, &e);
	if (rc >= 0)
		return;
	reply->rc = rc;
	reply->kind = (uint32_t)e.kind;
	(void)snprintf(reply->code, sizeof(reply->code), "%s", e.code);
	(void)snprintf(reply->text, sizeof(reply->text), "%s", e.msg);
}

void priv_server_init(struct priv_server *s)
{
	*s = (struct priv_server){ .run_vms_fd = -1, .api_dirfd = -1 };
	LIST_INIT(&s->children);
	priv_cgroups_init(&s->cgroups);
}

void priv_server_done(struct priv_server *s)
{
	struct priv_child *child;

	while ((child = LIST_FIRST(&s->children)))
		priv_child_free(child);
	priv_cgroups_close(&s->cgroups);
}
