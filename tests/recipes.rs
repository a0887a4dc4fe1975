//! Every recipe of `systemd/recipes`, as it stands there, with the real program: through restarts under load.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{Address, Ctl, Load, Supervisor, WebSocket, binary, eventually, get, on_change, supervisor, times};

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/recipes").join(name)
}

/// What `tests/run` made for the Python recipes.
fn venv() -> PathBuf {
    let made = std::env::var_os("GIN_VENV").map(PathBuf::from);
    let venv = made.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/recipes-venv"));
    assert!(venv.join("bin/python").exists(), "tests/run makes {}", venv.display());
    venv
}

/// The recipe's files as a release, and its configuration with that release's place and a free port.
fn prepare(name: &str, file: &str, change: impl FnOnce(&Path)) -> harness::Builder {
    let builder = supervisor();
    let release = builder.releases().path("one");
    std::fs::create_dir_all(&release).unwrap();
    for entry in std::fs::read_dir(recipe(name)).unwrap().flatten() {
        std::fs::copy(entry.path(), release.join(entry.file_name())).unwrap();
    }
    builder.releases().point_to("one");
    change(&release);
    let current = builder.releases().current().display().to_string();
    let text = std::fs::read_to_string(recipe(name).join(file)).unwrap();
    let text = text.replace("/srv/shop/current", &current).replace("127.0.0.1:8080", "127.0.0.1:0");
    builder.file(&text)
}

/// Five restarts under load, a connection a request: nobody is hurt.
fn restarts(gin: &Supervisor, address: &Address) {
    let load = Load::new().one_shot(address, 6);
    for _ in 0..times(5, 10) {
        load.flows(50);
        gin.restart();
    }
    load.flows(50);
    load.finish().assert_unhurt();
}

fn unhurt(name: &str, change: impl FnOnce(&Path)) {
    let gin = prepare(name, "shop.toml", change).start();
    let address = gin.tcp();
    restarts(&gin, &address);
    gin.stop();
}

#[test]
fn gunicorn() {
    unhurt("gunicorn", |release| symlink(venv(), release.join("venv")).unwrap());
}

#[test]
fn uvicorn() {
    unhurt("uvicorn", |release| symlink(venv(), release.join("venv")).unwrap());
}

/// By its own command line it is ready after a time, and loses what README.md says: here it only has to come up and go.
#[test]
fn uvicorn_without_sd_notify() {
    let gin = prepare("uvicorn", "plain.toml", |release| {
        symlink(venv(), release.join("venv")).unwrap();
    });
    let gin = gin.start();
    assert_eq!(gin.get("/").status, 200);
    gin.restart();
    assert_eq!(gin.get("/").status, 200);
    gin.stop();
}

#[test]
fn puma() {
    unhurt("puma", |_| {});
}

#[test]
fn node() {
    unhurt("node", |_| {});
}

