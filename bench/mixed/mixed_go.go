// The mixed load in Go: one goroutine a connection, which does heavy work itself; the runtime preempts it.
// PBKDF2 is written out, for it is not in Go's standard library before 1.24.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
)

func deriveKey(salt []byte, rounds uint32) []byte {
	mac := hmac.New(sha256.New, []byte("weft"))
	mac.Write(salt)
	mac.Write([]byte{0, 0, 0, 1})
	block := mac.Sum(nil)
	key := append([]byte(nil), block...)
	for ; rounds > 1; rounds-- {
		mac.Reset()
		mac.Write(block)
		block = mac.Sum(block[:0])
		for i := range key {
			key[i] ^= block[i]
		}
	}
	return key[:16]
}

func serve(client net.Conn) {
	defer client.Close()
	request := make([]byte, 16)
	for {
		if _, err := io.ReadFull(client, request); err != nil {
			return
		}
		answer := request
		if rounds := binary.LittleEndian.Uint32(request); rounds != 0 {
			answer = deriveKey(request[4:], rounds)
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) > 2 {
		threads, _ := strconv.Atoi(os.Args[2])
		runtime.GOMAXPROCS(threads)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "serving", listener.Addr())
	for {
		if client, err := listener.Accept(); err == nil {
			go serve(client)
		}
	}
}
