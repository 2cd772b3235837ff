/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/sd.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

int sd_listen_socket(void)
{
	int n = sd_listen_fds(1);

	if (n <= 0)
		return -1;
	/* It comes as systemd made it: blocking, and accept() would wait in the
	 * loop for the client after the last one. */
	if (n == 1 &&
	    sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) >
		    0 &&
	    file_set_nonblock(SD_LISTEN_FDS_START) == 0)
		return SD_LISTEN_FDS_START;
	log_warn("of the %d sockets that were handed over none is used: one "
		 "listening unix stream socket is expected; making our own",
		 n);
	return -1;
}

/* Connected as libsystemd's own socket is: full when the journal stands still. */
static int journal_fd = -1;

static bool journal_has_room(void)
{
	struct pollfd out = { .fd = journal_fd, .events = POLLOUT };

	return journal_fd < 0 || poll(&out, 1, 0) != 0;
}

static void open_journal(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX,
				  .sun_path = "/run/systemd/journal/socket" };

	journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (journal_fd >= 0 &&
	    connect(journal_fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		close_fd(&journal_fd);
}

static void to_journal(enum log_level level, const char *vm,
		       const char *message)
{
	/* syslog's numbers */
	static const int priority[] = { 3, 4, 6, 7 };

	/* The loop does not wait: the record is lost. */
	if (!journal_has_room())
		return;
	if (vm)
		(void)sd_journal_send("MESSAGE=%s", message, "PRIORITY=%i",
				      priority[level], "VMD_VM=%s", vm,
				      "SYSLOG_IDENTIFIER=vmd", NULL);
	else
		(void)sd_journal_send("MESSAGE=%s", message, "PRIORITY=%i",
				      priority[level], "SYSLOG_IDENTIFIER=vmd",
				      NULL);
}

void sd_log_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2 ||
	    fstat(2, &st) < 0 || st.st_dev != dev || st.st_ino != ino)
		return;
	open_journal();
	log_set_sink(to_journal);
}

void sd_ready(const char *status)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void sd_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

static uint64_t watchdog_ms;

static void on_watchdog(struct loop_timer *timer)
{
	(void)sd_notify(0, "WATCHDOG=1");
	loop_timer_arm(timer, watchdog_ms);
}

void sd_watchdog(struct loop *loop)
{
	static struct loop_timer timer;
	uint64_t us;

	if (sd_watchdog_enabled(0, &us) <= 0)
		return;
	watchdog_ms = us / 2000 ? us / 2000 : 1;
	loop_timer_init(loop, &timer, on_watchdog, NULL);
	loop_timer_arm(&timer, watchdog_ms);
}
