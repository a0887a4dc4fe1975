//! Whole files, and what is read or said of them.

use proptest::prelude::*;

use std::collections::BTreeSet;

use gin_shared::config::listen::PairFiles;
use gin_shared::reference::{Key, Kind};

use super::*;
use crate::certificates::Wanted;
use crate::machine::plan::Readiness;
use crate::os::file_access::Files;
use crate::os::sandbox::Sandbox;
use crate::os::seccomp;

fn load(text: &str) -> Result<Config, Vec<String>> {
    load_as("toml", text, &[])
}

fn load_as(format: &str, text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("shop.{format}"));
    std::fs::write(&path, text).unwrap();
    let cli = Cli::parse_from(["gin-supervisor", "-c", path.to_str().unwrap()]);
    let short = |p: Problem| p.to_string().replace(&format!("{}/", dir.path().display()), "");
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::load_with(&cli, &lookup).map_err(|problems| problems.into_iter().map(short).collect())
}

/// The names of keys, those of tables with a dot between.
fn names(prefix: &str, keys: &[Key], into: &mut BTreeSet<String>) {
    for key in keys {
        let name = format!("{prefix}.{}", key.name);
        if let Kind::Table(keys) | Kind::Tables(keys) | Kind::ChoiceOrTable(_, keys) | Kind::BooleanOrTable(keys) =
            key.kind
        {
            names(&name, keys, into);
        }
        into.insert(name);
    }
}

#[test]
fn the_reference_has_every_key_that_is_read_and_no_other() {
    let text = "[supervisor]\ncommand = [\"/bin/app\"]\nready = {}\nprobe = {}\nlimits = {}\nhooks = {}\nsandbox = {}\nlisten = [{ tls = {} }]\n\
                [security]\ncertificates = [{}]\n";
    let path = Path::new("shop.toml");
    let entries = tree::parse(path, text).unwrap();
    let problems = Problems::new(path);
    let asked = problems.asked();
    let cli = Cli::parse_from(["gin-supervisor"]);
    let _ = Config::from_entries(&cli, None, entries, &|_| None, problems);
    let mut documented = BTreeSet::new();
    for section in reference::SECTIONS.iter().filter(|section| READ.contains(&section.name)) {
        names(section.name, section.keys, &mut documented);
    }
    // For the memory that workers share.
    documented.insert("rate_limit.clients".to_owned());
    for (section, keys) in listen::security_from_environment() {
        names(section, keys, &mut documented);
    }
    assert_eq!(*asked.borrow(), documented);
}

#[test]
fn documented_defaults_are_those_in_force() {
    let mut text = String::new();
    for section in reference::SECTIONS.iter().filter(|section| READ.contains(&section.name)) {
        text.push_str(&format!("[{}]\n", section.name));
        for key in section.keys.iter().filter(|key| !key.default.is_empty()) {
            text.push_str(&format!("{} = {}\n", key.name, key.default));
        }
        for key in section.keys {
            if let Kind::Table(keys) = key.kind
                && !["probe", "env"].contains(&key.name)
            {
                text.push_str(&format!("[{}.{}]\n", section.name, key.name));
                for key in keys.iter().filter(|key| !key.default.is_empty()) {
                    text.push_str(&format!("{} = {}\n", key.name, key.default));
                }
            }
        }
    }
    let (written, empty) = (load(&text).unwrap(), load("").unwrap());
    assert_eq!(written.worker, empty.worker);
    assert_eq!((written.fixed, written.live, written.listeners), (empty.fixed, empty.live, empty.listeners));
    let probe = load("[supervisor]\nprobe = {}\n").unwrap().worker.probe.unwrap();
    let reference = reference::PROBE.iter().filter(|key| !key.default.is_empty());
    let written: String = reference.map(|key| format!("{} = {}\n", key.name, key.default)).collect();
    assert_eq!(load(&format!("[supervisor.probe]\n{written}")).unwrap().worker.probe.unwrap(), probe);
}

