package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// The first handshake of each client is in All alone: it brings the ticket.
type counts struct {
	All, Done, Resumed, Failed int
	Error                      string
	Seconds                    float64
}

// Each client makes one handshake after the other, without a request. Prints the counts of all.
func handshakes(address string, resume bool, duration time.Duration, clients int) {
	var warm, ended sync.WaitGroup
	begin := make(chan struct{})
	each := make([]counts, clients)
	warm.Add(clients)
	ended.Add(clients)
	for i := range each {
		go func(own *counts) {
			defer ended.Done()
			var sessions tls.ClientSessionCache = forgetful{}
			if resume {
				sessions = tls.NewLRUClientSessionCache(1)
			}
			settings := config(sessions, "http/1.1")
			if _, err := handshake(address, settings); err != nil {
				own.failed(err)
			}
			own.All++
			warm.Done()
			<-begin
			for end := time.Now().Add(duration); time.Now().Before(end); {
				own.add(handshake(address, settings))
			}
		}(&each[i])
	}
	warm.Wait()
	began := time.Now()
	close(begin)
	ended.Wait()
	total := counts{Seconds: time.Since(began).Seconds()}
	for _, one := range each {
		total.All += one.All
		total.Done += one.Done
		total.Resumed += one.Resumed
		total.Failed += one.Failed
		total.Error += one.Error
	}
	if err := json.NewEncoder(os.Stdout).Encode(total); err != nil {
		fail("%v", err)
	}
}

func (c *counts) add(resumed bool, err error) {
	c.All++
	if err != nil {
		c.failed(err)
		return
	}
	c.Done++
	if resumed {
		c.Resumed++
	}
}

func (c *counts) failed(err error) {
	c.Failed++
	if c.Error == "" {
		c.Error = err.Error() + "; "
	}
}

// Reads until the server has closed: its tickets come before.
func handshake(address string, settings *tls.Config) (bool, error) {
	socket, err := net.Dial("tcp", address)
	if err != nil {
		return false, err
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(10 * time.Second))
	client := tls.Client(socket, settings)
	if err := client.Handshake(); err != nil {
		return false, err
	}
	if err := client.CloseWrite(); err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, client); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return client.ConnectionState().DidResume, nil
}
