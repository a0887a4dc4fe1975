//! A status and counts give exactly these families.

use gin_shared::channel::Fates;
use gin_shared::generation::Slot;
use gin_shared::metrics::{Kind, Value};
use gin_shared::status::{GenerationStatus, Listener, Role, State, Upgrade, WorkerStatus};

use super::disks::Disk;
use super::host::{Host, Memory};
use super::*;
use crate::machine::counts::{Kills, Upgrades};

fn worker(slot: u32, state: &str) -> WorkerStatus {
    WorkerStatus {
        slot,
        pid: Some(7),
        state: state.to_owned(),
        age_ms: 0,
        restarts: 0,
        deadline_ms: None,
        said: None,
        last_failure: None,
    }
}

fn generation(number: u64, role: Role, workers: Vec<WorkerStatus>) -> GenerationStatus {
    let generation = Generation(number);
    GenerationStatus { generation, release: None, role, since_ms: 0, workers, connections: None }
}

fn status() -> Status {
    let listener =
        |name: &str, queue| Listener { name: name.into(), address: String::new(), queue, backlog: 128, tls: false };
    let (asked_by, took_ms) = ("start".to_owned(), 1500);
    Status {
        instance: "shop".into(),
        state: State::Serving,
        degraded: false,
        crash_loop: false,
        pid: 1,
        version: "0.1.0".into(),
        uptime_ms: 0,
        pid_file: String::new(),
        control: String::new(),
        workers: 2,
        listeners: vec![listener("http", Some(3)), listener("unix", None)],
        sandbox: None,
        generations: vec![
            generation(4, Role::Current, vec![worker(0, "serving"), worker(1, "starting")]),
            generation(3, Role::Leaving, vec![worker(0, "draining")]),
        ],
        rollback: None,
        last_upgrade: Some(Upgrade {
            generation: Generation(4),
            release: None,
            done: true,
            cancelled: false,
            reason: None,
            asked_by,
            rollback: None,
            said: Vec::new(),
            pid: None,
            phases: Vec::new(),
            at_ms: 0,
            took_ms,
        }),
        connections: Fates { open: 5, handed_over: 40, finished: 3, closed: 2, cut: 1, ..Fates::default() },
        problems: Vec::new(),
        drained: None,
    }
}

fn sample(generation: u64, slot: u32, attempt: u32, pid: i32, born: u64) -> WorkerSample {
    let id = WorkerId { generation: Generation(generation), slot: Slot(slot), attempt };
    WorkerSample { id, pid, born: Moment(born * 1_000_000_000) }
}

fn samples() -> Samples {
    let kills = Kills { drain_timeout: 2, ..Kills::default() };
    let second = 1_000_000_000;
    Samples {
        status: status(),
        counts: Counts { upgrades: Upgrades { done: 4, failed: 1, cancelled: 0 }, respawns: 6, kills },
        fleet: Fleet { in_backoff: 0, restarts_waiting: 1, ..Fleet::default() },
        times: Times {
            started: Moment(5 * second),
            first_started: Some(Moment(second)),
            upgraded: Some(Moment(9 * second)),
        },
        // A worker and its successor in slot 0, one of the generation before.
        workers: vec![sample(4, 0, 0, 11, 6), sample(4, 0, 1, 12, 8), sample(4, 1, 0, 13, 7), sample(3, 0, 0, 14, 5)],
        places: Vec::new(),
        certificates: vec![
            certificate("shop", 1_700_086_400_000, None),
            certificate("old", 1_699_999_999_000, Some("no key")),
        ],
        meter: Arc::default(),
    }
}

fn certificate(name: &str, ends_ms: u64, bad: Option<&str>) -> CertificateStatus {
    CertificateStatus {
        name: format!("{name}.example"),
        names: Vec::new(),
        issuer: "gin tests".into(),
        ends_ms,
        file: format!("/etc/{name}.pem"),
        number: 1,
        bad: bad.map(str::to_owned),
        refused: Vec::new(),
    }
}

