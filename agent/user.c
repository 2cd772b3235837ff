/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of the guest: /etc/passwd and /etc/group read directly. A static
 * binary cannot load name service modules, and a template has local users.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"

/* Splits line at colons into at most max fields; returns how many. */
static size_t split(char *line, char *fields[], size_t max)
{
	size_t n = 0;

	line[strcspn(line, "\n")] = 0;
	while (n < max) {
		fields[n++] = line;
		line = strchr(line, ':');
		if (!line)
			break;
		*line++ = 0;
	}
	return n;
}

static bool parse_id(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long v;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (*end || errno || v >= UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* False if it does not fit: half a home directory is another directory. */
static bool copy(char *out, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

/* NULL when it is not there; a FIFO in its place reads as empty. */
static FILE *open_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !file)
		(void)close(fd);
	return file;
}

/* By name, or by uid when name is NULL. */
static bool find_passwd(const char *name, uid_t uid, struct user *u)
{
	FILE *file = open_text("/etc/passwd");
	char *line = NULL, *field[7];
	struct user entry = { 0 };
	bool found = false;
	size_t size = 0;

	while (file && !found && getline(&line, &size, file) > 0) {
		uint32_t line_uid, gid;

		if (split(line, field, 7) < 7 ||
		    !parse_id(field[2], &line_uid) || !parse_id(field[3], &gid))
			continue;
		if (name ? strcmp(field[0], name) != 0 : line_uid != uid)
			continue;
		entry.uid = line_uid;
		entry.gid = gid;
		found = copy(entry.name, sizeof(entry.name), field[0]) &&
			copy(entry.home, sizeof(entry.home), field[5]) &&
			copy(entry.shell, sizeof(entry.shell),
			     *field[6] ? field[6] : "/bin/sh");
	}
	if (found)
		*u = entry;
	free(line);
	if (file)
		(void)fclose(file);
	return found;
}

static bool is_member(char *members, const char *name)
{
	char *save = NULL;

	for (char *m = strtok_r(members, ",", &save); m;
	     m = strtok_r(NULL, ",", &save))
		if (strcmp(m, name) == 0)
			return true;
	return false;
}

static void find_groups(struct user *u)
{
	FILE *file = open_text("/etc/group");
	char *line = NULL, *field[4];
	size_t size = 0;

	u->groups[u->group_count++] = u->gid;
	while (file && getline(&line, &size, file) > 0) {
		uint32_t gid;

		if (split(line, field, 4) == 4 && parse_id(field[2], &gid) &&
		    gid != u->gid && u->group_count < USER_GROUPS_MAX &&
		    is_member(field[3], u->name))
			u->groups[u->group_count++] = gid;
	}
	free(line);
	if (file)
		(void)fclose(file);
}

bool user_find(const char *text, struct user *ret)
{
	char name[128];
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	uint32_t id, gid;

	memset(ret, 0, sizeof(*ret));
	(void)copy(ret->name, sizeof(ret->name), "root");
	(void)copy(ret->home, sizeof(ret->home), "/root");
	(void)copy(ret->shell, sizeof(ret->shell), "/bin/sh");
	if (!*text) {
		/* An image without /etc/passwd has a root all the same. */
		if (!find_passwd(NULL, geteuid(), ret))
			ret->gid = ret->uid = geteuid();
		find_groups(ret);
		return true;
	}
	if (len >= sizeof(name))
		return false;
	memcpy(name, text, len);
	name[len] = 0;
	if (parse_id(name, &id)) {
		if (!find_passwd(NULL, id, ret)) {
			ret->uid = id;
			(void)copy(ret->name, sizeof(ret->name), name);
			(void)copy(ret->home, sizeof(ret->home), "/");
		}
	} else if (!find_passwd(name, 0, ret)) {
		return false;
	}
	if (colon) {
		if (!parse_id(colon + 1, &gid))
			return false;
		ret->gid = gid;
	}
	find_groups(ret);
	return true;
}
