/* SPDX-License-Identifier: Apache-2.0 */
#include "base/filter_print.h"

#include <linux/filter.h>
#include <stdio.h>
#include <unistd.h>

int filter_print(int fd, int most)
{
	struct sock_filter op;
	int count = 0;

	if (lseek(fd, 0, SEEK_SET) != 0)
		return -1;
	for (; read(fd, &op, sizeof(op)) == sizeof(op); count++)
		if (printf("{ %#x, %u, %u, %#x },\n", op.code, op.jt, op.jf,
			   op.k) < 0)
			return -1;
	return count <= most ? fflush(stdout) : -1;
}
