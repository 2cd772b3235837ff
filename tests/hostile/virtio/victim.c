/* SPDX-License-Identifier: Apache-2.0 */
/* See victim.h. */
#include "victim.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/must.h"
#include "virtio/blk/blk.h"
#include "virtio/console.h"
#include "virtio/rng.h"

enum {
	DISK_BYTES = 128 * 1024,
	CONSOLE_OUTPUT = 1
};

static size_t swallow(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	return len;
}

struct virtio_device *victim_make(struct victim *v)
{
	struct virtio_device *dev = NULL;
	struct virtio_blk_setup disk = { .fd = v->disk_fd,
					 .durable = true,
					 .queues = 1,
					 .engine = v->engine,
					 .threads = 2 };
	struct virtio_console_setup terminal = { .output = swallow };
	int rc = -1;

	switch (v->kind) {
	case VICTIM_BLK:
		disk.fd = fcntl(v->disk_fd, F_DUPFD_CLOEXEC, 0);
		rc = virtio_blk_new(&disk, &v->d.mem, v->loop, &dev, NULL);
		break;
	case VICTIM_RNG:
		rc = virtio_rng_new(&v->d.mem, v->loop, &dev, NULL);
		break;
	case VICTIM_CONSOLE:
		rc = virtio_console_new(&terminal, &v->d.mem, v->loop, &dev,
					NULL);
		break;
	case VICTIM_KINDS:
		break;
	}
	must(rc == 0);
	return dev;
}

void victim_init(struct victim *v, enum victim_kind kind)
{
	victim_init_engine(v, kind, VIRTIO_BLK_THREADS);
}

void victim_init_engine(struct victim *v, enum victim_kind kind,
			enum virtio_blk_kind engine)
{
	*v = (struct victim){ .kind = kind, .engine = engine, .disk_fd = -1 };
	v->queue = kind == VICTIM_CONSOLE ? CONSOLE_OUTPUT : 0;
	v->loop = loop_new(NULL);
	must(v->loop);
	fake_driver_init(&v->d);
	if (kind == VICTIM_BLK) {
		int rc;

		v->disk_fd = memfd_create("disk", MFD_CLOEXEC);
		rc = ftruncate(v->disk_fd, DISK_BYTES);
		must(rc == 0);
	}
	fake_driver_attach(&v->d, victim_make(v));
}

void victim_done(struct victim *v)
{
	fake_driver_done(&v->d);
	loop_free(v->loop);
	if (v->disk_fd >= 0)
		(void)close(v->disk_fd);
}

bool victim_recovers(struct victim *v)
{
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_GET_ID };
	struct fake_used used;
	uint64_t at;

	/* The rings of before are of no use to anyone: memory from the start. */
	v->d.next_free = 4096;
	memset(v->d.low, 0, FAKE_LOW_LEN);
	fake_driver_start(&v->d, ~0ull);
	at = fake_alloc(&v->d, 64, 1);
	memcpy(fake_ptr(&v->d, at, sizeof(header)), &header, sizeof(header));
	(void)fake_add(&v->d, v->queue,
		       FAKE_PARTS({ at, 16, false },
				  { at + 16, 21, v->kind != VICTIM_CONSOLE }));
	fake_kick(&v->d, v->queue);
	return fake_take_used(&v->d, v->queue, &used) &&
	       !fake_needs_reset(&v->d);
}
