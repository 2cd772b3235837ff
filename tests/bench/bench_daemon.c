/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load for vmd, over its socket, without any library in between:
 *
 *   bench-daemon SOCKET fill CLIENTS COUNT IMAGE     stopped VMs vm-0 ... are made
 *   bench-daemon SOCKET get RUNS COUNT               one of them by its name
 *   bench-daemon SOCKET list RUNS                    the first hundred VMs
 *   bench-daemon SOCKET churn CLIENTS COUNT IMAGE    COUNT are made and deleted, each
 *                                                    client one after the other
 *   bench-daemon SOCKET wait COUNT                   connections that wait for vm-0,
 *                                                    until the standard input ends
 *
 * Prints one JSON object: requests, seconds, p50 and p99 in milliseconds. Creations
 * and deletions are waited for: what is counted is durable.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 512,
	ANSWER_MAX = 1 << 20
};

static const char *socket_path, *image;
static unsigned clients = 1, count;
static atomic_uint next;
static double *times; /* of each request, in ms */

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench-daemon: %s: %s\n", what, why);
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", socket_path);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		die(socket_path, strerror(errno));
	return fd;
}

static void ask(int fd, const char *method, const char *path, const char *body)
{
	char text[1024];
	int len = snprintf(text, sizeof(text),
			   "%s %s HTTP/1.1\r\nHost: vmd\r\n%s"
			   "Content-Length: %zu\r\n\r\n%s",
			   method, path,
			   body[0] ? "Content-Type: application/json\r\n" : "",
			   strlen(body), body);

	if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		die(path, strerror(errno));
}

/* Reads a whole answer with a Content-Length; anything but 2xx is an end. */
static void hear(int fd, const char *path, char *text)
{
	size_t have = 0, want = 0;

	do {
		ssize_t n = recv(fd, text + have, ANSWER_MAX - 1 - have, 0);
		const char *body, *length;

		if (n <= 0)
			die(path, n ? strerror(errno) : "no answer");
		have += (size_t)n;
		text[have] = '\0';
		body = want ? NULL : strstr(text, "\r\n\r\n");
		if (!body)
			continue;
		length = strcasestr(text, "\r\nContent-Length:");
		if (!length || length > body)
			die(path, "an answer without a length");
		want = (size_t)(body + 4 - text) +
		       strtoul(length + strlen("\r\nContent-Length:"), NULL,
			       10);
	} while (!want || have < want);
	if (text[9] != '2')
		die(path, text);
}

static void *client(void *data)
{
	char path[96], body[256], *text = malloc(ANSWER_MAX);
	void (*each)(int fd, unsigned i, char *path, char *body, char *text);
	int fd = dial();
	unsigned i;

	each = *(void (**)(int, unsigned, char *, char *, char *))data;
	if (!text)
		die("memory", strerror(ENOMEM));
	while ((i = atomic_fetch_add(&next, 1)) < count) {
		double begin = now_ms();

		each(fd, i, path, body, text);
		times[i] = now_ms() - begin;
	}
	(void)close(fd);
	free(text);
	return NULL;
}

typedef void each_fn(int fd, unsigned i, char *path, char *body, char *text);

static void create(int fd, const char *name, unsigned i, char *body, char *text)
{
	(void)snprintf(body, 256,
		       "{\"name\":\"%s-%u\",\"image\":\"%s\","
		       "\"start\":false,\"memory_bytes\":67108864}",
		       name, i, image);
	ask(fd, "POST", "/v1/vms?wait=60", body);
	hear(fd, "create", text);
	if (!strstr(text, "\"succeeded\""))
		die("create", text);
}

static void fill_one(int fd, unsigned i, char *path, char *body, char *text)
{
	(void)path;
	create(fd, "vm", i, body, text);
}

static void churn_one(int fd, unsigned i, char *path, char *body, char *text)
{
	create(fd, "churn", i, body, text);
	(void)snprintf(path, 96, "/v1/vms/churn-%u?wait=60", i);
	ask(fd, "DELETE", path, "");
	hear(fd, path, text);
	if (!strstr(text, "\"succeeded\""))
		die("delete", text);
}

static unsigned records; /* that `get` chooses from */

static void get_one(int fd, unsigned i, char *path, char *body, char *text)
{
	(void)body;
	(void)snprintf(path, 96, "/v1/vms/vm-%u",
		       (unsigned)((uint64_t)i * 2654435761u % records));
	ask(fd, "GET", path, "");
	hear(fd, path, text);
}

static void list_one(int fd, unsigned i, char *path, char *body, char *text)
{
	(void)i;
	(void)path;
	(void)body;
	ask(fd, "GET", "/v1/vms?limit=100", "");
	hear(fd, "list", text);
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void run(each_fn *each)
{
	pthread_t threads[CLIENTS_MAX];
	double begin = now_ms(), took;

	times = calloc(count, sizeof(*times));
	if (!times)
		die("memory", strerror(ENOMEM));
	for (unsigned i = 0; i < clients; i++)
		if (pthread_create(&threads[i], NULL, client, &each))
			die("thread", strerror(errno));
	for (unsigned i = 0; i < clients; i++)
		(void)pthread_join(threads[i], NULL);
	took = now_ms() - begin;
	qsort(times, count, sizeof(*times), by_time);
	(void)printf("{\"count\": %u, \"seconds\": %.3f, \"p50_ms\": %.4f, "
		     "\"p99_ms\": %.4f}\n",
		     count, took / 1e3, times[count / 2],
		     times[(size_t)count * 99 / 100]);
	free(times);
}

/* All wait for a VM to be deleted, which it is not. */
static void wait_all(void)
{
	char byte;

	for (unsigned i = 0; i < count; i++)
		ask(dial(), "GET",
		    "/v1/vms/vm-0/wait?state=deleted&timeout=600", "");
	(void)printf("waiting\n");
	(void)fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

static unsigned number(const char *word, unsigned most)
{
	unsigned long n = strtoul(word, NULL, 10);

	if (!n || n > most)
		die(word, "a number is wanted");
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[2] : "";
	const unsigned most = 10000000;

	socket_path = argc > 1 ? argv[1] : "";
	if ((strcmp(what, "fill") == 0 || strcmp(what, "churn") == 0) &&
	    argc == 6) {
		clients = number(argv[3], CLIENTS_MAX);
		count = number(argv[4], most);
		image = argv[5];
		run(what[0] == 'f' ? fill_one : churn_one);
	} else if (strcmp(what, "get") == 0 && argc == 5) {
		count = number(argv[3], most);
		records = number(argv[4], most);
		run(get_one);
	} else if (strcmp(what, "list") == 0 && argc == 4) {
		count = number(argv[3], most);
		run(list_one);
	} else if (strcmp(what, "wait") == 0 && argc == 4) {
		count = number(argv[3], most);
		wait_all();
	} else {
		die("usage", "see the head of its source");
	}
	return 0;
}
