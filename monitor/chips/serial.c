/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550A; see serial.h. */
#include "monitor/chips/serial.h"

#include <errno.h>
#include <string.h>

enum {
	REG_DATA = 0, /* DLL with DLAB */
	REG_IER = 1, /* DLM with DLAB */
	REG_IIR = 2, /* FCR when written */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,

	IER_RX = 1,
	IER_TX = 2,
	IER_LINE = 4,
	IER_ALL = 0x0f,
	IIR_NONE = 1,
	IIR_TX = 2,
	IIR_RX = 4,
	IIR_LINE = 6,
	IIR_FIFO = 0xc0,
	FCR_ENABLE = 1,
	FCR_CLEAR_RX = 2,
	LCR_DLAB = 0x80,
	MCR_ALL = 0x1f,
	MCR_OUT2 = 8, /* gates the interrupt on PCs */
	MCR_LOOP = 0x10,
	LSR_DATA = 1,
	LSR_OVERRUN = 2,
	LSR_THR_EMPTY = 0x20,
	LSR_IDLE = 0x40,
	MSR_PRESENT = 0xb0, /* carrier, data set ready, clear to send */
};

void serial_init(struct serial *s, const struct serial_ops *ops, void *ctx)
{
	*s = (struct serial){ .ops = ops,
			      .ctx = ctx,
			      .mcr = MCR_OUT2,
			      .msr = MSR_PRESENT,
			      .lcr = 3,
			      .dll = 12 };
}

static uint8_t interrupt_cause(const struct serial *s)
{
	if ((s->ier & IER_LINE) && s->overrun)
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->count > 0)
		return IIR_RX;
	if ((s->ier & IER_TX) && s->thr_pending)
		return IIR_TX;
	return IIR_NONE;
}

static void update_irq(struct serial *s)
{
	bool level = interrupt_cause(s) != IIR_NONE && (s->mcr & MCR_OUT2);

	if (level == s->irq)
		return;
	s->irq = level;
	s->ops->set_irq(s->ctx, level);
}

size_t serial_room(const struct serial *s)
{
	return (size_t)(SERIAL_QUEUE - s->count);
}

void serial_input(struct serial *s, const uint8_t *data, size_t len)
{
	if (s->mcr & MCR_LOOP)
		return; /* the line is cut off */
	for (size_t i = 0; i < len; i++) {
		if (s->count == SERIAL_QUEUE) {
			s->overrun = true;
			break;
		}
		s->queue[(s->head + s->count) % SERIAL_QUEUE] = data[i];
		s->count++;
	}
	update_irq(s);
}

static uint8_t take_input(struct serial *s)
{
	uint8_t byte;

	if (s->count == 0)
		return 0;
	byte = s->queue[s->head];
	s->head = (uint8_t)((s->head + 1) % SERIAL_QUEUE);
	s->count--;
	if (s->count == 0 && s->ops->input_ready)
		s->ops->input_ready(s->ctx);
	return byte;
}

static uint8_t modem_status(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return s->msr;
	/* Loopback: outputs appear as inputs. */
	return (uint8_t)(((s->mcr & 2) << 3) | ((s->mcr & 1) << 5) |
			 ((s->mcr & 4) << 4) | ((s->mcr & 8) << 4));
}

static uint8_t read_register(struct serial *s, uint64_t reg)
{
	uint8_t value = 0;

	switch (reg) {
	case REG_DATA:
		return s->lcr & LCR_DLAB ? s->dll : take_input(s);
	case REG_IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case REG_IIR:
		value = interrupt_cause(s);
		if (value == IIR_TX)
			s->thr_pending = false;
		if (s->fcr & FCR_ENABLE)
			value |= IIR_FIFO;
		return value;
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		value = LSR_THR_EMPTY | LSR_IDLE;
		if (s->count)
			value |= LSR_DATA;
		if (s->overrun)
			value |= LSR_OVERRUN;
		s->overrun = false;
		return value;
	case REG_MSR:
		return modem_status(s);
	default:
		return s->scr;
	}
}

static void write_data(struct serial *s, uint8_t byte)
{
	s->thr_pending = true;
	if (!(s->mcr & MCR_LOOP)) {
		s->ops->output(s->ctx, byte);
	} else if (s->count < SERIAL_QUEUE) {
		s->queue[(s->head + s->count) % SERIAL_QUEUE] = byte;
		s->count++;
	} else {
		s->overrun = true;
	}
}

static void write_ier(struct serial *s, uint8_t value)
{
	/* Switching the transmit interrupt on reports an empty transmitter. */
	if ((value & IER_TX) && !(s->ier & IER_TX))
		s->thr_pending = true;
	s->ier = value & IER_ALL;
}

static void write_register(struct serial *s, uint64_t reg, uint8_t value)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = value;
		else
			write_data(s, value);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->dlm = value;
		else
			write_ier(s, value);
		break;
	case REG_IIR:
		if (value & FCR_CLEAR_RX) {
			s->count = 0;
			if (s->ops->input_ready)
				s->ops->input_ready(s->ctx);
		}
		s->fcr = value;
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		s->mcr = value & MCR_ALL;
		break;
	case REG_SCR:
		s->scr = value;
		break;
	default:
		break; /* line and modem status are read-only */
	}
}

void serial_read(void *serial, const struct bus_access *access)
{
	uint8_t *data = access->data;

	data[0] = read_register(serial, access->offset);
	update_irq(serial);
}

void serial_write(void *serial, const struct bus_access *access)
{
	const uint8_t *data = access->data;

	write_register(serial, access->offset, data[0]);
	update_irq(serial);
}

void serial_save(const struct serial *s, struct state_writer *w)
{
	const uint8_t regs[] = { s->ier,     s->fcr,	     s->lcr, s->mcr,
				 s->msr,     s->scr,	     s->dll, s->dlm,
				 s->overrun, s->thr_pending, s->irq };

	state_begin(w, "serial", 1);
	state_put_bytes(w, regs, sizeof(regs));
	state_put_u8(w, s->count);
	for (uint8_t i = 0; i < s->count; i++)
		state_put_u8(w, s->queue[(s->head + i) % SERIAL_QUEUE]);
	state_end(w);
}

int serial_load(struct serial *s, struct state_reader *r, struct err *e)
{
	struct serial n = { .ops = s->ops, .ctx = s->ctx };
	uint16_t version;
	uint8_t count;
	int rc = state_open(r, "serial", 1, &version, e);

	if (rc < 0)
		return rc;
	n.ier = state_get_u8(r) & IER_ALL;
	n.fcr = state_get_u8(r);
	n.lcr = state_get_u8(r);
	n.mcr = state_get_u8(r) & MCR_ALL;
	n.msr = state_get_u8(r);
	n.scr = state_get_u8(r);
	n.dll = state_get_u8(r);
	n.dlm = state_get_u8(r);
	n.overrun = state_get_u8(r) != 0;
	n.thr_pending = state_get_u8(r) != 0;
	n.irq = state_get_u8(r) != 0;
	count = state_get_u8(r);
	if (count > SERIAL_QUEUE)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "serial: %u bytes queued", count);
	n.count = count;
	state_get_bytes(r, n.queue, count);
	rc = state_close(r, e);
	if (rc < 0)
		return rc;
	*s = n;
	return 0;
}
