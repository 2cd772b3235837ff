/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time program: the system calls of programs that are not ours, in their
 * jails (jails.c), as C arrays on stdout. Which: base/call_table.c.
 */
#include <stdlib.h>

#include "base/call_table.h"

int main(void)
{
	return call_table_print(CALLS_QEMU, "filter_qemu") != 0 ||
			       call_table_print(CALLS_PASST, "filter_passt") !=
				       0
		       ? EXIT_FAILURE
		       : EXIT_SUCCESS;
}
