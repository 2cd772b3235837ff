#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the linker says of the programs that are installed: position-independent,
# relocations read-only from the start, no writable code, glibc's checked calls,
# landing marks for indirect branches.
# usage: check_hardening.sh hardened|plain PROGRAM...
set -eu
kind=$1
shift
command -v readelf >/dev/null && command -v objdump >/dev/null ||
	{ echo "SKIP: readelf or objdump is not installed (package binutils)"; exit 77; }
[ "$kind" = hardened ] ||
	{ echo "SKIP: neither a debugging nor a sanitizer build is hardened"; exit 77; }
bad=0
export LC_ALL=C

# lacks PROGRAM WHAT: what is missing there.
lacks() { echo "FAILED: $1: $2"; bad=1; }

# says PROGRAM OPTION PATTERN
says() { readelf -W "$2" "$1" 2>/dev/null | grep -qE -- "$3"; }

for program; do
	says "$program" -h 'Type: *DYN' || lacks "$program" "not position-independent"
	says "$program" -d 'FLAGS_1.*PIE' || lacks "$program" "not an executable that may lie anywhere"
	says "$program" -l 'GNU_RELRO' || lacks "$program" "relocations stay writable"
	says "$program" -d 'BIND_NOW|FLAGS_1.*NOW' || lacks "$program" "symbols are bound late"
	says "$program" -l 'GNU_STACK.* RW ' || lacks "$program" "the stack may be executed"
	! says "$program" -l 'LOAD.* (RWE|WE)' || lacks "$program" "code may be written"
	! says "$program" -d 'TEXTREL|RPATH|RUNPATH' || lacks "$program" "text relocations or a library path"
	# The agent's C library is linked into it, has no checked calls and no
	# names are left.
	if says "$program" -d NEEDED; then
		says "$program" --dyn-syms ' __[a-z0-9]+_chk@' || lacks "$program" "no checked calls (_FORTIFY_SOURCE)"
		says "$program" --dyn-syms ' __stack_chk_fail@' || lacks "$program" "no stack protector"
	fi
	if says "$program" -h 'Machine: .*X86-64'; then
		# The mark of the whole program also needs a C library with it.
		[ "$(objdump -d "$program" | grep -c endbr64)" -gt 20 ] ||
			lacks "$program" "no landing marks for indirect branches"
	fi
done
exit $bad
