/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a VM's life: what has to be so of it as data, and a daemon that is
 * led through it at random. VMD_SEED repeats a walk.
 */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "rig.h"

enum {
	WALK_MS = 5000,
	VMS_MAX = 5,
	CREATES_MAX = 200
};

#define BIT(n) (UINT64_C(1) << (n))

static bool is_choice(enum vm_state s)
{
	return vm_states[s].flags & STATE_CHOICE;
}

static bool has_rule(enum vm_state s, enum vm_event on)
{
	for (size_t i = 0; i < vm_rule_count; i++)
		if (vm_rules[i].from >> s & 1 && vm_rules[i].on >> on & 1)
			return true;
	return false;
}

/* A rule behind one that always fits is never taken. */
static void test_every_rule_can_be_taken(void **state)
{
	(void)state;
	for (enum vm_state s = 0; s < VM_STATE_COUNT; s++) {
		uint64_t settled = 0;

		for (size_t i = 0; i < vm_rule_count; i++) {
			const struct vm_rule *r = &vm_rules[i];

			if (!(r->from >> s & 1))
				continue;
			if (!(r->on & ~settled))
				fail_msg("rule %zu is never taken in '%s'", i,
					 vm_states[s].name);
			if (r->given == ALWAYS)
				settled |= r->on;
		}
		/* A choice always leads on, and to a state. */
		if (is_choice(s))
			assert_int_equal(settled, BIT(ON_CHOICE));
	}
	for (size_t i = 0; i < vm_rule_count; i++)
		if (vm_rules[i].on & BIT(ON_CHOICE))
			assert_false(is_choice(vm_rules[i].next));
}

static uint32_t reachable(uint32_t set)
{
	uint32_t before = 0;

	while (set != before) {
		before = set;
		for (size_t i = 0; i < vm_rule_count; i++)
			if (vm_rules[i].from & set &&
			    vm_rules[i].next != VM_SAME)
				set |= UINT32_C(1) << vm_rules[i].next;
	}
	return set;
}

static void test_every_state_is_reached_and_left(void **state)
{
	(void)state;
	for (enum vm_state s = 0; s < VM_STATE_COUNT; s++) {
		if (!(reachable(1 << VM_NEW | 1 << VM_LOADED) >> s & 1))
			fail_msg("nothing leads to '%s'", vm_states[s].name);
		if (!(reachable(UINT32_C(1) << s) >> VM_GONE & 1))
			fail_msg("a VM that is '%s' cannot be removed",
				 vm_states[s].name);
	}
}

static void test_what_a_state_owns_ends_with_it(void **state)
{
	const uint32_t going =
		1 << VM_REMOVING | 1 << VM_DELETING | 1 << VM_GONE;

	(void)state;
	for (enum vm_state s = VM_CREATED; s < VM_START_OVER; s++) {
		/* A timer is for something. */
		if (has_rule(s, ON_TIMER) != (vm_states[s].clock != NULL))
			fail_msg("'%s' and its timer", vm_states[s].name);
		/* What runs may end at any time. */
		for (unsigned end = ON_POWEROFF; end <= ON_STARVED; end++)
			if (has_rule(s, end) !=
			    ((vm_states[s].holds & HOLDS_RUN) != 0))
				fail_msg("'%s' when it ends",
					 vm_states[s].name);
		/* Whatever it does, it can be got rid of, once. */
		if (has_rule(s, ON_DELETE_FORCE) == (going >> s & 1) ||
		    has_rule(s, ON_DESTROY) == (going >> s & 1))
			fail_msg("'%s' and a deletion by force",
				 vm_states[s].name);
	}
}

static void test_nothing_is_dropped_that_runs(void **state)
{
	(void)state;
	for (size_t i = 0; i < vm_rule_count; i++) {
		const struct vm_rule *r = &vm_rules[i];

		if (r->next == VM_SAME)
			continue;
		if (is_choice(r->next) || vm_states[r->next].holds & HOLDS_RUN)
			continue;
		/* The engine has let go of it, or never had it. */
		for (enum vm_state s = VM_CREATED; s < VM_START_OVER; s++)
			if (r->from >> s & 1 && vm_states[s].holds & HOLDS_RUN)
				assert_int_equal(r->on & ~VM_ANY_END, 0);
	}
}

/* Whoever held on to a VM may let go of it while its run is dropped. */
struct holder {
	struct vm_console_user user;
	struct vm *vm;
};

static void let_go(struct vm_console_user *u)
{
	struct vm *vm = ((struct holder *)u)->vm;

	assert_true(vm->dropping);
	vm_destroy(vm, NULL);
	assert_int_equal(vm->state, VM_STOPPED);
}

