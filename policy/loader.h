/* SPDX-License-Identifier: MIT
 *
 * berth-policy.so: a policy's JSON to an image for a program that has no parser. libberth.so opens
 * it where BERTH_POLICY names JSON, takes a copy of the image, and closes it, all before main().
 *
 * These two are all that it exports. It allocates, by the program's malloc: never for a hook.
 */
#ifndef BERTH_POLICY_LOADER_H
#define BERTH_POLICY_LOADER_H

#include <stddef.h>

/* Returns an image and its size, to be given to berth_policy_free(); or NULL and, in `problem`
 * (`problem_size` bytes, its NUL counted; 512 hold any), the first of policy_parse()'s lines. It
 * may follow "FILE:". Of what is no JSON the place alone: the file may be one that whoever set the
 * variable, and sees the program's stderr, may not read. */
void *berth_policy_load(const char *json, size_t size, size_t *image_size, char *problem,
                        size_t problem_size);
void berth_policy_free(void *image);

#endif
