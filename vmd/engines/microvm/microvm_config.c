/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See microvm_config.h. Field names follow Firecracker's configuration file,
 * with the additions that vmd-monitor(1) lists.
 */
#include "vmd/engines/microvm/microvm_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "vmd/engines/passt.h"

enum {
	MIB = 1024 * 1024
};

char *microvm_cmdline(const struct vm_launch *launch)
{
	const char *own = launch->cmdline ? launch->cmdline : "";
	bool root = launch->root_path && !strstr(own, "vmd.root=");
	char *s = NULL;

	/* No word about the keyboard controller: ACPI says that there is none,
	 * and i8042.nopnp would make Linux ask its ports 10,000 times. */
	if (asprintf(&s,
		     "console=ttyS0 reboot=k panic=-1 quiet loglevel=3 "
		     "cryptomgr.notests vmd.agent=vsock"
		     "%s%s%s%s%s%s",
		     launch->network ? " " PASST_CMDLINE : "",
		     launch->name ? " vmd.hostname=" : "",
		     launch->name ? launch->name : "",
		     root ? " vmd.root=/dev/vda" : "", own[0] ? " " : "",
		     own) < 0)
		return NULL;
	return s;
}

/* Adds a field; false (and value freed) when out of memory. */
static bool put(json_t *j, const char *field, json_t *value)
{
	return json_object_set_new(j, field, value) == 0;
}

static json_t *fd_text(int fd)
{
	return json_sprintf("fd:%d", fd);
}

static bool put_boot(json_t *j, const struct vm_launch *launch)
{
	AUTO(free) char *cmdline = microvm_cmdline(launch);
	json_t *boot = json_object();
	bool ok;

	if (!cmdline) {
		json_decref(boot);
		return false;
	}
	ok = put(boot, "kernel_image_path", fd_text(MICROVM_FD_KERNEL)) &&
	     put(boot, "boot_args", json_string(cmdline)) &&
	     (!launch->initrd_path ||
	      put(boot, "initrd_path", fd_text(MICROVM_FD_INITRD)));
	return put(j, "boot-source", boot) && ok;
}

static bool put_devices(json_t *j, const struct vm_launch *launch)
{
	if (launch->root_path &&
	    !put(j, "drives",
		 json_pack("[{s:s, s:o, s:b, s:b, s:s}]", "drive_id", "root",
			   "path_on_host", fd_text(MICROVM_FD_DISK),
			   "is_root_device", 0, "is_read_only", 0, "cache_type",
			   "Writeback")))
		return false;
	if (launch->network &&
	    !put(j, "network-interfaces",
		 json_pack("[{s:s, s:s, s:o}]", "iface_id", "net0", "guest_mac",
			   PASST_GUEST_MAC, "passt_socket",
			   fd_text(MICROVM_FD_NET))))
		return false;
	return put(j, "vsock",
		   json_pack("{s:i, s:o}", "guest_cid", MICROVM_GUEST_CID,
			     "uds_path", fd_text(MICROVM_FD_VSOCK))) &&
	       put(j, "entropy", json_object());
}

static json_t *build(const struct vm_launch *launch)
{
	json_t *j = json_object();

	if (put_boot(j, launch) && put_devices(j, launch) &&
	    put(j, "machine-config",
		json_pack("{s:I, s:I}", "vcpu_count", (json_int_t)launch->vcpus,
			  "mem_size_mib",
			  (json_int_t)(launch->memory_bytes / MIB))) &&
	    put(j, "serial",
		json_pack("{s:o, s:o}", "socket_path",
			  fd_text(MICROVM_FD_SERIAL), "log_path",
			  fd_text(MICROVM_FD_CONSOLE_LOG))) &&
	    put(j, "control",
		json_pack("{s:o}", "socket_path",
			  fd_text(MICROVM_FD_CONTROL))) &&
	    put(j, "status",
		json_pack("{s:o}", "path", fd_text(MICROVM_FD_STATUS))))
		return j;
	json_decref(j);
	return NULL;
}

int microvm_config_write(const struct vm_launch *launch, int dirfd,
			 struct err *e)
{
	AUTO(json) json_t *j = build(launch);
	AUTO(free) char *text = j ? json_to_text(j) : NULL;

	if (!text)
		return err_sys(e, ENOMEM, "vm.json");
	return file_replace_volatile(dirfd, "vm.json", text, strlen(text), 0600,
				     e);
}