static void test_who_is_told_of_an_end_may_destroy(void **state)
{
	struct rig *r = *state;
	struct holder h = { .user.ended = let_go };
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	struct vm *vm = vm_find_id(&r->d, id);

	answer_done(&a);
	h.vm = vm;
	LIST_INSERT_HEAD(&vm->console_users, &h.user, link);
	fake_end(id, VM_END_POWEROFF);
	/* First one thing is done, then the other. */
	assert_int_equal(vm->state, VM_STOPPED);
	LIST_REMOVE(&h.user, link);
	RIG_UNTIL(r, !vm_find_id(&r->d, id));
	rig_assert_nothing_left(r);
}

/* The walk. */

static uint64_t walk_seed, draws;

static unsigned draw(unsigned below)
{
	/* splitmix64 */
	uint64_t z = walk_seed + ++draws * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (unsigned)((z ^ z >> 31) % below);
}

static void check_row(void *ctx, struct vm_row *row)
{
	const struct vm *vm = vm_find_id(ctx, row->id);

	assert_non_null(vm);
	if (vm->row.state != row->state ||
	    strcmp(vm->row.reason, row->reason) != 0)
		fail_msg("a VM that is %s (%s) is %s (%s) in the store",
			 api_vm_state_name(vm->row.state), vm->row.reason,
			 api_vm_state_name(row->state), row->reason);
}

static void check_holdings(const struct vm *vm)
{
	const struct vm_state_row *s = &vm_states[vm->state];
	unsigned has = 0;

	has |= vm->op ? HOLDS_OPERATION : 0;
	has |= vm->turn != TURN_NONE ? HOLDS_TURN : 0;
	has |= vm->files || vm->clone ? HOLDS_MAKING : 0;
	has |= vm->handle || vm->session || vm->ports ||
			       loop_timer_armed(&vm->reconnect)
		       ? HOLDS_RUN
		       : 0;
	has |= vm->process_count ? HOLDS_PROCESSES : 0;
	has |= vm->console ? HOLDS_CONSOLE : 0;
	if (has & ~s->holds)
		fail_msg("'%s' holds %#x and may hold %#x", s->name, has,
			 s->holds);
	if ((s->holds & HOLDS_RUN) && !vm->handle)
		fail_msg("'%s' without an engine's VM", s->name);
}

static void check_vm(const struct vm *vm, unsigned *turns)
{
	const struct vm_state_row *s = &vm_states[vm->state];
	const struct operation *op;
	bool timer;

	assert_false(vm->dropping || s->flags & STATE_CHOICE);
	assert_true(vm->state > VM_LOADED && vm->state != VM_GONE);
	check_holdings(vm);
	timer = s->clock && (s->clock->limit_ms || vm->turn == TURN_TAKEN);
	if (loop_timer_armed(&vm->timer) != timer)
		fail_msg("'%s' and its timer", s->name);
	if (!(s->flags & STATE_UNSEEN))
		assert_int_equal(vm->row.state, s->shown);
	*turns += vm->turn == TURN_TAKEN;
	LIST_FOREACH(op, &vm->daemon->operations, link)
		if (op->row.state == API_OP_RUNNING && op->owner == vm)
			assert_ptr_equal(op, vm->op);
}

static void check(struct rig *r)
{
	const struct vm *vm;
	unsigned turns = 0;

	LIST_FOREACH(vm, &r->d.vms, link)
		check_vm(vm, &turns);
	assert_int_equal(turns, r->d.turns.taken);
	assert_int_equal(store_vm_each(r->d.store, check_row, &r->d, NULL), 0);
}

static struct vm *any(struct rig *r)
{
	struct vm *vm = LIST_FIRST(&r->d.vms);

	for (size_t n = r->d.vm_count ? draw((unsigned)r->d.vm_count) : 0;
	     vm && n; n--)
		vm = LIST_NEXT(vm, link);
	return vm;
}

static void create(struct rig *r)
{
	static unsigned made;
	static const char *const extras[] = {
		"",
		",\"ephemeral\":true",
		",\"start\":false",
		",\"command\":[\"work\"]",
		",\"command\":[\"work\"],\"ephemeral\":true",
		",\"ready_timeout_seconds\":1"
	};
	struct answer a;
	char body[128];

	if (r->d.vm_count >= VMS_MAX || made >= CREATES_MAX)
		return;
	made++;
	(void)snprintf(body, sizeof(body), "{\"image\":\"tiny\"%s}",
		       extras[draw(ARRAY_LEN(extras))]);
	rig_call(r, "POST", "/v1/vms", "", body, &a);
	assert_int_equal(a.status, 202);
	answer_done(&a);
}

