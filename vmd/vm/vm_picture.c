/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draws the table of vm_table.c, for the documentation: "life": one of the lives that
 * it allows; "overview": the states that clients see; "states": all of them, what each
 * may hold, and where each event leads.
 */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "vmd/vm/vm_table.h"

enum {
	TEXT_MAX = 512,
	ARROW_COLUMN = 46
};

static const char *shown(enum vm_state s)
{
	return s == VM_GONE ? "removed" : api_vm_state_name(vm_states[s].shown);
}

static bool is_drawn(enum vm_state s)
{
	return !(vm_states[s].flags & STATE_CHOICE) && s != VM_NEW &&
	       s != VM_LOADED;
}

/* Everything that the rule can lead to, a bit each; choices are followed. */
static uint32_t targets(const struct vm_rule *r)
{
	uint32_t set = 0;

	if (r->next == VM_SAME)
		return 0;
	if (!(vm_states[r->next].flags & STATE_CHOICE))
		return UINT32_C(1) << r->next;
	for (size_t i = 0; i < vm_rule_count; i++)
		if (vm_rules[i].from >> r->next & 1)
			set |= targets(&vm_rules[i]);
	return set;
}

/* Where a state that is seen as `from` leads, in states that are seen. */
static void draw_seen(enum api_vm_state from)
{
	bool told[API_VM_STATE_COUNT + 1] = { false };
	uint32_t set = 0;

	for (size_t i = 0; i < vm_rule_count; i++)
		for (enum vm_state s = 0; s < VM_STATE_COUNT; s++)
			if (vm_rules[i].from >> s & 1 && is_drawn(s) &&
			    s != VM_GONE && vm_states[s].shown == from &&
			    !(vm_states[s].flags & STATE_UNSEEN))
				set |= targets(&vm_rules[i]);
	/* What is not seen passes for what it leads to by itself. */
	for (size_t i = 0; i < vm_rule_count && set >> VM_FAILING & 1; i++)
		if (vm_rules[i].from >> VM_FAILING & 1 &&
		    vm_rules[i].begins < 0)
			set |= targets(&vm_rules[i]);
	(void)printf("    %-9s ─▶", api_vm_state_name(from));
	for (enum vm_state s = 0; s < VM_STATE_COUNT; s++) {
		size_t at =
			s == VM_GONE ? API_VM_STATE_COUNT : vm_states[s].shown;

		if (!(set >> s & 1) || vm_states[s].flags & STATE_UNSEEN ||
		    at == from || told[at])
			continue;
		told[at] = true;
		(void)printf(" %s", shown(s));
	}
	(void)printf("\n");
}

static void add(char *text, const char *separator, const char *word)
{
	size_t len = strlen(text);

	(void)snprintf(text + len, TEXT_MAX - len, "%s%s", len ? separator : "",
		       word);
}

static const char *holdings(enum vm_state s, char *text)
{
	static const char *const words[] = { "operation",	 "turn",
					     "files being made", "run",
					     "processes",	 "console" };

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (vm_states[s].holds >> i & 1)
			add(text, ", ", words[i]);
	return text[0] ? text : "nothing";
}

static void events_of(const struct vm_rule *r, enum vm_state s, char *text)
{
	const uint64_t ends = r->on & VM_ANY_END;
	const bool any_end = ends == VM_ANY_END;
	const struct vm_clock *clock = vm_states[s].clock;

	text[0] = '\0';
	if (any_end)
		add(text, "", "any end");
	for (enum vm_event on = 0; on < VM_EVENT_COUNT; on++)
		if ((r->on & ~(any_end ? ends : 0)) >> on & 1)
			add(text, ", ",
			    on == ON_TIMER && clock ? clock->text
						    : vm_event_names[on]);
	if (r->given != ALWAYS) {
		add(text, " ", "[");
		(void)snprintf(text + strlen(text), TEXT_MAX - strlen(text),
			       "%s]", vm_guard_names[r->given]);
	}
}

static void draw_state(enum vm_state s)
{
	char text[TEXT_MAX];

	(void)printf("    %s", vm_states[s].name);
	if (vm_states[s].flags & STATE_CHOICE)
		(void)printf(": a choice, passed through at once\n");
	else if (vm_states[s].flags & STATE_UNSEEN)
		(void)printf(": seen as before; holds %s\n", holdings(s, text));
	else
		(void)printf(": seen as %s; holds %s\n",
			     api_vm_state_name(vm_states[s].shown),
			     holdings(s, text));
	for (size_t i = 0; i < vm_rule_count; i++) {
		const struct vm_rule *r = &vm_rules[i];

		if (!(r->from >> s & 1))
			continue;
		events_of(r, s, text);
		(void)printf("      %s%s", text[0] ? text : "otherwise", " ");
		for (size_t at = strlen(text); at < ARROW_COLUMN; at++)
			(void)printf("─");
		(void)printf("─▶ %s\n", r->next == VM_SAME
						? "(as before)"
						: vm_states[r->next].name);
	}
}

/* The first rule of the shortest way, or NULL. */
static const struct vm_rule *first_step(enum vm_state from, enum vm_state to)
{
	uint32_t reach = UINT32_C(1) << to, before = 0;

	/* Backwards, a step at a time, until `from` is reached. */
	while (reach != before) {
		before = reach;
		for (size_t i = 0; i < vm_rule_count; i++) {
			const struct vm_rule *r = &vm_rules[i];

			if (r->next == VM_SAME || !(before >> r->next & 1))
				continue;
			if (r->from >> from & 1)
				return r;
			reach |= r->from;
		}
	}
	return NULL;
}

/* One life, by way of the states that most have. */
static int draw_life(void)
{
	static const enum vm_state way[] = { VM_CREATED, VM_BOOTING,
					     VM_READY,	 VM_STOPPING,
					     VM_STOPPED, VM_DELETING,
					     VM_GONE };
	enum vm_state s = VM_NEW;
	char text[TEXT_MAX];

	for (size_t i = 0; i < ARRAY_LEN(way); i++) {
		while (s != way[i]) {
			const struct vm_rule *r = first_step(s, way[i]);

			if (!r)
				return 1;
			events_of(r, s, text);
			s = r->next;
			(void)printf("    %-18.*s ─▶ %-10s seen as %s\n",
				     (int)strcspn(text, ","), text,
				     vm_states[s].name, shown(s));
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "life") == 0) {
		if (draw_life() != 0)
			return 1;
	} else if (argc == 2 && strcmp(argv[1], "overview") == 0) {
		for (enum api_vm_state s = 0; s < API_VM_STATE_COUNT; s++)
			draw_seen(s);
	} else if (argc == 2 && strcmp(argv[1], "states") == 0) {
		for (enum vm_state s = 0; s < VM_STATE_COUNT; s++)
			draw_state(s);
	} else {
		(void)fprintf(stderr,
			      "usage: vm_picture life|overview|states\n");
		return 2;
	}
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
