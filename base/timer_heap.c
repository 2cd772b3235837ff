/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See timer_heap.h. Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap"
 * (1986): a tree in which no child is due before its parent. The children of
 * a timer are a list; prev of the first one is the parent.
 */
#include "base/timer_heap.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

static bool sooner(const struct loop_timer *a, const struct loop_timer *b)
{
	if (a->deadline_ms != b->deadline_ms)
		return a->deadline_ms < b->deadline_ms;
	return a->order < b->order;
}

/* Two trees become one; both roots stand alone. */
static struct loop_timer *meld(struct loop_timer *a, struct loop_timer *b)
{
	struct loop_timer *top = sooner(a, b) ? a : b;
	struct loop_timer *below = top == a ? b : a;

	below->prev = top;
	below->next = top->child;
	if (top->child)
		top->child->prev = below;
	top->child = below;
	return top;
}

/* A list of siblings becomes one tree: in pairs from left to right, then the
 * pairs from right to left. NULL for an empty list. */
static struct loop_timer *meld_all(struct loop_timer *first)
{
	struct loop_timer *pairs = NULL, *tree = NULL;

	while (first) {
		struct loop_timer *a = first, *b = a->next;

		first = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b) {
			b->next = b->prev = NULL;
			a = meld(a, b);
		}
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct loop_timer *a = pairs;

		pairs = a->next;
		a->next = NULL;
		tree = tree ? meld(tree, a) : a;
	}
	return tree;
}

void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer)
{
	timer->child = timer->next = timer->prev = NULL;
	timer->order = heap->count++;
	heap->root = heap->root ? meld(heap->root, timer) : timer;
}

void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer)
{
	struct loop_timer *rest = meld_all(timer->child);

	if (timer == heap->root) {
		heap->root = rest;
	} else {
		if (timer->prev->child == timer)
			timer->prev->child = timer->next;
		else
			timer->prev->next = timer->next;
		if (timer->next)
			timer->next->prev = timer->prev;
		if (rest)
			heap->root = meld(heap->root, rest);
	}
	timer->child = timer->next = timer->prev = NULL;
}

/* All by the same: none comes to be due before its parent. The walk needs no
 * stack: prev leads back. */
void timer_heap_postpone(struct timer_heap *heap, uint64_t by_ms,
			 uint64_t limit_ms)
{
	struct loop_timer *t = heap->root;

	while (t) {
		if (__builtin_add_overflow(t->deadline_ms, by_ms,
					   &t->deadline_ms) ||
		    t->deadline_ms > limit_ms)
			t->deadline_ms = limit_ms;
		if (t->child) {
			t = t->child;
			continue;
		}
		while (t && !t->next) {
			/* To the first of the siblings, then to the parent. */
			while (t->prev && t->prev->child != t)
				t = t->prev;
			t = t->prev;
		}
		t = t ? t->next : NULL;
	}
}