#[test]
fn documented_examples_are_accepted() {
    for key in reference::SUPERVISOR.iter().filter(|key| !key.example.is_empty()) {
        let more = match key.name {
            "env_file" => continue,
            "traces" if cfg!(not(feature = "otel")) => continue,
            "user" | "group" | "status_group" | "control_group" => "",
            "probe" => "private_listener = true\n",
            "capabilities" => "user = \"nobody\"\n",
            _ => "command = [\"/bin/app\"]\n",
        };
        let more = if key.name == "command" { "" } else { more };
        // Groups that this machine need not have.
        let example = if key.name.ends_with("_group") { "\"root\"" } else { key.example };
        let text = format!("[supervisor]\n{more}{} = {example}\n", key.name);
        assert!(load(&text).is_ok(), "{text}: {:?}", load(&text));
    }
}

#[test]
fn yaml_and_json_say_the_same_with_their_own_lines() {
    let toml = load(
        "[server]\nport = 9000\n[supervisor]\ncommand = [\"/bin/app\"]\nworkers = 3\nready = { after = \"2s\" }\n",
    )
    .unwrap();
    let yaml = "server: {port: 9000}\nsupervisor:\n  command: [/bin/app]\n  workers: 3\n  ready: {after: 2s}\n";
    let json = "{\"server\": {\"port\": 9000},\n \"supervisor\": {\"command\": [\"/bin/app\"], \"workers\": 3,\n \"ready\": {\"after\": \"2s\"}}}";
    for (format, text) in [("yaml", yaml), ("yml", yaml), ("json", json)] {
        let config = load_as(format, text, &[]).unwrap();
        assert_eq!((config.worker, config.listeners), (toml.worker.clone(), toml.listeners.clone()), "{format}");
    }
    let errors = |format, text| load_as(format, text, &[]).unwrap_err();
    assert_eq!(
        errors("yaml", "supervisor:\n  workerz: 3\n  nice: [1]\n"),
        [
            "shop.yaml:3: supervisor.nice: expected a whole number, found a list",
            "shop.yaml:2: supervisor.workerz: unknown key; did you mean \"workers\"?"
        ]
    );
    assert_eq!(
        errors("json", "{\"supervisor\":\n{\"workers\": \"x\"}}"),
        ["shop.json:2: supervisor.workers: expected a whole number or \"auto\", found a string"]
    );
    assert!(errors("json", "{\"supervisor\":\n{workers: 1}}")[0].starts_with("shop.json:2: "));
    assert!(errors("yaml", "supervisor:\n  a: [1\n")[0].starts_with("shop.yaml:"));
    assert!(errors("yaml", "- 1\n")[0].contains("expected sections"));
    assert!(load_as("yaml", "# nothing\n", &[]).is_ok());
}

#[test]
fn the_environment_counts_over_the_file() {
    let text = "[server]\nport = 9000\n[supervisor]\nworkers = 3\nlimits = { nofile = 100, nproc = 7 }\n";
    let variables = [
        ("GIN_SUPERVISOR_WORKERS", "4"),
        ("SUPERVISOR_WORKERS", "5"),
        ("GIN_SUPERVISOR_LIMITS_NOFILE", "200"),
        ("GIN_SUPERVISOR_READY", "{ after = \"3s\" }"),
        ("SUPERVISOR_SHUTDOWN_SIGNALS", "TERM, INT"),
        ("FEATURES_HOT_RESTART", "false"),
        ("SERVER_PORT", "tcp://10.0.0.1:80"),
        ("SERVER_SERVICE_HOST", "10.0.0.1"),
        ("PORT", "9001"),
    ];
    let config = load_as("toml", text, &variables).unwrap();
    assert_eq!((config.worker.workers, config.worker.hot_restart), (4, false));
    assert_eq!((config.worker.limits.nofile, config.worker.limits.nproc), (Some(200), Some(7)));
    assert_eq!(config.worker.ready, Readiness::After(Duration::from_secs(3)));
    assert_eq!(config.live.shutdown_signals, [Signal::SIGTERM, Signal::SIGINT]);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:9001");
    assert!(config.warnings.iter().any(|warning| warning.contains("SERVER_PORT=tcp:")), "{:?}", config.warnings);
    let wrong = [("GIN_SUPERVISOR_WORKERS", "many"), ("GIN_SERVER_PORT", "x"), ("SUPERVISOR_COMMAND", "/bin/app x")];
    assert_eq!(
        load_as("toml", "", &wrong).unwrap_err(),
        [
            "environment variable SUPERVISOR_COMMAND: supervisor.command: a command is a list, not a string: \
             command = [\"/bin/app\", \"x\"]",
            "environment variable GIN_SUPERVISOR_WORKERS: supervisor.workers: expected a whole number or \"auto\", \
             found a string",
            "environment variable GIN_SERVER_PORT: expected a whole number, found \"x\"",
        ]
    );
}

