//! `systemd/monitoring`: its rules and its dashboard ask for what a service tells, and its ways to the Unix socket work.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{Address, Client, binary, eventually, get, supervisor};
use serde_json::{Value, json};

use crate::docs::root;
use crate::systemd::{INSTALLED, ours, shipped, shop};

/// A file of `systemd/monitoring`.
pub fn file(name: &str) -> PathBuf {
    root().join("systemd/monitoring").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// A question of the dashboard.
#[derive(Debug)]
pub struct Asked {
    /// Its panel, or annotation.
    pub title: String,
    /// In PromQL, with the variables replaced.
    pub expr: String,
    /// Labels that the legend shows.
    pub labels: Vec<String>,
}

impl Asked {
    fn new(title: &Value, target: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let replaced =
            [("${namespace}", "gin_server"), ("$service", ".*"), ("$instance", ".*"), ("$__rate_interval", "1m")];
        let expr = replaced.iter().fold(text(&target["expr"]), |expr, (from, to)| expr.replace(from, to));
        let legend = text(&target["legendFormat"]);
        let labels = legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.to_owned())).collect();
        Self { title: text(title), expr, labels }
    }

    /// True if a service has it only with a database, a cache or traces.
    pub fn is_of_data(&self) -> bool {
        ["gin_server_database_", "gin_server_cache_", "gin_server_trace_"].iter().any(|name| self.expr.contains(name))
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboard.json")).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// All panels, with those of rows that are closed.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"]).flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"]))).collect()
}

/// All that the dashboard asks Prometheus.
pub fn asked() -> Vec<Asked> {
    let dashboard = dashboard();
    let of_panel = |panel: &Value| -> Vec<Asked> {
        list(&panel["targets"]).map(|target| Asked::new(&panel["title"], target)).collect()
    };
    let annotations = list(&dashboard["annotations"]["list"]).filter(|annotation| annotation["expr"].is_string());
    let of_annotations = annotations.map(|annotation| Asked::new(&annotation["name"], annotation));
    panels(&dashboard).into_iter().flat_map(of_panel).chain(of_annotations).collect()
}

/// The metrics that a text tells, by the names under which Prometheus stores them.
pub fn told(text: &str) -> BTreeSet<String> {
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let stored = families.flat_map(|(name, kind)| {
        let ends = if kind == "histogram" { vec!["_bucket", "_count", "_sum"] } else { vec![""] };
        ends.into_iter().map(move |end| format!("{name}{end}"))
    });
    stored.collect()
}

/// The words in a text that begin so, but those in comments.
fn words(text: &str, begin: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let words = lines.flat_map(|line| line.split(is_end)).filter(|word| word.starts_with(begin));
    words.map(|word| word.trim_end_matches(':').to_owned()).collect()
}

