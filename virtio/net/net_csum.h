/* SPDX-License-Identifier: Apache-2.0 */
/* Completion of partial checksums (VIRTIO 1.2, 5.1.6.2; RFC 1071). */
#ifndef VIRTIO_NET_CSUM_H
#define VIRTIO_NET_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Sums frame[start, len) and stores the complement, in network byte order, at
 * start + offset, where the sender left the sum of the pseudo-header. False,
 * with nothing changed, when the field does not lie inside the frame.
 */
bool net_csum_complete(uint8_t *frame, size_t len, size_t start, size_t offset);

#endif
