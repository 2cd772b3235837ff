/* SPDX-License-Identifier: Apache-2.0 */
/* Where console bytes come from and go to; see backend.h. */
#include "monitor/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"

enum {
	FLUSH_MS = 5, /* below what a typist notices */
	LOG_STEP = 256 * 1024,
	LOG_KEEP = 512 * 1024,
	LOG_BLOCK = 4096,
};

static void on_input(struct loop_source *source, uint32_t events);

static void drop_client(struct backend *b)
{
	loop_remove(&b->in);
	loop_remove(&b->out);
	if (b->is_socket)
		close_fd(&b->in_fd);
	b->in_fd = b->out_fd = -1;
	b->held_len = 0;
	b->input_off = false;
	buf_consume(&b->pending, buf_len(&b->pending));
}

/*
 * A socket has one source for both directions, stdio two descriptors. A source
 * without a wish is taken out: a hang-up would be reported for ever, while the
 * guest may still want what was sent before it.
 */
static void update_interest(struct backend *b)
{
	uint32_t events = b->input_off ? 0 : EPOLLIN;

	if (b->in_fd < 0)
		return;
	if (b->is_socket && buf_len(&b->pending) > 0)
		events |= EPOLLOUT;
	if (!events)
		loop_remove(&b->in);
	else if (loop_source_active(&b->in))
		(void)loop_modify(&b->in, events);
	else
		(void)loop_add(b->loop, &b->in, b->in_fd, events, on_input, b);
}

/* Gives the head of the log back, in steps. */
static void bound_log(struct backend *b)
{
	uint64_t cut;

	if (b->log_len - b->log_punched < LOG_KEEP + LOG_STEP)
		return;
	cut = (b->log_len - LOG_KEEP) & ~(uint64_t)(LOG_BLOCK - 1);
	if (fallocate(b->log_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)cut) < 0 &&
	    (errno == EOPNOTSUPP || errno == ENOSYS) &&
	    ftruncate(b->log_fd, 0) == 0)
		cut = b->log_len = 0;
	b->log_punched = cut;
}

static void write_log(struct backend *b, const uint8_t *data, size_t len)
{
	while (b->log_fd >= 0 && len > 0) {
		ssize_t n = write(b->log_fd, data, len);

		if (n <= 0)
			return; /* the disk is full: the guest goes on */
		data += n;
		len -= (size_t)n;
		b->log_len += (uint64_t)n;
	}
	if (b->log_fd >= 0)
		bound_log(b);
}

