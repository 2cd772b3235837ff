/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of libarchive that `vmctl cp` calls, loaded when it runs: every
 * other command starts without libarchive and the twenty libraries behind it.
 */
#ifndef VMCTL_LIBARCHIVE_H
#define VMCTL_LIBARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include "base/err.h"

#define LIBARCHIVE_FUNCTIONS(F)                    \
	F(archive_entry_acl_clear)                 \
	F(archive_entry_clear)                     \
	F(archive_entry_filetype)                  \
	F(archive_entry_free)                      \
	F(archive_entry_hardlink)                  \
	F(archive_entry_linkify)                   \
	F(archive_entry_linkresolver_free)         \
	F(archive_entry_linkresolver_new)          \
	F(archive_entry_linkresolver_set_strategy) \
	F(archive_entry_new)                       \
	F(archive_entry_pathname)                  \
	F(archive_entry_perm)                      \
	F(archive_entry_set_fflags)                \
	F(archive_entry_set_gid)                   \
	F(archive_entry_set_gname)                 \
	F(archive_entry_set_hardlink)              \
	F(archive_entry_set_pathname)              \
	F(archive_entry_set_perm)                  \
	F(archive_entry_set_uid)                   \
	F(archive_entry_set_uname)                 \
	F(archive_entry_size)                      \
	F(archive_entry_sourcepath)                \
	F(archive_entry_sparse_clear)              \
	F(archive_entry_xattr_clear)               \
	F(archive_errno)                           \
	F(archive_error_string)                    \
	F(archive_read_data)                       \
	F(archive_read_data_block)                 \
	F(archive_read_disk_descend)               \
	F(archive_read_disk_new)                   \
	F(archive_read_disk_open)                  \
	F(archive_read_disk_set_symlink_hybrid)    \
	F(archive_read_free)                       \
	F(archive_read_new)                        \
	F(archive_read_next_header)                \
	F(archive_read_next_header2)               \
	F(archive_read_open_fd)                    \
	F(archive_read_open_memory)                \
	F(archive_read_support_format_tar)         \
	F(archive_set_error)                       \
	F(archive_write_close)                     \
	F(archive_write_data)                      \
	F(archive_write_data_block)                \
	F(archive_write_disk_new)                  \
	F(archive_write_disk_set_options)          \
	F(archive_write_fail)                      \
	F(archive_write_free)                      \
	F(archive_write_header)                    \
	F(archive_write_new)                       \
	F(archive_write_open)                      \
	F(archive_write_set_bytes_per_block)       \
	F(archive_write_set_format_pax_restricted)

#define LIBARCHIVE_MEMBER(name) __typeof__(name) *name;

/* Usable after libarchive_load() has returned 0. */
extern struct libarchive {
	LIBARCHIVE_FUNCTIONS(LIBARCHIVE_MEMBER)
} la;

/* The first call loads it. 0, or library_missing in *e. */
int libarchive_load(struct err *e);

#endif
