/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved states from an enemy: once as a whole blob (its checksums stop nearly
 * all), once as the content of a section with its checksums in order. What is
 * accepted must then run.
 */
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/must.h"
#include "victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	LIMIT = 1 << 17
};

static void load(struct victim *v, const void *blob, size_t len)
{
	struct state_reader r;

	fake_driver_detach(&v->d);
	fake_driver_attach(&v->d, victim_make(v));
	if (state_reader_init(&r, blob, len, NULL) < 0)
		return;
	if (virtio_mmio_load(&v->d.mmio, &r, 0, NULL) < 0)
		return;
	virtio_mmio_resume(&v->d.mmio);
	for (uint32_t q = 0; q < VIRTIO_QUEUES_MAX; q++)
		fake_write(&v->d, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	(void)loop_run_once(v->loop, 0);
}

/* A section that a live device saved, changed at the places the input names. */
static size_t patched_section(struct victim *v, const uint8_t *data,
			      size_t size, uint8_t section[static 512])
{
	struct state_writer w;
	size_t head = 16 + 1 + strlen(v->d.dev->ops->name) + 1 + 6, len;

	fake_driver_start(&v->d, ~0ull);
	state_writer_init(&w, LIMIT);
	virtio_mmio_save(&v->d.mmio, &w, 0);
	must(!w.failed && buf_len(&w.out) > head + 4);
	len = buf_len(&w.out) - head - 4;
	must(len <= 512);
	memcpy(section, buf_head(&w.out) + head, len);
	state_writer_done(&w);
	for (size_t i = 0; i + 1 < size; i += 2)
		section[data[i] % len] = data[i + 1];
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_writer w;
	struct victim v;
	uint8_t section[512];
	char name[32];
	size_t len;

	if (!size)
		return 0;
	victim_init(&v, (enum victim_kind)(data[0] % VICTIM_KINDS));
	load(&v, data + 1, size - 1);
	len = patched_section(&v, data + 1, size - 1, section);
	(void)snprintf(name, sizeof(name), "%s0", v.d.dev->ops->name);
	state_writer_init(&w, LIMIT);
	state_begin(&w, name, 1);
	state_put_bytes(&w, section, len);
	state_end(&w);
	if (state_finish(&w, NULL) < 0)
		abort();
	load(&v, buf_head(&w.out), buf_len(&w.out));
	state_writer_done(&w);
	victim_done(&v);
	return 0;
}