static void ask(struct vm *vm)
{
	struct err e = ERR_INIT;
	char op[ID_LEN + 1];
	uint64_t ms = UINT64_C(10) * draw(3);
	int rc = 0;

	switch (draw(6)) {
	case 0:
		rc = vm_start(vm, op, &e);
		break;
	case 1:
		rc = vm_stop(vm, ms, draw(2), op, &e);
		break;
	case 2:
		rc = vm_restart(vm, ms, draw(2), op, &e);
		break;
	case 3:
		rc = vm_delete(vm, draw(3) == 0, op, &e);
		break;
	case 4:
		if (draw(4) == 0)
			vm_destroy(vm, NULL);
		return;
	default:
		if (vm->op)
			(void)operation_cancel(vm->daemon, vm->op->row.id, &e);
		return;
	}
	if (rc < 0 && strcmp(e.code, "wrong_state") != 0 &&
	    strcmp(e.code, "operation_running") != 0)
		fail_msg("%s", e.msg);
}

/* Something happens to one that runs. */
static void happen(struct vm *vm)
{
	const char *id = vm->row.id;

	if (!vm->handle)
		return;
	switch (draw(6)) {
	case 0:
		fake_end(id, draw(VM_END_FAILED + 1));
		break;
	case 1:
		fake_pause(id);
		break;
	case 2:
		if (fake_has_agent(id))
			fake_lose_agent(id);
		break;
	case 3:
		if (fake_has_agent(id) && agent_session_ready(vm->session))
			fake_command_ends(id, 3);
		break;
	case 4:
		fake_print(id, "Kernel panic - not syncing: a test\r\n");
		break;
	default:
		fake_room = draw(2);
		break;
	}
}

/* Its time is over, before it really is. */
static void pass_time(struct vm *vm)
{
	const struct vm_clock *clock = vm_states[vm->state].clock;
	struct err why = ERR_INIT;

	if (!clock || !loop_timer_armed(&vm->timer))
		return;
	loop_timer_disarm(&vm->timer);
	if (clock->late)
		clock->late(vm, &why);
	vm_event(vm, ON_TIMER, &why);
}

static void step(struct rig *r)
{
	struct vm *vm = any(r);
	unsigned what = draw(40);

	if (what < 6)
		create(r);
	else if (what < 12 && vm)
		ask(vm);
	else if (what < 17 && vm)
		happen(vm);
	else if (what < 18 && vm)
		pass_time(vm);
	else if (what < 20)
		fake_fault = draw(FAKE_ADOPT_FAILS + 1);
	else if (what == 20 && draw(3) == 0) {
		rig_drop(r);
		rig_start(r);
	} else
		(void)loop_run_once(r->loop, 2);
}

static void tell(unsigned steps, uint32_t seen)
{
	print_message("%u steps; not seen after any:", steps);
	for (enum vm_state s = VM_CREATED; s < VM_START_OVER; s++)
		if (!(seen >> s & 1))
			print_message(" %s", vm_states[s].name);
	print_message("\n");
}

static void choose_seed(void)
{
	const char *given = getenv("VMD_SEED");

	if (given)
		walk_seed = strtoull(given, NULL, 10);
	else
		assert_int_equal(getrandom(&walk_seed, 4, 0), 4);
	print_message("VMD_SEED=%llu\n", (unsigned long long)walk_seed);
}

static void test_walk_at_random(void **state)
{
	struct rig *r = *state;
	uint64_t until = clock_mono_ms() + WALK_MS;
	uint32_t seen = 0;
	unsigned steps = 0;
	struct vm *vm;

	choose_seed();
	r->config.kill_ms = 50;
	for (; clock_mono_ms() < until; steps++) {
		step(r);
		check(r);
		LIST_FOREACH(vm, &r->d.vms, link)
			seen |= UINT32_C(1) << vm->state;
	}
	tell(steps, seen);
	fake_fault = FAKE_OK;
	while ((vm = LIST_FIRST(&r->d.vms))) {
		AUTO(free) char *id = strdup(vm->row.id);

		vm_destroy(vm, NULL);
		RIG_UNTIL(r, !vm_find_id(&r->d, id));
		check(r);
	}
	rig_assert_nothing_left(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_rule_can_be_taken),
		cmocka_unit_test(test_every_state_is_reached_and_left),
		cmocka_unit_test(test_what_a_state_owns_ends_with_it),
		cmocka_unit_test(test_nothing_is_dropped_that_runs),
		RIG_TEST(test_who_is_told_of_an_end_may_destroy),
		RIG_TEST(test_walk_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
