/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever vmd, taken over, sends to vmd-priv: refused or answered, never more.
 * Programs are not to be had, so that nothing is started. */
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "tests/must.h"
#include "vmd/priv/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct priv_reply reply;
	struct priv_server s;
	struct priv_head head = { 0 };
	int fds[] = { 0, 1, 2 }, fd = -1;

	priv_server_init(&s);
	for (size_t i = 0; i < PRIV_ROLE_COUNT; i++)
		s.programs[i] = "/nonexistent/program";
	if (size >= sizeof(head))
		memcpy(&head, data, sizeof(head));
	/* They would act on this host: their fields are tried in test_priv.c. */
	if (head.op == PRIV_SIGNAL || head.op == PRIV_PORT_BIND ||
	    head.op == PRIV_TASK_END || head.op == PRIV_STRAYS)
		return 0;
	priv_server_handle(&s, 0, data, size, fds, size % 4, &reply, &fd);
	must(reply.magic == PRIV_MAGIC && reply.rc <= 0);
	must(fd == -1);
	must(head.op != PRIV_SPAWN || reply.rc < 0);
	priv_server_done(&s);
	return 0;
}
