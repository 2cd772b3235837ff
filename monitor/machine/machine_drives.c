/* SPDX-License-Identifier: Apache-2.0 */
/* See machine_drives.h. */
#include "monitor/machine/machine_drives.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "monitor/bus_error.h"
#include "monitor/machine/machine_slot.h"
#include "virtio/blk/blk.h"
#include "virtio/blk/blk_io.h"

enum {
	DRIVE_THREADS = 4,
	LOCK_WAIT_MS = 2000
};

static const enum virtio_blk_kind engines[] = {
	[CONFIG_ENGINE_ANY] = VIRTIO_BLK_ANY,
	[CONFIG_ENGINE_ASYNC] = VIRTIO_BLK_URING,
	[CONFIG_ENGINE_SYNC] = VIRTIO_BLK_THREADS,
};

/* A full disk is the host's matter and passes: the guest loses nothing. */
static bool on_blk_failed(void *ctx, const char *operation, int sys)
{
	static struct log_rate rate = LOG_RATE_INIT(2);
	struct machine_drive *drive = ctx;
	bool full = sys == ENOSPC || sys == EDQUOT;

	if (log_rate_ok(&rate))
		log_warn("drive %s: %s failed: %s", drive->config->drive_id,
			 operation, strerror(sys));
	if (full)
		machine_disk_full(drive->machine);
	return full;
}

static int open_drive(const struct config_drive *drive, struct err *e)
{
	const char *why;
	int fd = config_open(drive->path_on_host,
			     drive->is_read_only ? O_RDONLY : O_RDWR,
			     FILE_REGULAR | FILE_BLOCK, &why);

	if (fd >= 0)
		return fd;
	if (fd == -EACCES || fd == -EROFS || fd == -EPERM)
		return err_set(e, ERR_PERMISSION,
			       drive->is_read_only ? "drive_missing"
						   : "drive_read_only",
			       -fd, "may not open drive %s (%s)%s: %s",
			       drive->drive_id, drive->path_on_host,
			       drive->is_read_only ? "" : " for writing", why);
	if (fd == -EINVAL || fd == -EISDIR)
		return err_set(e, ERR_INVALID, "drive_bad_type", -fd,
			       "drive %s (%s) must be a regular file or a "
			       "block device: %s",
			       drive->drive_id, drive->path_on_host, why);
	return err_set(e, ERR_NOT_FOUND, "drive_missing", -fd,
		       "cannot open drive %s (%s): %s", drive->drive_id,
		       drive->path_on_host, why);
}

/*
 * A disk has one writer or any number of readers. The lock is of the open file
 * description: it goes with a descriptor that is passed on, and ends with the
 * last copy. That may be a moment after its owner's end, when the kernel takes
 * an io_uring down; hence the patience. Where locks cannot be had (some network
 * file systems) the disk is used without.
 */
static int lock_drive(const struct config_drive *drive, int fd, struct err *e)
{
	struct flock lock = { .l_type = drive->is_read_only ? F_RDLCK : F_WRLCK,
			      .l_whence = SEEK_SET };
	const struct timespec pause = { .tv_nsec = 10L * 1000 * 1000 };
	uint64_t end = clock_mono_ms() + LOCK_WAIT_MS;

	while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EACCES) {
			log_warn("drive %s (%s) is not locked: %s",
				 drive->drive_id, drive->path_on_host,
				 strerror(errno));
			return 0;
		}
		if (clock_mono_ms() >= end)
			return err_set(e, ERR_CONFLICT, "drive_in_use", EBUSY,
				       "drive %s (%s) is in use by another "
				       "process%s: stop that one, or give "
				       "this one a copy",
				       drive->drive_id, drive->path_on_host,
				       drive->is_read_only ? ", which writes it"
							   : "");
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/* What is no whole sector is lost to the guest; it is not lost in silence. */
static int check_size(const struct config_drive *drive, int fd, struct err *e)
{
	uint64_t bytes;
	int rc = blk_io_size(fd, &bytes, e);

	if (rc == 0 && bytes % 512)
		log_warn("drive %s (%s) has %llu bytes: the guest does not see "
			 "the last %u, which are no whole sector of 512",
			 drive->drive_id, drive->path_on_host,
			 (unsigned long long)bytes, (unsigned)(bytes % 512));
	return rc;
}