#[test]
fn go() {
    unhurt("go", |release| {
        let go = |args: &[&str]| {
            let mut command = Command::new("go");
            command.args(args).current_dir(release).stdin(Stdio::null());
            command.envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GO111MODULE", "on")]);
            // One cache for all runs of the tests.
            command.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "go {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        // Debian's package in place of the module proxy's copy.
        let package = "github.com/coreos/go-systemd/v22=/usr/share/gocode/src/github.com/coreos/go-systemd";
        go(&["mod", "edit", &format!("-replace={package}")]);
        go(&["build", "-o", "shop", "."]);
    });
}

#[test]
fn axum() {
    unhurt("axum", |release| symlink(binary("examples/axum"), release.join("shop")).unwrap());
}

#[test]
fn docker() {
    let text = std::fs::read_to_string(recipe("docker").join("gin.toml")).unwrap();
    let gin = supervisor().file(&text.replace("host = \"0.0.0.0\"\nport = 8080", "port = 0")).start();
    let address = gin.tcp();
    restarts(&gin, &address);
    gin.stop();
}

#[test]
fn a_queue_consumer_does_each_job_once() {
    let mut spool = PathBuf::new();
    let gin = prepare("queue", "shop.toml", |release| {
        spool = release.join("spool");
        for name in ["inbox", "taken", "done"] {
            std::fs::create_dir_all(spool.join(name)).unwrap();
        }
    });
    let gin = gin.start();
    let put = |round: usize| {
        for job in 0..4 {
            std::fs::write(spool.join(format!("new-{round}-{job}")), "").unwrap();
            std::fs::rename(spool.join(format!("new-{round}-{job}")), spool.join(format!("inbox/{round}-{job}")))
                .unwrap();
        }
    };
    for round in 0..5 {
        put(round);
        gin.restart();
    }
    let done = || std::fs::read_dir(spool.join("done")).unwrap().count();
    on_change(&spool.join("done"), "all 20 jobs are done", || (done(), gin.log()), |(count, _)| *count >= 20);
    for job in std::fs::read_dir(spool.join("done")).unwrap().flatten() {
        assert_eq!(std::fs::read_to_string(job.path()).unwrap().lines().count(), 1, "done twice");
    }
    gin.stop();
}

/// Its workers end with it only if it is asked.
struct Nginx(std::process::Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn behind_nginx_get_and_post_lose_nothing() {
    let builder = supervisor();
    let dir = builder.dir().to_owned();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = dir.join("shop.sock").display().to_string();
    let text = std::fs::read_to_string(recipe("nginx").join("shop.toml")).unwrap().replace("/run/shop.sock", &socket);
    // With a WebSocket, which gin-server has not.
    let command = format!(
        "[supervisor]\ncommand = {:?}\n{text}",
        [binary("fixture-worker").display().to_string(), "ok".to_owned()]
    );
    let gin = builder.file(&command).start();
    let site = std::fs::read_to_string(recipe("nginx").join("shop.conf")).unwrap();
    let site = site
        .replace("/run/shop.sock", &socket)
        .replace("listen 80;", &format!("listen unix:{}/nginx.sock;", dir.display()));
    let at = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|k| format!("{k}_temp_path {at}/nginx-{k};"))
        .join("\n");
    let conf = format!(
        "user www-data;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\ndaemon off;\nevents {{}}\n\
         http {{\naccess_log off;\n{temp}\n{site}\n}}\n"
    );
    std::fs::write(dir.join("nginx.conf"), conf).unwrap();
    let nginx = Nginx(Command::new("/usr/sbin/nginx").arg("-c").arg(dir.join("nginx.conf")).spawn().unwrap());
    let address = Address::Unix(dir.join("nginx.sock"));
    // nginx does not say when it listens.
    let _ = eventually("nginx answers", || get(&address, "/"), Result::is_ok);
    restarts(&gin, &address);
    let load = Load::new().keep_alive(&address, 6);
    for _ in 0..times(5, 10) {
        load.flows(50);
        gin.restart();
    }
    load.finish().assert_unhurt();
    let mut socket = WebSocket::open(&address, "/count");
    socket.send(0x81, b"abc");
    assert!(socket.text().starts_with("1 3 "));
    drop(socket);
    drop(nginx);
    let log = std::fs::read_to_string(dir.join("nginx.log")).unwrap_or_default();
    assert!(!log.contains("upstream"), "{log}");
    gin.stop();
}

#[test]
fn a_deploy_group_may_restart_and_others_may_not() {
    let builder = supervisor();
    let dir = builder.dir().to_owned();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let release = |name: &str| {
        let bin = builder.releases().path(name).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(builder.releases().path(name).join("shared.env"), format!("SECRET={name}\n")).unwrap();
        let _ = symlink(binary("fixture-worker"), bin.join("shop"));
        builder.releases().point_to(name);
    };
    release("20261121T0930");
    let current = builder.releases().current().display().to_string();
    let text = std::fs::read_to_string(recipe("capistrano").join("shop.toml")).unwrap();
    // A group that every machine has.
    let text = text.replace("/srv/shop/current", &current).replace("127.0.0.1:8080", "127.0.0.1:0");
    let text =
        text.replace("\"deploy\"", "\"users\"").replace("user = \"www-data\"", "user = \"www-data\"\nchannel = true");
    release("20261121T1144");
    builder.releases().point_to("20261121T0930");
    let releases = builder.releases();
    let gin = builder.file(&text).start();
    std::fs::set_permissions(dir.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(gin.get("/").json()["secret"], "20261121T0930");
    releases.point_to("20261121T1144");
    let as_user = |groups: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid=nobody", "--regid=nogroup", groups, "--"])
            .arg(binary("gin-ctl"))
            .arg("-s")
            .arg(gin.socket())
            .arg("restart")
            .output()
            .unwrap();
        Ctl::from(output)
    };
    as_user("--clear-groups").assert(5, &[]);
    as_user("--groups=users").assert(0, &["20261121T1144", "generation 2 serves"]);
    assert_eq!(gin.who()["secret"], "20261121T1144");
    gin.until_log("\"command\":\"restart\",\"user\":\"nobody\",\"uid\":65534");
    gin.stop();
}

#[test]
fn every_recipes_configuration_is_accepted() {
    let mut checked = 0;
    for folder in std::fs::read_dir(recipe("")).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            if file.path().extension().is_some_and(|ending| ending == "toml") {
                // Users, groups and files that this machine need not have.
                let text = std::fs::read_to_string(file.path()).unwrap();
                let ours =
                    ["\"deploy\"", "\"www-data\""].iter().fold(text, |text, name| text.replace(name, "\"root\""));
                let dir = tempfile::tempdir_in("/tmp").unwrap();
                std::fs::write(dir.path().join("shared.env"), "").unwrap();
                let ours =
                    ours.replace("/srv/shop/current/shared.env", &dir.path().join("shared.env").display().to_string());
                std::fs::write(dir.path().join("shop.toml"), ours).unwrap();
                let check =
                    Command::new(binary("gin-ctl")).arg("check").arg(dir.path().join("shop.toml")).output().unwrap();
                let said = String::from_utf8_lossy(&check.stderr).into_owned();
                // Nor are the programs installed here.
                let missing = ["error: command ", ": supervisor.command: ", ": supervisor.directory: "];
                let is_missing = |line: &str| missing.iter().any(|part| line.contains(part));
                assert!(said.lines().all(is_missing), "{}: {said}", file.path().display());
                assert!(check.status.success() || !said.is_empty(), "{}: {said}", file.path().display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 10, "{checked}");
}
