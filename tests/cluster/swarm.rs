//! The recipe `systemd/recipes/swarm` on two Docker engines, each in namespaces of its own: the example rest_api in three replicas, on
//! MariaDB and Redis of Debian's packages. Clients come from outside, through HAProxy on each node, for Swarm's own ingress needs IP_VS of
//! the kernel, which machines for tests may not have.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use harness::{Address, Change, Engine, PASSWORD, Report, Switch, eventually, fixture, write_program};
use tempfile::TempDir;

use crate::containers::compose::assert_times_fit;
use crate::containers::users::{Writer, load, put_program, total};
use crate::docs::root;

/// The service of the stack `users` that has the example.
const WEB: &str = "users_web";
/// Its tasks.
const REPLICAS: usize = 3;
const SECRETS: [&str; 3] = ["database_root_password", "database_password", "redis_password"];

fn path(name: &str) -> PathBuf {
    root().join("systemd/recipes/swarm").join(name)
}

fn recipe(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The image of a release.
fn image(release: &str) -> String {
    format!("registry.example.org/rest_api:{release}")
}

/// Files of HAProxy of Debian's package, and the libraries that it needs beside libc.
fn put_haproxy(directory: &Path) {
    let program = Path::new("/usr/sbin/haproxy");
    let output = Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = needed.lines().filter_map(|line| line.split_once(" => ")?.1.split_whitespace().next());
    let others = libraries.filter(|library| !library.contains("/libc.so") && !library.contains("/libm.so"));
    for file in others.map(Path::new).chain([program]) {
        let name = file.file_name().expect("a file has a name");
        std::fs::copy(file, directory.join(name)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// Two nodes, of which the first manages the swarm and has the database.
struct Swarm {
    first: Engine,
    second: Engine,
    dir: TempDir,
    _switch: Switch,
}

impl Swarm {
    /// Starts both, with all images, and deploys the stack.
    fn start() -> Self {
        let switch = Switch::new();
        let (first, second) = (Engine::at(&switch, 0, "node1"), Engine::at(&switch, 1, "node2"));
        let dir = tempfile::Builder::new().prefix("swarm").tempdir_in("/var/tmp").unwrap();
        let swarm = Self { first, second, dir, _switch: switch };
        swarm.build_images();
        swarm.join();
        let began = Instant::now();
        swarm.deploy("1", &[]);
        // Without a change it waits until all replicas are there.
        swarm.first.ok(&["service", "update", "--quiet", "--no-resolve-image", WEB]);
        for address in swarm.entrances() {
            // HAProxy asks for them by DNS, and tells nobody.
            eventually("an entrance knows of tasks", || total(&address), |total| *total == Some(2));
        }
        eprintln!("swarm: deployed after {:?}", began.elapsed());
        swarm
    }

    /// There is no registry: the second node is given the images of the first one.
    fn build_images(&self) {
        self.first.build_gin("one", Change::None);
        self.first.build_stores();
        let [haproxy, service, bad] = ["haproxy", "service", "bad"].map(|name| self.dir.path().join(name));
        [&haproxy, &service, &bad].iter().for_each(|context| std::fs::create_dir(context).unwrap());
        put_haproxy(&haproxy);
        self.first.build(&fixture("images/haproxy/Dockerfile"), &haproxy, "haproxy:3.2");
        put_program(&service, "rest_api");
        write_program(&bad.join("rest_api"), "#!/bin/sh\nexit 3\n");
        let dockerfile = path("Dockerfile").display().to_string();
        for (release, context) in [("1", &service), ("2", &service), ("3", &service), ("bad", &bad)] {
            let (version, tag) = (format!("VERSION={release}"), image(release));
            let names = ["--build-arg", "GIN=gin:one", "--build-arg", &version, "--tag", &tag];
            let context = context.display().to_string();
            self.first.ok(&[&["build", "--file", &dockerfile][..], &names, &[context.as_str()]].concat());
        }
        let archive = self.dir.path().join("images").display().to_string();
        let [one, two, three, bad] = ["1", "2", "3", "bad"].map(image);
        self.first.ok(&["save", "--output", &archive, "haproxy:3.2", &one, &two, &three, &bad]);
        self.second.ok(&["load", "--quiet", "--input", &archive]);
        std::fs::remove_file(archive).unwrap();
    }

    fn join(&self) {
        let address = self.first.address();
        self.first.ok(&["swarm", "init", "--advertise-addr", address]);
        let token = self.first.ok(&["swarm", "join-token", "--quiet", "worker"]);
        self.second.ok(&["swarm", "join", "--token", &token, &format!("{address}:2377")]);
        self.first.ok(&["node", "update", "--label-add", "store=yes", "node1"]);
        for name in SECRETS {
            let file = self.dir.path().join(name);
            std::fs::write(&file, format!("{PASSWORD}-{name}\n")).unwrap();
            self.first.ok(&["secret", "create", name, &file.display().to_string()]);
        }
    }

    /// Deploys the stack with this release, and further files, which change it.
    fn deploy(&self, release: &str, changes: &[&str]) {
        for name in ["entrance.yml", "haproxy.cfg", "gin.toml"] {
            std::fs::write(self.dir.path().join(name), recipe(name)).unwrap();
        }
        let stack = recipe("stack.yml");
        assert!(stack.contains(&image("1")), "{stack}");
        std::fs::write(self.dir.path().join("stack.yml"), stack.replace(&image("1"), &image(release))).unwrap();
        // Not every 5 s: each task is there that much sooner.
        let often = "version: \"3.8\"\nservices: {web: {healthcheck: {interval: 1s}}}\n";
        std::fs::write(self.dir.path().join("often.yml"), often).unwrap();
        let files = [&["stack.yml", "entrance.yml", "often.yml"][..], changes].concat();
        let files: Vec<String> = files.iter().map(|name| self.dir.path().join(name).display().to_string()).collect();
        let options = files.iter().flat_map(|file| ["--compose-file", file]);
        let args: Vec<&str> = ["stack", "deploy", "--resolve-image", "never"].into_iter().chain(options).collect();
        self.first.ok(&[&args[..], &["users"]].concat());
    }

    /// Where clients come in: port 80 of each node.
    fn entrances(&self) -> [Address; 2] {
        [&self.first, &self.second].map(|node| Address::from(format!("{}:80", node.address()).as_str()))
    }

    /// Deploys another release under load, until its update has come to this state; gives how it was for clients, and tells how long it
    /// took.
    fn update(&self, release: &str, changes: &[&str], state: &str) -> Report {
        let load = load(&self.entrances());
        load.flows(100);
        let (since, began) = (SystemTime::now(), Instant::now());
        self.deploy(release, changes);
        let (name, new) = (format!("service={WEB}"), r#"{{index .Actor.Attributes "updatestate.new"}}"#);
        let is_it = |states: &str| states.lines().any(|one| one == state);
        self.first.until_events(since, &["type=service", &name], new, is_it);
        let took = began.elapsed();
        load.flows(100);
        let report = load.finish();
        eprintln!(
            "swarm: {release} {state}: {took:?}, hurt {:?} of {}, {} closed",
            report.hurt,
            report.requests,
            report.closed()
        );
        report
    }

    /// Images of the tasks that are to run.
    fn images(&self) -> Vec<String> {
        let running = ["service", "ps", "--filter", "desired-state=running", "--format", "{{.Image}}", WEB];
        self.first.ok(&running).lines().map(str::to_owned).collect()
    }

    fn tell_memory(&self) {
        for node in [&self.first, &self.second] {
            eprintln!("swarm: memory: {}", node.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]));
        }
    }
}

/// The same update without gin, of the program as PID 1. It is only told: here Swarm and HAProxy do most of what is done.
fn without_gin(swarm: &Swarm) {
    let alone = "version: \"3.8\"\nservices:\n  web:\n    entrypoint: [/usr/local/bin/service]\n    command: []\n    \
                 environment: [GIN_CONFIG=/etc/gin/gin.toml]\n    healthcheck: {disable: true}\n";
    std::fs::write(swarm.dir.path().join("alone.yml"), alone).unwrap();
    swarm.update("2", &["alone.yml"], "completed");
    eprintln!("swarm: without gin from here on");
    swarm.update("3", &["alone.yml"], "completed");
    swarm.tell_memory();
}

/// Else Swarm looks for newer images of the same tags, and a release of one service replaces the database.
#[test]
fn a_release_leaves_the_images_of_other_services_alone() {
    let texts = [recipe("README.md"), recipe("stack.yml")].concat();
    let deploys: Vec<&str> = texts.lines().filter(|line| line.contains("docker stack deploy --")).collect();
    assert_eq!(deploys.len(), 3, "{deploys:?}");
    for line in deploys {
        assert!(line.contains("deploy --resolve-image changed "), "{line}");
    }
}

#[test]
fn the_times_fit() {
    assert_times_fit(&recipe("gin.toml"), &recipe("stack.yml"));
}

#[test]
#[ignore = "needs root, Docker, HAProxy and the example: tests/run --services"]
fn an_update_of_three_replicas_hurts_nobody_and_a_bad_one_goes_back() {
    let swarm = Swarm::start();
    swarm.tell_memory();
    let writer = Writer::start(&swarm.entrances()[0], "w");
    let report = swarm.update("2", &[], "completed");
    report.assert_kept();
    assert_eq!(swarm.images(), vec![image("2"); REPLICAS]);

    let report = swarm.update("bad", &[], "rollback_completed");
    report.assert_kept();
    assert_eq!(swarm.images(), vec![image("2"); REPLICAS]);
    let written = writer.finish();
    eprintln!("swarm: {} users were added meanwhile", written.added);
    assert!(written.hurt.is_empty() && written.added > 0, "{written:?}");
    for address in swarm.entrances() {
        // Redis tells the workers of all tasks of a change, and whom it has told says nothing.
        eventually("each user is there", || total(&address), |total| *total == Some(2 + written.added));
    }
    without_gin(&swarm);
}

#[test]
#[ignore = "needs root, Docker, HAProxy and the example: tests/run --services"]
fn a_node_that_dies_is_replaced() {
    let swarm = Swarm::start();
    let entrance = swarm.entrances()[0].clone();
    let tasks = swarm.first.ok(&["ps", "--quiet", "--filter", "name=users_web"]);
    let lost = REPLICAS - tasks.lines().count();
    assert!(lost > 0, "no task is at the second node: {tasks}");
    let load = load(std::slice::from_ref(&entrance));
    load.flows(100);
    let (since, began) = (SystemTime::now(), Instant::now());
    let Swarm { first, second, dir: _dir, _switch } = swarm;
    drop(second);
    load.flows(100);
    eprintln!("swarm: a node has died with {lost} tasks: 100 answers after {:?}", began.elapsed());
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    first.until_events(since, &["type=container", "event=health_status"], format, |events| {
        events.lines().filter(|event| event.starts_with("health_status: healthy users_web.")).count() >= lost
    });
    eprintln!("swarm: three replicas again after {:?}", began.elapsed());
    load.flows(100);
    let report = load.finish();
    eprintln!("swarm: a node has died: hurt {:?} of {}", report.hurt, report.requests);
    // Those whose request was at the node, and those of the second or two in which HAProxy does not know yet.
    assert!(report.hurt.values().sum::<u64>() <= 100, "{report:?}");
    assert!(total(&entrance).is_some());
}
