/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of libcurl that client.c calls, loaded by the first call over
 * HTTP: `vmctl exec` speaks WebSocket alone and starts without libcurl and the
 * thirty libraries behind it.
 */
#ifndef API_LIBCURL_H
#define API_LIBCURL_H

#include <curl/curl.h>

#include "base/err.h"

/* Usable after libcurl_load() has returned 0. */
extern struct libcurl {
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *curl);
	void (*easy_reset)(CURL *curl);
	CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *curl, CURLINFO info, ...);
	CURLcode (*easy_perform)(CURL *curl);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list,
					   const char *text);
	void (*slist_free_all)(struct curl_slist *list);
} libcurl;

/* The first call loads it; one thread at a time. 0, or *e. */
int libcurl_load(struct err *e);

#endif
