/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (VIRTIO 1.2, 5.3) with one port: a byte pipe between the
 * guest's /dev/hvc0 and whatever the monitor puts behind it. The device holds
 * no bytes of its own: output that the host does not take stays in the guest's
 * ring, input that the guest has no buffer for stays with the host.
 */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include <stddef.h>

#include "virtio/device.h"

struct virtio_console_setup {
	/*
	 * Output of the guest: returns how many of the len bytes were taken
	 * (the rest is offered again after virtio_console_output_ready()).
	 * The bytes are the guest's and may change while they are read.
	 */
	size_t (*output)(void *ctx, const void *data, size_t len);
	/* The guest has buffers again after input was not taken. May be NULL. */
	void (*input_ready)(void *ctx);
	void *ctx;
	uint16_t columns, rows; /* of the terminal; 0: not known */
};

/* *ret is released by its ops->free. mem and loop outlive the device. */
int virtio_console_new(const struct virtio_console_setup *setup,
		       const struct guest_mem *mem, struct loop *loop,
		       struct virtio_device **ret, struct err *e);

/* Input for the guest: how many of the len bytes it took. */
size_t virtio_console_input(struct virtio_device *dev, const void *data,
			    size_t len);

/* The host side takes output again. */
void virtio_console_output_ready(struct virtio_device *dev);

/* The terminal has another size now: the driver is told. */
void virtio_console_resize(struct virtio_device *dev, uint16_t columns,
			   uint16_t rows);

#endif
