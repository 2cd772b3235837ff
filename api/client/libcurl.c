/* SPDX-License-Identifier: Apache-2.0 */
/* See libcurl.h. */
#include "api/client/libcurl.h"

#include <errno.h>

#include "base/library.h"

struct libcurl libcurl;

int libcurl_load(struct err *e)
{
	static const struct library_function functions[] = {
		{ "curl_global_init", &libcurl.global_init },
		{ "curl_easy_init", &libcurl.easy_init },
		{ "curl_easy_cleanup", &libcurl.easy_cleanup },
		{ "curl_easy_reset", &libcurl.easy_reset },
		{ "curl_easy_setopt", &libcurl.easy_setopt },
		{ "curl_easy_getinfo", &libcurl.easy_getinfo },
		{ "curl_easy_perform", &libcurl.easy_perform },
		{ "curl_easy_strerror", &libcurl.easy_strerror },
		{ "curl_slist_append", &libcurl.slist_append },
		{ "curl_slist_free_all", &libcurl.slist_free_all },
	};
	/* Debian has one for each TLS library; we use none of it. */
	static const char *const names[] = { "libcurl-gnutls.so.4",
					     "libcurl.so.4", NULL };
	int rc;

	if (libcurl.easy_init)
		return 0;
	rc = library_load(names, functions,
			  sizeof(functions) / sizeof(functions[0]),
			  "libcurl3-gnutls", e);
	if (rc < 0)
		return rc;
	return libcurl.global_init(CURL_GLOBAL_NOTHING) == CURLE_OK
		       ? 0
		       : err_sys(e, ENOMEM, "HTTP client");
}