#[test]
fn what_cannot_be_is_named() {
    let error = |line: &str| load(&format!("[supervisor]\ncommand = [\"/bin/app\"]\n{line}\n")).unwrap_err().join("; ");
    for key in ["channel = false", "private_listener = false"] {
        assert!(error(&format!("{key}\nprobe = {{}}")).contains("set private_listener = true"), "{key}");
    }
    assert!(error("private_listener = true\nprobe = { path = \"x\" }").contains("write it as \"/readyz\""));
    assert!(error("cpu_affinity = [\"3-1\"]").contains("\"3-1\" is not a core"));
    assert!(error("user = \"nobody\"\ncapabilities = [\"CAP_NONE\"]").contains("is not a capability"));
    assert!(error("user = \"root\"\ncapabilities = []").contains("a worker of root has them all"));
    assert!(error("env = { NOTIFY_SOCKET = \"x\" }").contains("NOTIFY_SOCKET is set by the supervisor"));
    assert!(error("env = { A = true }").contains("expected a text, in quotes"));
    assert!(error("restart_signal = \"SIGTERM\"").contains("SIGTERM is among shutdown_signals"));
    assert!(error("shutdown_signals = []").contains("one at least"));
    assert!(error("shutdown_signals = [\"SIGHUP\"]").contains("cannot be used here"));
    assert!(error("ready = { after = \"30s\" }").contains("after must be shorter than ready_timeout"));
    assert!(error("drain_timeout = \"500000000000 years\"").contains("is longer than a year"));
    assert!(error("control_group = \"nobody-has-this\"").contains("shop.toml:3: supervisor.control_group: group"));
    assert!(error("limits = { memory_restart = \"12 parsecs\" }").contains("is not a size"));
    assert!(error("limits = { max_age = \"0s\" }").contains("must be 1s at least"));
    assert!(error("listen = [{ name = \"private\", address = \":1\" }]").contains("choose another name"));
    let config = load(
        "[supervisor]\nuser = \"nobody\"\ncapabilities = [\"cap_net_bind_service\"]\ncpu_affinity = [\"0-1\", \"3\"]\n",
    )
    .unwrap();
    assert_eq!((config.worker.capabilities, config.worker.cores), (Some(1 << 10), Some(vec![0, 1, 3])));
    let sizes = load("[supervisor]\nlimits = { memory_restart = \"512MiB\", core = \"2G\" }\n").unwrap().worker.limits;
    assert_eq!((sizes.memory_restart, sizes.core), (Some(512 << 20), Some(2 << 30)));
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let problems = load(
        "[supervisor]\ncommand = \"/bin/app --x\"\nworkerz = 2\nready_timeout = \"30 parsecs\"\nworkers = 0\n\
         nice = \"high\"\n[server]\nport = 70000\n[superviser]\n",
    );
    assert_eq!(
        problems.unwrap_err(),
        [
            "shop.toml:9: superviser: unknown section; did you mean [supervisor]?",
            "shop.toml:2: supervisor.command: a command is a list, not a string: command = [\"/bin/app\", \"--x\"]",
            "shop.toml:5: supervisor.workers: 0 is out of range; it must be 1 to 1024",
            "shop.toml:4: supervisor.ready_timeout: \"30 parsecs\" is not a duration (unknown time unit \"parsecs\", \
             supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)); write it \
             as \"30s\", \"500ms\" or \"1m 30s\"",
            "shop.toml:6: supervisor.nice: expected a whole number, found a string",
            "shop.toml:8: server.port: 70000 is out of range; it must be 0 to 65535",
            "shop.toml:3: supervisor.workerz: unknown key; did you mean \"workers\"?",
        ]
    );
}

