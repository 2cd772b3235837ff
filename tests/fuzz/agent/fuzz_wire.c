/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec on hostile bytes: the parser, fed whole and in pieces, must find
 * the same frames; every decoder must stay inside the payload; what a decoder
 * accepts must encode again.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "tests/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t hash;
	bool decode;
};

static void decode_all(const uint8_t *in, size_t len)
{
	struct wire_exec exec;
	static uint8_t out[WIRE_PAYLOAD_MAX];
	struct wire_hello_ack ack;
	struct wire_str code, msg;
	struct wire_net net;
	struct wire_dial dial;
	uint32_t sys;

	if (wire_decode_exec(in, len, &exec)) {
		must(wire_exec_len(&exec) == len);
		must(wire_encode_exec(&exec, out, sizeof(out)) == len);
		must(memcmp(in, out, len) == 0);
	}
	if (wire_decode_net(in, len, &net))
		must(wire_encode_net(&net, out) == len);
	if (wire_decode_dial(in, len, &dial))
		must(wire_encode_dial(&dial, out) == len);
	if (wire_decode_hello_ack(in, len, &ack))
		must(wire_encode_hello_ack(&ack, out) == len);
	(void)wire_decode_result(in, len, &sys, &code, &msg);
}

static void frame(void *ctx, const struct wire_header *h,
		  const uint8_t *payload)
{
	struct seen *s = ctx;
	uint8_t *exact = malloc(h->length ? h->length : 1);

	must(h->length <= WIRE_PAYLOAD_MAX);
	if (!exact)
		abort();
	memcpy(exact, payload, h->length);
	s->hash = s->hash * 31 + h->type * 7u + h->stream + h->length;
	for (uint32_t i = 0; i < h->length; i++)
		s->hash = s->hash * 31 + payload[i];
	if (s->decode)
		decode_all(exact, h->length);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wire_parser p;
	struct seen whole = { .decode = true }, pieces = { 0 };
	uint64_t resync;

	decode_all(data, size > WIRE_PAYLOAD_MAX ? WIRE_PAYLOAD_MAX : size);
	wire_parser_reset(&p);
	wire_parser_feed(&p, data, size, frame, &whole);
	resync = p.resync;
	wire_parser_reset(&p);
	for (size_t at = 0; at < size; at++)
		wire_parser_feed(&p, data + at, 1, frame, &pieces);
	must(whole.hash == pieces.hash && resync == p.resync);
	return 0;
}
