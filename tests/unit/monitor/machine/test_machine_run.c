/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that run, with all their threads: two vCPUs that count in memory and
 * touch a port and a device register each time round, one loop thread, and this
 * thread as the client of the control socket. Skipped without KVM.
 */
#include "../test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "monitor/control.h"
#include "monitor/machine/machine.h"

enum {
	VCPUS = 2,
	CODE = 0x100000,
	COUNTERS = 0x200000, /* one for each vCPU */
	RINGS = 0x300000, /* of the rng: descriptors, available, used */
	AVAIL = RINGS + 0x1000,
	USED = RINGS + 0x2000,
	BUFFER = RINGS + 0x3000,
	WAIT_MS = 20000,
	ROUNDS = 50, /* proof that a vCPU runs */
};

/* inc rbx; mov [rdi],rbx; mov edx,0x3ff; in al,dx; mov eax,[rsi]; jmp */
static const uint8_t code[] = {
	0x48, 0xff, 0xc3, 0x48, 0x89, 0x1f, 0xba, 0xff,
	0x03, 0x00, 0x00, 0xec, 0x8b, 0x06, 0xeb, 0xf0
};

static char dir[] = "/tmp/vmd-machine-XXXXXX";

struct rig {
	struct config config;
	struct loop *loop;
	struct machine *m;
	struct control *control;
	pthread_t thread;
	bool running;
	int client;
	char socket[sizeof(dir) + 16];
};

