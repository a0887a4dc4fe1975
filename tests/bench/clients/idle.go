package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// What is spoken on a connection.
type protocol interface {
	// ask sends a request.
	ask() error
	// answer reads until an answer has ended. Meanwhile it does what the protocol demands of a client.
	answer() error
}

// A connection, and a goroutine that reads from it: a browser reads all the time, too.
type client struct {
	protocol
	answers chan struct{}
}

type dialer struct {
	address  string
	secure   bool
	protocol string
}

// Connects, at most atOnce at a time, and has a request answered on each connection. Prints how many failed. Then, for each line
// of the standard input, asks on each again, and prints how many are gone.
func idle(dial dialer, count, atOnce int) {
	clients := make([]*client, count)
	fmt.Println(each(clients, atOnce, func(place **client) error {
		made, err := dial.connect()
		if err != nil {
			return err
		}
		*place = made
		return made.asks()
	}))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(each(clients, 64, func(place **client) error { return (*place).asks() }))
	}
}

// How many of them fail; the first error is told.
func each(clients []*client, atOnce int, act func(**client) error) int64 {
	var failed int64
	var told sync.Once
	var ended sync.WaitGroup
	room := make(chan struct{}, atOnce)
	ended.Add(len(clients))
	for i := range clients {
		room <- struct{}{}
		go func(place **client) {
			defer ended.Done()
			if err := act(place); err != nil {
				atomic.AddInt64(&failed, 1)
				told.Do(func() { fmt.Fprintln(os.Stderr, err) })
			}
			<-room
		}(&clients[i])
	}
	ended.Wait()
	return failed
}

func (c *client) asks() error {
	if c == nil {
		return fmt.Errorf("never connected")
	}
	if err := c.ask(); err != nil {
		return err
	}
	select {
	case _, isThere := <-c.answers:
		if !isThere {
			return fmt.Errorf("closed")
		}
		return nil
	case <-time.After(60 * time.Second):
		return fmt.Errorf("no answer in 60 s")
	}
}

func (d dialer) connect() (*client, error) {
	socket, err := net.Dial("tcp", d.address)
	if err != nil {
		return nil, err
	}
	name := "h2"
	if d.protocol == "h1" {
		name = "http/1.1"
	}
	if d.secure {
		secured := tls.Client(socket, config(forgetful{}, name))
		if err := secured.Handshake(); err != nil {
			return nil, err
		}
		if agreed := secured.ConnectionState().NegotiatedProtocol; agreed != name {
			return nil, fmt.Errorf("%s instead of %s", agreed, name)
		}
		socket = secured
	}
	made := &client{answers: make(chan struct{}, 1)}
	if made.protocol, err = d.speak(socket); err != nil {
		return nil, err
	}
	go made.read()
	return made, nil
}

func (d dialer) speak(socket net.Conn) (protocol, error) {
	switch d.protocol {
	case "h1":
		return newHTTP1(socket), nil
	case "h2-chromium":
		return newHTTP2(socket, chromium(d.secure))
	case "h2-curl":
		return newHTTP2(socket, curl(d.secure))
	default:
		return nil, fmt.Errorf("%s is no protocol of clients", d.protocol)
	}
}

func (c *client) read() {
	defer close(c.answers)
	for c.answer() == nil {
		c.answers <- struct{}{}
	}
}
