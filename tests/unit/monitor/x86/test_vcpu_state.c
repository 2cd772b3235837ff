/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's state on the host's own KVM: what is saved comes back, and what
 * cannot come back is refused by its name. Skipped without KVM.
 */
#include "../test.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "monitor/machine/machine.h"

#define MSR_STAR 0xc0000081u
#define MSR_NONE 0x3fffffffu /* no CPU has it */

struct rig {
	struct config config;
	struct loop *loop;
	struct machine *m;
};

static void must(int rc, const struct err *e)
{
	if (rc < 0)
		fail_msg("%s", e->msg);
}

static int try_build(struct rig *r, const char *fields, struct err *e)
{
	char text[256];

	memset(r, 0, sizeof(*r));
	(void)snprintf(text, sizeof(text),
		       "{\"boot-source\":{\"kernel_image_path\":\"k\"},"
		       "\"machine-config\":{\"vcpu_count\":1,"
		       "\"mem_size_mib\":16%s},"
		       "\"serial\":{\"log_path\":\"/dev/null\"}}",
		       fields);
	must(config_parse(text, strlen(text), &r->config, e), e);
	r->loop = loop_new(e);
	return machine_new(&r->config, r->loop, &r->m, e);
}

static void build(struct rig *r)
{
	struct err e = ERR_INIT;

	must(try_build(r, "", &e), &e);
}

static void take_down(struct rig *r)
{
	machine_free(r->m);
	loop_free(r->loop);
	config_done(&r->config);
}

static struct vcpu *vcpu(struct rig *r)
{
	return &r->m->vcpus[0];
}

static void save(struct rig *r, struct state_writer *w)
{
	struct err e = ERR_INIT;

	state_writer_init(w, 1 << 20);
	must(vcpu_save(vcpu(r), w, &e), &e);
	must(state_finish(w, &e), &e);
}

static int load(struct rig *r, struct state_writer *w, struct err *e)
{
	struct state_reader reader;
	int rc = state_reader_init(&reader, buf_head(&w->out), buf_len(&w->out),
				   e);

	must(rc, e);
	return vcpu_load(vcpu(r), &reader, e);
}

/* The section again, with `cut` bytes at its start replaced. */
static void change_start(struct state_writer *w, const void *start, size_t cut,
			 uint16_t version)
{
	struct state_reader reader;
	struct state_writer n;
	struct err e = ERR_INIT;
	uint16_t was;

	must(state_reader_init(&reader, buf_head(&w->out), buf_len(&w->out),
			       &e),
	     &e);
	must(state_open(&reader, "vcpu0", 2, &was, &e), &e);
	state_writer_init(&n, 1 << 20);
	state_begin(&n, "vcpu0", version);
	state_put_bytes(&n, start, cut);
	state_put_bytes(&n, reader.at + cut,
			(size_t)(reader.end - reader.at) - cut);
	state_end(&n);
	must(state_finish(&n, &e), &e);
	state_writer_done(w);
	*w = n;
}

/* The last MSR of the section becomes another one. */
static void change_last_msr(struct state_writer *w, uint32_t index,
			    uint64_t value)
{
	struct state_reader reader;
	struct state_writer n;
	struct err e = ERR_INIT;
	uint16_t was;

	must(state_reader_init(&reader, buf_head(&w->out), buf_len(&w->out),
			       &e),
	     &e);
	must(state_open(&reader, "vcpu0", 2, &was, &e), &e);
	state_writer_init(&n, 1 << 20);
	state_begin(&n, "vcpu0", 2);
	state_put_bytes(&n, reader.at, (size_t)(reader.end - reader.at) - 12);
	state_put_u32(&n, index);
	state_put_u64(&n, value);
	state_end(&n);
	must(state_finish(&n, &e), &e);
	state_writer_done(w);
	*w = n;
}

static void assert_refused(struct state_writer *w, const char *code,
			   const char *words)
{
	struct rig b;
	struct err e = ERR_INIT;

	build(&b);
	assert_true(load(&b, w, &e) < 0);
	assert_string_equal(e.code, code);
	if (!strstr(e.msg, words))
		fail_msg("message is \"%s\"", e.msg);
	take_down(&b);
}

