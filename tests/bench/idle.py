#!/usr/bin/python3
"""Idle connections: what one costs a process, and whether it is still there later.

usage: idle.py PORT COUNT PID...      the PIDs' memory is added up; a line on the standard input lets it go on
"""

import resource
import socket
import sys
import time

port, count, pids = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def memory():
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def ask(client):
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return client.recv(4096).startswith(b"HTTP/1.1 200")


def connect(number):
    client = socket.socket()
    # More than one address, or the ports run out.
    client.bind((f"127.0.0.{1 + number % 5}", 0))
    client.connect(("127.0.0.1", port))
    return client


warm = [connect(number) for number in range(100)]
assert all(ask(client) for client in warm)
for client in warm:
    client.close()
time.sleep(2)
before = memory()
clients = []
for number in range(count):
    clients.append(connect(number))
    assert ask(clients[-1])
time.sleep(3)
print(f"{count} idle connections: {(memory() - before) / count:.2f} KiB each", flush=True)
sys.stdin.readline()
print(f"{sum(not ask(client) for client in clients)} of them are gone", flush=True)
