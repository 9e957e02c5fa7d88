/* SPDX-License-Identifier: MIT
 *
 * A policy that the user named, JSON or compiled.
 */
#ifndef BERTH_CLI_POLICY_FILE_H
#define BERTH_CLI_POLICY_FILE_H

#include "cli/cli.h"
#include "policy/image.h"

/* Reads `path` (any file that can be read to its end) and gives the image, which has been checked
 * whole and which the caller frees with free(). What is wrong is said on stderr: what the policy
 * says wrongly as "FILE:LINE:COL: WHAT" or "FILE: /JSON/POINTER: WHAT", with EXIT_NO; that it
 * cannot be read as `where`'s complaint, with EXIT_TROUBLE. */
enum exit_status policy_file_read(const char *where, const char *path, policy_image **image);

/* The image of a policy as BERTH_POLICY names it (a file, or the image itself), likewise checked and
 * to be freed. NULL, without a word, where there is none. */
policy_image *policy_file_try(const char *policy);

/* Writes the whole image. Returns false with errno. */
bool policy_file_write(int fd, const policy_image *image);

#endif