#[test]
fn listeners_have_names_and_addresses_of_their_own() {
    let listen = |address: &str| format!("[[supervisor.listen]]\nname = \"a\"\naddress = \"{address}\"\n");
    let two = format!("{}{}", listen("127.0.0.1:1"), listen("127.0.0.1:1"));
    assert_eq!(
        load(&two).unwrap_err(),
        ["shop.toml:1: two listeners are named \"a\"", "shop.toml:1: two listeners have the address 127.0.0.1:1"]
    );
    let beside = format!("{}[server]\nport = 1\n", listen("127.0.0.1:1"));
    assert!(load(&beside).unwrap_err()[0].contains("shorthand"));
    assert!(
        load(&format!("{}backlogg = 1\n", listen("127.0.0.1:1"))).unwrap_err()[0].contains("did you mean \"backlog\"?")
    );
    assert!(load("[server]\nprot = 1\n").unwrap_err()[0].contains("did you mean \"port\"?"));
    assert!(load("[server]\nmode = \"debug\"\nname = \"x\"\n").is_ok());
    assert!(load(&listen("nowhere")).unwrap_err()[0].contains("is not an address"));
}

#[test]
fn defaults_depend_on_whose_worker_it_is() {
    let ours = load("").unwrap();
    assert_eq!((ours.worker.channel, ours.worker.soak), (true, Duration::ZERO));
    assert_eq!(ours.listeners[0].address.to_string(), "127.0.0.1:8080");
    let foreign = load("[supervisor]\ncommand = [\"/bin/app\"]\nready = { after = \"2s\" }\n").unwrap();
    assert_eq!((foreign.worker.channel, foreign.worker.soak), (false, Duration::from_secs(1)));
    assert_eq!(foreign.worker.ready, Readiness::After(Duration::from_secs(2)));
    assert_eq!(foreign.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert!(load("[supervisor]\nlisten = []\n").unwrap().listeners.is_empty());
}

#[test]
fn a_worker_that_announces_itself_is_offered_a_channel_unless_the_key_says_otherwise() {
    let with = |text: &str| load(&format!("[supervisor]\ncommand = [\"/bin/app\"]\n{text}")).unwrap();
    let offered = |text: &str| {
        let worker = with(text).worker;
        (worker.channel, worker.private_listener, worker.offered.map(|offered| offered.private_listener))
    };
    assert_eq!(offered(""), (false, false, Some(true)));
    assert_eq!(offered("private_listener = false"), (false, false, Some(false)));
    // Passed at the start, so it is not given once more.
    assert_eq!(offered("private_listener = true"), (false, true, Some(false)));
    assert_eq!(offered("channel = true"), (true, true, None));
    assert_eq!(offered("channel = false"), (false, false, None));
    assert_eq!(load("").unwrap().worker.offered, None);
    // Only the worker can tell whether it can be probed.
    assert!(with("probe = {}").worker.probe.is_some());
    // It may have to accept in its own time: the service manager waits for that, too.
    assert_eq!(with("").checked().start_ms, with("channel = true").checked().start_ms);
    let warned = |text: &str| with(text).warnings.join("; ");
    assert!(warned("soak = \"0s\"").contains("unless it is built on gin-worker"));
    let foreign = warned("soak = \"0s\"\nchannel = false");
    assert!(foreign.contains("takes the old one's place") && !foreign.contains("gin-worker"), "{foreign}");
}

#[test]
fn gin_server_is_contained_and_a_foreign_program_where_it_is_asked_for() {
    let on = Sandbox { no_new_privs: true, capabilities: Some(0), seccomp: seccomp::IS_KNOWN, files: None };
    let ours = load("").unwrap().worker;
    assert_eq!(ours.sandbox, on);
    let passed = ours.env_pass.unwrap();
    for name in ["PATH", "LC_*", "PORT", "GIN_*", "SERVER_*", "REDIS_*", "APP_*"] {
        assert!(passed.iter().any(|other| other == name), "no {name} in {passed:?}");
    }
    assert!(!passed.iter().any(|name| name == "SUPERVISOR_*"), "{passed:?}");

    let with = |text: &str| load(&format!("[supervisor]\ncommand = [\"/bin/app\"]\n{text}")).unwrap().worker;
    let foreign = with("");
    assert_eq!((foreign.sandbox, foreign.env_pass), (Sandbox::default(), None));
    assert_eq!(with("sandbox = { enable = true }").sandbox, on);
    assert_eq!(with("sandbox = { no_new_privs = true }").sandbox, Sandbox { no_new_privs: true, ..Sandbox::default() });
    let kept = "user = \"nobody\"\ncapabilities = [\"CAP_NET_RAW\"]\nsandbox = { capabilities = [\"cap_chown\"] }";
    assert_eq!(with(kept).sandbox.capabilities, Some((1 << 13) | 1));
    let files = Files { read: vec!["/srv".into()], write: vec!["/tmp".into()] };
    let sandbox = with("sandbox = { enable = true, read = [\"/srv\"], write = [\"/tmp\"] }").sandbox;
    assert_eq!(sandbox, Sandbox { files: Some(files), ..on.clone() });
    let off = load("[supervisor]\nenv_clear = false\nsandbox = { enable = false }\n").unwrap().worker;
    assert_eq!((off.sandbox, off.env_pass), (Sandbox::default(), None));
    assert_eq!(with("env_pass = [\"LANG\"]").env_pass, Some(vec!["LANG".to_owned()]));
}

#[test]
fn a_sandbox_that_cannot_be_is_named() {
    let error = |line: &str| load(&format!("[supervisor]\n{line}\n")).unwrap_err().join("; ");
    let no_rights = "sandbox = { no_new_privs = false, seccomp = true }";
    assert!(error(no_rights).contains("supervisor.sandbox.seccomp: it needs no_new_privs = true"));
    let files = "sandbox = { no_new_privs = false, seccomp = false, read = [\"/srv\"] }";
    assert!(error(files).contains("supervisor.sandbox.no_new_privs: read and write need it"));
    assert!(error("sandbox = { read = [\"srv\"] }").contains("\"srv\" is not absolute"));
    assert!(error("sandbox = { capabilities = [\"CAP_NONE\"] }").contains("is not a capability"));
    assert!(error("sandbox = { seccmp = true }").contains("did you mean \"seccomp\"?"));
    assert!(error("env_pass = [\"L*C\"]").contains("\"L*C\" cannot name variables"));
    assert!(error("env_clear = false\nenv_pass = [\"LANG\"]").contains("it counts with env_clear = true alone"));
}

#[test]
fn a_user_that_does_not_exist_is_named() {
    let problems = load("[supervisor]\nuser = \"no-such-user-here\"\n").unwrap_err();
    assert_eq!(problems, ["shop.toml:2: supervisor.user: user no-such-user-here: unknown"]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("GIN_SOAK").is_some() { 20_000 } else { 500 },
        ..ProptestConfig::default()
    })]

    /// Whatever stands in a file: it is read or refused, with a place for each problem, and never a panic.
    #[test]
    fn any_file_is_read_or_refused(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("[supervisor]".to_owned()),
                Just("[server]".to_owned()),
                Just("[[supervisor.listen]]".to_owned()),
                ("[a-z_]{1,12}|workers|command|ready|listen|host|port|env|limits|umask|address|name|mode",
                 "[0-9]{1,20}|-1|1e9|true|\"\\PC{0,20}\"|\"unix:/.{0,120}\"|\\[\\]|\\[1, \"x\"\\]|\\{ after = \"1s\" \\}|\\{\\}|1979-05-27")
                    .prop_map(|(key, value)| format!("{key} = {value}")),
                "\\PC{0,40}",
            ],
            0..12,
        ),
    ) {
        let text = lines.join("\n");
        for format in ["toml", "yaml", "json"] {
            let path = PathBuf::from(format!("shop.{format}"));
            // The keys as the format writes them, so that more than the first line is looked at.
            let text = match format {
                "yaml" => text.replace(" = ", ": ").replace("[supervisor]", "supervisor:").replace('\n', "\n  "),
                "json" => format!("{{\"supervisor\": {{{}}}}}", lines.iter().filter_map(|line| line.split_once(" = "))
                    .map(|(key, value)| format!("\"{key}\": {value}")).collect::<Vec<_>>().join(", ")),
                _ => text.clone(),
            };
            let result = Config::from_text(&path, &text);
            if let Err(problems) = result {
                prop_assert!(problems.iter().all(|problem| !problem.place.is_empty() && !problem.text.is_empty()));
            }
        }
    }
}

