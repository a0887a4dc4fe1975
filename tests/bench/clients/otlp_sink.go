// A receiver of traces that takes everything and keeps nothing: OTLP over HTTP/1.1, on a port of its own.

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// Prints its address, then serves. A line on the standard input is answered with the requests and the bytes so far.
func otlpSink() {
	var requests, length atomic.Int64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail("%v", err)
	}
	fmt.Println(listener.Addr())
	go tell(&requests, &length)
	take := func(answer http.ResponseWriter, request *http.Request) {
		count, err := io.Copy(io.Discard, request.Body)
		if err != nil {
			return
		}
		requests.Add(1)
		length.Add(count)
		answer.Header().Set("Content-Type", "application/x-protobuf")
		answer.WriteHeader(http.StatusOK)
	}
	fail("%v", http.Serve(listener, http.HandlerFunc(take)))
}

func tell(requests, length *atomic.Int64) {
	for {
		if _, err := fmt.Scanln(); err == io.EOF {
			os.Exit(0)
		}
		fmt.Println(requests.Load(), length.Load())
	}
}
