/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /init of the guest that tools/bench blk boots: loads the modules of the image
 * tiny, puts loads on /dev/vda and prints, for each, what it reached:
 *
 *	LOAD name depth operations-per-second
 *
 * Linux AIO on O_DIRECT, one thread, every operation at its own random (or next)
 * place. Ends by powering off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	DEPTH_MAX = 64,
	MODULES_MAX = 64,
	SECONDS = 2,
	DEVICE_WAIT_MS = 60000
};

struct load {
	const char *name;
	unsigned depth;
	uint32_t bytes; /* of an operation */
	int write, random;
};

static const struct load loads[] = {
	{ "random-read", 1, 4096, 0, 1 },
	{ "random-read", 32, 4096, 0, 1 },
	{ "random-write", 1, 4096, 1, 1 },
	{ "random-write", 32, 4096, 1, 1 },
	{ "sequential-read", 4, 131072, 0, 0 },
};

static void die(const char *what)
{
	(void)printf("FAILED %s: %s\n", what, strerror(errno));
	(void)fflush(stdout);
	(void)reboot(RB_POWER_OFF);
	exit(1);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void load_modules(void)
{
	char *names[MODULES_MAX], path[300];
	DIR *dir = opendir("/modules");
	struct dirent *entry;
	size_t count = 0;

	if (!dir)
		die("/modules");
	while (count < MODULES_MAX && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			names[count++] = strdup(entry->d_name);
	(void)closedir(dir);
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++) {
		int fd;

		(void)snprintf(path, sizeof(path), "/modules/%s", names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		(void)syscall(SYS_finit_module, fd, "", 0);
		(void)close(fd);
		free(names[i]);
	}
}

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_disk(void)
{
	double end = now_s() + DEVICE_WAIT_MS / 1000.0;
	int fd;

	while ((fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC)) < 0) {
		if (now_s() > end)
			die("/dev/vda");
		(void)usleep(10000);
	}
	return fd;
}

static uint64_t place(const struct load *l, uint64_t size, uint64_t *state)
{
	uint64_t slots = size / l->bytes;

	if (!l->random)
		return (*state)++ % slots * l->bytes;
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % slots * l->bytes;
}

/* Operations a second, with depth of them under way all the time. */
static double run(const struct load *l, int fd, uint64_t size)
{
	struct iocb blocks[DEPTH_MAX], *ready[DEPTH_MAX];
	struct io_event events[DEPTH_MAX];
	uint64_t state = 88172645463325252, done = 0;
	long have = (long)l->depth;
	aio_context_t ctx = 0;
	double start = now_s(), end = start + SECONDS;
	uint8_t *memory;

	if (posix_memalign((void **)&memory, 4096, (size_t)l->depth * l->bytes))
		die("memory");
	memset(memory, 'b', (size_t)l->depth * l->bytes);
	if (syscall(SYS_io_setup, DEPTH_MAX, &ctx) < 0)
		die("io_setup");
	for (unsigned i = 0; i < l->depth; i++) {
		blocks[i] = (struct iocb){
			.aio_lio_opcode =
				l->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
			.aio_fildes = (uint32_t)fd,
			.aio_buf = (uint64_t)(uintptr_t)(memory +
							 (size_t)i * l->bytes),
			.aio_nbytes = l->bytes,
		};
		ready[i] = &blocks[i];
	}
	while (now_s() < end) {
		for (long i = 0; i < have; i++)
			ready[i]->aio_offset = (int64_t)place(l, size, &state);
		if (syscall(SYS_io_submit, ctx, have, ready) != have)
			die("io_submit");
		have = syscall(SYS_io_getevents, ctx, 1, DEPTH_MAX, events,
			       NULL);
		if (have < 1)
			die("io_getevents");
		for (long i = 0; i < have; i++) {
			if (events[i].res != (int64_t)l->bytes)
				die("an operation");
			ready[i] = (struct iocb *)(uintptr_t)events[i].obj;
		}
		done += (uint64_t)have;
	}
	(void)syscall(SYS_io_destroy, ctx);
	free(memory);
	return (double)done / (now_s() - start);
}

int main(void)
{
	uint64_t size = 0;
	int fd;

	(void)mkdir("/dev", 0755);
	(void)mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	fd = open_disk();
	if (ioctl(fd, BLKGETSIZE64, &size) < 0)
		die("size");
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		(void)printf("LOAD %s %u %.0f\n", loads[i].name, loads[i].depth,
			     run(&loads[i], fd, size));
	(void)printf("LOADED\n");
	(void)fflush(stdout);
	(void)reboot(RB_POWER_OFF);
	return 1;
}
