//! A rolling replacement races with the list of endpoints: a pod is told to stop at once, and the balancers of the cluster hear of it
//! some seconds later. All parts but Kubernetes itself are real: pods and a Service in network namespaces, the signals of the kubelet, and
//! the times of the recipe.

use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use harness::{Balancer, End, Host, Load, Pod, Report, Switch, balancer};

use super::manifests::Manifests;
use super::{configuration, seconds};

/// Pods of the Deployment.
const REPLICAS: usize = 3;

/// Pods of a Deployment, the first of them with the number 1, and the Service before them.
struct Cluster {
    switch: Switch,
    /// Where the Service is.
    _host: Host,
    service: Balancer,
    config: String,
    grace: Duration,
    probe: String,
    pods: Vec<Pod>,
}

fn name(number: usize) -> String {
    format!("pod-{number}")
}

impl Cluster {
    /// A Deployment with this configuration, which is ready.
    fn start(config: &str) -> Self {
        let (switch, base) = (Switch::new(), Manifests::render("base"));
        let pod = base.one("Deployment")["spec"]["template"]["spec"].clone();
        let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
        let probe = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].as_str().unwrap().to_owned();
        let host = switch.host("service");
        let names: Vec<String> = (1..=2 * REPLICAS).map(name).collect();
        let addresses = (1..=2 * REPLICAS).map(|number| format!("{}:8080", switch.address(number)));
        let servers: Vec<(&str, String)> = names.iter().map(String::as_str).zip(addresses).collect();
        let (first, later) = servers.split_at(REPLICAS);
        let service = balancer().servers(first).spare(later).start(&host);
        let mut cluster =
            Self { switch, _host: host, service, config: config.to_owned(), grace, probe, pods: Vec::new() };
        for number in 1..=REPLICAS {
            let pod = cluster.pod(number);
            cluster.pods.push(pod);
        }
        cluster
    }

    fn pod(&self, number: usize) -> Pod {
        let pod = Pod::start(&self.switch, &name(number), &self.config, self.grace);
        pod.until_ready(&self.probe);
        pod
    }

    /// Clients of the Service that keep their connections, and others that make one for each request.
    fn load(&self) -> Load {
        Load::new().keep_alive(self.service.address(), 4).one_shot(self.service.address(), 4)
    }

    /// Replaces each pod as `maxUnavailable: 0` and `maxSurge: 1` do. For `lag`, the Service goes on with a pod that the kubelet has
    /// told to stop. Gives the ends of the old pods.
    fn replace(&mut self, load: &Load, lag: Duration) -> Vec<End> {
        let mut ends: Vec<JoinHandle<End>> = Vec::new();
        for number in REPLICAS + 1..=2 * REPLICAS {
            let new = self.pod(number);
            self.service.admit(&name(number));
            load.flows(50);
            self.pods.push(new);
            let old = self.pods.remove(0);
            self.service.forget(old.host().name(), lag);
            ends.push(spawn(move || old.terminate()));
        }
        ends.into_iter().map(|end| end.join().expect("a pod ends")).collect()
    }
}

/// A replacement under load with this configuration; how it was for clients, and for the old pods.
fn replacement(config: &str, lag: Duration) -> (Report, Vec<End>) {
    let mut cluster = Cluster::start(config);
    let load = cluster.load();
    load.flows(100);
    let began = Instant::now();
    let ends = cluster.replace(&load, lag);
    load.flows(50);
    println!("a lag of {lag:?}: all pods are replaced after {:?}; {ends:?}", began.elapsed());
    (load.finish(), ends)
}

/// Nobody is hurt with the settings of the recipe, and each pod ends by itself, after its lame duck.
fn hurts_nobody(lag: Duration) {
    let config = configuration();
    let (report, ends) = replacement(&config, lag);
    report.assert_unhurt();
    let (lame_duck, drain) = (seconds(&config, "lame_duck"), seconds(&config, "drain_timeout"));
    for end in ends {
        assert_eq!((end.code, end.killed), (Some(0), false), "{end:?}");
        assert!((lame_duck..drain).contains(&end.took.as_secs()), "{end:?}");
    }
}

#[test]
#[ignore = "needs root, HAProxy and kubectl: tests/run --services"]
fn a_list_that_lags_a_second_hurts_nobody() {
    hurts_nobody(Duration::from_secs(1));
}

#[test]
#[ignore = "needs root, HAProxy and kubectl: tests/run --services"]
fn a_list_that_lags_three_seconds_hurts_nobody() {
    hurts_nobody(Duration::from_secs(3));
}

#[test]
#[ignore = "needs root, HAProxy and kubectl: tests/run --services"]
fn a_list_that_lags_five_seconds_hurts_nobody() {
    hurts_nobody(Duration::from_secs(5));
}

/// The same replacement without its one setting: so the others can fail.
#[test]
#[ignore = "needs root, HAProxy and kubectl: tests/run --services"]
fn without_a_lame_duck_the_same_lag_hurts() {
    let config = configuration();
    let lame_duck = format!("lame_duck = \"{}s\"", seconds(&config, "lame_duck"));
    let (report, ends) = replacement(&config.replace(&lame_duck, "lame_duck = \"0s\""), Duration::from_secs(1));
    println!("hurt without a lame duck: {:?} of {} requests", report.hurt, report.requests);
    assert!(!report.hurt.is_empty(), "the race is not there: {report:?}");
    // It is not the end of the pods that hurts: each one drains.
    assert!(ends.iter().all(|end| end.code == Some(0) && !end.killed), "{ends:?}");
}

#[test]
#[ignore = "needs root, HAProxy and kubectl: tests/run --services"]
fn a_changed_configmap_is_taken_in_place() {
    let cluster = Cluster::start(&configuration());
    let load = cluster.load();
    for round in 1..=2 {
        load.flows(100);
        let config = cluster.config.replace("name = \"gin\"", &format!("name = \"round {round}\""));
        cluster.pods.iter().for_each(|pod| pod.configure(&config));
        for pod in &cluster.pods {
            // Of the old generation: by then all of its connections have gone to the new one.
            pod.until_log(&format!("generation {round} gone"));
            let answer = harness::get(&pod.address(), "/").unwrap().json();
            assert_eq!(answer["name"], format!("round {round}"), "{answer}");
        }
    }
    load.flows(100);
    load.finish().assert_kept();
    // The pods are the same ones: PID 1 of each has not ended.
    for pod in cluster.pods {
        assert!(pod.log().matches("generation 1 begins").count() == 1, "{}", pod.log());
    }
}

/// As the kubelet does it: so the ends of the other tests can be other ones.
#[test]
#[ignore = "needs root, HAProxy and kubectl: tests/run --services"]
fn a_pod_whose_lame_duck_is_longer_than_its_grace_period_is_killed() {
    let mut cluster = Cluster::start(&configuration());
    cluster.pods.clear();
    cluster.grace = Duration::from_secs(1);
    let end = cluster.pod(2 * REPLICAS).terminate();
    assert_eq!((end.code, end.killed), (None, true), "{end:?}");
}
