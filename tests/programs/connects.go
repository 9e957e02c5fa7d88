// SPDX-License-Identifier: MIT
//
// connects PORT: connects a UDP socket to 127.0.0.1:PORT, by Go's own network package.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	c, err := net.Dial("udp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c.Close()
}
