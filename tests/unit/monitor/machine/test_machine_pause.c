/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A paused machine: whatever comes from the host, nothing of the guest changes,
 * and nothing is lost. This file is the driver of every device, and turns the
 * machine's loop itself; no vCPU ever runs. Skipped without KVM.
 */
#include "../test.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sock.h"
#include "monitor/machine/machine.h"

enum {
	/* In the order of machine_devices.c. */
	BLK,
	NET,
	VSOCK,
	RNG,
	CONSOLE,
	DEVICES,
	RINGS = 0x100000, /* 64 KiB for each device, 16 for each queue */
	DEVICE_LEN = 0x10000,
	QUEUE_LEN = 0x4000,
	AVAIL = 0x1000, /* from the start of the queue */
	USED = 0x2000,
	BUFFER = 0x3000,
	BUFFER_LEN = 0x800,
	QUEUE_SIZE = 8,
	WAIT_MS = 20000,
	IN = 0, /* every receive queue, and the only one of blk and rng */
};

struct rig {
	char dir[32];
	struct config config;
	struct loop *loop;
	struct machine *m;
	int passt, vsock, serial, console; /* our ends */
	uint8_t *before; /* guest memory at the pause */
};

static void must(int rc, const struct err *e)
{
	if (rc < 0)
		fail_msg("%s", e->msg);
}

static uint64_t queue_gpa(unsigned device, unsigned queue)
{
	return RINGS + device * DEVICE_LEN + queue * (uint64_t)QUEUE_LEN;
}

static void *at(struct rig *r, uint64_t gpa, size_t len)
{
	void *p = guest_slice(&r->m->vm.mem, gpa, len);

	assert_non_null(p);
	return p;
}

static void set(struct rig *r, unsigned device, uint64_t reg, uint32_t value)
{
	bus_write(&r->m->mmio, GPA_VIRTIO + device * 0x1000 + reg, &value,
		  sizeof(value));
}

static uint32_t get(struct rig *r, unsigned device, uint64_t reg)
{
	uint32_t value = 0;

	bus_read(&r->m->mmio, GPA_VIRTIO + device * 0x1000 + reg, &value,
		 sizeof(value));
	return value;
}

