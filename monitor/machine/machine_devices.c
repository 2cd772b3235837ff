/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of the machine and their table; see machine_devices.h. */
#include "monitor/machine/machine_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/sock.h"
#include "monitor/lockdown/broker.h"
#include "monitor/machine/machine_balloon.h"
#include "monitor/machine/machine_drives.h"
#include "monitor/machine/machine_slot.h"
#include "monitor/net_open.h"
#include "virtio/console.h"
#include "virtio/net/net.h"
#include "virtio/rng.h"
#include "virtio/vsock/vsock.h"

/* --- constructors --- */

static void on_link_lost(void *ctx, const char *why)
{
	(void)ctx;
	log_warn("network link lost: %s", why);
}

static int add_nets(struct machine *m, struct err *e)
{
	for (size_t i = 0; i < m->config->net_count; i++) {
		const struct config_net *net = &m->config->nets[i];
		AUTO(fd) int fd = -1;
		struct virtio_net_config setup = {
			.backend = net->passt_socket ? VIRTIO_NET_STREAM
						     : VIRTIO_NET_TAP,
			.mtu = net->mtu,
			.link_lost = on_link_lost,
		};
		struct virtio_device *dev;
		int rc = net_open(net, &fd, e);

		if (rc < 0)
			return rc;
		setup.fd = fd;
		memcpy(setup.mac, net->mac, sizeof(setup.mac));
		rc = virtio_net_new(&setup, &m->vm.mem, m->devices, &dev, e);
		if (rc < 0)
			return err_wrap(e, rc, "interface %s", net->iface_id);
		(void)take_fd(&fd);
		rc = machine_slot_plug(m, dev, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int connect_by_broker(void *ctx, uint32_t port, int *ret_fd)
{
	const struct config *config = ctx;

	return broker_connect(config->vsock_broker_fd, port, ret_fd);
}

static int add_vsock(struct machine *m, struct err *e)
{
	const char *path = m->config->vsock_uds_path;
	AUTO(fd) int fd = -1;
	struct virtio_vsock_config setup = {
		.guest_cid = m->config->guest_cid,
		.dir_fd = AT_FDCWD,
	};
	struct virtio_device *dev;
	int rc;

	if (!m->config->has_vsock)
		return 0;
	fd = config_inherited_fd(path);
	if (fd >= 0) {
		/* No path: the guest's own connections are refused. */
		(void)file_set_cloexec(fd, true);
		(void)file_set_nonblock(fd);
	} else {
		/* Without a broker (unit tests) as who we are. */
		setup.base = path;
		if (m->config->vsock_broker_fd >= 0) {
			setup.connect = connect_by_broker;
			setup.connect_ctx = (void *)(uintptr_t)m->config;
		}
		rc = sock_listen_unix(AT_FDCWD, path, 0600, &fd, e);
		if (rc < 0)
			return err_wrap(e, rc, "vsock");
	}
	setup.listen_fd = fd;
	rc = virtio_vsock_new(&setup, &m->vm.mem, m->devices, &dev, e);
	if (rc < 0)
		return err_wrap(e, rc, "vsock");
	(void)take_fd(&fd);
	return machine_slot_plug(m, dev, e);
}

static int add_rng(struct machine *m, struct err *e)
{
	struct virtio_device *dev;
	int rc;

	if (!m->config->has_entropy)
		return 0;
	rc = virtio_rng_new(&m->vm.mem, m->devices, &dev, e);
	return rc < 0 ? rc : machine_slot_plug(m, dev, e);
}

static size_t console_output(void *ctx, const void *data, size_t len)
{
	struct machine *m = ctx;

	backend_output(&m->console_backend, data, len);
	return len;
}

static void console_ready(void *ctx)
{
	struct machine *m = ctx;

	backend_input_ready(&m->console_backend);
}

static size_t console_input(void *ctx, const uint8_t *data, size_t len)
{
	struct machine *m = ctx;

	if (m->state != MACHINE_RUNNING)
		return 0; /* machine_take_input() asks again */
	return virtio_console_input(m->console, data, len);
}

static int add_console(struct machine *m, struct err *e)
{
	struct virtio_console_setup setup = { .output = console_output,
					      .input_ready = console_ready,
					      .ctx = m };
	int rc;

	if (!m->config->has_console)
		return 0;
	rc = virtio_console_new(&setup, &m->vm.mem, m->devices, &m->console, e);
	if (rc == 0)
		rc = machine_slot_plug(m, m->console, e);
	if (rc == 0)
		rc = backend_open(&m->console_backend, &m->config->console,
				  m->loop, console_input, m, e);
	return rc;
}

/* --- the few devices that are not virtio --- */

static void deliver(void *ctx, uint32_t address, uint32_t data)
{
	struct machine *m = ctx;

	vm_send_message(&m->vm, address, data);
}

/*
 * There are no PICs, but Linux without ACPI numbers ISA interrupts only when
 * their mask registers keep what is written to them.
 */
static void pic_read(void *device, const struct bus_access *a)
{
	if (a->offset == 1)
		memcpy(a->data, device, 1);
}

static void pic_write(void *device, const struct bus_access *a)
{
	if (a->offset == 1)
		memcpy(device, a->data, 1);
}

static int add_irq(struct machine *m, struct err *e)
{
	const struct bus_range pics[] = {
		{ PORT_PIC1, 2, "pic 1", pic_read, pic_write,
		  &m->pic_masks[0] },
		{ PORT_PIC2, 2, "pic 2", pic_read, pic_write,
		  &m->pic_masks[1] },
	};
	struct bus_range range = { GPA_IOAPIC,	IOAPIC_LEN,   "ioapic",
				   ioapic_read, ioapic_write, &m->ioapic };
	int rc;

	ioapic_init(&m->ioapic, deliver, m);
	rc = bus_add(&m->mmio, &range, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(pics); i++)
		rc = bus_add(&m->ports, &pics[i], e);
	return rc;
}

static void serial_set_irq(void *ctx, bool level)
{
	struct machine *m = ctx;

	ioapic_set_line(&m->ioapic, GSI_COM1, level);
}

static void serial_output(void *ctx, uint8_t byte)
{
	struct machine *m = ctx;

	backend_output(&m->serial_backend, &byte, 1);
}

static void serial_ready(void *ctx)
{
	struct machine *m = ctx;

	backend_input_ready(&m->serial_backend);
}

static size_t serial_take(void *ctx, const uint8_t *data, size_t len)
{
	struct machine *m = ctx;

	if (m->state != MACHINE_RUNNING)
		return 0;
	len = min_u64(len, serial_room(&m->serial));
	serial_input(&m->serial, data, len);
	return len;
}

static int add_serial(struct machine *m, struct err *e)
{
	static const struct serial_ops ops = { .set_irq = serial_set_irq,
					       .output = serial_output,
					       .input_ready = serial_ready };
	struct bus_range range = { .base = PORT_COM1,
				   .len = SERIAL_PORTS,
				   .name = "serial",
				   .read = serial_read,
				   .write = serial_write,
				   .device = &m->serial };
	int rc;

	serial_init(&m->serial, &ops, m);
	rc = bus_add(&m->ports, &range, e);
	return rc < 0 ? rc
		      : backend_open(&m->serial_backend, &m->config->serial,
				     m->loop, serial_take, m, e);
}

static void on_power(void *ctx, enum power_event event, uint8_t value)
{
	struct machine *m = ctx;

	switch (event) {
	case POWER_OFF:
		machine_end(m, MACHINE_END_POWEROFF, "the guest powered off");
		break;
	case POWER_RESET_REQUEST:
		machine_end(m, MACHINE_END_RESET,
			    "the guest asked for a reset");
		break;
	case POWER_DEBUG_EXIT:
		m->debug_exit_value = value;
		machine_end(m, MACHINE_END_DEBUG_EXIT,
			    "the guest wrote to the debug exit port");
		break;
	}
}

static int add_power(struct machine *m, struct err *e)
{
	const struct bus_range ranges[] = {
		{ PORT_POWER, POWER_PORTS, "power", NULL, power_write,
		  &m->power },
		/* Zeros: a floating bus would look like keys to be read. */
		{ PORT_I8042_DATA, 1, "i8042 data", NULL, NULL, NULL },
		{ PORT_I8042_COMMAND, 1, "i8042", NULL, power_i8042_write,
		  &m->power },
		{ PORT_RESET_CONTROL, 1, "reset control", NULL,
		  power_reset_control_write, &m->power },
	};
	struct bus_range debug = {
		m->config->debug_exit_port, 1,	      "debug exit", NULL,
		power_debug_write,	    &m->power
	};
	int rc = 0;

	m->power = (struct power){ .event = on_power, .ctx = m };
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(ranges); i++)
		rc = bus_add(&m->ports, &ranges[i], e);
	if (rc == 0 && m->config->debug_exit_port)
		rc = bus_add(&m->ports, &debug, e);
	return rc;
}

static int add_rtc(struct machine *m, struct err *e)
{
	struct bus_range range = { PORT_CMOS, RTC_PORTS, "rtc",
				   rtc_read,  rtc_write, &m->rtc };

	rtc_init(&m->rtc, NULL);
	return bus_add(&m->ports, &range, e);
}

/* The machine, row by row. Order is that of addresses: /dev/vda comes first. */
static const struct {
	const char *name;
	int (*add)(struct machine *m, struct err *e);
} devices[] = {
	{ "irq", add_irq }, /* I/O APIC */
	{ "power", add_power }, /* power-off, and the ways to reset a PC */
	{ "rtc", add_rtc }, /* the date */
	{ "serial", add_serial }, /* COM1 */
	{ "blk", machine_add_drives }, /* drives */
	{ "net", add_nets }, /* network-interfaces */
	{ "vsock", add_vsock }, /* vsock */
	{ "rng", add_rng }, /* entropy */
	{ "console", add_console }, /* console */
	{ "balloon", machine_add_balloon }, /* balloon */
};

int machine_add_devices(struct machine *m, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
		int rc = devices[i].add(m, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

void machine_remove_devices(struct machine *m)
{
	backend_close(&m->serial_backend);
	backend_close(&m->console_backend);
	for (unsigned i = 0; i < m->slot_count; i++)
		machine_slot_unplug(&m->slots[i]);
	m->slot_count = 0;
}

void machine_save_devices(struct machine *m, struct state_writer *w)
{
	ioapic_save(&m->ioapic, w);
	state_begin(w, "pic", 1);
	state_put_bytes(w, m->pic_masks, sizeof(m->pic_masks));
	state_end(w);
	rtc_save(&m->rtc, w);
	serial_save(&m->serial, w);
	for (unsigned i = 0; i < m->slot_count; i++)
		virtio_mmio_save(&m->slots[i].mmio, w, m->slots[i].instance);
}

static int load_pic(struct machine *m, struct state_reader *r, struct err *e)
{
	uint16_t version;
	int rc = state_open(r, "pic", 1, &version, e);

	if (rc < 0)
		return rc;
	state_get_bytes(r, m->pic_masks, sizeof(m->pic_masks));
	return state_close(r, e);
}

int machine_load_devices(struct machine *m, struct state_reader *r,
			 struct err *e)
{
	int rc = ioapic_load(&m->ioapic, r, e);

	if (rc == 0)
		rc = load_pic(m, r, e);
	if (rc == 0)
		rc = rtc_load(&m->rtc, r, e);
	if (rc == 0)
		rc = serial_load(&m->serial, r, e);
	for (unsigned i = 0; rc == 0 && i < m->slot_count; i++)
		rc = virtio_mmio_load(&m->slots[i].mmio, r,
				      m->slots[i].instance, e);
	return rc;
}

void machine_take_input(struct machine *m)
{
	backend_input_ready(&m->serial_backend);
	if (m->console)
		backend_input_ready(&m->console_backend);
}

void machine_resume_devices(struct machine *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		virtio_mmio_resume(&m->slots[i].mmio);
}
