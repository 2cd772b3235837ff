/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one VM: a JSON object with the field names of
 * Firecracker's configuration file, plus a few of ours. Parsed once into these
 * structs, which nobody changes afterwards; device objects are other structs.
 *
 * Wherever a path stands, "fd:N" means the inherited descriptor N. Unknown and
 * repeated fields are refused; every number has bounds; null is as if the field
 * were not there. docs/man/vmd-monitor.1 describes the fields.
 */
#ifndef MONITOR_CONFIG_H
#define MONITOR_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "monitor/vm.h"

enum {
	CONFIG_BYTES_MAX = 1024 * 1024,
	CONFIG_DRIVES_MAX = 8,
	CONFIG_NETS_MAX = 4,
	CONFIG_FD_MAX = 1023,
	/* What a log may be; a FIFO must have its reader. */
	CONFIG_LOG_KINDS = FILE_REGULAR | FILE_CHAR | FILE_FIFO,
};

/* Serial ports and consoles: neither field: standard input and output. */
struct config_backend {
	const char *socket_path; /* a listening unix socket, or NULL */
	const char *log_path; /* output is appended here too, or NULL */
};

/* io_engine: how the host's file is asked. */
enum config_engine {
	CONFIG_ENGINE_ANY, /* absent: io_uring where the host has it for us */
	CONFIG_ENGINE_ASYNC, /* io_uring; a warning where it has not */
	CONFIG_ENGINE_SYNC /* threads */
};

struct config_drive {
	const char *drive_id;
	const char *path_on_host;
	bool is_root_device;
	bool is_read_only;
	enum config_engine engine;
	bool writeback; /* cache_type Writeback: the guest's flushes count */
	const char *partuuid; /* of the root partition, or NULL */
};

struct config_net {
	const char *iface_id;
	uint8_t mac[6];
	const char *host_dev_name; /* a tap's name or fd:N; or NULL */
	const char *passt_socket; /* fd:N or path; or NULL */
	uint16_t mtu; /* 0: not announced */
};

struct config_balloon {
	uint64_t amount_mib;
	bool deflate_on_oom;
	bool reporting;
	uint16_t stats_seconds; /* 0: never asked */
};

struct config {
	json_t *json; /* owns all strings below */
	const char *kernel_image_path;
	const char *initrd_path; /* NULL: none */
	const char *boot_args;
	unsigned vcpu_count;
	uint64_t mem_bytes;
	bool nested; /* the guest may run guests: VMX or SVM */
	bool pmu; /* performance counters */
	enum vm_backing backing;
	struct config_drive drives[CONFIG_DRIVES_MAX];
	size_t drive_count;
	struct config_net nets[CONFIG_NETS_MAX];
	size_t net_count;
	bool has_vsock;
	uint32_t guest_cid;
	const char *vsock_uds_path;
	bool has_entropy;
	bool has_balloon;
	struct config_balloon balloon;
	struct config_backend serial;
	bool has_console;
	struct config_backend console;
	const char *control_socket_path; /* NULL: none */
	const char *status_path; /* NULL: none */
	const char *log_path; /* of our own log; NULL: standard error */
	bool has_log_level;
	enum log_level log_level;
	const char *metrics_path; /* NULL: none */
	uint16_t debug_exit_port; /* 0: none */
	int vsock_broker_fd; /* main's: who connects for the guest; -1: none */
	const char *kvm_path; /* NULL: /dev/kvm; the command line's */
};

/*
 * Used when boot_args is absent: output on the serial port, i8042 reset, and a
 * panic ends the VM at once instead of hanging.
 */
#define CONFIG_BOOT_ARGS_DEFAULT "console=ttyS0 reboot=k panic=-1"

/* text of len bytes. Code config_invalid, with the field's path in the text. */
int config_parse(const char *text, size_t len, struct config *ret,
		 struct err *e);
/* source: a path, "fd:N". */
int config_load(const char *source, struct config *ret, struct err *e);
void config_done(struct config *config);

/* For --check: whether what it names is there, with the codes of a start. */
int config_check_files(const struct config *config, struct err *e);

/*
 * Opens what a path field names, as file_open() does: "fd:N" takes the
 * inherited descriptor (made close-on-exec), anything else is opened with flags
 * and made with mode 0600. kinds: FILE_*, checked in both cases. Returns an fd,
 * or -errno with *ret_why: the caller knows what was missing.
 */
int config_open(const char *path, int flags, unsigned kinds,
		const char **ret_why);
/* The N of "fd:N", or -1 when it is a path. */
int config_inherited_fd(const char *path);

#endif