/* A driver that takes no feature but VERSION_1. */
static void start_driver(struct rig *r, unsigned device, unsigned queues)
{
	set(r, device, VIRTIO_MMIO_STATUS, 1);
	set(r, device, VIRTIO_MMIO_STATUS, 3);
	set(r, device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(r, device, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	set(r, device, VIRTIO_MMIO_STATUS, 11);
	for (unsigned q = 0; q < queues; q++) {
		uint32_t gpa = (uint32_t)queue_gpa(device, q);

		set(r, device, VIRTIO_MMIO_QUEUE_SEL, q);
		set(r, device, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
		set(r, device, VIRTIO_MMIO_QUEUE_DESC_LOW, gpa);
		set(r, device, VIRTIO_MMIO_QUEUE_AVAIL_LOW, gpa + AVAIL);
		set(r, device, VIRTIO_MMIO_QUEUE_USED_LOW, gpa + USED);
		set(r, device, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	set(r, device, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(get(r, device, VIRTIO_MMIO_STATUS), 15);
}

/* One chain in the device's queue 0: what it may write, all in one buffer. */
static void offer_room(struct rig *r, unsigned device)
{
	uint64_t gpa = queue_gpa(device, IN);
	struct vring_desc desc = { .addr = gpa + BUFFER,
				   .len = BUFFER_LEN,
				   .flags = VRING_DESC_F_WRITE };
	uint16_t avail[3] = { 0, 1, 0 }; /* flags, index, ring[0] */

	memcpy(at(r, gpa, sizeof(desc)), &desc, sizeof(desc));
	memcpy(at(r, gpa + AVAIL, sizeof(avail)), avail, sizeof(avail));
}

/* The first sector of the disk. */
static void offer_read(struct rig *r)
{
	uint64_t gpa = queue_gpa(BLK, IN);
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
	struct vring_desc desc[2] = {
		{ gpa + BUFFER, sizeof(header), VRING_DESC_F_NEXT, 1 },
		{ gpa + BUFFER + 0x100, 512 + 1, VRING_DESC_F_WRITE, 0 },
	};
	uint16_t avail[3] = { 0, 1, 0 };

	memcpy(at(r, gpa + BUFFER, sizeof(header)), &header, sizeof(header));
	memcpy(at(r, gpa, sizeof(desc)), desc, sizeof(desc));
	memcpy(at(r, gpa + AVAIL, sizeof(avail)), avail, sizeof(avail));
}

static uint16_t used(struct rig *r, unsigned device)
{
	uint16_t index;

	memcpy(&index, at(r, queue_gpa(device, IN) + USED + 2, 2), 2);
	return index;
}

/* A kick as KVM gives it, without an exit of the vCPU. */
static void kick(struct rig *r, unsigned device)
{
	uint64_t one = 1;

	assert_int_equal(write(r->m->slots[device].kick_fds[IN], &one,
			       sizeof(one)),
			 sizeof(one));
}

static int client(struct rig *r, const char *name)
{
	struct err e = ERR_INIT;
	char path[64];
	int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	must(sock_connect_unix(AT_FDCWD, path, &fd, &e), &e);
	return fd;
}

static void turn_until_quiet(struct rig *r)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < 50; i++)
		must(machine_turn(r->m, 1, &e), &e);
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;
	char text[1024], disk[64], sector[512];
	int pair[2];
	FILE *file;

	assert_non_null(r);
	strcpy(r->dir, "/tmp/vmd-pause-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	(void)snprintf(disk, sizeof(disk), "%s/disk", r->dir);
	file = fopen(disk, "we");
	assert_non_null(file);
	memset(sector, 'd', sizeof(sector));
	assert_int_equal(fwrite(sector, sizeof(sector), 1, file), 1);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(
		text, sizeof(text),
		"{\"boot-source\":{\"kernel_image_path\":\"k\"},"
		"\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":16},"
		"\"drives\":[{\"drive_id\":\"d\",\"path_on_host\":\"%s\","
		"\"is_root_device\":false}],"
		"\"network-interfaces\":[{\"iface_id\":\"n\",\"guest_mac\":"
		"\"06:00:00:00:00:01\",\"passt_socket\":\"fd:%d\"}],"
		"\"vsock\":{\"guest_cid\":3,\"uds_path\":\"%s/v\"},"
		"\"entropy\":{},\"console\":{\"socket_path\":\"%s/c\"},"
		"\"serial\":{\"socket_path\":\"%s/s\"}}",
		disk, pair[0], r->dir, r->dir, r->dir);
	must(config_parse(text, strlen(text), &r->config, &e), &e);
	r->loop = loop_new(&e);
	must(machine_new(&r->config, r->loop, &r->m, &e), &e);
	r->passt = pair[1];
	r->vsock = client(r, "v");
	r->serial = client(r, "s");
	r->console = client(r, "c");
	r->before = malloc(r->m->vm.mem_bytes);
	assert_non_null(r->before);
	for (unsigned i = 0; i < DEVICES; i++)
		start_driver(r, i,
			     i == BLK || i == RNG ? 1
			     : i == VSOCK	  ? 3
						  : 2);
	(void)pthread_mutex_lock(&r->m->lock);
	assert_int_equal(machine_resume(r->m), 0);
	(void)pthread_mutex_unlock(&r->m->lock);
	turn_until_quiet(r);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "disk", "v", "s", "c" };
	struct rig *r = *state;
	char path[64];

	machine_free(r->m);
	loop_free(r->loop);
	config_done(&r->config);
	close_fd(&r->passt);
	close_fd(&r->vsock);
	close_fd(&r->serial);
	close_fd(&r->console);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", r->dir, names[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(r->dir), 0);
	free(r->before);
	free(r);
	return 0;
}

static void set_running(struct rig *r, bool on)
{
	(void)pthread_mutex_lock(&r->m->lock);
	assert_int_equal(on ? machine_resume(r->m) : machine_pause(r->m), 0);
	(void)pthread_mutex_unlock(&r->m->lock);
}

static void pause_and_look(struct rig *r)
{
	set_running(r, false);
	memcpy(r->before, r->m->vm.map, r->m->vm.mem_bytes);
}

static void assert_untouched(struct rig *r)
{
	turn_until_quiet(r);
	assert_memory_equal(r->before, r->m->vm.map, r->m->vm.mem_bytes);
	for (unsigned i = 0; i < DEVICES; i++)
		assert_int_equal(get(r, i, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_int_equal(r->m->serial.count, 0);
}

static void turn_until_used(struct rig *r, unsigned device)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;
	struct err e = ERR_INIT;

	while (used(r, device) != 1) {
		assert_true(clock_mono_ms() < end);
		must(machine_turn(r->m, 10, &e), &e);
	}
	assert_true(get(r, device, VIRTIO_MMIO_INTERRUPT_STATUS) & 1);
}

static void test_frame_waits(void **state)
{
	struct rig *r = *state;
	uint8_t wire[4 + 60] = { 0, 0, 0, 60, 6, 0, 0, 0, 0, 1 };

	wire[63] = 0x77;
	offer_room(r, NET);
	pause_and_look(r);
	assert_int_equal(send(r->passt, wire, sizeof(wire), 0), sizeof(wire));
	assert_untouched(r);
	set_running(r, true);
	turn_until_used(r, NET);
	assert_int_equal(
		*(uint8_t *)at(r, queue_gpa(NET, IN) + BUFFER + 12 + 59, 1),
		0x77);
}

/* The guest sees the request of a client that came in the pause. */
static void test_vsock_client_waits(void **state)
{
	struct rig *r = *state;

	offer_room(r, VSOCK);
	pause_and_look(r);
	assert_int_equal(send(r->vsock, "CONNECT 5\n", 10, 0), 10);
	assert_untouched(r);
	set_running(r, true);
	turn_until_used(r, VSOCK);
}

static void never(struct loop_timer *timer)
{
	(void)timer;
	fail();
}

/* Its deadline counts the time in which it could have been answered. */
static void test_vsock_deadline_stands_still(void **state)
{
	struct rig *r = *state;
	struct loop_timer timer = { .deadline_ms = 0 };
	uint64_t deadline;

	loop_timer_init(r->m->devices, &timer, never, NULL);
	loop_timer_arm(&timer, 60000);
	deadline = timer.deadline_ms;
	set_running(r, false);
	r->m->paused_ms -= 5000; /* paused for as long */
	set_running(r, true);
	assert_true(timer.deadline_ms >= deadline + 5000);
	loop_timer_disarm(&timer);
}

static void test_console_input_waits(void **state)
{
	struct rig *r = *state;

	offer_room(r, CONSOLE);
	pause_and_look(r);
	assert_int_equal(send(r->console, "keys", 4, 0), 4);
	assert_untouched(r);
	set_running(r, true);
	turn_until_used(r, CONSOLE);
	assert_memory_equal(at(r, queue_gpa(CONSOLE, IN) + BUFFER, 4), "keys",
			    4);
}

static void test_serial_input_waits(void **state)
{
	struct rig *r = *state;
	uint64_t end = clock_mono_ms() + WAIT_MS;
	struct err e = ERR_INIT;

	pause_and_look(r);
	assert_int_equal(send(r->serial, "keys", 4, 0), 4);
	assert_untouched(r);
	set_running(r, true);
	while (r->m->serial.count != 4) {
		assert_true(clock_mono_ms() < end);
		must(machine_turn(r->m, 10, &e), &e);
	}
}

/* A console is the host's: a client may come in the pause. */
static void test_console_client_is_served(void **state)
{
	struct rig *r = *state;

	close_fd(&r->serial);
	pause_and_look(r);
	turn_until_quiet(r);
	assert_int_equal(r->m->serial_backend.in_fd, -1);
	r->serial = client(r, "s");
	assert_untouched(r);
	assert_true(r->m->serial_backend.in_fd >= 0);
}

/* A kick that was on its way when the guest was paused. */
static void test_entropy_waits(void **state)
{
	struct rig *r = *state;

	offer_room(r, RNG);
	pause_and_look(r);
	kick(r, RNG);
	assert_untouched(r);
	set_running(r, true);
	turn_until_used(r, RNG);
}

static void test_disk_waits(void **state)
{
	struct rig *r = *state;
	const uint8_t *data;

	offer_read(r);
	pause_and_look(r);
	kick(r, BLK);
	assert_untouched(r);
	set_running(r, true);
	turn_until_used(r, BLK);
	data = at(r, queue_gpa(BLK, IN) + BUFFER + 0x100, 513);
	assert_true(data[0] == 'd' && data[511] == 'd' && data[512] == 0);
}

#define PAUSE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAUSE_TEST(test_frame_waits),
		PAUSE_TEST(test_vsock_client_waits),
		PAUSE_TEST(test_vsock_deadline_stands_still),
		PAUSE_TEST(test_console_input_waits),
		PAUSE_TEST(test_serial_input_waits),
		PAUSE_TEST(test_console_client_is_served),
		PAUSE_TEST(test_entropy_waits),
		PAUSE_TEST(test_disk_waits),
	};

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		(void)puts("SKIP /dev/kvm cannot be opened here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
