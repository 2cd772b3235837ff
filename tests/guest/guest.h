/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bare-metal guests share: ports, the debug exit, the serial port, and
 * the way they were started. They use general registers only and no library.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include <stdint.h>

#define PORT_DEBUG_EXIT 0xf4
#define PORT_SERIAL	0x3f8

/* Given by start.S: the start info (PVH) or the zero page (Linux). */
enum guest_boot {
	GUEST_BOOT_PVH = 1,
	GUEST_BOOT_LINUX = 2
};

/* Each guest has one; what it returns becomes the exit value (0 to 63). */
int guest_main(enum guest_boot boot, uint64_t params);

/* Filled by start.S when a second vCPU reached long mode. */
extern volatile uint32_t guest_second_cpu;

/* Interrupts: the handler of vector 0x40 counts here. */
extern volatile uint32_t guest_irq_count;
void guest_install_idt(void);

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t mmio_read(uint64_t gpa)
{
	return *(volatile uint32_t *)gpa;
}

static inline void mmio_write(uint64_t gpa, uint32_t value)
{
	*(volatile uint32_t *)gpa = value;
}

static inline void print(const char *text)
{
	for (; *text; text++)
		out8(PORT_SERIAL, (uint8_t)*text);
}

/* Ends the test with `code` when the condition does not hold. */
#define CHECK(condition, code)                             \
	do {                                               \
		if (!(condition)) {                        \
			print("failed: " #condition "\n"); \
			return (code);                     \
		}                                          \
	} while (0)

#endif
