/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by http*.c only. */
#ifndef VMD_HTTP_INTERNAL_H
#define VMD_HTTP_INTERNAL_H

#include "vmd/http.h"

/* One client. */
struct http_connection {
	struct http *http;
	int fd;
	struct loop_timer slow; /* armed while a request is awaited */
	LIST_ENTRY(http_connection) link;
};

struct http {
	struct daemon *daemon;
	struct MHD_Daemon *mhd;
	int listen_fd;
	gid_t group; /* of the socket */
	bool has_group;
	struct loop_source listen, mhd_source;
	struct loop_timer mhd_timer, accept_again;
	LIST_HEAD(, http_connection) connections;
	size_t connection_count;
	bool running_mhd, closing;
	LIST_HEAD(, websocket) websockets;
	LIST_HEAD(, request) requests;
};

/* A WebSocket that is open or about to be. */
struct websocket {
	struct http *http;
	struct MHD_UpgradeResponseHandle *urh;
	struct ws *ws;
	void (*fn)(void *data, struct ws *ws);
	void *data;
	LIST_ENTRY(websocket) link;
};

/* http_connection.c */
void http_accept(struct loop_source *source, uint32_t events);
void http_on_connection(void *cls, struct MHD_Connection *connection,
			void **context,
			enum MHD_ConnectionNotificationCode why);

/* http_request.c */
void *http_on_uri(void *cls, const char *uri, struct MHD_Connection *c);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection,
				const char *url, const char *method,
				const char *version, const char *upload_data,
				size_t *upload_size, void **context);
void http_on_completed(void *cls, struct MHD_Connection *connection,
		       void **context, enum MHD_RequestTerminationCode why);

#endif
