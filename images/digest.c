/* SPDX-License-Identifier: Apache-2.0 */
/* See digest.h. */
#include "images/digest.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	READ_BYTES = 1 << 20,
	PROGRESS_EVERY = 64 << 20
};

static void to_hex(struct sha256_ctx *ctx,
		   char ret_hex[static IMAGE_DIGEST_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t raw[SHA256_DIGEST_SIZE];

	sha256_digest(ctx, sizeof(raw), raw);
	for (size_t i = 0; i < sizeof(raw); i++) {
		ret_hex[2 * i] = digits[raw[i] >> 4];
		ret_hex[2 * i + 1] = digits[raw[i] & 15];
	}
	ret_hex[IMAGE_DIGEST_LEN] = '\0';
}

int digest_file(int fd, char ret_hex[static IMAGE_DIGEST_LEN + 1],
		uint64_t *ret_size, digest_progress_fn *progress, void *data,
		struct err *e)
{
	AUTO(free) uint8_t *block = malloc(READ_BYTES);
	struct sha256_ctx ctx;
	uint64_t done = 0, told = 0;

	if (!block)
		return err_sys(e, ENOMEM, "hash a file");
	sha256_init(&ctx);
	for (;;) {
		ssize_t n = pread(fd, block, READ_BYTES, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "hash a file: read");
		if (n == 0)
			break;
		sha256_update(&ctx, (size_t)n, block);
		done += (uint64_t)n;
		if (progress && done - told >= PROGRESS_EVERY) {
			told = done;
			progress(done, data);
		}
	}
	to_hex(&ctx, ret_hex);
	*ret_size = done;
	return 0;
}

void digest_text(const void *text, size_t len,
		 char ret_hex[static IMAGE_DIGEST_LEN + 1])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, len, text);
	to_hex(&ctx, ret_hex);
}

bool digest_hex_ok(const char *hex)
{
	return strspn(hex, "0123456789abcdef") == IMAGE_DIGEST_LEN &&
	       hex[IMAGE_DIGEST_LEN] == '\0';
}