static void write_kernel(const char *path)
{
	Elf64_Ehdr h = { .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = CODE,
			 .e_phoff = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1 };
	Elf64_Phdr p = { .p_type = PT_LOAD,
			 .p_offset = sizeof(h) + sizeof(p),
			 .p_paddr = CODE,
			 .p_vaddr = CODE,
			 .p_filesz = sizeof(code),
			 .p_memsz = sizeof(code) };
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	assert_int_equal(fwrite(&h, sizeof(h), 1, file), 1);
	assert_int_equal(fwrite(&p, sizeof(p), 1, file), 1);
	assert_int_equal(fwrite(code, sizeof(code), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

static void must(int rc, const struct err *e)
{
	if (rc < 0)
		fail_msg("%s", e->msg);
}

/* drives: a member of the configuration, or "". */
static struct rig *build_with(const char *name, const char *drives)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;
	char text[768];

	assert_non_null(r);
	(void)snprintf(r->socket, sizeof(r->socket), "%s/%s", dir, name);
	(void)snprintf(text, sizeof(text),
		       "{\"boot-source\":{\"kernel_image_path\":\"%s/kernel\"},"
		       "\"machine-config\":{\"vcpu_count\":%d,"
		       "\"mem_size_mib\":16},"
		       "\"serial\":{\"log_path\":\"/dev/null\"},"
		       "%s\"entropy\":{}}",
		       dir, VCPUS, drives);
	must(config_parse(text, strlen(text), &r->config, &e), &e);
	r->client = -1;
	r->loop = loop_new(&e);
	assert_non_null(r->loop);
	must(machine_new(&r->config, r->loop, &r->m, &e), &e);
	must(control_new(r->m, r->socket, &r->control, &e), &e);
	return r;
}

static struct rig *build(const char *name)
{
	return build_with(name, "");
}

/* Both vCPUs at the kernel's entry, each with its counter in rdi. */
static void boot(struct rig *r)
{
	const struct boot_entry entry = { .protocol = "elf64",
					  .mode = BOOT_LONG,
					  .ip = CODE };
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct err e = ERR_INIT;

	must(machine_load_guest(r->m, &e), &e);
	for (unsigned i = 0; i < VCPUS; i++) {
		struct vcpu *v = &r->m->vcpus[i];
		struct kvm_regs regs;

		must(vcpu_boot(v, &r->m->vm.mem, &entry, &e), &e);
		must(kvm_try(v->fd, KVM_GET_REGS, &regs, "registers", &e), &e);
		regs.rdi = COUNTERS + 8 * i;
		regs.rsi = GPA_VIRTIO + VIRTIO_MMIO_STATUS;
		must(kvm_try(v->fd, KVM_SET_REGS, &regs, "registers", &e), &e);
		must(kvm_try(v->fd, KVM_SET_MP_STATE, &runnable, "state", &e),
		     &e);
	}
}

static void *run(void *data)
{
	struct rig *r = data;
	struct err e = ERR_INIT;

	return machine_run(r->m, &e) < 0 ? r : NULL;
}

static int dial(struct rig *r)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		       r->socket);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void start_run(struct rig *r)
{
	assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
	r->running = true;
	r->client = dial(r);
}

static void start(struct rig *r)
{
	struct err e = ERR_INIT;

	must(machine_start_threads(r->m, NULL, &e), &e);
	start_run(r);
}

static void demand(int fd, const char *action)
{
	char line[128];
	int len = snprintf(line, sizeof(line), "{\"action\":\"%s\"}\n", action);

	assert_int_equal(send(fd, line, (size_t)len, 0), len);
}

/* The next answer has the words in it. */
static void expect(int fd, const char *words)
{
	char line[256];
	size_t n = 0;

	do
		assert_int_equal(recv(fd, &line[n], 1, 0), 1);
	while (line[n++] != '\n' && n < sizeof(line));
	line[n - 1] = '\0';
	if (!strstr(line, words))
		fail_msg("no %s in %s", words, line);
}

static void ask(struct rig *r, const char *action)
{
	demand(r->client, action);
	expect(r->client, "ok");
}

static void take_down(struct rig *r)
{
	void *failed = NULL;

	if (r->running) {
		ask(r, "kill");
		assert_int_equal(pthread_join(r->thread, &failed), 0);
		assert_null(failed);
		assert_int_equal(r->m->end, MACHINE_END_KILLED);
	}
	close_fd(&r->client);
	control_free(r->control);
	machine_free(r->m);
	loop_free(r->loop);
	config_done(&r->config);
	(void)unlink(r->socket);
	free(r);
}

static void *at(struct rig *r, uint64_t gpa)
{
	return guest_slice(&r->m->vm.mem, gpa, 8);
}

static uint64_t counter(struct rig *r, unsigned vcpu)
{
	return __atomic_load_n((uint64_t *)at(r, COUNTERS + 8 * vcpu),
			       __ATOMIC_RELAXED);
}

/* Both vCPUs came further than from[] by ROUNDS. */
static void wait_progress(struct rig *r, const uint64_t from[VCPUS])
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	for (unsigned i = 0; i < VCPUS; i++)
		while (counter(r, i) < from[i] + ROUNDS) {
			assert_true(clock_mono_ms() < end);
			(void)sched_yield();
		}
}

static void set(struct rig *r, uint64_t offset, uint32_t value)
{
	bus_write(&r->m->mmio, GPA_VIRTIO + offset, &value, sizeof(value));
}

