#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What berth-policy.so shows and asks of the dynamic linker: its two functions, jansson and libc.
# shellcheck source=tests/tap.sh disable=SC2154
. "$srcdir/tests/tap.sh"
command -v readelf >/dev/null || skip_all "no readelf (binutils)"

is "it exports its two functions" \
	"$(nm -D --defined-only "$BERTH_POLICY_SO" | awk '{print $3}' | sort | xargs)" \
	"berth_policy_free berth_policy_load"
is "loader.h declares them" \
	"$(sed -n 's/^void \**\(berth_[a-z_]*\)(.*/\1/p' "$srcdir/policy/loader.h" | sort | xargs)" \
	"berth_policy_free berth_policy_load"
is "it needs jansson and libc, and nothing else" \
	"$(readelf -dW "$BERTH_POLICY_SO" | sed -n 's/.*(NEEDED).*\[\(lib[a-z]*\)\..*/\1/p' | sort | xargs)" \
	"libc libjansson"
is "it binds at start and needs no text relocation" \
	"$(readelf -dW "$BERTH_POLICY_SO" | grep -o -w -e BIND_NOW -e TEXTREL | sort -u | xargs)" BIND_NOW
is "the shim has nothing of it" \
	"$(nm -D "$LIBBERTH" | grep -c -e json_ -e policy_parse)" 0
done_testing
