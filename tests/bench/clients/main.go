// Clients of tests/bench/https: handshakes, and connections that stay idle. They believe every certificate. And the receiver of traces of
// tests/bench/traces.
//
// usage: clients handshakes ADDRESS full|resumed SECONDS CLIENTS
//
//	clients idle ADDRESS http|https h1|h2-chromium|h2-curl COUNT AT_ONCE
//	clients otlp-sink
package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	arguments := append(os.Args[1:], make([]string, 6)...)
	switch arguments[0] {
	case "handshakes":
		seconds := time.Duration(number(arguments[3])) * time.Second
		handshakes(arguments[1], arguments[2] == "resumed", seconds, number(arguments[4]))
	case "idle":
		dial := dialer{address: arguments[1], secure: arguments[2] == "https", protocol: arguments[3]}
		idle(dial, number(arguments[4]), number(arguments[5]))
	case "otlp-sink":
		otlpSink()
	default:
		fail("usage: clients handshakes|idle|otlp-sink, see main.go")
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fail("%v", err)
	}
	return value
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func config(sessions tls.ClientSessionCache, protocols ...string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		ServerName:         "localhost",
		MinVersion:         tls.VersionTLS13,
		NextProtos:         protocols,
		ClientSessionCache: sessions,
	}
}

// Asks for tickets, as browsers do, and keeps none.
type forgetful struct{}

func (forgetful) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (forgetful) Put(string, *tls.ClientSessionState)        {}