fn outside() -> Outside {
    let ticks = sessions::ticks_per_second();
    let session = |resident| Session { resident, cpu: 0 };
    let disk = |mount: &str| Disk { mount: mount.into(), total: 100, available: 40 };
    Outside {
        clock: Meter::default().clock(Moment(0), 1_700_000_000_000),
        wall_ms: 1_700_000_000_000,
        cpu: vec![((Generation(3), 0), 9 * ticks), ((Generation(4), 0), ticks / 2)],
        // Slot 1 of generation 4 leads no session yet.
        sessions: HashMap::from([(11, session(1000)), (12, session(24)), (14, session(7)), (99, session(1))]),
        host: Host {
            cpu: Some(0.25),
            memory: Some(Memory { total: 8000, available: 6000, swap_used: 0 }),
            load: Some([0.5, 1.0, 2.0]),
            disks: vec![disk("/"), disk("/srv")],
        },
    }
}

/// A line a series, as people would write it.
fn lines(families: &[Family]) -> Vec<String> {
    let line = |family: &Family, labels: &[(String, String)], value: &Value| {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let kind = match family.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Histogram => panic!("the supervisor has none"),
        };
        let value = match value {
            Value::Counter(value) | Value::Gauge(value) => *value,
            Value::Histogram(_) => panic!("the supervisor has none"),
        };
        format!("{}{kind}{{{}}} {value}", family.name, labels.join(","))
    };
    let of_family = |family: &Family| {
        let series = family.series.iter().map(|series| line(family, &series.labels, &series.value));
        series.collect::<Vec<_>>()
    };
    families.iter().flat_map(of_family).collect()
}

