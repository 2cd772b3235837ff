/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake's proof (RFC 6455, 4.2.2): base64(SHA-1(key + GUID)). */
#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <string.h>

#include "vmd/http/ws.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

bool ws_accept_key(const char *key, char ret_accept[static 29])
{
	struct base64_decode_ctx decode;
	struct sha1_ctx sha;
	uint8_t digest[SHA1_DIGEST_SIZE], nonce[24];
	size_t len = sizeof(nonce);

	/* 16 random bytes: always 24 characters. */
	if (strlen(key) != 24)
		return false;
	base64_decode_init(&decode);
	if (!base64_decode_update(&decode, &len, nonce, 24, key) ||
	    !base64_decode_final(&decode) || len != 16)
		return false;
	sha1_init(&sha);
	sha1_update(&sha, 24, (const uint8_t *)key);
	sha1_update(&sha, strlen(GUID), (const uint8_t *)GUID);
	sha1_digest(&sha, sizeof(digest), digest);
	base64_encode_raw(ret_accept, sizeof(digest), digest);
	ret_accept[28] = '\0';
	return true;
}
