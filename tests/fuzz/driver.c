/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deterministic driver for fuzz targets, so that they run in every test run
 * and under every compiler: the files named on the command line are seeds; each
 * is run as it is and then FUZZ_RUNS times mutated (bit flips, inserts, cuts,
 * splices, boundary values). The same seeds give the same inputs, so a failure
 * can be repeated; the input being run is kept in the file named by FUZZ_LAST
 * when that is set. The targets also link with libFuzzer (clang
 * -fsanitize=fuzzer) without this file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	INPUT_MAX = 65536,
	SEEDS_MAX = 256
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seed {
	uint8_t *data;
	size_t len;
};

static struct seed seeds[SEEDS_MAX];
static size_t seed_count;
static uint64_t rng_state;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static size_t below(size_t n)
{
	return n ? (size_t)(rng() % n) : 0;
}

static void run(const uint8_t *data, size_t len)
{
	const char *last = getenv("FUZZ_LAST");
	/* An exact allocation lets ASan see one byte too far. */
	uint8_t *exact = malloc(len ? len : 1);

	if (!exact)
		abort();
	memcpy(exact, data, len);
	if (last) {
		FILE *f = fopen(last, "w");

		if (f) {
			(void)fwrite(data, 1, len, f);
			(void)fclose(f);
		}
	}
	(void)LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

static size_t mutate_once(uint8_t *b, size_t len)
{
	static const uint8_t edges[] = {
		0, 1, 0x7f, 0x80, 0xff, '"', '{', '\\'
	};
	size_t at = below(len + 1), n;

	switch (below(6)) {
	case 0:
		if (at < len)
			b[at] ^= (uint8_t)(1u << below(8));
		return len;
	case 1:
		if (at < len)
			b[at] = edges[below(sizeof(edges))];
		return len;
	case 2:
		n = below(16);
		if (len + n > INPUT_MAX)
			return len;
		memmove(b + at + n, b + at, len - at);
		for (size_t i = 0; i < n; i++)
			b[at + i] = (uint8_t)rng();
		return len + n;
	case 3:
		n = below(len - at + 1);
		memmove(b + at, b + at + n, len - at - n);
		return len - n;
	case 4: {
		const struct seed *other = &seeds[below(seed_count)];
		size_t from = below(other->len + 1);

		n = below(other->len - from + 1);
		if (at + n > INPUT_MAX)
			return len;
		memcpy(b + at, other->data + from, n);
		return at + n > len ? at + n : len;
	}
	default:
		n = below(5);
		for (size_t i = 0; i < n && at + i < len; i++)
			b[at + i] = (uint8_t)rng();
		return len;
	}
}

static void load_seed(const char *path)
{
	FILE *f = fopen(path, "r");
	uint8_t *data = malloc(INPUT_MAX);

	if (!f || !data || seed_count == SEEDS_MAX) {
		(void)fprintf(stderr, "cannot read seed %s\n", path);
		exit(2);
	}
	seeds[seed_count].data = data;
	seeds[seed_count++].len = fread(data, 1, INPUT_MAX, f);
	(void)fclose(f);
}

int main(int argc, char **argv)
{
	static uint8_t work[INPUT_MAX];
	const char *runs_text = getenv("FUZZ_RUNS");
	unsigned long runs = runs_text ? strtoul(runs_text, NULL, 10) : 20000;
	unsigned long done = 0;

	for (int i = 1; i < argc; i++)
		load_seed(argv[i]);
	if (!seed_count) {
		seeds[0].data = calloc(1, 64);
		if (!seeds[0].data)
			return 2;
		seeds[seed_count++].len = 64;
	}
	run(work, 0);
	for (size_t s = 0; s < seed_count; s++) {
		rng_state = 0x9e3779b97f4a7c15u + s;
		run(seeds[s].data, seeds[s].len);
		for (unsigned long i = 0; i < runs / seed_count; i++) {
			size_t len = seeds[s].len;

			memcpy(work, seeds[s].data, len);
			for (size_t m = 1 + below(6); m > 0; m--)
				len = mutate_once(work, len);
			run(work, len);
			done++;
		}
	}
	for (size_t s = 0; s < seed_count; s++)
		free(seeds[s].data);
	printf("%lu mutated inputs from %zu seeds: no failure\n", done,
	       seed_count);
	return 0;
}
