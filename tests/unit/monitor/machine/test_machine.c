/* SPDX-License-Identifier: Apache-2.0 */
/* On the host's own KVM; skipped without. The machine never runs here. */
#include "../test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "monitor/machine/machine.h"
#include "monitor/probe.h"

static const char text[] =
	"{\"boot-source\":{\"kernel_image_path\":\"/nonexistent\"},"
	"\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":16},"
	"\"serial\":{\"log_path\":\"/dev/null\"},\"entropy\":{}}";

struct built {
	struct config config;
	struct loop *loop;
	struct machine *m;
};

static struct built build(void)
{
	struct built b;
	struct err e = ERR_INIT;

	memset(&b, 0, sizeof(b));
	assert_int_equal(config_parse(text, strlen(text), &b.config, &e), 0);
	b.loop = loop_new(&e);
	if (machine_new(&b.config, b.loop, &b.m, &e) < 0)
		fail_msg("%s", e.msg);
	return b;
}

static void take_down(struct built *b)
{
	machine_free(b->m);
	loop_free(b->loop);
	config_done(&b->config);
}

static void save(struct machine *m, struct state_writer *w)
{
	struct err e = ERR_INIT;

	state_writer_init(w, 1 << 20);
	if (machine_save(m, w, &e) < 0 || state_finish(w, &e) < 0)
		fail_msg("%s", e.msg);
}

static void test_state_survives_a_round_trip(void **state)
{
	struct built a = build(), b = build();
	struct state_writer first, second;
	struct state_reader r;
	struct kvm_regs regs = { .rip = 0x1234, .rbx = 77, .rflags = 2 }, got;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kvm_ioctl(a.m->vcpus[0].fd, KVM_SET_REGS, &regs), 0);
	save(a.m, &first);
	assert_int_equal(state_reader_init(&r, buf_head(&first.out),
					   buf_len(&first.out), &e),
			 0);
	if (machine_load(b.m, &r, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(kvm_ioctl(b.m->vcpus[0].fd, KVM_GET_REGS, &got), 0);
	assert_int_equal(got.rip, 0x1234);
	assert_int_equal(got.rbx, 77);
	save(b.m, &second);
	assert_int_equal(buf_len(&first.out), buf_len(&second.out));
	state_writer_done(&first);
	state_writer_done(&second);
	take_down(&a);
	take_down(&b);
}

static void test_load_foreign_state_refused(void **state)
{
	struct built a = build();
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)state;
	save(a.m, &w);
	a.m->vm.mem_bytes /= 2; /* another machine, as it were */
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_true(machine_load(a.m, &r, &e) < 0);
	assert_string_equal(e.code, "state_invalid");
	a.m->vm.mem_bytes *= 2;
	state_writer_done(&w);
	take_down(&a);
}

static void test_load_guest_without_kernel_says_so(void **state)
{
	struct built a = build();
	struct err e = ERR_INIT;

	(void)state;
	assert_true(machine_load_guest(a.m, &e) < 0);
	assert_string_equal(e.code, "kernel_missing");
	take_down(&a);
}

static void test_new_too_much_memory_refused(void **state)
{
	struct built b;
	struct err e = ERR_INIT;

	(void)state;
	memset(&b, 0, sizeof(b));
	assert_int_equal(config_parse(text, strlen(text), &b.config, &e), 0);
	b.config.mem_bytes = UINT64_C(4) << 40;
	b.loop = loop_new(&e);
	assert_true(machine_new(&b.config, b.loop, &b.m, &e) < 0);
	assert_string_equal(e.code, "no_memory");
	take_down(&b);
}

/* Below, at and above the hole's lower end: one mapping, in order of gpa. */
static void test_memory_is_split_at_the_hole(void **state)
{
	static const uint64_t sizes[] = {
		UINT64_C(16) << 20,
		GPA_HOLE_START - (1 << 20),
		GPA_HOLE_START,
		GPA_HOLE_START + (1 << 20),
	};
	struct kvm kvm = KVM_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kvm_open(NULL, &kvm, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t low = min_u64(sizes[i], GPA_HOLE_START);
		uint64_t high = sizes[i] - low;
		struct vm vm = VM_INIT;

		if (vm_new(&kvm, sizes[i], VM_BACKING_AUTO, &vm, &e) < 0)
			fail_msg("%s", e.msg);
		assert_int_equal(vm.mem.count, high ? 2 : 1);
		assert_ptr_equal(guest_slice(&vm.mem, 0, low), vm.map);
		assert_null(guest_slice(&vm.mem, low - 1, 2));
		assert_null(guest_slice(&vm.mem, GPA_HOLE_END - 1, 1));
		if (high)
			assert_ptr_equal(guest_slice(&vm.mem, GPA_HOLE_END,
						     high),
					 (uint8_t *)vm.map + low);
		assert_null(guest_slice(&vm.mem, GPA_HOLE_END, high + 1));
		vm_done(&vm);
	}
	kvm_close(&kvm);
}

/* Huge pages need the alignment; others need the descriptor. */
static void test_vm_memory_is_anonymous_unless_a_memfd_is_asked(void **state)
{
	static const struct {
		enum vm_backing backing;
		bool file;
	} cases[] = { { VM_BACKING_AUTO, false },
		      { VM_BACKING_ANONYMOUS, false },
		      { VM_BACKING_MEMFD, true } };
	const uint64_t size = UINT64_C(16) << 20;
	struct kvm kvm = KVM_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kvm_open(NULL, &kvm, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct vm vm = VM_INIT;
		uint8_t byte = 0;

		if (vm_new(&kvm, size, cases[i].backing, &vm, &e) < 0)
			fail_msg("%s", e.msg);
		assert_int_equal((uintptr_t)vm.map % (2 << 20), 0);
		assert_int_equal(vm.mem_fd >= 0, cases[i].file);
		memset((uint8_t *)vm.map + size - 1, 7, 1);
		if (cases[i].file) {
			assert_int_equal(
				pread(vm.mem_fd, &byte, 1, (off_t)size - 1), 1);
			assert_int_equal(byte, 7);
		}
		vm_done(&vm);
	}
	kvm_close(&kvm);
}

static void test_kvm_open_says_what_is_wrong(void **state)
{
	struct kvm kvm = KVM_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(kvm_open("/no/such/kvm", &kvm, &e) < 0);
	assert_string_equal(e.code, "kvm_missing");
	assert_true(kvm_open("/dev/null", &kvm, &e) < 0);
	assert_string_equal(e.code, "kvm_missing");
}

static void test_probe_measures_something(void **state)
{
	struct probe_result result;
	struct err e = ERR_INIT;
	uint64_t start = clock_mono_ms();

	(void)state;
	assert_int_equal(probe_kvm(NULL, &result, &e), 0);
	assert_int_equal(result.api, 12);
	assert_true(result.mips > 0);
	assert_int_equal(result.usable, result.mips >= PROBE_USABLE_MIPS);
	/* Half a second is what it may take; the host may be busy. */
	assert_true(clock_mono_ms() - start < 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_survives_a_round_trip),
		cmocka_unit_test(test_load_foreign_state_refused),
		cmocka_unit_test(test_load_guest_without_kernel_says_so),
		cmocka_unit_test(test_new_too_much_memory_refused),
		cmocka_unit_test(test_memory_is_split_at_the_hole),
		cmocka_unit_test(
			test_vm_memory_is_anonymous_unless_a_memfd_is_asked),
		cmocka_unit_test(test_kvm_open_says_what_is_wrong),
		cmocka_unit_test(test_probe_measures_something),
	};

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		(void)puts("SKIP /dev/kvm cannot be opened here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
