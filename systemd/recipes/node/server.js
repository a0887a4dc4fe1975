'use strict';
const http = require('node:http');
const net = require('node:net');
const { execFileSync } = require('node:child_process');

const IDLE_GRACE = 5000;                 // more than your clients' usual pause
let draining = false;

const server = http.createServer((request, response) => {
  if (draining) response.setHeader('Connection', 'close');
  const answer = () => response.end(`${process.pid}\n`);
  request.resume();
  if (request.url === '/slow') setTimeout(answer, 200); else answer();
});
server.keepAliveTimeout = 30_000;

// From gin (or systemd) the listener is descriptor 3; without it, a port.
const listen = process.env.LISTEN_PID === String(process.pid) ? { fd: 3 } : { port: process.env.PORT || 8080 };
// The backlog is the second argument: beside fd, node does not look for it in the options, and would set 511.
server.listen(listen, 4096, () => {
  // node speaks no datagrams on Unix sockets; systemd-notify (package systemd) does.
  if (process.env.NOTIFY_SOCKET) execFileSync('systemd-notify', ['--ready']);
});

process.on('SIGTERM', () => {
  draining = true;                       // whoever asks once more is told that it was the last time
  // Of net, not http: http's close would cut idle connections at once, under requests that are on their way.
  net.Server.prototype.close.call(server);
  setTimeout(() => server.closeIdleConnections(), IDLE_GRACE).unref();   // exits sooner if nothing is open
});
