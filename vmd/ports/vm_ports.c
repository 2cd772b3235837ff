/* SPDX-License-Identifier: Apache-2.0 */
/* See vm_ports.h. The listeners, and who is let in when. */
#include "vmd/ports/vm_ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/ports/vm_ports_internal.h"
#include "vmd/priv/privops.h"

enum {
	PATIENCE_MS = 10000,
	BIND_AGAIN_MS = 2000,
};

static const char *text(const json_t *port, const char *field)
{
	const char *value = json_string_value(json_object_get(port, field));

	return value ? value : "";
}

void port_spec_read(const json_t *port, struct port_spec *ret)
{
	(void)snprintf(ret->host_address, sizeof(ret->host_address), "%s",
		       text(port, "host_address"));
	ret->host_port = (uint16_t)json_integer_value(
		json_object_get(port, "host_port"));
	ret->guest_port = (uint16_t)json_integer_value(
		json_object_get(port, "guest_port"));
	ret->udp = strcmp(text(port, "protocol"), "udp") == 0;
}

static bool is_bound(const struct port *p)
{
	return p->spec.udp ? p->udp_fd >= 0 : p->tcp.fd >= 0;
}

static void on_client(void *ctx, int fd)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };
	struct port *p = ctx;

	if (p->all->mode == PORTS_SERVE) {
		port_tcp_accept(p, fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fd(&fd);
}

static int bind_port(struct port *p, struct err *e)
{
	struct loop *loop = p->all->vm->daemon->loop;
	AUTO(fd) int fd = -1;
	int rc = privops_port_bind(&p->spec, &fd, e);

	if (rc < 0)
		return rc;
	if (!p->spec.udp) {
		rc = listener_open(&p->tcp, loop, take_fd(&fd), on_client, p);
		return rc < 0 ? err_sys(e, -rc, "published port") : 0;
	}
	rc = loop_add(loop, &p->udp, fd, EPOLLIN, port_udp_readable, p);
	if (rc < 0)
		return err_sys(e, -rc, "published port");
	p->udp_fd = take_fd(&fd);
	return 0;
}

void ports_update(struct vm_ports *all)
{
	bool paused = all->mode == PORTS_WAIT ||
		      all->conn_count >= PORT_CONNECTIONS_MAX;

	for (size_t i = 0; i < all->count; i++)
		if (all->ports[i].tcp.fd >= 0)
			listener_pause(&all->ports[i].tcp, paused);
}

static void on_impatient(struct loop_timer *timer)
{
	struct vm_ports *all = timer->data;

	all->mode = PORTS_REFUSE;
	ports_update(all);
}

/* Tries what is not bound. The first error is in *e. */
static int bind_all(struct vm_ports *all, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < all->count; i++)
		if (!is_bound(&all->ports[i]) && rc == 0)
			rc = bind_port(&all->ports[i], e);
	ports_update(all);
	return rc;
}

static void on_bind_again(struct loop_timer *timer)
{
	struct vm_ports *all = timer->data;
	struct vm *vm = all->vm;
	struct err e = ERR_INIT;

	if (bind_all(all, &e) < 0) {
		(void)snprintf(all->told, sizeof(all->told), "%.199s", e.msg);
		if (strcmp(vm->row.reason, all->told) != 0)
			vm_say(vm, "%s", all->told);
		loop_timer_arm(&all->bind_again, BIND_AGAIN_MS);
	} else if (strcmp(vm->row.reason, all->told) == 0) {
		vm_say(vm, "%s", "");
	}
}

static struct vm_ports *ports_new(struct vm *vm, struct err *e)
{
	json_t *list = json_object_get(json_object_get(vm_spec(vm), "network"),
				       "ports");
	size_t count = json_array_size(list);
	struct loop *loop = vm->daemon->loop;
	struct vm_ports *all =
		calloc(1, sizeof(*all) + count * sizeof(all->ports[0]));

	if (!all) {
		(void)err_sys(e, ENOMEM, "published ports");
		return NULL;
	}
	all->vm = vm;
	all->count = count;
	LIST_INIT(&all->conns);
	TAILQ_INIT(&all->flows);
	loop_timer_init(loop, &all->patience, on_impatient, all);
	loop_timer_init(loop, &all->bind_again, on_bind_again, all);
	loop_timer_init(loop, &all->flow_sweep, port_udp_sweep, all);
	for (size_t i = 0; i < count; i++) {
		struct port *p = &all->ports[i];

		p->all = all;
		p->udp_fd = -1;
		p->udp = (struct loop_source)LOOP_SOURCE_INIT;
		listener_init(&p->tcp);
		port_spec_read(json_array_get(list, i), &p->spec);
	}
	return all;
}

static bool has_none(const struct vm *vm)
{
	return json_array_size(json_object_get(
		       json_object_get(vm_spec(vm), "network"), "ports")) == 0;
}

int vm_ports_open(struct vm *vm, struct err *e)
{
	int rc;

	vm_ports_close(vm);
	if (has_none(vm))
		return 0;
	vm->ports = ports_new(vm, e);
	rc = vm->ports ? bind_all(vm->ports, e) : -ENOMEM;
	if (rc < 0)
		vm_ports_close(vm);
	return rc;
}

void vm_ports_adopt(struct vm *vm)
{
	struct err e = ERR_INIT;

	if (has_none(vm))
		return;
	vm_ports_close(vm);
	vm->ports = ports_new(vm, &e);
	if (vm->ports && agent_session_ready(vm->session))
		vm->ports->mode = PORTS_SERVE;
	if (vm->ports && bind_all(vm->ports, &e) == 0)
		return;
	log_vm(LOG_LEVEL_WARN, vm->row.id, "%s: %s", vm->row.name, e.msg);
	/* Also says it in the reason, once the VM's state is known. */
	if (vm->ports)
		loop_timer_arm(&vm->ports->bind_again, BIND_AGAIN_MS);
}

void vm_ports_ready(struct vm *vm)
{
	if (!vm->ports)
		return;
	loop_timer_disarm(&vm->ports->patience);
	vm->ports->mode = PORTS_SERVE;
	ports_update(vm->ports);
}

void vm_ports_lost(struct vm *vm)
{
	if (!vm->ports || vm->ports->mode != PORTS_SERVE)
		return;
	vm->ports->mode = PORTS_WAIT;
	ports_update(vm->ports);
	loop_timer_arm(&vm->ports->patience, PATIENCE_MS);
}

void vm_ports_close(struct vm *vm)
{
	struct vm_ports *all = vm->ports;

	if (!all)
		return;
	vm->ports = NULL;
	/* Listeners first: nothing can come any more. */
	for (size_t i = 0; i < all->count; i++) {
		listener_close(&all->ports[i].tcp);
		loop_remove(&all->ports[i].udp);
		close_fd(&all->ports[i].udp_fd);
	}
	loop_timer_disarm(&all->patience);
	loop_timer_disarm(&all->bind_again);
	loop_timer_disarm(&all->flow_sweep);
	port_tcp_end_all(all);
	port_udp_end_all(all);
	free(all);
}
