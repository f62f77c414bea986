#pragma once

/**
 * How to get from a function to its caller, for the kernel: what .eh_frame says of x86-64, in rows of 8 bytes, sorted
 * by address. A row holds until the next one. Read by C++ and by BPF.
 */

/** By the frame pointer: nothing is said of this place. */
#define SHOAL_UNWIND_FRAME_POINTER 0
/** The frame of the caller (CFA) is at the stack pointer, or at the frame pointer, plus `cfa_offset` words. */
#define SHOAL_UNWIND_RSP 1
#define SHOAL_UNWIND_RBP 2
/** The CFA is stored at the frame pointer plus `cfa_offset` words, as where a function aligns its stack anew. */
#define SHOAL_UNWIND_RBP_STORED 3
/** An entry of a procedure linkage table: what it pushes depends on how far within its 16 bytes it is. */
#define SHOAL_UNWIND_PLT 4
/** The kernel's frame of a signal: all registers are in it. */
#define SHOAL_UNWIND_SIGNAL 5
/** Nobody has called this. */
#define SHOAL_UNWIND_OUTERMOST 6
/** In a way that fits into no row. */
#define SHOAL_UNWIND_UNKNOWN 7

struct shoal_unwind_row {
  /** After the lowest address that the file has executable code at. */
  unsigned int address;
  /** In words of 8 bytes. */
  short cfa_offset;
  unsigned char rule;
  /** Where the caller's frame pointer is stored, in words of 8 bytes from the CFA; 0: in the register still. */
  signed char rbp_offset;
};
