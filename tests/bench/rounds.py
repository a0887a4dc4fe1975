"""Measurements in rounds: all of a comparison in each round, in an order of chance. What counts is the median of the rounds' ratios."""

import os
import random
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BINARIES = os.path.realpath(os.environ.get("GIN_BIN_DIR", os.path.join(ROOT, "target/release")))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
        return True
    except OSError:
        return False


def wait_for(address):
    for _ in range(500):
        if answers(address):
            return
        time.sleep(0.01)
    sys.exit(f"{address} does not answer")


def go_program(directory, scratch):
    """The program of a directory here, built with the libraries that Debian has."""
    program = os.path.join(scratch, directory)
    environment = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=os.path.join(ROOT, "target/go-cache"))
    subprocess.run(["go", "build", "-o", program, "."], cwd=os.path.join(HERE, directory), env=environment, check=True)
    return program


def gather(measures, rounds):
    """The values of each measure, one a round. What is cold is warm after a first round, which does not count."""
    for measure in measures.values():
        measure()
    values = {name: [] for name in measures}
    for _ in range(rounds):
        order = list(measures)
        random.shuffle(order)
        for name in order:
            values[name].append(measures[name]())
    return values


def ratios(ours, theirs):
    return [a / b for a, b in zip(ours, theirs)]


def show(values, more=None):
    """A line for each; `more` is a text for each name, to stand behind it."""
    for name, all_of_it in values.items():
        text = f"  {name:28} {statistics.median(all_of_it):10.0f}/s   {min(all_of_it):.0f} to {max(all_of_it):.0f}"
        print(text + (f"   {more[name]}" if more else ""))


def show_ratio(title, all_of_it, more=""):
    print(f"  {title}: {statistics.median(all_of_it):.2f}   ({min(all_of_it):.2f} to {max(all_of_it):.2f}){more}", flush=True)
