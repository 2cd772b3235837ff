/* SPDX-License-Identifier: Apache-2.0 */
/* The console device; see console.h. */
#include "virtio/console.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "virtio/drain.h"

enum {
	CONSOLE_QUEUE_SIZE = 64,
	/* Of one chain in one turn: a chain may have 4 GiB. */
	OUTPUT_TURN = 64 * 1024
};
enum {
	QUEUE_INPUT,
	QUEUE_OUTPUT,
	QUEUE_COUNT
}; /* 5.3.2, without MULTIPORT */

struct console {
	struct virtio_device dev; /* first: a device is a console */
	struct virtio_drain output;
	struct virtio_console_setup host;
	/*
	 * Bytes of the output queue's next chain that the host has taken. The
	 * guest can exchange the chain meanwhile; it then loses its own bytes.
	 */
	uint64_t output_done;
	struct virtq_chain input_chain;
};

static struct console *to_console(struct virtio_device *dev)
{
	return (struct console *)dev;
}

/* Offers the chain's bytes from output_done on; stalls at the first refusal. */
static int64_t send(struct virtio_device *dev, struct virtq_chain *c)
{
	struct console *con = to_console(dev);
	uint64_t skip = con->output_done;
	size_t left = OUTPUT_TURN;

	for (uint16_t i = 0; i < c->read_count; i++) {
		const struct iovec *part = &c->iov[i];
		size_t len, taken;

		if (skip >= part->iov_len) {
			skip -= part->iov_len;
			continue;
		}
		if (!left)
			return VIRTIO_DRAIN_AGAIN;
		len = min_u64(part->iov_len - skip, left);
		taken = con->host.output(con->host.ctx,
					 (const uint8_t *)part->iov_base + skip,
					 len);
		assert(taken <= len);
		con->output_done += taken;
		left -= taken;
		if (taken < len)
			return VIRTIO_DRAIN_STALL;
		if (skip + len < part->iov_len)
			return VIRTIO_DRAIN_AGAIN;
		skip = 0;
	}
	con->output_done = 0;
	return 0;
}

/* Fills one buffer of the guest: bytes it took, or 0 when it has none. */
static size_t fill_one(struct console *con, const uint8_t *data, size_t len)
{
	struct virtio_device *dev = &con->dev;
	struct virtq *q = &dev->queues[QUEUE_INPUT];
	size_t taken;

	for (;;) {
		enum virtq_status status = virtq_pop(q, &con->input_chain);

		if (status == VIRTQ_BROKEN) {
			virtio_device_fail(dev, "the input queue is malformed");
			return 0;
		}
		if (status == VIRTQ_OK)
			break;
		virtq_enable_kicks(q, true);
		/* A buffer may have come before the driver saw our wish. */
		if (virtq_pending(q) == 0)
			return 0;
	}
	if (!con->input_chain.write_len) {
		virtio_device_fail(dev, "an input buffer without room");
		return 0;
	}
	taken = virtq_chain_write(&con->input_chain, 0, data, len);
	(void)virtq_push(q, con->input_chain.head, (uint32_t)taken);
	return taken;
}

size_t virtio_console_input(struct virtio_device *dev, const void *data,
			    size_t len)
{
	struct console *con = to_console(dev);
	size_t done = 0;

	while (dev->active && done < len) {
		size_t n =
			fill_one(con, (const uint8_t *)data + done, len - done);

		if (!n)
			break;
		done += n;
	}
	virtio_device_signal(dev, QUEUE_INPUT);
	return done;
}

void virtio_console_output_ready(struct virtio_device *dev)
{
	virtio_drain_run(&to_console(dev)->output);
}

void virtio_console_resize(struct virtio_device *dev, uint16_t columns,
			   uint16_t rows)
{
	struct console *con = to_console(dev);

	if (con->host.columns == columns && con->host.rows == rows)
		return;
	con->host.columns = columns;
	con->host.rows = rows;
	virtio_device_config_changed(dev);
}

static void console_kick(struct virtio_device *dev, uint16_t index)
{
	struct console *con = to_console(dev);

	if (index == QUEUE_OUTPUT)
		virtio_drain_run(&con->output);
	else if (con->host.input_ready)
		con->host.input_ready(con->host.ctx);
}

static void console_activate(struct virtio_device *dev)
{
	console_kick(dev, QUEUE_OUTPUT);
	console_kick(dev, QUEUE_INPUT);
}

static void console_reset(struct virtio_device *dev)
{
	struct console *con = to_console(dev);

	virtio_drain_stop(&con->output);
	con->output_done = 0;
}

static void console_config_read(struct virtio_device *dev, uint32_t offset,
				void *data, uint32_t len)
{
	struct virtio_console_config config = {
		.cols = to_console(dev)->host.columns,
		.rows = to_console(dev)->host.rows,
		.max_nr_ports = 1,
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void console_save(struct virtio_device *dev, struct state_writer *w)
{
	struct console *con = to_console(dev);

	state_put_u64(w, con->output_done);
	state_put_u16(w, con->host.columns);
	state_put_u16(w, con->host.rows);
}

static int console_load(struct virtio_device *dev, struct state_reader *r,
			struct err *e)
{
	struct console *con = to_console(dev);
	uint16_t columns, rows;

	(void)e;
	con->output_done = state_get_u64(r);
	columns = state_get_u16(r);
	rows = state_get_u16(r);
	/* The terminal here may be another one than there. */
	if (columns != con->host.columns || rows != con->host.rows)
		virtio_device_config_changed(dev);
	return 0;
}

static void console_free(struct virtio_device *dev)
{
	virtio_drain_stop(&to_console(dev)->output);
	free(to_console(dev));
}

static const struct virtio_device_ops console_ops = {
	.name = "console",
	.device_id = VIRTIO_ID_CONSOLE,
	.queue_count = QUEUE_COUNT,
	.config_len = sizeof(struct virtio_console_config),
	.activate = console_activate,
	.reset = console_reset,
	.kick = console_kick,
	.config_read = console_config_read,
	.save = console_save,
	.load = console_load,
	.free = console_free,
};

int virtio_console_new(const struct virtio_console_setup *setup,
		       const struct guest_mem *mem, struct loop *loop,
		       struct virtio_device **ret, struct err *e)
{
	struct console *con = calloc(1, sizeof(*con));

	if (!con)
		return err_sys(e, ENOMEM, "console device");
	assert(setup->output);
	virtio_device_init(&con->dev, &console_ops, mem, loop,
			   1ull << VIRTIO_CONSOLE_F_SIZE, CONSOLE_QUEUE_SIZE);
	virtio_drain_init(&con->output, &con->dev, QUEUE_OUTPUT, send);
	con->host = *setup;
	*ret = &con->dev;
	return 0;
}
