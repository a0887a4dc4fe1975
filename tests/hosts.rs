//! Hosts behind a balancer, released one after the other by the recipe `systemd/recipes/hosts`. All parts are real: ssh, Ansible, HAProxy
//! and nginx in network namespaces. Only systemd is not there, so a script of a few lines starts the service.

mod ansible;
mod plain;
mod script;
mod troubles;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use harness::{Address, Balancer, Host, Load, Ssh, Switch, binary, eventually, get, on_change, write_program};
use serde_json::json;
use tempfile::TempDir;

/// Hosts with the service, named web1 and so on.
const HOSTS: usize = 3;
/// The port of the service.
const PORT: u16 = 8080;
/// The program of the releases, unless a test has another one, and its mode: with `/readyz`.
const WORKER: &str = "fixture-worker";
const GOOD: &str = "service";
/// A program of this mode ends at once.
const BAD: &str = "exit";
/// Returns when the service serves, with 0, or when its supervisor has ended: as `systemctl start` does.
const START: &str = "#!/bin/sh\nlog=/run/log.$$\n: >\"$log\"\n\
                     setsid gin-supervisor -c /etc/gin/shop.toml </dev/null >>\"$log\" 2>&1 &\n\
                     tail -n +1 -f --pid $! \"$log\" | grep -q '\"message\":\"serving\"'\n";

/// A file of the recipe.
fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/recipes/hosts").join(name)
}

/// A text with another one in it, which it must have.
fn swapped(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in {text}");
    text.replace(from, to)
}

/// Outcome of a release.
struct Outcome {
    code: i32,
    said: String,
}

impl Outcome {
    fn of(mut command: Command) -> Self {
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        let code = output.status.code().unwrap_or(-1);
        eprintln!("a release over the hosts ended with {code} after {:.1} s", began.elapsed().as_secs_f64());
        Self { code, said }
    }

    /// It has ended so, and has said all of this.
    fn assert(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.said);
        for part in parts {
            assert!(self.said.contains(part), "no {part:?} in: {}", self.said);
        }
    }
}

/// Three hosts with the service, and a fourth one with the balancer.
struct Farm {
    ssh: Ssh,
    hosts: Vec<Host>,
    balancer: Balancer,
    front: Host,
    /// By a lock, for a release and the test are two threads.
    switch: Mutex<Switch>,
    /// Releases, as archives.
    dir: TempDir,
}

