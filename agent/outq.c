/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of frames to the host: one array, frames appended at the end, sent
 * from the start. It never cuts a frame: on a serial port the next host would
 * take whatever follows for the missing payload.
 */
#include <string.h>

#include "agent/agent.h"

static uint8_t *reserve(struct outq *q, size_t len)
{
	if (OUTQ_SIZE - q->end < len && q->start > 0) {
		memmove(q->data, q->data + q->start, outq_len(q));
		q->end -= q->start;
		q->start = 0;
	}
	return OUTQ_SIZE - q->end < len ? NULL : q->data + q->end;
}

void outq_frame(struct outq *q, uint8_t type, uint8_t channel, uint32_t stream,
		const void *payload, size_t len)
{
	struct wire_header h = { type, channel, stream, (uint32_t)len };
	uint8_t *at = reserve(q, WIRE_HEADER_LEN + len);

	if (!at) {
		q->overflow = true;
		return;
	}
	wire_put_header(at, &h);
	if (len)
		memcpy(at + WIRE_HEADER_LEN, payload, len);
	q->end += WIRE_HEADER_LEN + len;
}

uint8_t *outq_data_begin(struct outq *q)
{
	uint8_t *at;

	if (outq_len(q) > OUTQ_DATA_LEVEL)
		return NULL;
	at = reserve(q, WIRE_HEADER_LEN + WIRE_PAYLOAD_MAX);
	return at ? at + WIRE_HEADER_LEN : NULL;
}

void outq_data_commit(struct outq *q, uint8_t channel, uint32_t stream,
		      size_t len)
{
	struct wire_header h = { WIRE_DATA, channel, stream, (uint32_t)len };

	wire_put_header(q->data + q->end, &h);
	q->end += WIRE_HEADER_LEN + len;
}

void outq_sent(struct outq *q, size_t len)
{
	while (len > 0) {
		struct wire_header h;
		size_t take;

		if (q->frame_left == 0) {
			/* Our own frame: the header is good. */
			(void)wire_get_header(q->data + q->start, &h);
			q->frame_left = WIRE_HEADER_LEN + h.length;
		}
		take = len < q->frame_left ? len : q->frame_left;
		q->start += take;
		q->frame_left -= take;
		len -= take;
	}
	if (q->start == q->end)
		q->start = q->end = 0;
}

void outq_drop_unsent(struct outq *q)
{
	q->end = q->start + q->frame_left;
	q->overflow = false;
}

void outq_clear(struct outq *q)
{
	q->start = q->end = q->frame_left = 0;
	q->overflow = false;
}