/* Bytes the client took now, or -1 when it is gone. */
static ssize_t write_client(struct backend *b, const uint8_t *data, size_t len)
{
	struct pollfd ready = { .fd = b->out_fd, .events = POLLOUT };
	ssize_t n;

	if (b->is_socket) {
		n = send(b->out_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		/* Not ours alone, so not O_NONBLOCK: ask, then a bit. */
		if (poll(&ready, 1, 0) <= 0)
			return 0;
		n = write(b->out_fd, data, len < 512 ? len : 512);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n;
}

static void on_output_ready(struct loop_source *source, uint32_t events)
{
	struct backend *b = source->data;
	ssize_t n;

	(void)events;
	while (buf_len(&b->pending) > 0) {
		n = write_client(b, buf_head(&b->pending),
				 buf_len(&b->pending));
		if (n < 0) {
			drop_client(b);
			return;
		}
		if (n == 0)
			return;
		buf_consume(&b->pending, (size_t)n);
	}
	loop_remove(&b->out);
	update_interest(b);
}

static void wait_for_output(struct backend *b)
{
	if (b->is_socket)
		update_interest(b);
	else if (!loop_source_active(&b->out))
		(void)loop_add(b->loop, &b->out, b->out_fd, EPOLLOUT,
			       on_output_ready, b);
}

static void give_client(struct backend *b, const uint8_t *data, size_t len)
{
	while (len > 0 && buf_len(&b->pending) == 0) {
		ssize_t n = write_client(b, data, len);

		if (n < 0) {
			drop_client(b);
			return;
		}
		if (n == 0)
			break;
		data += n;
		len -= (size_t)n;
	}
	if (len == 0)
		return;
	(void)buf_append(&b->pending, data, len); /* too slow: it is lost */
	wait_for_output(b);
}

void backend_flush(struct backend *b)
{
	size_t len = b->gathered;

	if (len == 0)
		return;
	b->gathered = 0;
	loop_timer_disarm(&b->flush);
	write_log(b, b->gather, len);
	if (b->out_fd >= 0)
		give_client(b, b->gather, len);
}

static void on_flush(struct loop_timer *timer)
{
	backend_flush(timer->data);
}

void backend_output(struct backend *b, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	bool line = false;

	for (size_t i = 0; i < len; i++) {
		b->gather[b->gathered++] = bytes[i];
		line |= bytes[i] == '\n';
		if (b->gathered == BACKEND_GATHER)
			backend_flush(b);
	}
	if (line)
		backend_flush(b);
	else if (b->gathered && !loop_timer_armed(&b->flush))
		loop_timer_arm(&b->flush, FLUSH_MS);
}

/* Hands held input to the guest; true when nothing is held any more. */
static bool feed(struct backend *b)
{
	size_t taken;

	if (b->held_len == 0)
		return true;
	taken = b->input(b->ctx, b->held, b->held_len);
	memmove(b->held, b->held + taken, b->held_len - taken);
	b->held_len -= taken;
	return b->held_len == 0;
}

static void want_input(struct backend *b, bool on)
{
	b->input_off = !on;
	update_interest(b);
}

void backend_input_ready(struct backend *b)
{
	if (b->in_fd >= 0 && feed(b))
		want_input(b, true);
}

/* The end of standard input; output goes on. */
static void end_input(struct backend *b)
{
	loop_remove(&b->in);
	b->in_fd = -1;
}

static void on_input(struct loop_source *source, uint32_t events)
{
	struct backend *b = source->data;
	ssize_t n;

	if ((events & EPOLLOUT) && buf_len(&b->pending) > 0)
		on_output_ready(source, events);
	else if (events & EPOLLOUT)
		update_interest(b);
	if (b->in_fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (!feed(b)) {
		want_input(b, false);
		return;
	}
	n = read(b->in_fd, b->held, sizeof(b->held));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (b->is_socket)
			drop_client(b);
		else
			end_input(b);
		return;
	}
	b->held_len = (size_t)n;
	if (!feed(b))
		want_input(b, false);
}

static void on_client(void *ctx, int fd)
{
	struct backend *b = ctx;

	drop_client(b);
	b->in_fd = b->out_fd = fd;
	if (loop_add(b->loop, &b->in, fd, EPOLLIN, on_input, b) < 0)
		drop_client(b);
}

static int open_log(struct backend *b, const char *path, struct err *e)
{
	off_t end;
	const char *why;
	int fd = config_open(path, O_WRONLY | O_APPEND | O_CREAT,
			     CONFIG_LOG_KINDS, &why);

	if (fd < 0)
		return err_set(e, ERR_NOT_FOUND, "serial_failed", -fd,
			       "cannot open the console log %s: %s", path, why);
	/* Whoever reads a FIFO or a terminal must not make the guest wait. */
	if (file_check_kind(fd, FILE_REGULAR, &why) < 0)
		(void)file_set_nonblock(fd);
	b->log_fd = fd;
	end = lseek(fd, 0, SEEK_END);
	b->log_len = end > 0 ? (uint64_t)end : 0;
	return 0;
}

static int open_socket(struct backend *b, const char *path, struct err *e)
{
	int fd = config_inherited_fd(path);
	int rc;

	if (fd >= 0) {
		(void)file_set_cloexec(fd, true);
		(void)file_set_nonblock(fd);
	} else {
		rc = sock_listen_unix(AT_FDCWD, path, 0600, &fd, e);
		if (rc < 0)
			return err_wrap(e, rc, "console socket %s", path);
	}
	b->is_socket = true;
	rc = listener_open(&b->listener, b->loop, fd, on_client, b);
	if (rc < 0)
		return err_set(e, ERR_INVALID, "serial_failed", -rc,
			       "%s is not a listening socket", path);
	return 0;
}

/* A terminal gives single keys; its signals (Ctrl-C) keep working. */
static void open_stdio(struct backend *b)
{
	struct termios raw;

	b->in_fd = STDIN_FILENO;
	b->out_fd = STDOUT_FILENO;
	/* Files and /dev/null cannot be waited for: then there is no input. */
	(void)loop_add(b->loop, &b->in, b->in_fd, EPOLLIN, on_input, b);
	if (isatty(b->in_fd) && tcgetattr(b->in_fd, &b->saved_tty) == 0) {
		raw = b->saved_tty;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		b->raw_tty = tcsetattr(b->in_fd, TCSANOW, &raw) == 0;
	}
}

int backend_open(struct backend *b, const struct config_backend *config,
		 struct loop *loop,
		 size_t (*input)(void *ctx, const uint8_t *data, size_t len),
		 void *ctx, struct err *e)
{
	int rc = 0;

	*b = (struct backend){ .loop = loop,
			       .input = input,
			       .ctx = ctx,
			       .in_fd = -1,
			       .out_fd = -1,
			       .log_fd = -1,
			       .in = LOOP_SOURCE_INIT,
			       .out = LOOP_SOURCE_INIT,
			       .pending = BUF_INIT(BACKEND_CLIENT_MAX) };
	listener_init(&b->listener);
	loop_timer_init(loop, &b->flush, on_flush, b);
	if (config->log_path)
		rc = open_log(b, config->log_path, e);
	if (rc == 0 && config->socket_path)
		rc = open_socket(b, config->socket_path, e);
	if (rc == 0 && !config->log_path && !config->socket_path)
		open_stdio(b);
	if (rc < 0)
		backend_close(b);
	return rc;
}

void backend_close(struct backend *b)
{
	if (!b->loop)
		return;
	backend_flush(b);
	if (b->raw_tty)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &b->saved_tty);
	drop_client(b);
	loop_timer_disarm(&b->flush);
	listener_close(&b->listener);
	close_fd(&b->log_fd);
	buf_done(&b->pending);
	b->loop = NULL;
}