/// nginx on the host of the balancer, until it is dropped.
struct Nginx {
    child: Child,
    address: Address,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with their host.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Farm {
    /// The release "one" serves, on all hosts. HAProxy does not try a connection again: clients would not notice some faults.
    fn start() -> Self {
        Self::with(WORKER, GOOD, &[], no_retries)
    }

    /// The same with another program in another mode, sections of its configuration, and a change of HAProxy's.
    fn with(program: &str, mode: &str, sections: &[&str], haproxy: impl FnOnce(&str) -> String) -> Self {
        let farm = Self::without_service(haproxy);
        let release = farm.archive_of("one", program, mode, &[]);
        for host in &farm.hosts {
            farm.install(host, &release, sections);
            write_program_of(host, "/run/service", START);
            host.ok(&["env", "-i", &path_of_programs(), "/run/service"]);
        }
        farm.until_balanced();
        farm
    }

    /// Hosts that are reached by ssh, and a balancer before nothing.
    fn without_service(haproxy: impl FnOnce(&str) -> String) -> Self {
        let (switch, mut ssh) = (Switch::new(), Ssh::new());
        let hosts: Vec<Host> = (1..=HOSTS).map(|number| switch.host(&format!("web{number}"))).collect();
        hosts.iter().for_each(|host| ssh.serve(host));
        let front = switch.host("balancer");
        let text = haproxy(&std::fs::read_to_string(recipe("haproxy.cfg")).unwrap());
        let balancer = Balancer::configured(&front, &placed(&switch, &text), 80);
        let dir = tempfile::Builder::new().prefix("hosts").tempdir_in("/tmp").unwrap();
        Self { ssh, hosts, balancer, front, switch: Mutex::new(switch), dir }
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap()
    }

    fn placed(&self, text: &str) -> String {
        placed(&self.switch(), text)
    }

    /// Puts a first release and the configuration on a host.
    fn install(&self, host: &Host, release: &Path, sections: &[&str]) {
        let config = std::fs::read_to_string(recipe("shop.toml")).unwrap();
        let config = swapped(&swapped(&config, "\"deploy\"", "\"root\""), "\"www-data\"", "\"root\"");
        // The balancer asks every 500 ms, and its connections are idle for no longer than a moment.
        let config = swapped(&config, "lame_duck = \"5s\"", "idle_grace = \"1s\"\nlame_duck = \"2s\"");
        let file = self.dir.path().join("shop.toml");
        std::fs::write(&file, self.placed(&format!("{config}\n{}", sections.concat()))).unwrap();
        let (file, release) = (file.display(), release.display());
        let script = format!(
            "set -e\ncp {file} /etc/gin/shop.toml\nmkdir -p /srv/shop/releases/one\n\
             tar -xzf {release} -C /srv/shop/releases/one\nln -s releases/one /srv/shop/current"
        );
        host.ok(&["sh", "-c", &script]);
    }

    /// Until the balancer sends requests to all hosts.
    fn until_balanced(&self) {
        for host in &self.hosts {
            self.until_state(host, "UP");
        }
    }

    /// Until the balancer has this opinion of a host.
    fn until_state(&self, host: &Host, state: &str) {
        // HAProxy sends no event.
        let look = || self.balancer.state(host.name());
        eventually(&format!("{} is {state}", host.name()), look, |seen| seen == state);
    }

    /// A release as it is made elsewhere.
    fn archive(&self, name: &str, mode: &str) -> PathBuf {
        self.archive_of(name, WORKER, mode, &[])
    }

    /// The same of another program, with further files.
    fn archive_of(&self, name: &str, program: &str, mode: &str, files: &[(&str, &str)]) -> PathBuf {
        let (tree, archive) = (self.dir.path().join(name), self.dir.path().join(format!("{name}.tar.gz")));
        std::fs::create_dir_all(tree.join("bin")).unwrap();
        let text = format!("#!/bin/sh\nexec {} \"$@\"\n", binary(program).display());
        write_program(&tree.join("bin/shop"), &text);
        std::fs::write(tree.join("mode"), mode).unwrap();
        files.iter().for_each(|(file, text)| std::fs::write(tree.join(file), text).unwrap());
        let mut command = Command::new("tar");
        command.arg("-czf").arg(&archive).arg("-C").arg(&tree).arg(".");
        assert!(command.status().unwrap().success(), "{command:?}");
        archive
    }

    /// The recipe's script with these options, for all hosts by their addresses.
    fn script(&self, options: &[&str], release: &Path) -> Outcome {
        Outcome::of(self.script_command(options, release))
    }

    fn script_command(&self, options: &[&str], release: &Path) -> Command {
        let mut command = Command::new(recipe("release.sh"));
        command.args(options).arg(release).args(self.hosts.iter().map(Host::address));
        let soon = "-o ConnectTimeout=3 -o ServerAliveInterval=1 -o ServerAliveCountMax=3";
        command.env("SSH", format!("ssh -F {} {soon}", self.ssh.config().display()));
        command.env("STOP", "gin-ctl stop shop").env("START", "/run/service");
        command.env("TIMEOUT", "30").env("TAKEN_BACK", "3");
        command
    }

    /// The recipe's playbook.
    fn play(&self, drain: bool, release: &Path) -> Outcome {
        let inventory = self.placed(&std::fs::read_to_string(recipe("inventory.ini")).unwrap());
        let (file, dir) = (self.dir.path().join("inventory.ini"), self.ssh.dir());
        let inventory = swapped(&inventory, "ansible_user=deploy", "ansible_user=root");
        // A host that is lost is noticed after 3 s.
        let inventory = swapped(&inventory, "ServerAliveInterval=5", "ServerAliveInterval=1");
        std::fs::write(&file, inventory).unwrap();
        let vars = json!({
            "release": release, "drain": drain, "patience": 30, "taken_back": 3,
            "stop": "gin-ctl stop shop", "start": "/run/service",
        });
        let shared = "-o ControlMaster=auto -o ControlPersist=10s";
        let mut command = Command::new("/usr/bin/ansible-playbook");
        command.arg("-i").arg(&file).arg(recipe("release.yml")).args(["-e", &vars.to_string()]);
        command
            .env("HOME", dir)
            .env("ANSIBLE_LOCAL_TEMP", dir.join("ansible"))
            .env("ANSIBLE_PIPELINING", "True")
            .env("ANSIBLE_HOST_KEY_CHECKING", "False")
            .env("ANSIBLE_NOCOLOR", "True")
            .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
            .env("ANSIBLE_SSH_ARGS", format!("-F {} {shared}", self.ssh.config().display()))
            .env("LC_ALL", "C.UTF-8");
        Outcome::of(command)
    }

    /// Clients of the balancer that keep their connections, and others that make one for each request.
    fn load(&self) -> Load {
        Load::new().keep_alive(self.balancer.address(), 3).one_shot(self.balancer.address(), 3)
    }

    /// The release that each host serves.
    fn serving(&self) -> Vec<String> {
        let who = |host: &Host| get(&at(host), "/").unwrap().json();
        self.hosts.iter().map(|host| who(host)["release"].as_str().unwrap().to_owned()).collect()
    }

    /// Where `current` leads to on each host.
    fn links(&self) -> Vec<String> {
        let link = |host: &Host| host.ok(&["readlink", "/srv/shop/current"]).trim().to_owned();
        self.hosts.iter().map(link).collect()
    }

    /// Until `current` of a host leads to this release.
    fn until_link(host: &Host, release: &str) {
        // The same directory as the host sees it.
        let dir = PathBuf::from(format!("/proc/{}/root/srv/shop", host.init()));
        let look = || std::fs::read_link(dir.join("current")).unwrap();
        let goal = Path::new("releases").join(release);
        on_change(&dir, &format!("{} has {release}", host.name()), look, |link| *link == goal);
    }

    /// Each host has this release, and serves it.
    fn assert_serves(&self, release: &str) {
        assert_eq!(self.serving(), vec![release; HOSTS]);
        assert_eq!(self.links(), vec![format!("releases/{release}"); HOSTS]);
    }

    /// These hosts have nothing of this release.
    fn assert_untouched(&self, hosts: &[Host], release: &str) {
        for host in hosts {
            let all = host.ok(&["ls", "-A", "/srv/shop/releases"]);
            assert!(!all.contains(release), "{}: {all}", host.name());
        }
    }

    /// nginx by the recipe, on the port 81 beside HAProxy. It does not try a request at another host.
    fn nginx(&self) -> Nginx {
        let site = self.placed(&std::fs::read_to_string(recipe("nginx.conf")).unwrap());
        let site = swapped(&site, "listen 80;", "listen 81;\n    proxy_next_upstream off;");
        let dir = self.dir.path();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/nginx-{kind};", dir.display()));
        let text = format!(
            "user root;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\ndaemon off;\nevents {{}}\n\
             http {{\naccess_log off;\n{}\n{site}\n}}\n",
            temp.join("\n"),
            at = dir.display()
        );
        std::fs::write(dir.join("nginx.conf"), text).unwrap();
        let mut command = self.front.command("/usr/sbin/nginx");
        let child = command.arg("-c").arg(dir.join("nginx.conf")).stdin(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { child, address: Address::from(format!("{}:81", self.front.address()).as_str()) };
        // nginx does not say when it listens.
        let _ = eventually("nginx answers", || get(&nginx.address, "/"), Result::is_ok);
        nginx
    }
}

/// HAProxy's configuration with one try for each connection.
fn no_retries(text: &str) -> String {
    swapped(&swapped(text, "retries 2", "retries 0"), "option redispatch 1", "no option redispatch")
}

/// A file of the recipe with the addresses of this network. The test itself is 10.0.0.9.
fn placed(switch: &Switch, text: &str) -> String {
    let text = (0..HOSTS).fold(text.to_owned(), |text, number| {
        text.replace(&format!("10.0.0.1{}", number + 1), &switch.address(number))
    });
    text.replace("10.0.0.10", &switch.address(HOSTS)).replace("10.0.0.9", &switch.own())
}

/// Where the service of a host is.
fn at(host: &Host) -> Address {
    Address::from(format!("{}:{PORT}", host.address()).as_str())
}

/// The variable `PATH` with the programs of the tests, as sshd sets it.
fn path_of_programs() -> String {
    format!("PATH={}:/usr/bin:/bin:/usr/sbin:/sbin", binary("").display())
}

fn write_program_of(host: &Host, file: &str, text: &str) {
    host.ok(&["sh", "-c", "printf %s \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh", file, text]);
}

/// A good release, a bad one, and a good one, under load: nobody is hurt, no connection is closed, and the bad one stops at the first host
/// with this exit code.
fn good_bad_and_good(farm: &Farm, code: i32, release: impl Fn(&Path) -> Outcome) {
    let load = farm.load();
    load.flows(100);
    release(&farm.archive("two", GOOD)).assert(0, &[]);
    farm.assert_serves("two");
    load.flows(100);

    release(&farm.archive("bad", BAD)).assert(code, &["bad failed", "as before", "later hosts were not touched"]);
    farm.assert_serves("two");
    farm.assert_untouched(&farm.hosts[1..], "bad");
    load.flows(100);

    release(&farm.archive("three", GOOD)).assert(0, &[]);
    farm.assert_serves("three");
    load.flows(100);
    kept(load);
}

/// Ends the load. Nobody was hurt, and no connection was closed.
fn kept(load: Load) {
    let report = load.finish();
    eprintln!("{} requests over {} connections, hurt: {:?}", report.requests, report.connects, report.hurt);
    report.assert_kept();
}

/// Until the balancer has taken out each host in turn, and taken it back before the next one.
fn until_each_was_out(farm: &Farm) {
    for (number, host) in farm.hosts.iter().enumerate() {
        farm.until_state(host, "DOWN");
        let others = farm.hosts.iter().enumerate().filter(|(other, _)| *other != number);
        for (_, other) in others {
            assert_eq!(farm.balancer.state(other.name()), "UP", "{} is out beside {}", other.name(), host.name());
        }
        farm.until_state(host, "UP");
    }
}