/* A driver of the rng whose kick got lost: a chain waits for the device. */
static void offer_chain_without_kick(struct rig *r)
{
	const struct vring_desc desc = { .addr = BUFFER,
					 .len = 32,
					 .flags = VRING_DESC_F_WRITE };
	uint16_t one = 1;

	set(r, VIRTIO_MMIO_STATUS, 1);
	set(r, VIRTIO_MMIO_STATUS, 3);
	set(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(r, VIRTIO_MMIO_DRIVER_FEATURES, 1); /* VERSION_1 */
	set(r, VIRTIO_MMIO_STATUS, 11);
	set(r, VIRTIO_MMIO_QUEUE_NUM, 8);
	set(r, VIRTIO_MMIO_QUEUE_DESC_LOW, RINGS);
	set(r, VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL);
	set(r, VIRTIO_MMIO_QUEUE_USED_LOW, USED);
	set(r, VIRTIO_MMIO_QUEUE_READY, 1);
	set(r, VIRTIO_MMIO_STATUS, 15);
	memcpy(guest_slice(&r->m->vm.mem, RINGS, sizeof(desc)), &desc,
	       sizeof(desc));
	memcpy(at(r, AVAIL + 2), &one, sizeof(one));
}

static uint16_t used_index(struct rig *r)
{
	return __atomic_load_n((uint16_t *)at(r, USED + 2), __ATOMIC_ACQUIRE);
}

/* State and memory of one paused machine into another one. */
static void move(struct rig *from, struct rig *to)
{
	struct state_writer w;
	struct state_reader reader;
	struct err e = ERR_INIT;

	state_writer_init(&w, 1 << 20);
	must(machine_save(from->m, &w, &e), &e);
	must(state_finish(&w, &e), &e);
	memcpy(to->m->vm.map, from->m->vm.map, from->m->vm.mem_bytes);
	must(state_reader_init(&reader, buf_head(&w.out), buf_len(&w.out), &e),
	     &e);
	must(machine_load(to->m, &reader, &e), &e);
	state_writer_done(&w);
	/* Nobody may take it for the one that lives on. */
	assert_memory_not_equal(
		guest_slice(&from->m->vm.mem, GPA_GENERATION, 16),
		guest_slice(&to->m->vm.mem, GPA_GENERATION, 16), 16);
}

static void test_running_machine_moves_and_goes_on(void **state)
{
	struct rig *a = build("a"), *b = build("b");
	uint64_t seen[VCPUS] = { 0 };

	(void)state;
	boot(a);
	start(a);
	wait_progress(a, seen);
	ask(a, "pause");
	(void)pthread_mutex_lock(&a->m->lock);
	for (unsigned i = 0; i < VCPUS; i++)
		seen[i] = counter(a, i);
	offer_chain_without_kick(a);
	a->m->pic_masks[1] = 0xa5;
	move(a, b);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(counter(a, i), seen[i]);
	(void)pthread_mutex_unlock(&a->m->lock);
	assert_int_equal(b->m->pic_masks[1], 0xa5);
	assert_int_equal(used_index(b), 0);
	start(b);
	wait_progress(b, seen);
	ask(b, "pause");
	/* A vCPU goes on where it was: it does not count from zero again. */
	for (unsigned i = 0; i < VCPUS; i++)
		assert_true(counter(b, i) > seen[i]);
	assert_int_equal(used_index(b), 1);
	assert_int_equal(used_index(a), 0);
	ask(b, "resume");
	for (unsigned i = 0; i < VCPUS; i++)
		seen[i] = counter(b, i);
	wait_progress(b, seen);
	take_down(b);
	ask(a, "resume");
	take_down(a);
}

static void test_pause_and_resume_in_quick_succession_lose_nothing(void **state)
{
	struct rig *r = build("r");
	uint64_t seen[VCPUS] = { 0 };

	(void)state;
	boot(r);
	start(r);
	for (int i = 0; i < 200; i++) {
		ask(r, "pause");
		ask(r, "resume");
	}
	for (unsigned i = 0; i < VCPUS; i++)
		seen[i] = counter(r, i);
	wait_progress(r, seen);
	take_down(r);
}

static json_int_t count(const json_t *stats, const char *group, const char *of)
{
	return json_integer_value(
		json_object_get(json_object_get(stats, group), of));
}

/* Each round of the guest reads a serial port and a register of the rng. */
/* What the machine answers, without a client. */
static json_t *answer_to(struct rig *r, const char *request)
{
	struct control_reply reply = { false, CONTROL_WAIT_NONE };
	char *text = control_answer(r->m, request, strlen(request), &reply);
	json_t *answer = text ? json_loads(text, 0, NULL) : NULL;

	assert_non_null(answer);
	free(text);
	return answer;
}

/* wrong: the code of the error, or NULL for none. */
static void expect_answer(struct rig *r, const char *request, const char *wrong)
{
	json_t *answer = answer_to(r, request);
	json_t *error = json_object_get(answer, "error");

	if (wrong)
		assert_string_equal(
			json_string_value(json_object_get(error, "code")),
			wrong);
	else
		assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
}

static void test_balloon_is_asked_by_control(void **state)
{
	struct rig *with = build_with("a", "\"balloon\":{\"amount_mib\":1,"
					   "\"free_page_reporting\":true},");
	struct rig *without = build("b");
	json_t *stats = answer_to(with, "{\"action\":\"stats\"}");
	uint8_t *page = guest_slice(&with->m->vm.mem, 8 << 20, 4096);

	(void)state;
	assert_int_equal(count(stats, "balloon", "target_bytes"), 1 << 20);
	json_decref(stats);
	expect_answer(with, "{\"action\":\"set_balloon\",\"amount_mib\":15}",
		      NULL);
	expect_answer(with, "{\"action\":\"set_balloon\",\"amount_mib\":16}",
		      "request_invalid");
	expect_answer(with, "{\"action\":\"set_balloon\"}", "request_invalid");
	expect_answer(without, "{\"action\":\"set_balloon\",\"amount_mib\":0}",
		      "not_found");
	stats = answer_to(with, "{\"action\":\"stats\"}");
	assert_int_equal(count(stats, "balloon", "target_bytes"), 15 << 20);
	json_decref(stats);
	/* What was given back is empty. */
	memset(page, 7, 4096);
	vm_discard(&with->m->vm, page, 4096);
	assert_int_equal(page[0] + page[4095], 0);
	take_down(with);
	take_down(without);
}

static void test_stats_count_exits_and_accesses(void **state)
{
	static const char request[] = "{\"action\":\"stats\"}";
	struct rig *r = build("r");
	uint64_t seen[VCPUS] = { 0 };
	struct control_reply reply = { .watches = false };
	json_t *stats;
	char *text;

	(void)state;
	boot(r);
	start(r);
	wait_progress(r, seen);
	(void)pthread_mutex_lock(&r->m->lock);
	text = control_answer(r->m, request, strlen(request), &reply);
	(void)pthread_mutex_unlock(&r->m->lock);
	assert_non_null(text);
	stats = json_loads(text, 0, NULL);
	assert_true(count(stats, "exits", "mmio") >=
		    (json_int_t)VCPUS * ROUNDS);
	assert_true(count(stats, "reads", "rng") >=
		    (json_int_t)VCPUS * (ROUNDS - 1));
	assert_true(count(stats, "exits", "io") >=
		    (json_int_t)VCPUS * (ROUNDS - 1));
	assert_true(count(stats, "reads", "serial") >=
		    (json_int_t)VCPUS * (ROUNDS - 1));
	assert_int_equal(count(stats, "writes", "rng"), 0);
	assert_int_equal(count(stats, "exits", "shutdown"), 0);
	json_decref(stats);
	free(text);
	take_down(r);
}

/* KVM_RUN fails with errno sys from here on, in this process. */
static void let_run_fail(unsigned sys)
{
	struct sock_filter ops[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | sys),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_LEN(ops), ops };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(99);
}

