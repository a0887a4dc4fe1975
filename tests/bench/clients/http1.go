package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
)

type http1 struct {
	socket net.Conn
	reader *bufio.Reader
}

func newHTTP1(socket net.Conn) *http1 {
	return &http1{socket: socket, reader: bufio.NewReaderSize(socket, 1024)}
}

func (h *http1) ask() error {
	_, err := io.WriteString(h.socket, "GET /livez HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	return err
}

func (h *http1) answer() error {
	response, err := http.ReadResponse(h.reader, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || response.Close {
		return fmt.Errorf("status %d, close %t", response.StatusCode, response.Close)
	}
	return nil
}
