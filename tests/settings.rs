//! The configuration of gin-server: where values come from, what is wrong with it, and its change while clients are served.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Client, alone, binary, get, supervisor, times};
use nix::sys::signal::Signal;

fn check(text: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("server.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(binary("gin-server"));
    command.args(["--config-check", "--config"]).arg(&config).envs(environment.iter().copied());
    let output = command.env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code().unwrap(), said)
}

#[test]
fn everything_that_is_wrong_is_shown_where_it_stands() {
    let text = "[server]\nprot = 80\n[rate_limit]\nwindow = \"1 fortnight\"\n[logging]\nlevel = \"loud\"\n";
    let (code, said) = check(text, &[("CORS_MAX_AGE", "soon")]);
    assert_eq!(code, 2);
    for part in [
        "server.toml:2",
        "server.prot: unknown key; did you mean \"port\"?",
        "server.toml:4",
        "rate_limit.window",
        "server.toml:6",
        "logging.level",
        "CORS_MAX_AGE",
        "prot = 80",
    ] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
}

#[test]
fn a_service_on_the_library_has_help_and_takes_no_flag_that_it_does_not_know() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let run =
        |args: &[&str]| Command::new(binary("fixture-worker")).args(args).current_dir(dir.path()).output().unwrap();
    let help = run(&["--help"]);
    let said = String::from_utf8_lossy(&help.stdout);
    assert!(
        help.status.success() && said.starts_with("Usage: fixture-worker") && said.contains("--log-level"),
        "{said}"
    );
    let wrong = run(&["--prot", "1"]);
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && said.contains("unknown flag; did you mean --port?"), "{said}");
}

/// gin-server's answer to `--config-check` in a directory with these files; nobody names one of them.
fn check_in(files: &[(&str, &str)], environment: &[(&str, &str)]) -> (i32, String) {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut command = Command::new(binary("gin-server"));
    command.arg("--config-check").current_dir(dir.path()).env("NO_COLOR", "1").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code().unwrap(), said)
}

#[test]
fn the_file_that_was_read_is_named_and_found_without_a_flag() {
    let fine = |files: &[(&str, &str)], environment: &[(&str, &str)], says: &str| {
        assert_eq!(check_in(files, environment), (0, format!("{says}\n")), "{files:?} {environment:?}");
    };
    let (yaml, yml) = (("config.yaml", "server: {port: 1}\n"), ("config.yml", "server: {port: 1}\n"));
    let (toml, json) = (("config.toml", "[server]\nport = 1\n"), ("config.json", "{\"server\": {\"port\": 1}}"));
    fine(&[], &[], "the configuration is fine: no file, only the environment and the command line");
    fine(&[json], &[], "config.json: the configuration is fine");
    fine(&[json, toml], &[], "config.toml: the configuration is fine");
    fine(&[json, toml, yml], &[], "config.yml: the configuration is fine");
    fine(&[json, toml, yml, yaml], &[], "config.yaml: the configuration is fine");
    // A variable goes before them, unless it is empty.
    fine(&[yaml, toml], &[("CONFIG_FILE", "config.toml")], "config.toml: the configuration is fine");
    fine(&[yaml], &[("CONFIG_FILE", ""), ("GIN_CONFIG", "")], "config.yaml: the configuration is fine");
    let (code, said) = check_in(&[yaml], &[("CONFIG_FILE", "none.yaml")]);
    assert!(code == 2 && said.contains("none.yaml: cannot read it"), "{code} {said}");
}

#[test]
fn certificates_that_cannot_be_used_fail_the_check() {
    let file = |name: &str| format!("{}/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let https = |cert: &str, key: &str| {
        let (cert, key) = (file(cert), file(key));
        check(&format!("[security]\nenable_https = true\ncert_file = {cert:?}\nkey_file = {key:?}\n"), &[])
    };
    let (code, said) = https("server.pem", "server.key");
    assert!(code == 0 && said.ends_with("server.toml: the configuration is fine\n"), "{code} {said}");
    for (cert, key, line, told) in [
        ("expired.pem", "expired.key", 3, "the certificate has ended on 2021-01-01; replace the file"),
        ("server.pem", "rsa.key", 3, "rsa.key is another certificate's"),
        ("server.pem", "none.key", 4, "none.key: No such file or directory"),
    ] {
        let (code, said) = https(cert, key);
        assert!(
            code == 2 && said.contains(&format!("server.toml:{line}: security.")) && said.contains(told),
            "{code} {said}"
        );
    }
}

