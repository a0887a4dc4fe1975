//! The manifests of the recipe for Kubernetes, rendered as they are applied: valid, restricted, and with times and sizes that fit.

mod restricted;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::binary;
use serde_json::{Value, json};

use super::{configuration, kubernetes, seconds};

/// All that can be applied.
const ALL: [&str; 4] = ["base", "overlays/development", "overlays/production", "overlays/monitoring"];
/// The last four versions of Kubernetes: those that kubernetes-validate 1.37 knows.
const VERSIONS: [&str; 4] = ["1.34", "1.35", "1.36", "1.37"];
/// The longest lag of a list of endpoints that the recipe is made for, in seconds.
const LAG: u64 = 5;
/// Time that a worker adds to its drain, in seconds.
const MARGIN: u64 = 5;

/// Rendered objects.
pub(super) struct Manifests {
    /// As kubectl says them.
    text: String,
    objects: Vec<Value>,
}

/// A program of the virtual environment that `tests/run --services` makes.
fn tool(name: &str) -> Command {
    let made = std::env::var_os("GIN_KUBERNETES_VENV").map(PathBuf::from);
    let venv = made.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kubernetes-venv"));
    assert!(venv.join("bin/kubernetes-validate").exists(), "tests/run --services makes {}", venv.display());
    Command::new(venv.join("bin").join(name))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

impl Manifests {
    /// Renders the base or an overlay.
    pub(super) fn render(name: &str) -> Self {
        let output = Command::new("kubectl").arg("kustomize").arg(kubernetes(name)).output().unwrap();
        let hint =
            "kubectl 1.32 renders it; 1.20, of Debian 12, knows neither `patches` nor directories in `resources`";
        assert!(output.status.success(), "{name}: {}; {hint}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let objects = parse(&text);
        Self { text, objects }
    }

    /// The only object of this kind.
    pub(super) fn one(&self, kind: &str) -> &Value {
        let all: Vec<&Value> = self.of(kind).collect();
        assert_eq!(all.len(), 1, "{kind}: {}", self.text);
        all[0]
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }
}

/// The documents of a file of YAML.
fn parse(yaml: &str) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.yaml");
    std::fs::write(&file, yaml).unwrap();
    let program = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let output = tool("python").args(["-c", program]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Validates a file of YAML strictly. Gives if it is valid, and what was said; not that Kubernetes itself has no ServiceMonitor.
fn validate(yaml: &str, version: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = tool("kubernetes-validate").args(["-k", version, "--strict", "--quiet"]).arg(&file).output().unwrap();
    let is_foreign = |line: &&str| line.contains("schema for kind ServiceMonitor");
    let lines: Vec<String> = said(&output).lines().filter(|line| !is_foreign(line)).map(str::to_owned).collect();
    (output.status.success(), lines.join("\n"))
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn they_are_valid_for_the_last_four_versions() {
    for name in ALL {
        let text = Manifests::render(name).text;
        for version in VERSIONS {
            assert_eq!(validate(&text, version), (true, String::new()), "{name} with {version}");
        }
    }
    let (is_valid, said) = validate(&Manifests::render("base").text.replace("replicas: 3", "replcas: 3"), VERSIONS[0]);
    assert!(!is_valid && said.contains("replcas"), "a misspelt field is taken: {said}");
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn pods_are_restricted() {
    for name in ALL {
        let rendered = Manifests::render(name);
        let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
        assert_eq!(restricted::broken(pod), Vec::<&str>::new(), "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        for container in pod["containers"].as_array().unwrap() {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
            let resources = &container["resources"];
            let (requests, limits) =
                (json!({ "cpu": "100m", "memory": "128Mi" }), json!({ "cpu": "500m", "memory": "512Mi" }));
            assert_eq!((&resources["requests"], &resources["limits"]), (&requests, &limits), "{name}");
        }
    }
    for namespace in ["overlays/development", "overlays/production"].map(Manifests::render) {
        let labels = &namespace.one("Namespace")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

/// A rule that nothing breaks would be none.
#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn each_rule_of_the_restricted_profile_can_be_broken() {
    let base = Manifests::render("base");
    let pod = &base.one("Deployment")["spec"]["template"]["spec"];
    for (rule, changed) in restricted::breaches(pod) {
        assert_eq!(restricted::broken(&changed), [rule], "{changed:#}");
    }
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn the_times_fit() {
    let (base, config) = (Manifests::render("base"), configuration());
    let deployment = &base.one("Deployment")["spec"];
    let pod = &deployment["template"]["spec"];
    let probe = |name: &str, key: &str| pod["containers"][0][name][key].as_u64().expect(key);
    let [lame_duck, shutdown, drain] = ["lame_duck", "shutdown", "drain_timeout"].map(|key| seconds(&config, key));
    let notices = probe("readinessProbe", "periodSeconds") * probe("readinessProbe", "failureThreshold");
    assert!(
        lame_duck > notices.max(2) + LAG,
        "balancers that ask /readyz, and those that lag, notice within {lame_duck} s"
    );
    assert!(drain >= lame_duck + shutdown + MARGIN, "{drain} s hold a lame duck, a drain and the worker's margin");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace >= drain + 10, "{grace} s hold a drain of {drain} s");
    assert_eq!(deployment["strategy"]["rollingUpdate"], json!({ "maxUnavailable": 0, "maxSurge": 1 }));
    // Liveness never ends a pod that starts slowly: that is the startup probe's.
    assert!(probe("startupProbe", "periodSeconds") * probe("startupProbe", "failureThreshold") >= 60);
    let paths =
        ["startupProbe", "livenessProbe", "readinessProbe"].map(|name| &pod["containers"][0][name]["httpGet"]["path"]);
    assert_eq!(paths, ["/livez", "/livez", "/readyz?exclude=parts"]);
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn two_generations_fit_into_the_memory() {
    let config = configuration();
    let worker =
        config.lines().find_map(|line| line.strip_prefix("memory = \"")).and_then(|rest| rest.split_once("MiB\""));
    let worker: u64 = worker.expect("a limit of a worker").0.parse().unwrap();
    let base = Manifests::render("base");
    let limit = &base.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"];
    let limit: u64 = limit.as_str().unwrap().strip_suffix("Mi").unwrap().parse().unwrap();
    // The supervisor, and its files in /dev/shm.
    assert!(2 * worker + 64 <= limit, "two workers of {worker} MiB in {limit} MiB");
    assert_eq!(config.lines().filter(|line| line.starts_with("workers = 1 ")).count(), 1);
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn the_objects_find_one_another() {
    let [base, development, production, monitoring] = ALL.map(Manifests::render);
    let spec = &base.one("Deployment")["spec"];
    let (pod, labels) = (&spec["template"]["spec"], &spec["template"]["metadata"]["labels"]);
    let selectors = [
        &spec["selector"]["matchLabels"],
        &base.one("Service")["spec"]["selector"],
        &base.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &base.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        &monitoring.of("Service").find(|service| service["metadata"]["name"] == "gin-metrics").unwrap()["spec"]["selector"],
    ];
    assert!(selectors.iter().all(|selector| *selector == labels), "{selectors:#?} of {labels}");
    let ports: Vec<(&Value, &Value)> = pod["containers"][0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| (&port["name"], &port["containerPort"]))
        .collect();
    assert_eq!(ports, [(&json!("http"), &json!(8080)), (&json!("metrics"), &json!(9090))]);
    let service = &base.one("Service")["spec"]["ports"][0];
    assert_eq!((&service["port"], &service["targetPort"]), (&json!(80), &json!("http")));
    // A disruption may take one of them.
    assert_eq!((&spec["replicas"], &base.one("PodDisruptionBudget")["spec"]["minAvailable"]), (&json!(3), &json!(2)));
    assert_eq!(development.of("PodDisruptionBudget").count(), 0, "of one pod, it would stop each drain of a node");
    // The number of pods has one master.
    let scaler = &production.one("HorizontalPodAutoscaler")["spec"];
    assert_eq!(production.one("Deployment")["spec"]["replicas"], Value::Null);
    assert_eq!((&scaler["scaleTargetRef"]["name"], &scaler["minReplicas"]), (&json!("gin"), &json!(3)));
    // Prometheus finds the Service of the metrics, and its port.
    let monitor = &monitoring.one("ServiceMonitor")["spec"];
    let metrics =
        monitoring.of("Service").find(|service| service["metadata"]["labels"] == monitor["selector"]["matchLabels"]);
    let metrics = metrics.expect("the Service of the metrics");
    assert_eq!(metrics["spec"]["ports"][0]["name"], monitor["endpoints"][0]["port"]);
    let image = format!("gin:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod["containers"][0]["image"], image, "a release names its own image in base/kustomization.yaml");
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: tests/run --services"]
fn the_configuration_is_mounted_so_that_a_change_arrives() {
    for name in ALL {
        let rendered = Manifests::render(name);
        let (map, pod) = (rendered.one("ConfigMap"), &rendered.one("Deployment")["spec"]["template"]["spec"]);
        // Its name stays, so that a change replaces no pod, and it is no single file of it, which would never change.
        assert_eq!(
            (&map["metadata"]["name"], &map["data"]["gin.toml"]),
            (&json!("gin"), &json!(configuration())),
            "{name}"
        );
        assert!(
            pod["containers"][0]["volumeMounts"].as_array().unwrap().iter().all(|mount| mount["subPath"].is_null())
        );
        assert_eq!(pod["volumes"][0]["configMap"]["name"], "gin");
    }
    assert!(configuration().lines().any(|line| line == "reload_on_change = true"));
    let output =
        Command::new(binary("gin-supervisor")).arg("-c").arg(kubernetes("base/gin.toml")).arg("-t").output().unwrap();
    assert!(output.status.success() && !said(&output).contains("warning"), "{}", said(&output));
}
