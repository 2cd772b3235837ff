/* SPDX-License-Identifier: Apache-2.0 */
/* Build-time program: the system calls of a recipe and its tools (recipe_jail.c),
 * as a C array on stdout. Which: base/call_table.c. */
#include <stdlib.h>

#include "base/call_table.h"

int main(void)
{
	return call_table_print(CALLS_BUILD, "filter_build") == 0
		       ? EXIT_SUCCESS
		       : EXIT_FAILURE;
}
