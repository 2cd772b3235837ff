/* SPDX-License-Identifier: Apache-2.0 */
/* For the programs that make system-call filters while vmd is built. */
#ifndef BASE_FILTER_PRINT_H
#define BASE_FILTER_PRINT_H

/*
 * Prints the filter that seccomp_export_bpf() wrote to fd, from its begin, as the
 * members of an array of struct sock_filter on standard output. 0, or -1 when
 * that failed or it has more than `most` instructions.
 */
int filter_print(int fd, int most);

#endif
