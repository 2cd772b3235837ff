/* SPDX-License-Identifier: Apache-2.0 */
/* Options into the JSON of requests, checked by the API's own tables. */
#include "vmctl/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/parse.h"
#include "vmctl/ctx.h"
#include "vmctl/hint.h"

static int bad_port(const char *what, const char *text, const char *why,
		    struct err *e)
{
	return usage_error(e,
			   "%s '%.64s': %s; the form is "
			   "[ADDRESS:]HOST_PORT:GUEST_PORT[/udp]",
			   what, text, why);
}

/* Cuts the last ":word" off; NULL when there is no colon. */
static char *cut_last(char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

/* "[::1]" to "::1"; NULL: an IPv6 address without them, or nothing. */
static const char *bare_address(char *text)
{
	size_t len = strlen(text);

	if (text[0] == '[' && len > 2 && text[len - 1] == ']') {
		text[len - 1] = '\0';
		return text + 1;
	}
	return text[0] == '\0' || strpbrk(text, ":[]") ? NULL : text;
}

int spec_port_read(const char *what, const char *text, const char *address,
		   uint64_t min_host, struct port_spec *ret, struct err *e)
{
	AUTO(free) char *copy = strdup(text);
	uint64_t host_port, guest_port;
	char *slash, *guest, *host;

	if (!copy)
		return err_sys(e, ENOMEM, "%s", what);
	*ret = (struct port_spec){ .udp = false };
	slash = strrchr(copy, '/');
	if (slash) {
		*slash = '\0';
		ret->udp = strcmp(slash + 1, "udp") == 0;
		if (!ret->udp && strcmp(slash + 1, "tcp") != 0)
			return bad_port(what, text,
					"the protocol is not tcp or udp", e);
	}
	guest = cut_last(copy);
	if (!guest)
		return bad_port(what, text, "there is no colon", e);
	host = cut_last(copy);
	if (host)
		address = bare_address(copy);
	else
		host = copy;
	if (!address)
		return bad_port(what, text, "an IPv6 address needs [ ]", e);
	if (strlen(address) >= sizeof(ret->host_address))
		return bad_port(what, text, "the address is too long", e);
	if (parse_u64(host, min_host, 65535, "port", &host_port, e) < 0 ||
	    parse_u64(guest, 1, 65535, "port", &guest_port, e) < 0)
		return bad_port(what, text,
				"a port is a number from 1 to 65535", e);
	(void)snprintf(ret->host_address, sizeof(ret->host_address), "%s",
		       address);
	ret->host_port = (uint16_t)host_port;
	ret->guest_port = (uint16_t)guest_port;
	return 0;
}

json_t *spec_port(const char *text, struct err *e)
{
	struct port_spec p;

	if (spec_port_read("--publish", text, "127.0.0.1", 1, &p, e) < 0)
		return NULL;
	return json_pack("{s:s, s:i, s:i, s:s}", "host_address", p.host_address,
			 "host_port", p.host_port, "guest_port", p.guest_port,
			 "protocol", p.udp ? "udp" : "tcp");
}

static int set_text(json_t *map, const char *what, const char *key,
		    const char *value, struct err *e)
{
	if (json_object_set_new(map, key, json_string(value)) < 0)
		return usage_error(e, "%s '%.64s' is not UTF-8 text", what,
				   key);
	return 0;
}

int spec_pair(json_t *map, const char *what, const char *text, struct err *e)
{
	const char *eq = strchr(text, '=');
	AUTO(free) char *key = NULL;

	if (!eq || eq == text)
		return usage_error(e, "%s '%.64s' must have the form KEY=VALUE",
				   what, text);
	key = strndup(text, (size_t)(eq - text));
	if (!key)
		return err_sys(e, ENOMEM, "%s", what);
	return set_text(map, what, key, eq + 1, e);
}

int spec_env(json_t *env, const char *text, struct err *e)
{
	const char *value;

	if (!*text || strchr(text, '='))
		return spec_pair(env, "--env", text, e);
	value = getenv(text);
	return value ? set_text(env, "--env", text, value, e) : 0;
}

int spec_command(json_t *object, const struct args *args, size_t first,
		 struct err *e)
{
	json_t *command = NULL, *env;
	size_t cursor = 0;
	const char *text;

	if (first < args->operand_count && !args->operands[first][0])
		return usage_error(e, "the command is empty: its first word "
				      "names the program");
	for (size_t i = first; i < args->operand_count; i++) {
		if (!command) {
			command = json_array();
			(void)json_object_set_new(object, "command", command);
		}
		if (json_array_append_new(command,
					  json_string(args->operands[i])) < 0)
			return usage_error(e,
					   "argument %zu of the command is "
					   "not UTF-8 text",
					   i - first);
	}
	env = json_object();
	(void)json_object_set_new(object, "env", env);
	while ((text = args_next(args, "env", &cursor)))
		if (spec_env(env, text, e) < 0)
			return -EINVAL;
	text = args_value(args, "workdir");
	if (text && set_text(object, "--workdir", "cwd", text, e) < 0)
		return -EINVAL;
	text = args_value(args, "user");
	if (text && set_text(object, "--user", "user", text, e) < 0)
		return -EINVAL;
	return 0;
}

static int set_number(json_t *vm, const char *field, uint64_t v)
{
	return v == UINT64_MAX
		       ? 0
		       : json_object_set_new(vm, field,
					     json_integer((json_int_t)v));
}

static int add_network(json_t *vm, const struct args *args, struct err *e)
{
	json_t *ports = json_array();
	const char *mode = args_value(args, "net"), *text;
	size_t cursor = 0;

	(void)json_object_set_new(vm, "network",
				  json_pack("{s:s, s:o}", "mode",
					    mode ? mode : "user", "ports",
					    ports));
	while ((text = args_next(args, "publish", &cursor))) {
		json_t *port = spec_port(text, e);

		if (!port || json_array_append_new(ports, port) < 0)
			return -EINVAL;
	}
	return 0;
}

static int add_numbers(json_t *vm, const struct args *args, struct err *e)
{
	uint64_t memory = UINT64_MAX, disk = UINT64_MAX, ttl = UINT64_MAX,
		 timeout = UINT64_MAX, cpus = UINT64_MAX;
	const char *text = args_value(args, "cpus");

	if (text && parse_u64(text, 1, API_VCPUS_MAX, "--cpus", &cpus, e) < 0)
		return is_usage_error(e);
	if (option_size(args, "memory", &memory, e) < 0 ||
	    option_size(args, "disk", &disk, e) < 0 ||
	    option_seconds(args, "ttl", &ttl, e) < 0 ||
	    option_seconds(args, "timeout", &timeout, e) < 0)
		return -EINVAL;
	if ((memory != UINT64_MAX &&
	     hint_bounds(&api_vm_create, "memory_bytes", "memory", memory, true,
			 e) < 0) ||
	    (disk != UINT64_MAX && hint_bounds(&api_vm_create, "disk_bytes",
					       "disk", disk, true, e) < 0) ||
	    (ttl != UINT64_MAX && hint_bounds(&api_vm_create, "ttl_seconds",
					      "ttl", ttl, false, e) < 0) ||
	    (timeout != UINT64_MAX &&
	     hint_bounds(&api_vm_create, "ready_timeout_seconds", "timeout",
			 timeout, false, e) < 0))
		return -EINVAL;
	if (set_number(vm, "vcpus", cpus) < 0 ||
	    set_number(vm, "memory_bytes", memory) < 0 ||
	    set_number(vm, "disk_bytes", disk) < 0 ||
	    set_number(vm, "ttl_seconds", ttl) < 0 ||
	    set_number(vm, "ready_timeout_seconds", timeout) < 0)
		return err_sys(e, ENOMEM, "request");
	return 0;
}

json_t *spec_vm(const struct args *args, const char *image, struct err *e)
{
	static const struct {
		const char *option, *field;
	} texts[] = { { "name", "name" },
		      { "engine", "engine" },
		      { "kernel-args", "kernel_args" } };
	AUTO(json) json_t *vm = json_pack("{s:s}", "image", image);
	json_t *labels = json_object();
	const char *text;
	size_t cursor = 0;

	if (!vm) {
		json_decref(labels);
		(void)usage_error(e, "the image's name is not UTF-8 text");
		return NULL;
	}
	(void)json_object_set_new(vm, "labels", labels);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		text = args_value(args, texts[i].option);
		if (text &&
		    set_text(vm, texts[i].option, texts[i].field, text, e) < 0)
			return NULL;
	}
	while ((text = args_next(args, "label", &cursor)))
		if (spec_pair(labels, "--label", text, e) < 0)
			return NULL;
	if (add_numbers(vm, args, e) < 0 || add_network(vm, args, e) < 0)
		return NULL;
	/* The daemon checks the same rows; here the message comes at once. */
	if (api_validate(&api_vm_create, vm, e) < 0) {
		(void)is_usage_error(e);
		return NULL;
	}
	return take_ptr(vm);
}

void spec_random_key(char out[static 33])
{
	unsigned char bytes[16] = { 0 };

	/* Cannot fail for so few bytes once the pool is ready. */
	(void)!getrandom(bytes, sizeof(bytes), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}
