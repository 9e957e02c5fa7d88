// SPDX-License-Identifier: MIT
//
// Go that is a part of a C program: built as an archive, linked to steps.c.
package main

import "C"

//export Nothing
func Nothing() {}

func main() {}
