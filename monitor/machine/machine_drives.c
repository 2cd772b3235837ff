/* SPDX-License-Identifier: Apache-2.0 */
/* See machine_drives.h. */
#include "monitor/machine/machine_drives.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "monitor/bus_error.h"
#include "monitor/machine/machine_slot.h"
#include "virtio/blk/blk.h"
#include "virtio/blk/blk_io.h"

enum {
	DRIVE_THREADS = 4
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
	bool kicks = virtio_blk_takes_kicks(slot->dev);
	const struct blk_start start = {
		.lock = &m->lock,
		.enter = kicks ? enter_ring_thread : enter_disk_thread,
		.ctx = m,
		.kick_fds = slot->kick_fds,
		.kick_count = slot->dev->ops->queue_count,
	};

	if (kicks)
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
