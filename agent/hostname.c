/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own name: the kernel's, /etc/hostname, and lines of ours in
 * /etc/hosts, so that it resolves (sudo, hostname -f, Java's getLocalHost()).
 *
 * What a person wrote stays. Our lines end with a mark and are replaced as one;
 * a record says which name we gave: an /etc/hostname that differs from it was
 * changed by hand and wins from then on. Without a record (the first boot of an
 * image) the VM's name wins. Where the person's own lines have the name already,
 * we add none.
 *
 * Files that cannot be replaced (a read-only root, a link into a store) get a
 * copy on /run mounted over them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	HOSTS_MAX = 4 << 20, /* lists of blocked hosts are long */
	OURS_MAX = 1024
};

#define MARK   "# set by vmd"
#define RECORD "# name given by vmd: "

/* All of a regular file, malloc'd; NULL: it is not there or is something else.
 * *ret_mode: its bits, 0 when it is not there. */
static char *read_file(const char *path, mode_t *ret_mode)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	*ret_mode = 0;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size <= HOSTS_MAX) {
		*ret_mode = st.st_mode & 07777;
		text = malloc((size_t)st.st_size + 1);
		n = text ? read(fd, text, (size_t)st.st_size) : -1;
	}
	if (fd >= 0)
		(void)close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	return text;
}

static bool write_to(const char *path, mode_t mode, const char *text)
{
	size_t len = strlen(text);
	int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		     0600);
	bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len &&
		  fchmod(fd, mode ? mode : 0644) == 0 && fsync(fd) == 0;
	int sys = errno;

	if (fd >= 0 && close(fd) < 0)
		ok = false;
	if (fd >= 0 && !ok)
		(void)unlink(path);
	errno = sys;
	return ok;
}

/* A copy on tmpfs over a file that cannot be replaced itself. */
static bool cover(const char *path, const char *name, mode_t mode,
		  const char *text)
{
	char copy[64];

	(void)snprintf(copy, sizeof(copy), "/run/vmd/%.32s", name);
	(void)mkdir("/run/vmd", 0755);
	(void)unlink(copy);
	return write_to(copy, mode, text) &&
	       mount(copy, path, NULL, MS_BIND, NULL) == 0;
}

static void replace(const char *etc, const char *name, mode_t mode,
		    const char *text, bool may_cover)
{
	char path[128], temp[128];
	struct stat st;
	bool link;

	(void)snprintf(path, sizeof(path), "%.80s/%.32s", etc, name);
	(void)snprintf(temp, sizeof(temp), "%.80s/.%.32s.vmd", etc, name);
	link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
	(void)unlink(temp);
	if (!link && write_to(temp, mode, text)) {
		if (rename(temp, path) == 0)
			return;
		(void)unlink(temp);
	}
	if (!may_cover || !cover(path, name, mode, text))
		say("cannot write %s: %s", path, strerror(errno));
}

static bool ends_with(const char *line, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && memcmp(line + len - n, end, n) == 0;
}

/* Whether a line that is not ours gives this name an address. */
static bool line_names(const char *line, size_t len, const char *name)
{
	size_t at = 0, n = strlen(name);
	bool first = true;

	while (at < len && line[at] != '#') {
		size_t word = 0;

		while (at < len && (line[at] == ' ' || line[at] == '\t'))
			at++;
		while (at + word < len && !strchr(" \t#\r", line[at + word]))
			word++;
		if (word == 0)
			return false;
		if (!first && word == n && strncasecmp(line + at, name, n) == 0)
			return true;
		first = false;
		at += word;
	}
	return false;
}

