/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Emptying a trash directory: DIR/trash, to which the directories of VMs were
 * renamed from DIR/vms. Slow (a fragmented disk takes seconds to unlink), so for
 * vmd-image.
 */
#ifndef IMAGES_DISCARD_H
#define IMAGES_DISCARD_H

#include "base/err.h"

/*
 * What is in a directory of DIR/trash goes; the directory itself only when its
 * name has a dot. The others are records: while such a directory is there, the
 * VM of that name counts as removed. Nothing is unlinked before the renames are
 * on the disk. Returns how many directories were emptied, or a negative errno.
 */
int discard_trash(const char *dir, struct err *e);

#endif
