package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

const idleGrace = 5 * time.Second // more than your clients' usual pause

var draining atomic.Bool

// Whoever asks once more while we drain is told that it was the last time on this connection.
func manners(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func listener() (net.Listener, error) {
	listeners, err := activation.Listeners()
	if err == nil && len(listeners) > 0 {
		return listeners[0], nil
	}
	return net.Listen("tcp", os.Getenv("LISTEN"))
}

func main() {
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Millisecond)
		fmt.Fprintln(w, os.Getpid())
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, os.Getpid()) })

	l, err := listener()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: manners(http.DefaultServeMux), ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Print(err)
	}

	select {
	case err := <-served:
		log.Fatal(err)
	case <-term:
	}
	draining.Store(true)
	l.Close()
	<-served // now every accepted connection is known to Shutdown
	time.Sleep(idleGrace)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Print(err)
	}
}
