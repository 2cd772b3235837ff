/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/vm/vm_cgroup.c: the row, the end and its reason. vmd-priv is the test. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rig.h"
#include "vmd/priv/privops.h"

static struct {
	struct privops_cgroup_end answer;
	unsigned busy; /* so often it is not gone */
	unsigned away; /* so often vmd-priv does not answer */
	unsigned asked, sweeps;
	char last[ID_LEN + 1];
	size_t rows; /* when it was asked */
	struct rig *rig;
} priv;

int __wrap_privops_cgroup_end(const char *vm_id, struct privops_cgroup_end *ret,
			      struct err *e);
void __wrap_privops_cgroups_sweep(void);

#define ROWS "SELECT count(*) FROM journal WHERE kind=5"

int __wrap_privops_cgroup_end(const char *vm_id, struct privops_cgroup_end *ret,
			      struct err *e)
{
	assert_int_equal(JOURNAL_CGROUP, 5);
	priv.asked++;
	(void)strcpy(priv.last, vm_id);
	priv.rows = rig_rows(priv.rig, ROWS);
	*ret = (struct privops_cgroup_end){ .gone = false };
	if (priv.away) {
		priv.away--;
		return err_set(e, ERR_UNAVAILABLE, "priv_gone", ENOTCONN,
			       "vmd-priv is away");
	}
	*ret = priv.answer;
	ret->gone = priv.busy == 0;
	priv.busy -= priv.busy > 0;
	return 0;
}

void __wrap_privops_cgroups_sweep(void)
{
	priv.sweeps++;
}

static struct rig *begin(void **state)
{
	memset(&priv, 0, sizeof(priv));
	priv.rig = *state;
	return *state;
}

static void test_row_is_there_while_it_runs(void **state)
{
	struct rig *r = begin(state);
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"v\"", &a);

	answer_done(&a);
	assert_int_equal(rig_rows(r, ROWS), 1);
	assert_int_equal(priv.asked, 0);
	rig_expect(r, "POST", "/v1/vms/v/stop?wait=5", NULL, "state",
		   "succeeded");
	/* Asked once, the row being there, and then it is not. */
	assert_int_equal(priv.asked, 1);
	assert_string_equal(priv.last, id);
	assert_int_equal(priv.rows, 1);
	assert_int_equal(rig_rows(r, ROWS), 0);
	rig_expect(r, "GET", "/v1/vms/v", NULL, "state", "stopped");
}

static void test_start_that_fails_leaves_none(void **state)
{
	struct rig *r = begin(state);
	struct answer a;

	fake_fault = FAKE_START_REFUSED;
	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	assert_int_equal(priv.asked, 1);
	assert_int_equal(rig_rows(r, ROWS), 0);
}

static void expect_failed(struct rig *r, const char *code, const char *word)
{
	struct answer a;

	rig_call(r, "GET", "/v1/vms/v", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "failed");
	assert_string_equal(answer_text(&a, "error.code"), code);
	assert_non_null(strstr(answer_text(&a, "error.detail"), word));
	answer_done(&a);
}

static bool is_failed(struct rig *r, const char *id)
{
	return vm_find_id(&r->d, id)->row.state == API_VM_FAILED;
}

static void test_end_for_want_of_memory_is_told_so(void **state)
{
	static const struct {
		struct cgroup_oom oom;
		const char *code, *word;
	} cases[] = {
		{ { 1, 2 }, "out_of_memory", "more memory than they may" },
		{ { 0, 1 }, "out_of_memory", "the host" },
		{ { 3, 0 }, "fake_died", "fake" }, /* nobody was killed */
		{ { 0, 0 }, "fake_died", "fake" },
	};
	struct rig *r = begin(state);
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"v\"", &a);

	answer_done(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		priv.answer.oom = cases[i].oom;
		fake_end(id, VM_END_FAILED);
		RIG_UNTIL(r, is_failed(r, id));
		expect_failed(r, cases[i].code, cases[i].word);
		rig_expect(r, "POST", "/v1/vms/v/start?wait=5", NULL, "state",
			   "succeeded");
	}
	/* A guest that crashed by itself did. */
	priv.answer.oom = (struct cgroup_oom){ 1, 1 };
	fake_end(id, VM_END_CRASH);
	RIG_UNTIL(r, is_failed(r, id));
	rig_call(r, "GET", "/v1/vms/v", "", NULL, &a);
	assert_string_not_equal(answer_text(&a, "error.code"), "out_of_memory");
	answer_done(&a);
}