/* Copies what is not ours to out (which has room); *ret_record, *ret_named. */
static void keep_lines(const char *hosts, char *out, char record[static 65],
		       const char *name, bool *ret_named)
{
	*ret_named = false;
	while (*hosts) {
		size_t len = strcspn(hosts, "\n");
		size_t whole = len + (hosts[len] == '\n');

		if (len > strlen(RECORD) &&
		    strncmp(hosts, RECORD, strlen(RECORD)) == 0) {
			(void)snprintf(record, 65, "%.*s",
				       (int)(len - strlen(RECORD)),
				       hosts + strlen(RECORD));
		} else if (!ends_with(hosts, len, MARK)) {
			*ret_named = *ret_named || line_names(hosts, len, name);
			memcpy(out, hosts, whole);
			out += whole;
			if (whole == len)
				*out++ = '\n';
		}
		hosts += whole;
	}
	*out = 0;
}

static bool is_name(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len <= 64 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz"
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == len;
}

/* The name in /etc/hostname, or "". */
static void read_hostname(const char *text, char out[static 65])
{
	out[0] = 0;
	while (text && *text == '#') { /* systemd takes comments */
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	if (text)
		(void)snprintf(out, 65, "%.*s", (int)strcspn(text, " \t\r\n"),
			       text);
	if (!is_name(out))
		out[0] = 0;
}

/* Our lines behind what was kept. */
static void add_ours(char *out, const char *given, const char *name, bool named,
		     bool ipv6)
{
	size_t dot = strcspn(name, ".");
	char words[140];

	(void)snprintf(words, sizeof(words), "%s", name);
	if (name[dot])
		(void)snprintf(words, sizeof(words), "%s %.*s", name, (int)dot,
			       name);
	out += strlen(out);
	out += sprintf(out, RECORD "%s\n", given);
	if (named)
		return;
	out += sprintf(out, "127.0.1.1\t%s " MARK "\n", words);
	if (ipv6)
		(void)sprintf(out, "::1\t%s " MARK "\n", words);
}

void hostname_files(const char *etc, const char *given, bool ipv6,
		    bool may_cover, char ret_name[static 65])
{
	static const char fresh[] = "127.0.0.1\tlocalhost\n"
				    "::1\tlocalhost ip6-localhost "
				    "ip6-loopback\n";
	char path[128], record[65] = "", theirs[65];
	mode_t name_mode, hosts_mode;
	char *text, *hosts, *out;
	bool named;

	(void)snprintf(ret_name, 65, "%s", given);
	(void)snprintf(path, sizeof(path), "%.80s/hostname", etc);
	text = read_file(path, &name_mode);
	read_hostname(text, theirs);
	(void)snprintf(path, sizeof(path), "%.80s/hosts", etc);
	hosts = read_file(path, &hosts_mode);
	if (!hosts && access(path, F_OK) < 0)
		hosts = strdup(fresh);
	out = hosts ? malloc(strlen(hosts) + 1 + OURS_MAX) : NULL;
	if (!out) {
		say("%s is left alone: it is no file, or too long", path);
		free(hosts);
		free(text);
		return;
	}
	keep_lines(hosts, out, record, given, &named);
	if (record[0] && theirs[0] && strcmp(theirs, record) != 0) {
		/* Changed by hand since we wrote it. */
		(void)snprintf(ret_name, 65, "%s", theirs);
		keep_lines(hosts, out, record, theirs, &named);
		given = record;
	}
	add_ours(out, given, ret_name, named, ipv6);
	if (strcmp(theirs, ret_name) != 0) {
		(void)snprintf(path, sizeof(path), "%.64s\n", ret_name);
		replace(etc, "hostname", name_mode, path, may_cover);
	}
	if (!hosts_mode || strcmp(out, hosts) != 0)
		replace(etc, "hosts", hosts_mode, out, may_cover);
	free(out);
	free(hosts);
	free(text);
}

void hostname_set(const char *given)
{
	char name[65];

	(void)mkdir("/etc", 0755);
	hostname_files("/etc", given, access("/proc/net/if_inet6", F_OK) == 0,
		       true, name);
	if (sethostname(name, strlen(name)) < 0)
		say("cannot set the hostname: %s", strerror(errno));
}
