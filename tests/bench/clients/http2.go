package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Settings, the connection's window, and a request's fields. The server keeps the fields in the connection's table.
type profile struct {
	settings []http2.Setting
	window   uint32
	table    uint32
	fields   []hpack.HeaderField
}

func scheme(secure bool) string {
	if secure {
		return "https"
	}
	return "http"
}

func fields(pairs ...string) []hpack.HeaderField {
	var made []hpack.HeaderField
	for i := 0; i < len(pairs); i += 2 {
		made = append(made, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return made
}

// A page's request of Chromium, with a cookie of a session.
func chromium(secure bool) profile {
	return profile{
		settings: []http2.Setting{
			{ID: http2.SettingHeaderTableSize, Val: 65536},
			{ID: http2.SettingEnablePush, Val: 0},
			{ID: http2.SettingInitialWindowSize, Val: 6291456},
			{ID: http2.SettingMaxHeaderListSize, Val: 262144},
		},
		window: 15663105,
		table:  65536,
		fields: fields(
			":method", "GET", ":authority", "shop.example:8443", ":scheme", scheme(secure), ":path", "/livez",
			"sec-ch-ua", `"Chromium";v="140", "Not=A?Brand";v="24"`, "sec-ch-ua-mobile", "?0", "sec-ch-ua-platform", `"Linux"`,
			"upgrade-insecure-requests", "1",
			"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
			"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
			"sec-fetch-site", "none", "sec-fetch-mode", "navigate", "sec-fetch-user", "?1", "sec-fetch-dest", "document",
			"accept-encoding", "gzip, deflate, br, zstd", "accept-language", "en-GB,en;q=0.9",
			"cookie", "session=6fT0kq2vJm8wXz4bR1yQ9cN5hLs7dGpA", "priority", "u=0, i",
		),
	}
}

func curl(secure bool) profile {
	return profile{
		settings: []http2.Setting{
			{ID: http2.SettingMaxConcurrentStreams, Val: 100},
			{ID: http2.SettingInitialWindowSize, Val: 33554432},
			{ID: http2.SettingEnablePush, Val: 0},
		},
		window: 33488897,
		table:  4096,
		fields: fields(
			":method", "GET", ":path", "/livez", ":scheme", scheme(secure), ":authority", "shop.example:8443",
			"user-agent", "curl/7.88.1", "accept", "*/*",
		),
	}
}

type http2Client struct {
	writing sync.Mutex
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	fields  []hpack.HeaderField
	stream  uint32
}

func newHTTP2(socket net.Conn, profile profile) (*http2Client, error) {
	made := &http2Client{framer: http2.NewFramer(socket, socket), fields: profile.fields, stream: 1}
	made.framer.ReadMetaHeaders = hpack.NewDecoder(profile.table, nil)
	made.encoder = hpack.NewEncoder(&made.block)
	if _, err := io.WriteString(socket, http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := made.framer.WriteSettings(profile.settings...); err != nil {
		return nil, err
	}
	return made, made.framer.WriteWindowUpdate(0, profile.window)
}

func (h *http2Client) ask() error {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.block.Reset()
	for _, field := range h.fields {
		if err := h.encoder.WriteField(field); err != nil {
			return err
		}
	}
	stream := h.stream
	h.stream += 2
	return h.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: h.block.Bytes(), EndStream: true, EndHeaders: true,
	})
}

func (h *http2Client) answer() error {
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			return err
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			err = h.settings(frame)
		case *http2.PingFrame:
			err = h.ping(frame)
		case *http2.MetaHeadersFrame:
			if status := frame.PseudoValue("status"); status != "200" {
				err = fmt.Errorf("status %s", status)
			}
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			ended = frame.StreamEnded()
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			err = fmt.Errorf("%v", frame)
		}
		if ended || err != nil {
			return err
		}
	}
}

func (h *http2Client) settings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	return h.framer.WriteSettingsAck()
}

func (h *http2Client) ping(frame *http2.PingFrame) error {
	if frame.IsAck() {
		return nil
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	return h.framer.WritePing(true, frame.Data)
}