#[test]
fn what_would_make_the_start_fail_fails_the_check() {
    let text = "server:\n  mode: release\nstatic:\n  dir: ./static\n";
    let (code, said) = check_in(&[("config.yaml", text)], &[]);
    assert!(code == 2 && said.contains("error: config.yaml:4: static.dir: cannot serve /"), "{code} {said}");
    // The same is said by the start.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(dir.path().join("config.yaml"), text).unwrap();
    let start = || Command::new(binary("gin-server")).args(["--port", "0"]).current_dir(dir.path()).output().unwrap();
    let started = start();
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(started.status.code() == Some(2) && said.contains("config.yaml:4: static.dir"), "{said}");
    let (code, said) = check_in(&[("config.yaml", "monitoring: {prometheus: {enable: true, path: '/:'}}")], &[]);
    assert!(code == 2 && said.contains("has no name"), "{code} {said}");
    // gin-ctl finds it from where the worker runs.
    let config = dir.path().join("shop.toml");
    let text = format!("[supervisor]\ndirectory = {:?}\n[static]\ndir = \"static\"\n", dir.path());
    std::fs::write(&config, text).unwrap();
    let check = || Command::new(binary("gin-ctl")).arg("check").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&check().stderr).into_owned();
    assert!(said.contains("shop.toml:4: static.dir: cannot serve "), "{said}");
    std::fs::create_dir(dir.path().join("static")).unwrap();
    assert!(check().status.success());
}

#[test]
fn a_limit_for_clients_that_have_no_address_is_an_error() {
    let text =
        "[rate_limit]\nenable = true\n[[supervisor.listen]]\nname = \"http\"\naddress = \"unix:/run/shop.sock\"\n";
    let (code, said) = check(text, &[]);
    assert_eq!(code, 2, "{said}");
    for part in ["server.toml:2", "clients over unix:/run/shop.sock have no address", "rate_limit.without_address"] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
    let (code, said) = check(text, &[("RATE_LIMIT_WITHOUT_ADDRESS", "one_bucket")]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = check(text, &[("SERVER_TRUSTED_PROXIES", "127.0.0.1")]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn what_kubernetes_and_docker_put_into_the_environment_is_understood() {
    let (code, said) = check("", &[("SERVER_PORT", "tcp://10.0.0.1:8080")]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("SERVER_PORT") && said.contains("GIN_SERVER_PORT"), "{said}");
    let links = [("REDIS_PORT", "tcp://10.0.0.2:6379"), ("REDIS_SERVICE_HOST", "10.0.0.2")];
    let (code, said) = check("", &links);
    assert_eq!((code, said.matches("warning").count()), (0, 1), "{said}");
    assert!(said.contains("REDIS_PORT"), "{said}");
    // Docker's links set the first alone.
    assert_eq!(check("", &links[..1]).0, 0);
}

#[test]
fn effective_values_are_shown_with_their_sources_and_without_secrets() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("server.yaml");
    std::fs::write(
        &config,
        "server: { port: 1 }\ndatabase: { password: hunter2 }\napp: { api_key: hunter2, jwt: hunter2, smtp: { login: hunter2 } }\n",
    )
    .unwrap();
    let show = |args: &[&str]| {
        let mut command = Command::new(binary("gin-server"));
        command.args(["config", "show", "--config"]).arg(&config).args(args);
        let output = command.env("RATE_LIMIT_RATE", "7").env("REDIS_PASSWORD", "hunter2").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = show(&["--port", "2"]);
    let line = |key: &str| {
        text.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_else(|| panic!("{key}: {text}"))
    };
    for (key, value, source) in [
        ("server.port", "2", "--port"),
        ("rate_limit.rate", "7", "RATE_LIMIT_RATE"),
        ("database.password", "********", "server.yaml:2"),
        ("redis.password", "********", "REDIS_PASSWORD"),
        ("timeouts.idle", "60s", "default"),
        ("app.jwt", "********", "server.yaml:3"),
        ("app.smtp.login", "********", "server.yaml:3"),
        ("app.api_key", "********", "server.yaml:3"),
    ] {
        assert!(line(key).contains(value) && line(key).contains(source), "{}", line(key));
    }
    let json: serde_json::Value = serde_json::from_str(&show(&["--json"])).unwrap();
    assert!(
        json.as_array()
            .unwrap()
            .iter()
            .any(|one| one["key"] == "server.port" && one["source"].as_str().unwrap().contains("server.yaml:1"))
    );
    assert!(!text.contains("hunter2") && !json.to_string().contains("hunter2"));
}

/// Two settings that are always told together: no answer may have one of each.
fn pair(number: usize) -> String {
    format!(
        "[cors]\nenable = true\nallow_origins = [\"*\"]\nexpose_headers = [\"X-{number}\"]\n[rate_limit]\nenable = true\nrate = {}\n",
        1_000_000 + number
    )
}

#[test]
fn it_changes_under_load_and_nobody_is_hurt_or_sees_half_of_it() {
    let changes = times(10, 100);
    let server = alone(&pair(0));
    let (over, address) = (Arc::new(AtomicBool::new(false)), server.address().clone());
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (over, address) = (Arc::clone(&over), address.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(&address).unwrap();
                let (mut asked, mut seen) = (0_u64, std::collections::BTreeSet::new());
                while !over.load(Ordering::Relaxed) {
                    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n").unwrap();
                    let answer = client.response().unwrap();
                    assert_eq!(answer.status, 200);
                    let number: usize = answer.headers["access-control-expose-headers"]
                        .split('-')
                        .next_back()
                        .unwrap()
                        .parse()
                        .unwrap();
                    let limit: usize = answer.headers["ratelimit-limit"].parse().unwrap();
                    assert_eq!(limit, 1_000_000 + number, "half of a change");
                    seen.insert(number);
                    asked += 1;
                }
                (asked, seen)
            })
        })
        .collect();
    for number in 1..=changes {
        if number % 3 == 0 {
            // One that cannot be used changes nothing, and is told.
            server.configure("[cors]\nenable = \"perhaps\"\n");
            let told = server.until("the configuration stays as it was");
            assert!(told["message"].as_str().unwrap().contains("server.toml:2: cors.enable"), "{told}");
        }
        server.configure(&pair(number));
        let told = server.until("the configuration has changed");
        assert_eq!(told["changed"], "cors.expose_headers rate_limit.rate");
    }
    let last = get(server.address(), "/").unwrap();
    assert_eq!(last.headers["ratelimit-limit"], (1_000_000 + changes).to_string());
    over.store(true, Ordering::Relaxed);
    let (mut asked, mut seen) = (0, std::collections::BTreeSet::new());
    for client in clients {
        let (count, numbers) = client.join().unwrap();
        asked += count;
        seen.extend(numbers);
    }
    println!("{asked} requests, {} of {changes} changes seen", seen.len());
    assert!(seen.len() > 1);
}

