/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tar reader on hostile archives, into a directory below a canary: nothing
 * may appear beside the target. Checksums are repaired first in every block
 * that looks like a header, so that mutations get past that check.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar.h"
#include "tests/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char base[64];
static char target[64];

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level == 0 ? 0 : remove(path);
}

static int open_up(const char *path, const struct stat *st, int type,
		   struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_D || type == FTW_DNR ? chmod(path, 0700) : 0;
}

static void clean(void)
{
	if (geteuid() != 0)
		(void)nftw(target, open_up, 16, FTW_PHYS);
	(void)nftw(target, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

static void at_end(void)
{
	clean();
	(void)rmdir(target);
	(void)rmdir(base);
}

static void start(void)
{
	if (target[0])
		return;
	/* Many small files: in memory where there is such a place. */
	(void)snprintf(base, sizeof(base), "%s/vmd-fuzz-tar-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(base))
		abort();
	(void)snprintf(target, sizeof(target), "%.40s/in", base);
	if (mkdir(target, 0755) < 0 || atexit(at_end))
		abort();
}

static void check_outside(void)
{
	DIR *dir = opendir(base);
	const struct dirent *d;
	unsigned int seen = 0;

	while (dir && (d = readdir(dir)))
		seen++;
	if (dir)
		(void)closedir(dir);
	must(seen == 3); /* ".", "..", "in" */
}

static void repair(uint8_t *work, size_t size)
{
	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		struct tar_header *h = (void *)(work + at);

		if (memcmp(h->magic, "ustar", 5) == 0)
			(void)snprintf(h->checksum, sizeof(h->checksum), "%06o",
				       tar_checksum(h));
	}
}

/* All ways to unpack; the size stands for a choice. */
static struct tar_reader *reader(size_t size)
{
	struct tar_policy policy = tar_policy_guest();
	char path[80];

	policy.special &= size % 2; /* else they are left out */
	(void)snprintf(path, sizeof(path), "%s/to", target);
	switch (size % 3) {
	case 0:
		return tar_reader_new_at(path, NULL, &policy);
	case 1:
		return tar_reader_new_at(target, "name", &policy);
	default:
		return tar_reader_new(open(target,
					   O_RDONLY | O_DIRECTORY | O_CLOEXEC),
				      &policy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t work[65536];
	struct tar_reader *r;
	size_t piece = size % 700 + 1;
	int rc = 0;

	start();
	if (size > sizeof(work))
		size = sizeof(work);
	memcpy(work, data, size);
	repair(work, size);
	r = reader(size);
	if (!r)
		abort();
	for (size_t at = 0; at < size && rc == 0; at += piece)
		rc = tar_reader_feed(r, work + at,
				     size - at < piece ? size - at : piece);
	if (rc == 0)
		rc = tar_reader_finish(r);
	must(rc == 0 || tar_reader_error(r)[0]);
	tar_reader_free(r);
	check_outside();
	clean();
	return 0;
}