static void test_one_that_is_busy_is_asked_for_again(void **state)
{
	struct rig *r = begin(state);
	struct answer a;

	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	priv.busy = 1;
	priv.away = 1;
	rig_expect(r, "POST", "/v1/vms/v/stop?wait=5", NULL, "state",
		   "succeeded");
	assert_int_equal(priv.asked, 1);
	assert_int_equal(rig_rows(r, ROWS), 1);
	RIG_UNTIL(r, rig_rows(r, ROWS) == 0);
	assert_int_equal(priv.asked, 3);
	rig_spin(r, 300);
	assert_int_equal(priv.asked, 3);
}

/* The cgroup of that id is another run's by then. */
static void test_one_that_is_busy_is_left_to_the_next_start(void **state)
{
	struct rig *r = begin(state);
	struct answer a;

	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	priv.busy = 1;
	rig_expect(r, "POST", "/v1/vms/v/stop?wait=5", NULL, "state",
		   "succeeded");
	assert_int_equal(priv.asked, 1);
	rig_expect(r, "POST", "/v1/vms/v/start?wait=5", NULL, "state",
		   "succeeded");
	rig_spin(r, 500);
	assert_int_equal(priv.asked, 1);
	assert_int_equal(rig_rows(r, ROWS), 1);
}

static void test_adoption_brings_user_and_cgroup(void **state)
{
	struct rig *r = begin(state);
	struct answer a;
	AUTO(free) char *id = NULL;
	uint32_t slot;

	r->d.slot_next = 41;
	id = rig_create(r, "\"name\":\"v\"", &a);
	answer_done(&a);
	slot = vm_find_id(&r->d, id)->uid_slot;
	assert_int_equal(slot, 42);
	rig_drop(r);
	rig_start(r);
	assert_int_equal(priv.sweeps, 1);
	assert_int_equal(vm_find_id(&r->d, id)->uid_slot, slot);
	assert_int_equal(rig_rows(r, ROWS), 1);
	assert_int_equal(priv.asked, 0);
	/* Its end while nobody looks is known for what it was. */
	rig_drop(r);
	priv.answer.oom = (struct cgroup_oom){ 1, 1 };
	fake_end(id, VM_END_FAILED);
	rig_start(r);
	expect_failed(r, "out_of_memory", "more memory");
	assert_int_equal(rig_rows(r, ROWS), 0);
}

static void test_rows_of_no_vm_are_removed_with_their_cgroup(void **state)
{
	struct rig *r = begin(state);
	struct journal_row row = { .kind = JOURNAL_CGROUP,
				   .owner = "abcdefghijklmnopqrstuvwxyz",
				   .name = "7" };

	assert_int_equal(store_journal_add(r->d.store, &row, NULL), 0);
	rig_drop(r);
	rig_start(r);
	assert_string_equal(priv.last, row.owner);
	assert_int_equal(rig_rows(r, ROWS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_row_is_there_while_it_runs),
		RIG_TEST(test_start_that_fails_leaves_none),
		RIG_TEST(test_end_for_want_of_memory_is_told_so),
		RIG_TEST(test_one_that_is_busy_is_asked_for_again),
		RIG_TEST(test_one_that_is_busy_is_left_to_the_next_start),
		RIG_TEST(test_adoption_brings_user_and_cgroup),
		RIG_TEST(test_rows_of_no_vm_are_removed_with_their_cgroup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
