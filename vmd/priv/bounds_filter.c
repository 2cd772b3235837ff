/* SPDX-License-Identifier: Apache-2.0 */
/* Build-time program: the system calls of vmd-priv and of all that it starts
 * (bounds.c), as a C array on stdout. Which: base/call_table.c. */
#include <stdlib.h>

#include "base/call_table.h"

int main(void)
{
	return call_table_print(CALLS_PRIV, "filter_priv") == 0 ? EXIT_SUCCESS
								: EXIT_FAILURE;
}