#[test]
fn metrics_have_room_and_an_address_of_their_own() {
    let fixed = |text: &str| load(text).unwrap().fixed;
    assert_eq!((fixed("").metrics, fixed("").metrics_series), (None, 4096));
    let set = fixed("[supervisor]\nmetrics = \"localhost:9464\"\n[metrics]\nseries = 100\n");
    assert_eq!((set.metrics, set.metrics_series), ("127.0.0.1:9464".parse().ok(), 100));
    assert_eq!(fixed("").changed(&set), ["metrics", "metrics.series"]);
    let from_environment = load_as("toml", "", &[("GIN_METRICS_SERIES", "64"), ("GIN_SUPERVISOR_METRICS", ":9464")]);
    assert_eq!(from_environment.unwrap().fixed.metrics_series, 64);
    let wrong = |text: &str| load(text).unwrap_err().join("; ");
    let unix = wrong("[supervisor]\nmetrics = \"unix:/run/metrics.sock\"\n");
    assert!(unix.contains("shop.toml:2: supervisor.metrics: unix:/run/metrics.sock is no TCP address"), "{unix}");
    let taken = wrong("[server]\nport = 9464\n[supervisor]\nmetrics = \"127.0.0.1:9464\"\n");
    assert!(taken.contains("shop.toml:4: supervisor.metrics: the listener \"http\" has 127.0.0.1:9464"), "{taken}");
    assert!(wrong("[metrics]\nseries = 15\n").contains("metrics.series: 15 is out of range"));
    // No worker has to be replaced for it.
    assert_eq!(load("[metrics]\nseries = 64\n").unwrap().others(), load("").unwrap().others());
}