#[test]
fn a_status_and_counts_give_exactly_these_families() {
    let lines = lines(&samples().families_with(&outside()));
    let expected = [
        "gin_build_info{instance=shop,version=0.1.0} 1",
        "gin_generation{instance=shop} 4",
        "gin_degraded{instance=shop} 0",
        "gin_down{instance=shop} 0",
        "gin_crash_loop{instance=shop} 0",
        "gin_slots_in_backoff{instance=shop} 0",
        "gin_workers_wanted{instance=shop} 2",
        "gin_workers_serving{instance=shop} 1",
        "gin_restarts_waiting{instance=shop} 1",
        "gin_connections_draining{instance=shop} 5",
        "gin_listen_queue{instance=shop,listener=http} 3",
        "gin_start_time_seconds{instance=shop} 1700000005",
        "gin_instance_start_time_seconds{instance=shop} 1700000001",
        "gin_last_upgrade_timestamp_seconds{instance=shop} 1700000009",
        "gin_last_upgrade_success{instance=shop} 1",
        "gin_last_upgrade_duration_seconds{instance=shop} 1.5",
        "gin_upgrades_total{instance=shop,result=done} 4",
        "gin_upgrades_total{instance=shop,result=failed} 1",
        "gin_upgrades_total{instance=shop,result=cancelled} 0",
        "gin_worker_respawns_total{instance=shop} 6",
        "gin_worker_kills_total{instance=shop,reason=drain_timeout} 2",
        "gin_worker_kills_total{instance=shop,reason=hangs} 0",
        "gin_worker_kills_total{instance=shop,reason=not_started} 0",
        "gin_worker_kills_total{instance=shop,reason=fast_stop} 0",
        "gin_connections_drained_total{instance=shop,fate=handed_over} 40",
        "gin_connections_drained_total{instance=shop,fate=finished} 3",
        "gin_connections_drained_total{instance=shop,fate=closed} 2",
        "gin_connections_drained_total{instance=shop,fate=cut} 1",
        "gin_tls_certificate_expiry_seconds{instance=shop,file=/etc/shop.pem,name=shop.example} 86400",
        "gin_tls_certificate_expiry_seconds{instance=shop,file=/etc/old.pem,name=old.example} -1",
        "gin_tls_certificate_bad{instance=shop,file=/etc/shop.pem} 0",
        "gin_tls_certificate_bad{instance=shop,file=/etc/old.pem} 1",
        "gin_worker_cpu_seconds_total{instance=shop,generation=3,slot=0} 9",
        "gin_worker_cpu_seconds_total{instance=shop,generation=4,slot=0} 0.5",
        "gin_worker_resident_memory_bytes{instance=shop,generation=3,slot=0} 7",
        "gin_worker_resident_memory_bytes{instance=shop,generation=4,slot=0} 1024",
        "gin_worker_start_time_seconds{instance=shop,generation=3,slot=0} 1700000005",
        "gin_worker_start_time_seconds{instance=shop,generation=4,slot=0} 1700000008",
        "gin_worker_start_time_seconds{instance=shop,generation=4,slot=1} 1700000007",
        "gin_machine_cpu_usage_ratio{instance=shop} 0.25",
        "gin_machine_memory_bytes{instance=shop} 8000",
        "gin_machine_memory_available_bytes{instance=shop} 6000",
        "gin_machine_swap_used_bytes{instance=shop} 0",
        "gin_machine_load1{instance=shop} 0.5",
        "gin_machine_load5{instance=shop} 1",
        "gin_machine_load15{instance=shop} 2",
        "gin_machine_disk_bytes{instance=shop,mount=/} 100",
        "gin_machine_disk_bytes{instance=shop,mount=/srv} 100",
        "gin_machine_disk_available_bytes{instance=shop,mount=/} 40",
        "gin_machine_disk_available_bytes{instance=shop,mount=/srv} 40",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_not_known_has_no_family() {
    let bare = Samples {
        status: Status { generations: Vec::new(), last_upgrade: None, listeners: Vec::new(), ..status() },
        times: Times { started: Moment(0), first_started: None, upgraded: None },
        workers: Vec::new(),
        certificates: Vec::new(),
        ..samples()
    };
    let nothing = Outside { cpu: Vec::new(), host: Host::default(), ..outside() };
    let families = bare.families_with(&nothing);
    assert!(families.iter().all(|family| !family.series.is_empty()));
    let absent =
        ["gin_last_upgrade_", "gin_instance_", "gin_listen_queue", "gin_tls_", "gin_worker_cpu", "gin_machine_"];
    let is_absent = |family: &&Family| absent.iter().any(|prefix| family.name.starts_with(prefix));
    assert_eq!(families.iter().find(is_absent), None);
    assert!(lines(&families).contains(&"gin_generation{instance=shop} 0".to_owned()));
}

#[test]
fn a_crash_loop_is_neither_up_nor_whole_while_its_worker_serves() {
    let fleet = Fleet { down: true, ..Fleet::default() };
    let status = Status { crash_loop: true, ..status() };
    let lines = lines(&Samples { fleet, status, ..samples() }.families_with(&outside()));
    for line in ["gin_degraded{instance=shop} 1", "gin_down{instance=shop} 1", "gin_crash_loop{instance=shop} 1"] {
        assert!(lines.iter().any(|other| other == line), "{line}: {lines:#?}");
    }
}

#[test]
fn the_workers_of_this_machine_are_looked_at() {
    let session = nix::unistd::getsid(None).unwrap().as_raw();
    let samples = Samples { workers: vec![sample(4, 0, 0, session, 1)], places: vec!["/".into()], ..samples() };
    let (meter, families) = (Arc::clone(&samples.meter), samples.families());
    for name in ["gin_worker_cpu_seconds", "gin_worker_resident_memory_bytes", "gin_machine_disk_bytes"] {
        assert!(families.iter().any(|family| family.name == name && family.series.len() == 1), "{name}: {families:#?}");
    }
    assert_ne!(meter.record(), MeterRecord::default());
}

/// The table in README.md has each family, with its type and labels.
#[test]
fn readme_has_each_family() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let page = std::fs::read_to_string(page).unwrap();
    for family in samples().families_with(&outside()) {
        let (kind, suffix) = if family.kind == Kind::Counter { ("counter", "_total") } else { ("gauge", "") };
        let labels: Vec<&str> = family.series[0].labels.iter().skip(1).map(|(name, _)| name.as_str()).collect();
        let row = format!("| `{}{suffix}` | {kind} | {} |", family.name, labels.join(", "));
        let row = row.replace("|  |", "| |");
        assert!(page.contains(&row), "README.md has no row that begins: {row}");
    }
}
