/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port COM1: a 16550A without a baud rate. Transmission takes no
 * time; received bytes wait in a small queue, and the backend is told to hold
 * back while it is full. Lock: the machine lock.
 *
 * The guest controls every register. Source: the 16550D data sheet.
 */
#ifndef MONITOR_SERIAL_H
#define MONITOR_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "monitor/bus.h"

enum {
	SERIAL_PORTS = 8,
	SERIAL_QUEUE = 64
};

struct serial_ops {
	void (*set_irq)(void *ctx, bool level);
	void (*output)(void *ctx, uint8_t byte);
	/* There is room for input again. */
	void (*input_ready)(void *ctx);
};

struct serial {
	const struct serial_ops *ops;
	void *ctx;
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	bool overrun;
	bool thr_pending; /* "transmitter empty" was not yet reported */
	bool irq; /* last level given to set_irq */
	uint8_t queue[SERIAL_QUEUE];
	uint8_t head, count;
};

void serial_init(struct serial *s, const struct serial_ops *ops, void *ctx);

/* Register accesses (bus_fn). */
void serial_read(void *serial, const struct bus_access *access);
void serial_write(void *serial, const struct bus_access *access);

/* Bytes that fit now, and taking in that many at most. */
size_t serial_room(const struct serial *s);
void serial_input(struct serial *s, const uint8_t *data, size_t len);

void serial_save(const struct serial *s, struct state_writer *w);
int serial_load(struct serial *s, struct state_reader *r, struct err *e);

#endif
