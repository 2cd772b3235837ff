/* SPDX-License-Identifier: Apache-2.0 */
/* version, host, openapi, metrics. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/openapi.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/process.h"
#include "vmd/routes/handlers.h"

void handle_version(struct request *r)
{
	request_json(r, 200,
		     json_pack("{s:s, s:s}", "version", VMD_VERSION, "api",
			       "v1"),
		     NULL);
}

/* Made for each request: it is asked for rarely and would be 100 KiB to keep. */
void handle_openapi(struct request *r)
{
	request_json(r, 200, api_openapi_new(VMD_VERSION), NULL);
}

static json_t *engine_list(struct daemon *d)
{
	const struct daemon_config *c = d->config;
	json_t *list = json_array();

	for (size_t i = 0; c->engines[i]; i++) {
		struct engine_status s = { 0 };
		bool emulated =
			c->engine_emulates && c->engine_emulates(c->engines[i]);

		c->engines[i]->probe(&s);
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:b, s:b, s:s, s:o}", "name",
				  c->engines[i]->name, "usable", s.usable,
				  "emulated", emulated, "detail", s.detail,
				  "fix", json_text_or_null(s.fix)));
	}
	return list;
}

static int cpu_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static json_int_t bytes_of(uint64_t count, uint64_t unit)
{
	uint64_t bytes = count * unit;

	return (json_int_t)bytes;
}

void handle_host(struct request *r)
{
	struct daemon *d = r->daemon;
	uint64_t available = 0, promised = memory_promised(d, NULL);
	json_t *checks = d->config->host_checks ? d->config->host_checks(d)
						: json_array();
	struct statvfs fs = { 0 };
	struct sysinfo info = { 0 };
	struct utsname names;

	(void)d->config->memory_available(&available, NULL);
	(void)fstatvfs(d->state_vms_fd, &fs);
	(void)sysinfo(&info);
	(void)uname(&names);
	available = available > promised ? available - promised : 0;
	request_json(
		r, 200,
		json_pack("{s:o, s:o, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:s, "
			  "s:b, s:I}",
			  "engines", engine_list(d), "checks", checks, "kernel",
			  names.release, "architecture", names.machine, "cpus",
			  cpu_count(), "memory_bytes",
			  bytes_of(info.totalram, info.mem_unit),
			  "memory_available_bytes", (json_int_t)available,
			  "disk_bytes", bytes_of(fs.f_blocks, fs.f_frsize),
			  "disk_available_bytes",
			  bytes_of(fs.f_bavail, fs.f_frsize), "state_dir",
			  d->config->state_dir, "rootless", geteuid() != 0,
			  "vms", (json_int_t)d->vm_count),
		NULL);
}

static void put(struct buf *b, const char *type, const char *name,
		const char *help, uint64_t value)
{
	(void)buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help,
			 name, type, name, (unsigned long long)value);
}

/* What kept all others waiting longest, and for how long. */
static void put_slowest(struct buf *b, const struct loop *loop)
{
	struct loop_slow s = loop_worst_turn(loop);

	(void)buf_printf(b,
			 "# HELP vmd_loop_slowest_turn_microseconds The "
			 "longest turn of the event loop, computed and waited, "
			 "if it took 5 ms\n"
			 "# TYPE vmd_loop_slowest_turn_microseconds gauge\n"
			 "vmd_loop_slowest_turn_microseconds{source=\"%s\"} "
			 "%llu\n",
			 s.source ? s.source : "",
			 (unsigned long long)s.cpu_us + s.blocked_us);
}

void handle_metrics(struct request *r)
{
	struct daemon *d = r->daemon;
	AUTO(buf) struct buf b = BUF_INIT(65536);
	size_t by_state[API_VM_STATE_COUNT] = { 0 }, running = 0;
	uint64_t memory = 0;
	struct operation *op;
	struct vm *vm;
	char *text;

	LIST_FOREACH(vm, &d->vms, link) {
		by_state[vm->row.state]++;
		memory += vm->handle ? vm->row.memory_bytes : 0;
	}
	LIST_FOREACH(op, &d->operations, link)
		running += op->row.state == API_OP_RUNNING;
	(void)buf_printf(&b, "# HELP vmd_vms VMs by state\n# TYPE vmd_vms "
			     "gauge\n");
	for (unsigned i = 0; i < API_VM_STATE_COUNT; i++)
		(void)buf_printf(&b, "vmd_vms{state=\"%s\"} %zu\n",
				 api_vm_state_name((enum api_vm_state)i),
				 by_state[i]);
	put(&b, "gauge", "vmd_memory_guest_bytes", "Memory of running VMs",
	    memory);
	put(&b, "gauge", "vmd_operations_running", "Operations under way",
	    running);
	put(&b, "gauge", "vmd_connections", "Open API connections",
	    http_connections(r->http));
	put(&b, "gauge", "vmd_resident_bytes", "Memory of the daemon",
	    process_resident_bytes(getpid()));
	put(&b, "gauge", "vmd_start_time_seconds", "Start of the daemon",
	    (uint64_t)d->started_ms / 1000);
	put(&b, "counter", "vmd_vms_created_total", "VMs created",
	    d->count.vms_created);
	put(&b, "counter", "vmd_vm_starts_total", "Starts of VMs",
	    d->count.vms_started);
	put(&b, "counter", "vmd_vm_failures_total", "Failed starts and crashes",
	    d->count.vms_failed);
	put(&b, "counter", "vmd_vms_adopted_total", "VMs taken over at start",
	    d->count.vms_adopted);
	put(&b, "counter", "vmd_execs_total", "Commands run in guests",
	    d->count.execs);
	put(&b, "counter", "vmd_http_requests_total", "Requests",
	    d->count.http_requests);
	put(&b, "counter", "vmd_http_refused_total", "Connections refused",
	    d->count.http_refused);
	put(&b, "counter", "vmd_loop_turns_total", "Turns of the event loop",
	    loop_turns(d->loop));
	put_slowest(&b, d->loop);
	put(&b, "counter", "vmd_swept_total", "Orphans removed at start",
	    d->count.swept);
	text = buf_to_string(&b);
	if (text)
		request_text(r, 200, "text/plain; version=0.0.4", text,
			     strlen(text));
}