/* Of one drive: a few, and not many more of a machine with many drives. */
static unsigned threads_for(const struct config *c)
{
	return c->drive_count <= DRIVE_THREADS
		       ? DRIVE_THREADS
		       : DRIVE_THREADS * DRIVE_THREADS /
				 (unsigned)c->drive_count;
}

/* One for each vCPU, as far as there are any. */
static unsigned queues_for(const struct config *c)
{
	return c->vcpu_count < BLK_QUEUES_MAX ? c->vcpu_count : BLK_QUEUES_MAX;
}

static int add_drive(struct machine *m, const struct config_drive *drive,
		     struct err *e)
{
	AUTO(fd) int fd = open_drive(drive, e);
	struct machine_drive *own = &m->drives[drive - m->config->drives];
	struct virtio_blk_setup setup = { .fd = fd,
					  .read_only = drive->is_read_only,
					  .durable = drive->writeback,
					  .serial = drive->drive_id,
					  .io_failed = on_blk_failed,
					  .ctx = own,
					  .engine = engines[drive->engine],
					  .queues = queues_for(m->config),
					  .threads = threads_for(m->config) };
	struct virtio_device *dev;
	int rc;

	if (fd < 0)
		return fd;
	if (!drive->is_read_only && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return err_set(e, ERR_PERMISSION, "drive_read_only", EROFS,
			       "drive %s is open for reading only: open it "
			       "for writing or set is_read_only",
			       drive->drive_id);
	*own = (struct machine_drive){ .machine = m, .config = drive };
	rc = lock_drive(drive, fd, e);
	if (rc < 0)
		return rc;
	rc = check_size(drive, fd, e);
	if (rc < 0)
		return err_wrap(e, rc, "drive %s", drive->drive_id);
	rc = virtio_blk_new(&setup, &m->vm.mem, m->devices, &dev, e);
	if (rc < 0)
		return err_wrap(e, rc, "drive %s", drive->drive_id);
	(void)take_fd(&fd);
	own->dev = dev;
	log_debug("drive %s: %s", drive->drive_id, virtio_blk_engine(dev));
	return machine_slot_plug(m, dev, e);
}

const char *machine_drive_engine(const struct machine_drive *drive)
{
	return virtio_blk_engine(drive->dev);
}

/* The root device first: it is /dev/vda. */
int machine_add_drives(struct machine *m, struct err *e)
{
	const struct config *c = m->config;

	for (int root = 1; root >= 0; root--)
		for (size_t i = 0; i < c->drive_count; i++) {
			int rc = 0;

			if (c->drives[i].is_root_device == root)
				rc = add_drive(m, &c->drives[i], e);
			if (rc < 0)
				return rc;
		}
	return 0;
}

static int enter_as(const struct machine *m, enum lockdown_role role,
		    struct err *e)
{
	int rc = bus_error_enter();

	if (rc < 0)
		return err_sys(e, -rc, "a stack for signals");
	return m->enter_thread ? m->enter_thread(role, e) : 0;
}

static int enter_disk_thread(void *ctx, struct err *e)
{
	return enter_as(ctx, LOCKDOWN_DISK, e);
}

static int enter_ring_thread(void *ctx, struct err *e)
{
	return enter_as(ctx, LOCKDOWN_RING, e);
}

static int start_drive(struct machine *m, struct machine_slot *slot,
		       struct err *e)
{
	const struct blk_start start = {
		.lock = &m->lock,
		.enter = virtio_blk_by_ring(slot->dev) ? enter_ring_thread
						       : enter_disk_thread,
		.ctx = m,
		.kick_fds = slot->kick_fds,
		.kick_count = slot->dev->queue_count,
	};

	machine_slot_give_kicks(slot);
	return virtio_blk_start(slot->dev, &start, e);
}

int machine_start_drives(struct machine *m, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < m->slot_count; i++)
		if (m->slots[i].dev->ops->device_id == VIRTIO_ID_BLOCK)
			rc = start_drive(m, &m->slots[i], e);
	return rc;
}

int machine_resize_drive(struct machine *m, const char *id, struct err *e)
{
	for (size_t i = 0; i < m->config->drive_count; i++) {
		struct machine_drive *drive = &m->drives[i];
		int rc;

		if (strcmp(m->config->drives[i].drive_id, id) != 0)
			continue;
		rc = virtio_blk_resize(drive->dev, e);
		return rc < 0 ? err_wrap(e, rc, "drive %s", id) : 0;
	}
	return err_set(e, ERR_NOT_FOUND, "drive_missing", 0,
		       "there is no drive %s", id);
}
