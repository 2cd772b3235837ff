/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. */
#include "monitor/metrics.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "monitor/stats.h"

enum {
	INTERVAL_MS = 60 * 1000 /* as Firecracker's */
};

struct metrics {
	struct machine *machine;
	struct loop_timer timer;
	int fd;
};

/* A line that does not fit (a full disk, a slow reader) is lost. */
static void write_line(struct metrics *metrics)
{
	AUTO(json) json_t *stats = stats_json(metrics->machine);
	AUTO(free) char *text = NULL;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (stats)
		(void)json_object_set_new(
			stats, "utc_timestamp_ms",
			json_integer((json_int_t)now.tv_sec * 1000 +
				     now.tv_nsec / 1000000));
	text = stats ? json_to_text(stats) : NULL;
	if (!text || file_write_full(metrics->fd, text, strlen(text)) < 0)
		return;
	(void)file_write_full(metrics->fd, "\n", 1);
}

static void on_interval(struct loop_timer *timer)
{
	write_line(timer->data);
	loop_timer_arm(timer, INTERVAL_MS);
}

int metrics_new(struct machine *m, const char *path, struct metrics **ret,
		struct err *e)
{
	const char *why;
	AUTO(fd)
	int fd = config_open(path, O_WRONLY | O_APPEND | O_CREAT,
			     CONFIG_LOG_KINDS, &why);
	struct metrics *metrics;

	if (fd < 0)
		return err_set(e, ERR_INVALID, "config_invalid", -fd,
			       "cannot open metrics.metrics_path %s: %s", path,
			       why);
	metrics = calloc(1, sizeof(*metrics));
	if (!metrics)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	metrics->machine = m;
	metrics->fd = take_fd(&fd);
	loop_timer_init(m->loop, &metrics->timer, on_interval, metrics);
	loop_timer_arm(&metrics->timer, INTERVAL_MS);
	*ret = metrics;
	return 0;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	(void)pthread_mutex_lock(&metrics->machine->lock);
	write_line(metrics);
	loop_timer_disarm(&metrics->timer);
	(void)pthread_mutex_unlock(&metrics->machine->lock);
	close_fd(&metrics->fd);
	free(metrics);
}