/* The guest's CPU, not the one that a new VM would have. */
static void test_cpu_comes_back_as_the_guest_knows_it(void **state)
{
	struct rig a, b;
	struct state_writer w;
	AUTO(free) struct cpuid_table *t = calloc(1, sizeof(*t));
	AUTO(free) struct cpuid_table *got = calloc(1, sizeof(*got));
	struct err e = ERR_INIT;

	(void)state;
	build(&a);
	build(&b);
	must(cpuid_get(vcpu(&a)->fd, t, &e), &e);
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == 1)
			t->entries[i].edx &= ~1u; /* an old CPU: no FPU bit */
	must(cpuid_set(vcpu(&a)->fd, t, &e), &e);
	/* Some KVMs have their own idea of what was set. */
	must(cpuid_get(vcpu(&a)->fd, t, &e), &e);
	save(&a, &w);
	must(load(&b, &w, &e), &e);
	must(cpuid_get(vcpu(&b)->fd, got, &e), &e);
	assert_int_equal(got->count, t->count);
	assert_memory_equal(got->entries, t->entries,
			    t->count * sizeof(t->entries[0]));
	state_writer_done(&w);
	take_down(&a);
	take_down(&b);
}

static void test_cpu_that_is_not_here_is_refused(void **state)
{
	enum {
		HEAD = 12, /* frequency, count */
		ENTRY = 7 * 4
	};
	struct rig a;
	struct state_writer w;
	struct state_reader reader;
	static uint8_t start[HEAD + CPUID_ENTRIES_MAX * ENTRY];
	uint32_t count, function;
	struct err e = ERR_INIT;
	uint16_t was;

	(void)state;
	build(&a);
	save(&a, &w);
	must(state_reader_init(&reader, buf_head(&w.out), buf_len(&w.out), &e),
	     &e);
	must(state_open(&reader, "vcpu0", 2, &was, &e), &e);
	(void)memcpy(&count, reader.at + 8, 4);
	assert_true(count > 2 && count <= CPUID_ENTRIES_MAX);
	memcpy(start, reader.at, HEAD + count * ENTRY);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&function, start + HEAD + i * ENTRY, 4);
		if (function == 1) /* bit 16 of ECX: reserved, nobody has it */
			start[HEAD + i * ENTRY + 5 * 4 + 2] |= 1;
	}
	change_start(&w, start, HEAD + count * ENTRY, 2);
	assert_refused(&w, "state_incompatible", "CPUID 0x1.0 ECX bit 16");
	state_writer_done(&w);
	take_down(&a);
}

static void test_other_tsc_is_refused_or_scaled(void **state)
{
	struct rig a, b;
	struct state_writer w;
	uint64_t khz, near;
	struct err e = ERR_INIT;

	(void)state;
	build(&a);
	khz = vcpu_tsc_khz(vcpu(&a));
	if (khz == 0) {
		take_down(&a);
		print_message("SKIP KVM does not tell the TSC's frequency\n");
		skip();
	}
	save(&a, &w);
	near = khz + khz / 10000; /* 100 ppm */
	change_start(&w, &near, sizeof(near), 2);
	build(&b);
	must(load(&b, &w, &e), &e);
	take_down(&b);
	khz *= 2;
	change_start(&w, &khz, sizeof(khz), 2);
	if (kvm_ioctl_value(a.m->kvm.fd, KVM_CHECK_EXTENSION,
			    KVM_CAP_TSC_CONTROL) > 0) {
		build(&b);
		must(load(&b, &w, &e), &e);
		assert_int_equal(vcpu_tsc_khz(vcpu(&b)), khz);
		take_down(&b);
	} else {
		assert_refused(&w, "state_incompatible", "kHz");
	}
	state_writer_done(&w);
	take_down(&a);
}

static void test_msr_that_is_refused_is_named(void **state)
{
	struct rig a, b;
	struct state_writer w;
	struct err e = ERR_INIT;

	(void)state;
	build(&a);
	save(&a, &w);
	change_last_msr(&w, MSR_NONE, 0x1234); /* used there, not had here */
	assert_refused(&w, "state_incompatible", "MSR 0x3fffffff = 0x1234");
	change_last_msr(&w, MSR_NONE, 0); /* never used */
	build(&b);
	must(load(&b, &w, &e), &e);
	take_down(&b);
	change_last_msr(&w, MSR_STAR, 0x0023001000000000);
	build(&b);
	must(load(&b, &w, &e), &e);
	take_down(&b);
	state_writer_done(&w);
	take_down(&a);
}

