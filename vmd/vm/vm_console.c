/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last output of a VM's console: a ring of CONSOLE_KEEP_BYTES while the VM
 * runs, for who attaches and for the error of a guest that does not start. What
 * is older, and all of it afterwards, is in console.log of the run directory.
 * Everything in it is guest data.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "vmd/vm/vm.h"

int vm_console_begin(struct vm *vm, struct err *e)
{
	vm->console_at = 0;
	vm->console_total = 0;
	if (!vm->console)
		vm->console = malloc(CONSOLE_KEEP_BYTES);
	return vm->console
		       ? 0
		       : err_sys(e, ENOMEM, "console of VM '%s'", vm->row.name);
}

void vm_console_end(struct vm *vm)
{
	free(take_ptr(vm->console));
	vm->console_at = 0;
	vm->console_total = 0;
}

void vm_console_output(struct vm *vm, const uint8_t *data, size_t len)
{
	struct vm_console_user *u = LIST_FIRST(&vm->console_users), *next;

	for (size_t i = len > CONSOLE_KEEP_BYTES ? len - CONSOLE_KEEP_BYTES : 0;
	     vm->console && i < len; i++) {
		vm->console[vm->console_at] = data[i];
		vm->console_at = (vm->console_at + 1) % CONSOLE_KEEP_BYTES;
	}
	if (vm->console)
		vm->console_total += len;
	for (; u; u = next) {
		next = LIST_NEXT(u, link); /* u may remove itself */
		u->output(u, data, len);
	}
}

void vm_console_load(struct vm *vm)
{
	AUTO(fd)
	int fd = openat(vm->run_dirfd, "console.log",
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint8_t tail[CONSOLE_KEEP_BYTES];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	n = pread(fd, tail, sizeof(tail),
		  st.st_size > CONSOLE_KEEP_BYTES
			  ? st.st_size - CONSOLE_KEEP_BYTES
			  : 0);
	if (n > 0)
		vm_console_output(vm, tail, (size_t)n);
}

size_t vm_console_replay(const struct vm *vm, uint8_t *buf, size_t size)
{
	size_t have = vm->console_total < CONSOLE_KEEP_BYTES
			      ? (size_t)vm->console_total
			      : CONSOLE_KEEP_BYTES;
	size_t n = have < size ? have : size;

	for (size_t i = 0; i < n; i++)
		buf[i] = vm->console[(vm->console_at + CONSOLE_KEEP_BYTES - n +
				      i) %
				     CONSOLE_KEEP_BYTES];
	return n;
}

/* Printable text only: escape sequences could rewrite a person's terminal. */
void vm_console_tail(const struct vm *vm, char *buf, size_t size)
{
	uint8_t raw[1024];
	size_t len = vm_console_replay(vm, raw, sizeof(raw)), n = 0, start = 0;
	char text[sizeof(raw) + 1];

	for (size_t i = 0; i < len; i++) {
		if (raw[i] == 0x1b && i + 1 < len && raw[i + 1] == '[') {
			for (i += 2;
			     i < len && (raw[i] < 0x40 || raw[i] > 0x7e); i++)
				;
			continue;
		}
		if (raw[i] == '\n' && n && text[n - 1] != '\n')
			text[n++] = '\n';
		else if (text_printable(raw[i]))
			text[n++] = (char)raw[i];
	}
	while (n && text[n - 1] == '\n')
		n--;
	if (n > size - 1)
		start = n - (size - 1);
	memcpy(buf, text + start, n - start);
	buf[n - start] = '\0';
}