#[test]
fn broken_toml_tells_its_line() {
    let problems = load("[supervisor]\nworkers = \n").unwrap_err();
    assert!(problems[0].starts_with("shop.toml:2: "), "{problems:?}");
}

#[test]
fn the_files_of_all_listeners_that_speak_tls_are_wanted() {
    let pair = |name: &str| PairFiles { cert: format!("/{name}.pem").into(), key: format!("/{name}.key").into() };
    let security = "[security]\ncert_file = \"/a.pem\"\nkey_file = \"/a.key\"\nticket_secret_file = \"/secret\"\ncore_dumps = true\n";
    let off = load(security).unwrap().worker;
    assert_eq!((off.tls, off.listen), (Wanted::default(), Vec::new()));
    let on = load(&format!("{security}enable_https = true\n")).unwrap().worker;
    assert_eq!((on.tls.pairs, on.tls.core_dumps), (BTreeSet::from([pair("a")]), true));
    assert_eq!((on.tls.authorities.len(), on.tls.ticket_secret.as_deref()), (0, Some(Path::new("/secret"))));
    let text = format!(
        "{security}client_ca_file = \"/ca.pem\"\n\
         [[supervisor.listen]]\nname = \"http\"\naddress = \":80\"\nredirect = \"https\"\n\
         [[supervisor.listen]]\nname = \"https\"\naddress = \":443\"\n\
         tls = {{ cert_file = \"/b.pem\", key_file = \"/b.key\", client_auth = \"optional\" }}\n"
    );
    let config = load(&text).unwrap();
    assert_eq!(config.worker.tls.pairs, BTreeSet::from([pair("b")]));
    assert_eq!(config.worker.tls.authorities, BTreeSet::from(["/ca.pem".into()]));
    // Any change of what a listener speaks is one for which workers are restarted.
    let other = load(&text.replace("\"https\"\n[[", "\"https:8443\"\n[[")).unwrap();
    assert!(config.worker != other.worker && config.listeners == other.listeners);
    let variables = [("GIN_SECURITY_ENABLE_HTTPS", "true"), ("SECURITY_CERT_FILE", "/c.pem")];
    let of_environment = load_as("toml", security, &variables).unwrap().worker.tls;
    assert_eq!(of_environment.pairs, BTreeSet::from([PairFiles { cert: "/c.pem".into(), ..pair("a") }]));
}