#[test]
fn what_cannot_change_live_is_named_and_a_signal_reads_it_too() {
    let server = alone("[timeouts]\nidle = \"60s\"\n");
    server.configure("[timeouts]\nidle = \"61s\"\n[security]\nheaders = false\n");
    assert_eq!(server.until("the configuration has changed")["changed"], "security.headers");
    assert_eq!(server.until("these count after a restart")["message"], "these count after a restart: timeouts.idle");
    assert!(!get(server.address(), "/").unwrap().headers.contains_key("x-frame-options"));
    // It is read though nothing has changed.
    server.signal(Signal::SIGHUP);
    let _ = server.until("the configuration was read, and nothing of it is new");
}

#[test]
fn under_a_supervisor_a_changed_file_is_a_reload_if_that_is_switched_on() {
    let gin = supervisor()
        .and_unix()
        .set("reload_on_change = true\nsoak = \"0s\"")
        .section("[rate_limit]\nenable = true\nrate = 5000\nwithout_address = \"unlimited\"")
        .start();
    assert_eq!(gin.get("/").headers["ratelimit-limit"], "5000");
    let load = gin.load();
    load.flows(20);
    let mut events = gin.events();
    gin.configure(|text| text.replace("5000", "6000"));
    events.until_of(2, "current");
    // The old one accepts until it drains.
    events.until_of(1, "gone");
    assert_eq!(gin.get("/").headers["ratelimit-limit"], "6000");
    // One that cannot be used, and one that says the same in other words, change nothing.
    gin.configure(|text| text.replace("soak", "soaq"));
    gin.until_log("nothing changed");
    gin.configure(|text| text.replace("soaq", "soak").replace("rate = 6000", "rate = 6000 # as before"));
    gin.until_log("nothing of it is new");
    assert_eq!(gin.generation().0, 2);
    load.flows(20);
    load.finish().assert_unhurt();
    gin.stop();
}
