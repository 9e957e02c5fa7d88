#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The house: which room may include which, and who may use which library.
# shellcheck source=tests/tap.sh disable=SC2154
. "$srcdir/tests/tap.sh"
cd "$srcdir" || exit 1

# Rooms that `room` includes and may not.
trespasses() {
	room=$1
	shift
	allowed=$(printf '%s|' "$room" "$@")
	grep -HnE '^#include "' "$room"/*.[ch] 2>/dev/null |
		grep -vE "#include \"(${allowed%|})/" || true
}

is "gate/ includes nothing of ours" "$(trespasses gate)" ""
is "record/ includes gate/ alone" "$(trespasses record gate | grep -v '"counters.def"')" ""
is "record/ asks gate/ for no more than the way to the kernel, and the time" \
	"$(grep -l '#include "gate/' record/*.[ch])" "record/clock.h
record/sys.h"
is "policy/ includes nothing of ours" "$(trespasses policy)" ""
is "kernel/ includes nothing of ours" "$(trespasses kernel)" ""
is "simulate/ includes kernel/ and policy/ alone" "$(trespasses simulate kernel policy)" ""
is "doctor/ includes kernel/ and policy/ alone" "$(trespasses doctor kernel policy)" ""
is "steer/ includes gate/, record/ and policy/ alone" "$(trespasses steer gate record policy)" ""
is "steer/ does not read recordings" "$(grep -ln 'record/read\.h' steer/*.[ch])" ""
is "preload/ includes gate/ and steer/ alone" "$(trespasses preload gate steer)" ""
is "cli/ does not include preload/" "$(grep -n '"preload/' cli/*.[ch])" ""

only() {
	what=$1
	header=$2
	shift 2
	is "$what" "$(grep -lrE "#include <$header>" --include='*.[ch]' preload steer gate policy record \
		kernel simulate doctor cli | grep -vE "$(printf '^%s|' "$@" | sed 's/|$//')")" ""
}
only "jansson.h is included in policy/parse.c and cli/ alone" 'jansson\.h' 'policy/parse\.c$' cli/
only "libelf is included in cli/executable.c alone" '(gelf|libelf)\.h' 'cli/executable\.c$'
only "libmnl is included in kernel/diag.c alone" 'libmnl/.*' 'kernel/diag\.c$'
only "dlfcn.h is included in preload/real.c and loader.c alone" 'dlfcn\.h' 'preload/real\.c$' \
	'preload/loader\.c$'
is "memory orders are record/'s and steer/'s business" \
	"$(grep -ln memory_order cli/*.c | xargs)" ""
is "the shim prints nothing by stdio and allocates nothing" \
	"$(grep -nE '\b(f?printf|puts|malloc|calloc|realloc|free|pthread_mutex_lock)\(' \
		preload/*.c steer/*.c gate/*.c record/[!r]*.c)" ""
is "the shim calls the kernel through gate/ alone" \
	"$(grep -nE '\<syscall\(' preload/*.c steer/*.c record/*.c | grep -v '^preload/seccomp.c')" ""
is "each file says its licence" \
	"$(grep -L 'SPDX-License-Identifier: MIT' ./*/*.[ch] ./*/*.py ./*/*.sh | grep -v '^./build-aux/')" ""
done_testing