#[test]
fn tls_that_cannot_be_is_told_with_its_place() {
    let error = |text: &str| load(text).unwrap_err();
    assert_eq!(
        error("[security]\nenable_https = true\n"),
        ["shop.toml:2: security.cert_file: missing; with enable_https = true it is needed, and key_file"]
    );
    assert_eq!(
        error("[[supervisor.listen]]\nname = \"s\"\naddress = \"unix:/run/s\"\ntls = true\n"),
        ["shop.toml:4: supervisor.listen.tls: only a TCP listener speaks TLS"]
    );
    let foreign = "[supervisor]\ncommand = [\"/bin/app\"]\n[security]\nenable_https = true\ncert_file = \"/a\"\nkey_file = \"/b\"\n";
    let warnings = |text: &str| load(text).unwrap().warnings.join("; ");
    assert!(warnings(foreign).contains("set channel = true if it is built on gin-worker"), "{}", warnings(foreign));
    let built = foreign.replace("[security]", "channel = true\n[security]");
    assert!(!warnings(&built).contains("speaks it itself"), "{}", warnings(&built));
}

#[test]
fn a_foreign_program_behind_a_balancer_is_warned_of() {
    let listen = "[[supervisor.listen]]\nname = \"http\"\naddress = \":80\"\nproxy_protocol = [\"10.0.0.0/8\"]\n";
    let warns = |supervisor: &str| {
        let config = load(&format!("{supervisor}{listen}")).unwrap();
        config.warnings.iter().any(|warning| warning.starts_with("a listener has proxy_protocol"))
    };
    let foreign = "[supervisor]\ncommand = [\"/bin/app\"]\n";
    assert!(warns(foreign) && !warns(&format!("{foreign}channel = true\n")) && !warns(""));
}

#[cfg(feature = "otel")]
#[test]
fn a_receiver_of_traces_is_changed_in_place() {
    let (none, one) = (load("").unwrap(), load("[supervisor]\ntraces = \"http://127.0.0.1:4318\"\n").unwrap());
    assert!(none.live.traces.is_none());
    assert_eq!(one.live.traces.as_ref().unwrap().port, 4318);
    assert!(none.live != one.live && none.worker == one.worker && none.others() == one.others());
    assert_eq!(one.live, load("[supervisor]\ntraces = \"http://127.0.0.1:4318\"\n").unwrap().live);
    let error = load("[supervisor]\ntraces = \"https://127.0.0.1:4317\"\n").unwrap_err();
    assert!(error[0].starts_with("shop.toml:2: supervisor.traces: ") && error[0].contains("http://"), "{error:?}");
}

#[cfg(not(feature = "otel"))]
#[test]
fn a_receiver_of_traces_is_refused_by_a_build_without_them() {
    let error = load("[supervisor]\ntraces = \"http://127.0.0.1:4317\"\n").unwrap_err();
    assert!(error[0].starts_with("shop.toml:2: supervisor.traces: ") && error[0].contains("otel"), "{error:?}");
}
