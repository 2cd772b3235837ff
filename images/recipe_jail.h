/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail of a recipe: it and its tools run as root of a user namespace that is
 * nobody's outside, in a root with the host's programs and the parts of /etc that
 * they read, read-only, the staging directory, and an empty /tmp. It runs what
 * packages bring, as root: what it may do to the host is nothing but write into
 * its staging directory, and use the network.
 */
#ifndef IMAGES_RECIPE_JAIL_H
#define IMAGES_RECIPE_JAIL_H

#include "base/jail.h"
#include "base/process.h"
#include "images/recipe.h"

/* In the jail. */
#define RECIPE_JAIL_BUILD   "/build" /* the staging directory, and its cwd */
#define RECIPE_JAIL_RECIPES "/recipes"
#define RECIPE_JAIL_AGENT   "/agent"

struct recipe_jail {
	struct jail_spec spec;
	struct jail_bind binds[JAIL_BINDS_MAX];
	struct process_identity identity;
	bool has_identity; /* a range of ids; else 0 alone, which is us */
};

/*
 * Fills the jail of one run: agent is the path of vmd-agent or NULL. The strings of
 * run and agent stay borrowed. staging_fd, the staging directory, is given to the
 * recipe's user. 0, or an error.
 */
int recipe_jail_fill(struct recipe_jail *j, const struct recipe_run *run,
		     const char *agent, int staging_fd, struct err *e);

/*
 * A normal user's vmd-image becomes root of a user namespace with the range of
 * subordinate ids of /etc/subuid, by executing itself again within unshare(1).
 * Returns where that is not to be had or not needed.
 */
void recipe_jail_get_ids(char **argv);

#endif
