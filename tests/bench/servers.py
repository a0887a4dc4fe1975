"""gin-server behind its supervisor, and nginx: the same files, certificate, version of TLS, cipher and number of worker processes.

What differs is what each has by itself: gin-server sets headers of security, ETag and a request's name, and sends one ticket a
handshake, in records of 8 KB; nginx (OpenSSL) sends two, in records of up to 16 KB. Neither logs requests.
"""

import glob
import json
import os
import re
import resource
import subprocess
import sys
import time

from rounds import BINARIES, ROOT, answers, free_port

TLS = os.path.join(ROOT, "tests/fixtures/tls")
SIZES = {"1k": 1024, "20k": 20480}
TICKS = os.sysconf("SC_CLK_TCK")
# What is set here by chance must not be what is measured.
plain = {name: value for name, value in os.environ.items()
         if not name.startswith(("GIN_", "SERVER_", "LOGGING_", "SECURITY_", "STATIC_"))
         and name not in ("NOTIFY_SOCKET", "CONFIG_FILE", "PORT", "RUST_LOG")}
# 10,000 connections, at both ends.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def files(scratch):
    os.chmod(scratch, 0o755)
    directory = os.path.join(scratch, "files")
    os.makedirs(directory, exist_ok=True)
    for name, size in SIZES.items():
        with open(os.path.join(directory, f"{name}.bin"), "wb") as file:
            file.write(os.urandom(size))
    return directory


class Server:
    """`addresses` by what is spoken there: http (HTTP/1.1), h2c, https (HTTP/1.1 and HTTP/2)."""

    started = []

    def start(self, *command, log, **more):
        try:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **more)
        except FileNotFoundError:
            sys.exit(f"there is no {command[0]}: the head of tests/bench/https says what to build and install")
        self.started.append(self)

    def workers(self):
        raise NotImplementedError

    def wait_until_it_serves(self, serves):
        for _ in range(1000):
            if serves():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        with open(self.log) as file:
            sys.exit(f"{self.name} does not serve:\n{file.read()}")

    def processor_time(self):
        """Seconds that all workers have used."""
        total = 0
        for pid in self.workers():
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self):
        """KiB of all workers: proportional (Pss), and of that anonymous: heap and stacks, without pages of the program's file."""
        total = {"Pss:": 0, "Pss_Anon:": 0}
        for pid in self.workers():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                for name, value, *_ in map(str.split, file):
                    if name in total:
                        total[name] += int(value)
        return total["Pss:"], total["Pss_Anon:"]

    def established(self):
        """The number of each worker's connections: which sockets each process holds."""
        ports = {int(address.rpartition(":")[2]) for address in self.addresses.values()}
        with open("/proc/net/tcp") as file:
            rows = [line.split() for line in file][1:]
        inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "01" and int(row[1].rpartition(":")[2], 16) in ports}
        return [sum(descriptor(path) in inodes for path in glob.glob(f"/proc/{pid}/fd/*")) for pid in self.workers()]

    def stop(self):
        self.started.remove(self)
        self.process.terminate()
        self.process.wait()


def descriptor(path):
    try:
        return os.readlink(path)
    except FileNotFoundError:  # closed since it was listed
        return None


class Gin(Server):
    name = "gin"

    def __init__(self, scratch, workers):
        self.directory = os.path.join(scratch, f"gin-{free_port()}")
        os.mkdir(self.directory)
        http, https = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.addresses = {"http": http, "h2c": http, "https": https}
        config = os.path.join(self.directory, "bench.toml")
        with open(config, "w") as file:
            file.write(f"""
[supervisor]
workers = {workers}
[[supervisor.listen]]
name = "http"
address = "{http}"
[[supervisor.listen]]
name = "https"
address = "{https}"
tls = true
[security]
cert_file = "{TLS}/server.pem"
key_file = "{TLS}/server.key"
tls_versions = ["1.3"]
[static]
dir = "{files(scratch)}"
url_prefix = "/"
[limits]
connections = 20000
[timeouts]
idle = "1h"
[logging]
level = "warn"
""")
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "w") as log:
            self.start(os.path.join(BINARIES, "gin-supervisor"), "-c", config, log=log, env=dict(plain, RUNTIME_DIRECTORY=self.directory))
        self.wait_until_it_serves(lambda: any(line["message"] == "serving" for line in self.said()))
        self.look()

    def said(self):
        """The whole lines of the log, and of them those that are JSON: an error of the configuration is text."""
        with open(self.log) as file:
            return [json.loads(line) for line in file if line.startswith("{") and line.endswith("}\n")]

    def ctl(self, *arguments):
        command = [os.path.join(BINARIES, "gin-ctl"), "-s", os.path.join(self.directory, "control.sock"), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=plain)
        if result.returncode:
            sys.exit(f"gin-ctl {' '.join(arguments)}: {result.stdout}{result.stderr}; {self.log} has more")
        return result.stdout

    def look(self):
        """The workers of the current generation are those that count from now on."""
        current = [one for one in json.loads(self.ctl("--json", "status"))["generations"] if one["role"] == "current"]
        self.current = [worker["pid"] for worker in current[0]["workers"]]

    def workers(self):
        return self.current

    def restart(self):
        """How many connections went over, and the milliseconds from the order to drain to the worker's end."""
        steps = [json.loads(line) for line in self.ctl("--json", "restart", "--wait-drained").splitlines()]
        self.look()
        drained = next(step for step in steps if step.get("step") == "drained")
        gone = [line for line in self.said() if re.match(r"generation \d+ gone", line["message"])]
        return drained["connections"]["handed_over"], gone[-1]["took_ms"]


class Nginx(Server):
    name = "nginx"

    def __init__(self, scratch, workers):
        names = ("http", "h2c", "https")
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
        self.directory = os.path.join(scratch, f"nginx-{free_port()}")
        os.mkdir(self.directory)
        config = os.path.join(self.directory, "nginx.conf")
        with open(config, "w") as file:
            file.write(f"""
worker_processes {workers}; daemon off; pid {self.directory}/pid; error_log stderr; worker_rlimit_nofile {hard};
events {{ worker_connections 20000; }}
http {{
    access_log off; sendfile on; tcp_nopush on;
    keepalive_requests 1000000000; keepalive_timeout 1h;
    open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;
    client_body_temp_path {self.directory}; proxy_temp_path {self.directory}; fastcgi_temp_path {self.directory};
    uwsgi_temp_path {self.directory}; scgi_temp_path {self.directory};
    ssl_certificate {TLS}/server.pem; ssl_certificate_key {TLS}/server.key;
    # The cipher that gin-server prefers: nginx leaves the choice to the client.
    ssl_protocols TLSv1.3; ssl_session_tickets on; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    server {{
        listen {self.addresses["http"]} backlog=4096;
        listen {self.addresses["h2c"]} backlog=4096 http2;
        listen {self.addresses["https"]} backlog=4096 ssl http2;
        root {files(scratch)};
        location = /livez {{ return 200 "ok"; }}
    }}
}}""")
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "w") as log:
            self.start("nginx", "-c", config, "-p", self.directory, log=log)
        self.wait_until_it_serves(lambda: self.workers() and answers(self.addresses["https"]))

    def workers(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(word) for word in file.read().split()]
