/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <signal.h>
#include <string.h>

#include "api/names.h"

static void test_states_round_trip(void **state)
{
	enum api_vm_state vm;
	enum api_op_state op;

	(void)state;
	for (unsigned i = 0; i < API_VM_STATE_COUNT; i++) {
		assert_true(api_vm_state_from_name(
			api_vm_state_name((enum api_vm_state)i), &vm));
		assert_int_equal(vm, i);
	}
	for (unsigned i = 0; i < API_OP_STATE_COUNT; i++) {
		assert_true(api_op_state_from_name(
			api_op_state_name((enum api_op_state)i), &op));
		assert_int_equal(op, i);
	}
	assert_false(api_vm_state_from_name("Ready", &vm));
	assert_false(api_op_state_from_name("", &op));
}

static void test_signals(void **state)
{
	(void)state;
	assert_int_equal(api_signal_number("INT"), SIGINT);
	assert_int_equal(api_signal_number("KILL"), SIGKILL);
	assert_int_equal(api_signal_number("SIGINT"), 0);
	assert_string_equal(api_signal_name(SIGTERM), "TERM");
	assert_null(api_signal_name(4711));
	for (size_t i = 0; api_signals[i]; i++)
		assert_string_equal(
			api_signal_name(api_signal_number(api_signals[i])),
			api_signals[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states_round_trip),
		cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
