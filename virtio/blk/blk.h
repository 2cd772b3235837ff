/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (VIRTIO 1.2, 5.2): a disk in a raw file or block device that the
 * caller has opened. Many requests are in flight at once and end in any order;
 * an engine (blk_engine.h) asks the file without the machine lock. Until it is
 * started, whoever kicks waits for the file himself.
 *
 * Trust: everything in a request comes from the guest; ranges are checked
 * against the capacity before the file is touched. The file may fail (disk
 * full, I/O error): the monitor is told, and decides whether the guest gets
 * VIRTIO_BLK_S_IOERR or the request waits until the host can serve it.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "virtio/blk/blk_engine.h"
#include "virtio/device.h"

enum {
	BLK_QUEUES_MAX = VIRTIO_QUEUES_MAX
};

/* Who asks the file: see blk_engine.h. */
enum virtio_blk_kind {
	VIRTIO_BLK_ANY, /* io_uring where the host has it for us */
	VIRTIO_BLK_URING, /* the same, but it is told where it has not */
	VIRTIO_BLK_THREADS
};

/* (`virtio_blk_config` is the kernel's name for the configuration space.) */
struct virtio_blk_setup {
	int fd; /* owned by the device once virtio_blk_new() succeeds */
	bool read_only;
	/*
	 * true ("Writeback"): FLUSH reaches the disk, and without FLUSH each
	 * write does. false ("Unsafe"): nothing waits for the disk; a host
	 * crash may lose or tear what the guest believes to be stable.
	 */
	bool durable;
	/* What the guest reads as the disk's ID: up to 20 bytes; may be NULL. */
	const char *serial;
	enum virtio_blk_kind engine;
	/* 1 to BLK_QUEUES_MAX: as many vCPUs can ask without a common lock of
	 * their kernel's. */
	unsigned queues;
	unsigned
		threads; /* where there are any: that wait for the file, each for one request */
	/*
	 * The host's file failed with errno `sys` (ENOSPC: the host's disk is
	 * full). Called for each such request, so rate-limit what you log.
	 * true: the request is kept, and nothing else is begun, until
	 * ops->retry(), which tries it again; false: it fails. May be NULL: it
	 * fails.
	 */
	bool (*io_failed)(void *ctx, const char *operation, int sys);
	void *ctx;
};

/*
 * The capacity is the file's size in whole sectors of 512 bytes. *ret is
 * released by its ops->free. mem and loop outlive the device.
 */
int virtio_blk_new(const struct virtio_blk_setup *setup,
		   const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e);

/*
 * Starts the engine's threads. All other calls and ops are made under the
 * machine lock from then on, except free.
 */
int virtio_blk_start(struct virtio_device *dev, const struct blk_start *start,
		     struct err *e);
/* Whether its thread gives operations to a ring, or makes the calls itself. */
bool virtio_blk_by_ring(const struct virtio_device *dev);

/* How the file is asked: the engine's name. */
const char *virtio_blk_engine(const struct virtio_device *dev);

/* The file may have another size now: tells the driver if so. */
int virtio_blk_resize(struct virtio_device *dev, struct err *e);

#endif