/* Vector registers: more than the test of a machine looks at. */
static void test_vector_registers_come_back(void **state)
{
	enum {
		XMM3 = (160 + 3 * 16) / 4, /* words of the legacy area */
		IN_USE = 512 / 4
	};
	struct rig a, b;
	struct state_writer w;
	struct kvm_xsave x, got;
	struct err e = ERR_INIT;

	(void)state;
	build(&a);
	build(&b);
	must(kvm_try(vcpu(&a)->fd, KVM_GET_XSAVE, &x, "xsave", &e), &e);
	memset(&x.region[XMM3], 0x5a, 16);
	x.region[IN_USE] |= 3; /* x87, SSE */
	must(kvm_try(vcpu(&a)->fd, KVM_SET_XSAVE, &x, "xsave", &e), &e);
	save(&a, &w);
	must(load(&b, &w, &e), &e);
	must(kvm_try(vcpu(&b)->fd, KVM_GET_XSAVE, &got, "xsave", &e), &e);
	assert_memory_equal(&got.region[XMM3], &x.region[XMM3], 16);
	state_writer_done(&w);
	take_down(&a);
	take_down(&b);
}

static void test_state_without_a_cpu_is_too_old(void **state)
{
	struct rig a;
	struct state_writer w;

	(void)state;
	build(&a);
	save(&a, &w);
	change_start(&w, "", 0, 1);
	assert_refused(&w, "state_too_old", "description of its CPU");
	state_writer_done(&w);
	take_down(&a);
}

/* Every length of a part or a list that says more than there is. */
static void test_broken_lengths_are_refused(void **state)
{
	struct rig a;
	struct state_writer w;
	const uint8_t *payload;
	uint8_t start[12];
	struct state_reader reader;
	struct err e = ERR_INIT;
	uint16_t was;

	(void)state;
	build(&a);
	save(&a, &w);
	must(state_reader_init(&reader, buf_head(&w.out), buf_len(&w.out), &e),
	     &e);
	must(state_open(&reader, "vcpu0", 2, &was, &e), &e);
	payload = reader.at;
	memcpy(start, payload, sizeof(start));
	memset(start + 8, 0xff, 4); /* leaves of CPUID */
	change_start(&w, start, sizeof(start), 2);
	assert_refused(&w, "state_invalid", "CPUID leaves");
	state_writer_done(&w);
	take_down(&a);
}

static void test_nested_needs_a_kvm_that_can(void **state)
{
	AUTO(free) struct cpuid_table *t = calloc(1, sizeof(*t));
	struct err e = ERR_INIT;
	struct rig a;
	bool can;
	int rc;

	(void)state;
	build(&a);
	must(cpuid_supported(&a.m->kvm, t, &e), &e);
	can = cpuid_has_nested(t);
	must(cpuid_get(vcpu(&a)->fd, t, &e), &e);
	assert_false(cpuid_has_nested(t));
	take_down(&a);
	rc = try_build(&a, ",\"nested\":true,\"pmu\":true", &e);
	assert_int_equal(rc == 0, can);
	if (can) {
		must(cpuid_get(vcpu(&a)->fd, t, &e), &e);
		assert_true(cpuid_has_nested(t));
	} else {
		assert_string_equal(e.code, "nested_unavailable");
		a.m = NULL;
	}
	take_down(&a);
}

/* What the CPU is called and how its TLBs look is the host's. */
static void test_brand_and_tlbs_are_the_hosts(void **state)
{
	AUTO(free) struct cpuid_table *t = calloc(1, sizeof(*t));
	static const uint32_t leaves[] = { 0x80000002, 0x80000003, 0x80000004,
					   0x80000005, 0x80000006 };
	struct err e = ERR_INIT;
	struct rig a;

	(void)state;
	build(&a);
	must(cpuid_get(vcpu(&a)->fd, t, &e), &e);
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		const struct kvm_cpuid_entry2 *got =
			cpuid_find(t, leaves[i], 0);
		unsigned eax, ebx, ecx, edx;

		if ((uint32_t)__get_cpuid_max(0x80000000, NULL) < leaves[i])
			continue;
		__cpuid_count(leaves[i], 0, eax, ebx, ecx, edx);
		assert_non_null(got);
		assert_int_equal(got->eax, eax);
		assert_int_equal(got->ebx, ebx);
		assert_int_equal(got->ecx, ecx);
	}
	take_down(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpu_comes_back_as_the_guest_knows_it),
		cmocka_unit_test(test_cpu_that_is_not_here_is_refused),
		cmocka_unit_test(test_other_tsc_is_refused_or_scaled),
		cmocka_unit_test(test_msr_that_is_refused_is_named),
		cmocka_unit_test(test_vector_registers_come_back),
		cmocka_unit_test(test_state_without_a_cpu_is_too_old),
		cmocka_unit_test(test_broken_lengths_are_refused),
		cmocka_unit_test(test_nested_needs_a_kvm_that_can),
		cmocka_unit_test(test_brand_and_tlbs_are_the_hosts),
	};

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		(void)puts("SKIP /dev/kvm cannot be opened here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