/// Runs promtool on this input; gives its exit code and what it said.
pub fn promtool(args: &[&str], input: &str) -> (i32, String) {
    let mut command = Command::new("/usr/bin/promtool");
    command.args(args).current_dir(file(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_a_service_tells() {
    let gin = supervisor().workers(2).set("soak = \"0s\"").ours("one", "service").https().start();
    for (path, status) in [("/", 200), ("/fails", 502), ("/none", 404)] {
        assert_eq!(gin.get(path).status, status, "{path}");
    }
    let mut kept = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(kept.get("/").unwrap().status, 200);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    // Gauges are those of the workers that live.
    assert_eq!(kept.get("/").unwrap().status, 200);
    let told = told(&gin.ctl(&["metrics"]).out);
    // The second one is what the dashboard's variables are made of.
    for name in ["gin_server_http_request_duration_seconds_bucket", "gin_build_info"] {
        assert!(told.contains(name), "no {name}: {told:?}");
    }
    let rules = read("gin.rules.yml");
    // The first is of gin-textfile, which has a test of its own; the second is told where requests are traced.
    let elsewhere = ["gin_up", "gin_server_trace_spans_total"];
    let all = words(&rules, "gin_").into_iter();
    let of_rules: BTreeSet<String> = all.filter(|name| !elsewhere.contains(&name.as_str())).collect();
    let asked = asked();
    let without_data = asked.iter().filter(|asked| !asked.is_of_data());
    let of_dashboard: BTreeSet<String> = without_data.flat_map(|asked| words(&asked.expr, "gin_")).collect();
    assert!(of_rules.len() > 15 && of_dashboard.len() > 25, "{of_rules:?} {of_dashboard:?}");
    let missing: Vec<&String> = of_rules.union(&of_dashboard).filter(|name| !told.contains(*name)).collect();
    assert!(missing.is_empty(), "nobody tells {missing:?}; there are {told:#?}");
    // What a rule takes from another one is recorded.
    for name in words(&rules, "instance:").iter().chain(&words(&rules, "instance_le:")) {
        assert!(rules.contains(&format!("- record: {name}\n")), "{name}");
    }
    gin.stop();
}

#[test]
fn the_page_names_every_alert_and_every_metric_of_the_panels_for_data() {
    let page = read("README.md");
    let rules = read("gin.rules.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let tests = read("gin.rules.test.yml");
    for alert in alerts {
        assert!(page.contains(&format!("| `{alert}` |")), "{alert}");
        let (comes, does_not) =
            (format!("{alert}\n        exp_alerts:\n"), format!("{alert}\n        exp_alerts: []\n"));
        assert!(tests.contains(&comes) && tests.contains(&does_not), "{alert} has no test");
    }
    for name in asked().iter().filter(|asked| asked.is_of_data()).flat_map(|asked| words(&asked.expr, "gin_")) {
        let name = name.trim_start_matches("gin_server_");
        let family = ["_bucket", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        assert!(page.contains(&format!("| `{family}` |")), "{family}");
    }
}

#[test]
fn the_panels_of_the_dashboard_have_a_place_and_a_number_each() {
    let dashboard = dashboard();
    let (mut numbers, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + width <= 24, "{title} is wider than the page");
        for place in (y..y + height).flat_map(|row| (x..x + width).map(move |column| (row, column))) {
            assert!(places.insert(place), "{title} covers another panel");
        }
        let is_row = panel["type"] == "row";
        assert_eq!(is_row, list(&panel["targets"]).next().is_none(), "{title}");
        for target in list(&panel["targets"]) {
            assert!(target["refId"].is_string() && target["datasource"]["uid"] == "${datasource}", "{title}");
        }
    }
}

/// Runs gin-textfile; gives the one file that it leaves.
fn textfile(socket: &Path, directory: &Path) -> String {
    let programs = binary("gin-ctl").parent().unwrap().display().to_string();
    let mut command = Command::new(file("gin-textfile"));
    command.arg("shop").arg(socket).arg(directory);
    command.env("PATH", format!("{programs}:/usr/bin:/bin"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let left: Vec<_> = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["gin-shop.prom"]);
    std::fs::read_to_string(directory.join("gin-shop.prom")).unwrap()
}

#[test]
fn the_file_for_node_exporter_names_the_service_and_tells_of_a_supervisor_that_is_gone() {
    let gin = supervisor().ours("one", "service").start();
    assert_eq!(gin.get("/").status, 200);
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let socket = gin.dir().join("run/status.sock");
    let text = textfile(&socket, directory.path());
    let mut expected = told(&gin.ctl(&["metrics"]).out);
    expected.insert("gin_up".to_owned());
    assert_eq!(told(&text), expected);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("{service=\"shop\",") || line.contains("{service=\"shop\"} "), "{line}");
    }
    assert!(text.ends_with("\ngin_up{service=\"shop\"} 1\n"), "{text}");
    gin.stop();
    let text = textfile(&socket, directory.path());
    assert_eq!(told(&text), BTreeSet::from(["gin_up".to_owned()]));
    assert!(text.ends_with("\ngin_up{service=\"shop\"} 0\n"), "{text}");
}

#[test]
fn the_units_for_the_unix_socket_work_under_systemd() {
    let lab = shop("", &ours());
    lab.ok(&["systemctl", "start", "shop"]);
    // A lab sees our programs and its own directory, wherever the sources are.
    let script = lab.dir().join("gin-textfile");
    std::fs::copy(file("gin-textfile"), &script).unwrap();
    let programs = [binary("gin-ctl"), script].map(|program| program.display().to_string());
    lab.ok(&["install", "-D", "-t", INSTALLED, &programs[0], &programs[1]]);
    lab.ok(&["mkdir", "-p", "/var/lib/prometheus/node-exporter"]);
    // A Unix socket in the lab's directory instead of a port that another test may have.
    let proxy = lab.dir().join("proxy.sock");
    let units =
        ["gin-textfile@.service", "gin-textfile@.timer", "gin-metrics-proxy@.service", "gin-metrics-proxy@.socket"];
    for unit in units {
        let text = shipped(&format!("monitoring/{unit}"));
        lab.unit(unit, &text.replace("127.0.0.1:9465", &proxy.display().to_string()));
    }
    for unit in units {
        // The man pages are not installed in a lab.
        lab.ok(&["systemd-analyze", "verify", "--man=no", &unit.replace('@', "@shop")]);
    }
    lab.ok(&["systemctl", "start", "gin-textfile@shop.timer", "gin-metrics-proxy@shop.socket"]);
    let answer = get(&Address::Unix(proxy), "/v1/metrics").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert!(answer.status == 200 && text.contains("gin_down{instance=\"shop\"} 0"), "{text}");
    let look = || lab.run(&["cat", "/var/lib/prometheus/node-exporter/gin-shop.prom"]).1;
    // A timer of systemd tells a test nothing.
    let text = eventually("the timer has written the file", look, |text| text.contains("gin_up"));
    assert!(text.contains("gin_down{service=\"shop\",instance=\"shop\"} 0"), "{text}");
    assert!(text.contains("gin_up{service=\"shop\"} 1"), "{text}");
}

#[test]
#[ignore = "needs /usr/bin/promtool: tests/run --services"]
fn promtool_accepts_rules_configurations_and_what_the_dashboard_asks() {
    for args in [
        &["check", "rules", "gin.rules.yml"],
        &["test", "rules", "gin.rules.test.yml"],
        &["check", "config", "prometheus.yml"],
        &["check", "config", "prometheus-unix.yml"],
    ] {
        let (code, said) = promtool(args, "");
        assert_eq!(code, 0, "{args:?}: {said}");
    }
    // promtool reads expressions in rules alone. JSON is YAML, too.
    let rule = |(number, asked): (usize, &Asked)| json!({ "record": format!("panel:{number}"), "expr": asked.expr });
    let rules: Vec<Value> = asked().iter().enumerate().map(rule).collect();
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let file = dir.path().join("dashboard.yml");
    std::fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).unwrap();
    let (code, said) = promtool(&["check", "rules", &file.display().to_string()], "");
    assert_eq!(code, 0, "{said}");
}
