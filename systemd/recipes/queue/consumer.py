#!/usr/bin/python3
"""Takes jobs (files) from a directory. At SIGTERM the job under way is finished, and no other begun."""
import os
import pathlib
import signal
import socket
import sys
import time

inbox, taken, done = (pathlib.Path(sys.argv[1], name) for name in ("inbox", "taken", "done"))
ending = False


def term(*_):
    global ending
    ending = True


def notify(text):
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(text.encode(), path)


def work(job):
    time.sleep(0.3)
    with open(done / job.name, "a") as f:
        f.write(f"{os.environ.get('GIN_GENERATION')}/{os.environ.get('GIN_SLOT')}\n")
    job.unlink()


signal.signal(signal.SIGTERM, term)
[d.mkdir(parents=True, exist_ok=True) for d in (inbox, taken, done)]
notify("READY=1")
while not ending:
    for job in sorted(inbox.iterdir()):
        mine = taken / job.name
        try:
            job.rename(mine)                   # claims it: two generations consume side by side for a moment
        except FileNotFoundError:
            continue
        work(mine)
        break
    else:
        time.sleep(0.1)
