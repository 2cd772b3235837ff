/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl forward: ports of this machine that lead into a VM, until Ctrl-C. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/forward.h"
#include "vmctl/spec.h"

void forward_room(struct forward *f)
{
	bool full = f->conn_count >= FORWARD_CONNECTIONS_MAX ||
		    f->opening >= FORWARD_OPENING_MAX;

	for (size_t i = 0; i < f->count; i++)
		if (f->ports[i].tcp.fd >= 0)
			listener_pause(&f->ports[i].tcp, full);
}

static void on_signal(const siginfo_t *info, void *data)
{
	struct forward *f = data;

	(void)info;
	loop_stop(f->loop, 0);
}

static int listen_on(struct forward_port *p, const char *vm, struct err *e)
{
	char suffix[64];
	int fd = -1, rc = port_bind(&p->spec, &fd, e);

	if (rc < 0)
		return rc;
	p->spec.host_port = port_bound(fd);
	(void)snprintf(suffix, sizeof(suffix), "/dial?port=%u&protocol=%s",
		       p->spec.guest_port, p->spec.udp ? "udp" : "tcp");
	p->path = ctx_path("vms", vm, suffix, e);
	if (p->spec.udp) {
		p->udp_fd = fd;
		rc = loop_add(p->all->loop, &p->udp, fd, EPOLLIN,
			      forward_datagrams, p);
	} else {
		rc = listener_open(&p->tcp, p->all->loop, fd, forward_accept,
				   p);
	}
	if (rc < 0)
		return err_sys(e, -rc, "listening");
	return p->path ? 0 : -EINVAL;
}

static int print_ports(const struct forward *f, const char *vm)
{
	AUTO(json) json_t *list = json_array();

	for (size_t i = 0; i < f->count; i++) {
		const struct port_spec *s = &f->ports[i].spec;
		bool six = strchr(s->host_address, ':') != NULL;
		const char *protocol = s->udp ? "udp" : "tcp";

		if (f->ctx->output != OUTPUT_JSON)
			(void)printf("%s%s%s:%u -> %s:%u/%s\n", six ? "[" : "",
				     s->host_address, six ? "]" : "",
				     s->host_port, vm, s->guest_port, protocol);
		(void)json_array_append_new(
			list, json_pack("{s:s, s:i, s:i, s:s}", "host_address",
					s->host_address, "host_port",
					s->host_port, "guest_port",
					s->guest_port, "protocol", protocol));
	}
	if (f->ctx->output == OUTPUT_JSON)
		(void)print_json(list);
	return fflush(stdout);
}

/* It runs, or comes up: else no connection could come to be. */
static int check_vm(struct ctx *ctx, const char *vm, struct err *e)
{
	AUTO(free) char *path = ctx_path("vms", vm, "", e);
	AUTO(json) json_t *json = NULL;
	const char *state;

	if (!path || ctx_get(ctx, path, &json, e) < 0)
		return -EINVAL;
	state = text_of(json, "state");
	if (strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%.63s' is %s: 'vmctl start %.63s' starts "
			       "it",
			       vm, state, vm);
	return 0;
}

static int start(struct forward *f, const struct args *args, struct err *e)
{
	const char *address = args_value(args, "address");
	sigset_t signals;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->count; i++) {
		struct forward_port *p = &f->ports[i];

		p->all = f;
		p->udp_fd = -1;
		p->udp = (struct loop_source)LOOP_SOURCE_INIT;
		listener_init(&p->tcp);
		rc = spec_port_read("forward", args->operands[i + 1],
				    address ? address : "127.0.0.1", 0,
				    &p->spec, e);
	}
	if (rc == 0)
		rc = check_vm(f->ctx, args->operands[0], e);
	if (rc < 0)
		return rc;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGHUP);
	/* A shell starts background jobs with SIGINT ignored. */
	(void)signal(SIGINT, SIG_DFL);
	rc = loop_signals(f->loop, &signals, on_signal, f, e);
	for (size_t i = 0; rc == 0 && i < f->count; i++)
		rc = listen_on(&f->ports[i], args->operands[0], e);
	return rc;
}

static void end(struct forward *f)
{
	for (size_t i = 0; f->ports && i < f->count; i++) {
		struct forward_port *p = &f->ports[i];

		if (!p->all)
			continue;
		listener_close(&p->tcp);
		loop_remove(&p->udp);
		close_fd(&p->udp_fd);
	}
	forward_end_all(f);
	loop_timer_disarm(&f->sweep);
	for (size_t i = 0; f->ports && i < f->count; i++)
		free(f->ports[i].path);
	free(f->ports);
	loop_free(f->loop);
}

int cmd_forward(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	struct forward f = {
		.ctx = ctx,
		.socket_path = api_client_socket(ctx->client),
		.count = args->operand_count - 1,
		.failure = ERR_INIT,
	};
	int rc;

	f.loop = loop_new(&e);
	if (!f.loop)
		return ctx_fail(ctx, &e);
	f.ports = calloc(f.count, sizeof(f.ports[0]));
	loop_timer_init(f.loop, &f.sweep, forward_sweep, &f);
	rc = f.ports ? start(&f, args, &e) : err_sys(&e, ENOMEM, "forward");
	if (rc == 0) {
		(void)print_ports(&f, args->operands[0]);
		(void)loop_run(f.loop);
		e = f.failure;
	}
	end(&f);
	return e.kind == ERR_NONE ? EXIT_OK : ctx_fail(ctx, &e);
}
