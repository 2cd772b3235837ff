/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of the MMIO bus: a virtio device gets an address, an interrupt and, when
 * its driver is there, kicks by ioeventfd.
 */
#include "monitor/machine/machine_slot.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

/* I/O APIC inputs for virtio: free of ISA meanings first. */
static const uint8_t virtio_gsis[MACHINE_VIRTIO_MAX] = {
	16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 13, 14, 15,
};

static void slot_set_irq(void *ctx, bool level)
{
	struct machine_slot *slot = ctx;

	ioapic_set_line(&slot->machine->ioapic, slot->gsi, level);
}

static uint64_t slot_gpa(const struct machine_slot *slot)
{
	return GPA_VIRTIO + slot->index * (uint64_t)VIRTIO_MMIO_LEN;
}

/*
 * A driver is there (or gone): kicks arrive by ioeventfd from now on. Without
 * one (KVM refuses) they arrive as register writes, which is only slower.
 */
static void slot_set_active(void *ctx, bool active)
{
	struct machine_slot *slot = ctx;

	if (slot->kicks_on == active)
		return;
	for (uint32_t q = 0; q < slot->dev->queue_count; q++)
		(void)vm_ioeventfd(&slot->machine->vm,
				   slot_gpa(slot) + VIRTIO_MMIO_NOTIFY, q,
				   slot->kick_fds[q], active);
	slot->kicks_on = active;
}

/* A pause and vCPUs may be waiting for it. */
static void slot_drained(void *ctx)
{
	struct machine_slot *slot = ctx;
	struct machine *m = slot->machine;

	(void)pthread_cond_broadcast(&m->drained);
	if (m->state == MACHINE_PAUSING || m->state == MACHINE_RESUMING)
		loop_wake(m->loop);
}

static const struct virtio_mmio_ops slot_ops = {
	.set_irq = slot_set_irq,
	.set_active = slot_set_active,
	.drained = slot_drained,
};

static void on_kick(struct loop_source *source, uint32_t events)
{
	struct machine_slot *slot = source->data;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) != sizeof(count))
		return;
	virtio_mmio_kick(&slot->mmio, (uint16_t)(source - slot->kicks));
}

static void slot_read(void *device, const struct bus_access *a)
{
	struct machine_slot *slot = device;

	virtio_mmio_read(&slot->mmio, a->offset, a->data, a->len);
}

static void slot_write(void *device, const struct bus_access *a)
{
	struct machine_slot *slot = device;
	uint32_t queue = UINT32_MAX;
	uint64_t one = 1;

	/*
	 * A kick that KVM did not turn into an event becomes one here: queues
	 * are worked on by the loop thread alone, whose filter has the calls
	 * for it. The transport's register is 32 bits wide.
	 */
	if (a->offset == VIRTIO_MMIO_NOTIFY && a->len == sizeof(queue))
		memcpy(&queue, a->data, sizeof(queue));
	if (queue < slot->dev->queue_count) {
		(void)!write(slot->kick_fds[queue], &one, sizeof(one));
		return;
	}
	virtio_mmio_write(&slot->mmio, a->offset, a->data, a->len);
}

void machine_slot_wait(struct machine *m, uint64_t gpa)
{
	uint64_t index = (gpa - GPA_VIRTIO) / VIRTIO_MMIO_LEN;

	if (gpa < GPA_VIRTIO || index >= m->slot_count)
		return;
	while (virtio_mmio_busy(&m->slots[index].mmio) &&
	       !atomic_load(&m->ending))
		(void)pthread_cond_wait(&m->drained, &m->lock);
}

static int slot_open_kicks(struct machine_slot *slot, struct err *e)
{
	for (unsigned q = 0; q < slot->dev->queue_count; q++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		int rc;

		if (fd < 0)
			return err_sys(e, errno, "eventfd");
		slot->kick_fds[q] = fd;
		rc = loop_add(slot->machine->devices, &slot->kicks[q], fd,
			      EPOLLIN, on_kick, slot);
		if (rc < 0)
			return err_sys(e, -rc, "watching a queue");
	}
	return 0;
}

void machine_slot_give_kicks(struct machine_slot *slot)
{
	for (unsigned q = 0; q < slot->dev->queue_count; q++)
		loop_remove(&slot->kicks[q]);
}

int machine_slot_plug(struct machine *m, struct virtio_device *dev,
		      struct err *e)
{
	struct machine_slot *slot = &m->slots[m->slot_count];
	struct bus_range range;
	int rc;

	if (m->slot_count == MACHINE_VIRTIO_MAX) {
		dev->ops->free(dev);
		return err_set(e, ERR_LIMIT, "config_invalid", 0,
			       "more than %d devices", MACHINE_VIRTIO_MAX);
	}
	slot->machine = m;
	slot->index = m->slot_count++;
	slot->gsi = virtio_gsis[slot->index];
	slot->dev = dev;
	for (unsigned i = 0; i < slot->index; i++)
		slot->instance += m->slots[i].dev->ops == dev->ops;
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++) {
		slot->kick_fds[q] = -1;
		slot->kicks[q] = (struct loop_source)LOOP_SOURCE_INIT;
	}
	virtio_mmio_init(&slot->mmio, dev, &slot_ops, slot);
	range = (struct bus_range){ .base = slot_gpa(slot),
				    .len = VIRTIO_MMIO_LEN,
				    .name = dev->ops->name,
				    .read = slot_read,
				    .write = slot_write,
				    .device = slot };
	rc = bus_add(&m->mmio, &range, e);
	return rc < 0 ? rc : slot_open_kicks(slot, e);
}

void machine_slot_unplug(struct machine_slot *slot)
{
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++) {
		loop_remove(&slot->kicks[q]);
		close_fd(&slot->kick_fds[q]);
	}
	slot->dev->ops->free(slot->dev);
}