/* The host's errors are its own: no crash of the guest, each with its reason. */
static void test_memory_that_is_lost_is_the_hosts_error(void **state)
{
	static const struct {
		unsigned sys;
		const char *words;
	} cases[] = {
		{ EFAULT, "a page of it is gone" },
		{ ENOMEM, "no memory left" },
		{ EHWPOISON, "hardware error" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			struct rig *r = build("r");
			struct err e = ERR_INIT;
			bool told;

			boot(r);
			(void)unlink(r->socket);
			let_run_fail(cases[i].sys);
			if (machine_start_threads(r->m, NULL, &e) < 0 ||
			    machine_run(r->m, &e) < 0)
				_exit(98);
			told = r->m->end == MACHINE_END_ERROR &&
			       strstr(r->m->end_text, cases[i].words);
			machine_free(r->m); /* its threads are joined */
			_exit(told ? 0 : 97);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* What the drive's thread meets: it says that it is there, and waits. */
static int at_sync[2], go_on[2];

int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	char byte = 'x';

	(void)fd;
	if (write(at_sync[1], &byte, 1) != 1 || read(go_on[0], &byte, 1) != 1)
		return -1;
	return 0;
}

/* A driver of the drive in the first slot that flushes. Lock held. */
static void flush_drive(struct rig *r)
{
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_FLUSH };
	const struct vring_desc desc[] = {
		{ .addr = BUFFER,
		  .len = sizeof(header),
		  .flags = VRING_DESC_F_NEXT,
		  .next = 1 },
		{ .addr = BUFFER + 64, .len = 1, .flags = VRING_DESC_F_WRITE },
	};

	offer_chain_without_kick(r);
	memcpy(guest_slice(&r->m->vm.mem, RINGS, sizeof(desc)), desc,
	       sizeof(desc));
	memcpy(guest_slice(&r->m->vm.mem, BUFFER, sizeof(header)), &header,
	       sizeof(header));
	set(r, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static struct rig *build_with_disk(void)
{
	char drives[256];

	assert_int_equal(pipe(at_sync), 0);
	assert_int_equal(pipe(go_on), 0);
	(void)snprintf(drives, sizeof(drives),
		       "\"drives\":[{\"drive_id\":\"d\",\"path_on_host\":"
		       "\"%s/kernel\",\"is_root_device\":false,"
		       "\"io_engine\":\"Sync\","
		       "\"cache_type\":\"Writeback\"}],",
		       dir);
	return build_with("r", drives);
}

/* Until the drive's thread is at its file, where it stays. */
static void hang_disk(struct rig *r)
{
	char byte;

	(void)pthread_mutex_lock(&r->m->lock);
	flush_drive(r);
	(void)pthread_mutex_unlock(&r->m->lock);
	assert_int_equal(read(at_sync[0], &byte, 1), 1);
}

static void let_disk_go(void)
{
	assert_int_equal(write(go_on[1], "x", 1), 1);
}

static void take_down_disk(struct rig *r)
{
	take_down(r);
	for (int i = 0; i < 2; i++) {
		(void)close(at_sync[i]);
		(void)close(go_on[i]);
	}
}

static void test_hanging_disk_stalls_nobody_else(void **state)
{
	uint64_t seen[VCPUS] = { 0 }, end;
	struct rig *r = build_with_disk();

	(void)state;
	boot(r);
	start(r);
	hang_disk(r);
	/* The vCPUs' exits and the control socket go on. */
	for (unsigned i = 0; i < VCPUS; i++)
		seen[i] = counter(r, i);
	wait_progress(r, seen);
	ask(r, "shutdown");
	assert_int_equal(used_index(r), 0);
	let_disk_go();
	end = clock_mono_ms() + WAIT_MS;
	while (used_index(r) == 0) {
		assert_true(clock_mono_ms() < end);
		(void)sched_yield();
	}
	take_down_disk(r);
}

/* A request that is under way keeps no guest from its first run. */
static void test_run_waits_for_no_disk(void **state)
{
	const uint64_t seen[VCPUS] = { 0 };
	struct rig *r = build_with_disk();
	struct err e = ERR_INIT;

	(void)state;
	boot(r);
	must(machine_start_threads(r->m, NULL, &e), &e);
	hang_disk(r);
	start_run(r);
	wait_progress(r, seen);
	let_disk_go();
	take_down_disk(r);
}

/* A pause is done when nothing is in flight, and hinders nobody meanwhile. */
static void test_pause_waits_for_the_disk_alone(void **state)
{
	uint64_t seen[VCPUS];
	struct rig *r = build_with_disk();
	int other;

	(void)state;
	boot(r);
	start(r);
	hang_disk(r);
	other = dial(r);
	demand(r->client, "pause");
	demand(other, "status");
	expect(other, "pausing");
	/* Thought better of it. */
	demand(other, "resume");
	expect(other, "ok");
	expect(r->client, "was resumed");
	for (unsigned i = 0; i < VCPUS; i++)
		seen[i] = counter(r, i);
	wait_progress(r, seen);
	demand(r->client, "pause");
	demand(r->client, "status"); /* behind it, and answered behind it */
	demand(other, "status");
	expect(other, "pausing");
	assert_int_equal(used_index(r), 0);
	let_disk_go();
	expect(r->client, "ok");
	assert_int_equal(used_index(r), 1);
	expect(r->client, "paused");
	(void)close(other);
	take_down_disk(r);
}

/* The start that is refused names the drive; readers do not hinder each other. */
static void test_disk_in_use_is_refused(void **state)
{
	static const struct {
		const char *first, *second;
		bool refused;
	} cases[] = { { "false", "false", true },
		      { "false", "true", true },
		      { "true", "false", true },
		      { "true", "true", false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char drives[384];
		struct rig *r;
		struct machine *other = NULL;
		struct loop *loop = loop_new(NULL);
		struct config config = { .json = NULL };
		struct err e = ERR_INIT;
		char text[640];

		(void)snprintf(drives, sizeof(drives),
			       "\"drives\":[{\"drive_id\":\"d\","
			       "\"path_on_host\":\"%s/kernel\","
			       "\"is_root_device\":false,"
			       "\"is_read_only\":%s}],",
			       dir, cases[i].first);
		r = build_with("r", drives);
		(void)snprintf(text, sizeof(text),
			       "{\"boot-source\":{\"kernel_image_path\":\"k\"},"
			       "\"serial\":{\"log_path\":\"/dev/null\"},"
			       "\"machine-config\":{\"vcpu_count\":1,"
			       "\"mem_size_mib\":16},\"drives\":[{\"drive_id\":"
			       "\"d2\",\"path_on_host\":\"%s/kernel\","
			       "\"is_root_device\":false,"
			       "\"is_read_only\":%s}]}",
			       dir, cases[i].second);
		must(config_parse(text, strlen(text), &config, &e), &e);
		assert_int_equal(machine_new(&config, loop, &other, &e) < 0,
				 cases[i].refused);
		if (cases[i].refused) {
			assert_string_equal(e.code, "drive_in_use");
			assert_non_null(strstr(e.msg, "drive d2"));
		}
		machine_free(other);
		loop_free(loop);
		config_done(&config);
		take_down(r);
	}
}

static void test_resize_reaches_the_guest(void **state)
{
	char path[sizeof(dir) + 16], drives[256];
	uint64_t sectors = 0;
	struct rig *r;
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/disk", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	(void)snprintf(drives, sizeof(drives),
		       "\"drives\":[{\"drive_id\":\"d\",\"path_on_host\":"
		       "\"%s\",\"is_root_device\":false}],",
		       path);
	r = build_with("r", drives);
	boot(r);
	start(r);
	assert_int_equal(ftruncate(fd, 8192), 0);
	demand(r->client, "resize_drive\",\"drive_id\":\"d");
	expect(r->client, "ok");
	(void)pthread_mutex_lock(&r->m->lock);
	bus_read(&r->m->mmio, GPA_VIRTIO + VIRTIO_MMIO_CONFIG, &sectors,
		 sizeof(sectors));
	(void)pthread_mutex_unlock(&r->m->lock);
	assert_int_equal(sectors, 16);
	demand(r->client, "resize_drive\",\"drive_id\":\"e");
	expect(r->client, "drive_missing");
	demand(r->client, "resize_drive");
	expect(r->client, "request_invalid");
	take_down(r);
	(void)close(fd);
	(void)unlink(path);
}

struct resetter {
	struct rig *r;
	atomic_bool done;
};

/* As a vCPU whose guest resets the disk. */
static void *reset_disk(void *data)
{
	struct resetter *reset = data;
	uint64_t gpa = GPA_VIRTIO + VIRTIO_MMIO_STATUS;
	uint32_t zero = 0;

	reset->r->m->vcpus[0].ops->mmio(reset->r->m, gpa, &zero, sizeof(zero),
					true);
	atomic_store(&reset->done, true);
	return NULL;
}

static void test_reset_holds_its_vcpu_alone(void **state)
{
	uint64_t seen[VCPUS];
	struct rig *r = build_with_disk();
	struct resetter reset = { .r = r };
	uint32_t status = 0;
	bool resetting;
	pthread_t vcpu;

	(void)state;
	boot(r);
	start(r);
	hang_disk(r);
	assert_int_equal(pthread_create(&vcpu, NULL, reset_disk, &reset), 0);
	/* Both vCPUs read this register, in this time too. */
	do {
		(void)pthread_mutex_lock(&r->m->lock);
		bus_read(&r->m->mmio, GPA_VIRTIO + VIRTIO_MMIO_STATUS, &status,
			 sizeof(status));
		resetting = r->m->slots[0].mmio.resetting;
		(void)pthread_mutex_unlock(&r->m->lock);
	} while (!resetting);
	assert_int_equal(status, 15);
	for (unsigned i = 0; i < VCPUS; i++)
		seen[i] = counter(r, i);
	wait_progress(r, seen);
	assert_false(atomic_load(&reset.done));
	let_disk_go();
	assert_int_equal(pthread_join(vcpu, NULL), 0);
	(void)pthread_mutex_lock(&r->m->lock);
	bus_read(&r->m->mmio, GPA_VIRTIO + VIRTIO_MMIO_STATUS, &status,
		 sizeof(status));
	(void)pthread_mutex_unlock(&r->m->lock);
	assert_int_equal(status, 0);
	assert_int_equal(used_index(r), 0);
	take_down_disk(r);
}

/* Keeps the loop thread, and so the lock, as busy as a queue without end. */
static void greedy(struct loop_timer *timer)
{
	uint64_t end = clock_mono_ns() + 200 * 1000;

	while (clock_mono_ns() < end)
		continue;
	loop_timer_arm_soon(timer);
}

static void test_busy_loop_does_not_starve_the_vcpus(void **state)
{
	struct rig *r = build("r");
	struct loop_timer timer;
	const uint64_t seen[VCPUS] = { 0 };

	(void)state;
	boot(r);
	loop_timer_init(r->loop, &timer, greedy, NULL);
	loop_timer_arm_soon(&timer);
	start(r);
	wait_progress(r, seen);
	take_down(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_running_machine_moves_and_goes_on),
		cmocka_unit_test(test_stats_count_exits_and_accesses),
		cmocka_unit_test(test_balloon_is_asked_by_control),
		cmocka_unit_test(test_hanging_disk_stalls_nobody_else),
		cmocka_unit_test(test_run_waits_for_no_disk),
		cmocka_unit_test(test_pause_waits_for_the_disk_alone),
		cmocka_unit_test(test_reset_holds_its_vcpu_alone),
		cmocka_unit_test(test_disk_in_use_is_refused),
		cmocka_unit_test(test_resize_reaches_the_guest),
		cmocka_unit_test(
			test_pause_and_resume_in_quick_succession_lose_nothing),
		cmocka_unit_test(test_busy_loop_does_not_starve_the_vcpus),
		cmocka_unit_test(test_memory_that_is_lost_is_the_hosts_error),
	};
	char kernel[sizeof(dir) + 16];
	int failed;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		(void)puts("SKIP /dev/kvm cannot be opened here");
		return 77;
	}
	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
	write_kernel(kernel);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)unlink(kernel);
	(void)rmdir(dir);
	return failed;
}
