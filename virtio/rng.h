/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng (VIRTIO 1.2, 5.4): random bytes of the host's kernel. Without
 * state: a clone of a VM gets other bytes than its parent.
 */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "virtio/device.h"

/* *ret is released by its ops->free. mem and loop outlive the device. */
int virtio_rng_new(const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e);

#endif
