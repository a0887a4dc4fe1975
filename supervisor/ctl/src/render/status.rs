//! An instance at a glance.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anstyle::Style;
use gin_shared::address_in_use;
use gin_shared::status::{GenerationStatus, LastFailure, Role, State, Status, Upgrade, WorkerStatus};
use serde::Serialize;
use serde_json::Value;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::connections::Connections;
use super::sessions::Sessions;
use super::{BAD, DIM, GOOD, PLAIN, WARN, age, print_table, size, table, time, took};

/// The most lines of a worker's last words in a status.
const SAID: usize = 2;

/// Memory and CPU of workers, with their children; asked repeatedly it tells the CPU between two times.
#[derive(Debug)]
pub struct Processes {
    system: Option<System>,
    sessions: Sessions,
}

/// Figures of a worker: of all processes of its session. Absent is what cannot be looked into.
#[derive(Debug, Clone, Copy, Serialize)]
struct Usage {
    /// CPU since the last look, or, at the first, over the worker's whole life, in percent of a core.
    cpu_percent: Option<f64>,
    /// Resident memory.
    memory_bytes: Option<u64>,
    /// Number of clients that it is connected to.
    connections: Option<usize>,
}

impl Processes {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self { system: System::new().ok(), sessions: Sessions::default() }
    }

    fn refresh(&mut self, status: &Status) {
        self.sessions = Sessions::now();
        let workers = status.generations.iter().flat_map(|generation| &generation.workers);
        let pids = workers.filter_map(|worker| worker.pid).flat_map(|pid| self.sessions.of(pid));
        let pids: Vec<Pid> = pids.filter_map(|pid| u32::try_from(pid).ok()).map(Pid::from_u32).collect();
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        if let Some(system) = &mut self.system {
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        }
    }

    /// Looks at the workers; gives the figures of each, by PID.
    fn look(&mut self, status: &Status) -> HashMap<i32, Usage> {
        self.refresh(status);
        let addresses: Vec<String> = status.listeners.iter().map(|listener| listener.address.clone()).collect();
        let connections = Connections::at(&addresses);
        let usage = |worker: &WorkerStatus| {
            let pid = worker.pid?;
            let (cpu_percent, memory_bytes) = self.of(pid, worker.age_ms).unzip();
            Some((pid, Usage { cpu_percent, memory_bytes, connections: connections.of(&self.sessions.of(pid)) }))
        };
        status.generations.iter().flat_map(|generation| &generation.workers).filter_map(usage).collect()
    }

    /// CPU since the last look, or, at the first, over the worker's whole life; and resident memory.
    fn of(&self, leader: i32, age_ms: u64) -> Option<(f64, u64)> {
        let system = self.system.as_ref()?;
        let pids = self.sessions.of(leader).into_iter().filter_map(|pid| u32::try_from(pid).ok());
        let processes: Vec<_> = pids.filter_map(|pid| system.process(Pid::from_u32(pid))).collect();
        let recent: f64 = processes.iter().map(|process| f64::from(process.cpu_usage())).sum();
        let whole: u64 = processes.iter().map(|process| process.accumulated_cpu_time()).sum();
        let life = if age_ms == 0 { 0.0 } else { whole as f64 * 100.0 / age_ms as f64 };
        let memory = processes.iter().map(|process| process.memory()).sum();
        (!processes.is_empty()).then_some((if recent > 0.0 { recent } else { life }, memory))
    }
}

/// The status for programs: with the figures of the table, as `usage` of each worker that has a process.
#[must_use]
pub fn json(status: &Status, processes: &mut Processes) -> Value {
    let usages = processes.look(status);
    let mut json = serde_json::to_value(status).unwrap_or_default();
    let generations = json["generations"].as_array_mut().into_iter().flatten();
    for worker in generations.filter_map(|generation| generation["workers"].as_array_mut()).flatten() {
        let pid = worker["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        if let Some(usage) = pid.and_then(|pid| usages.get(&pid)) {
            worker["usage"] = serde_json::to_value(usage).unwrap_or_default();
        }
    }
    json
}

/// Prints it.
pub fn print(status: &Status, processes: &mut Processes) {
    let usages = processes.look(status);
    let (style, word) = state(status);
    crate::say!(
        "{style}●{PLAIN} {}  {style}{word}{PLAIN}   up {}   master {}   gin-supervisor {}",
        status.instance,
        age(status.uptime_ms),
        status.pid,
        status.version
    );
    for generation in status.generations.iter().filter(|generation| generation.role != Role::Leaving) {
        print_generation(generation, status.workers);
    }
    for generation in status.generations.iter().filter(|generation| generation.role == Role::Leaving) {
        if let Some(fates) = &generation.connections {
            crate::say!("  draining   {}   {fates}", generation.generation);
        }
    }
    for listener in &status.listeners {
        let queue = listener.queue.map(|queue| format!("  queue {queue}/{}", listener.backlog)).unwrap_or_default();
        crate::say!("  listening      {} {}{queue}", listener.name, listener.address);
    }
    for problem in &status.problems {
        crate::say!("  {BAD}problem        {problem}{PLAIN}");
    }
    if let Some(sandbox) = &status.sandbox {
        crate::say!("  sandbox        {sandbox}");
    }
    if let Some(upgrade) = &status.last_upgrade {
        let back = status.rollback.map(|to| format!("     rollback: {to}")).unwrap_or_default();
        crate::say!("  last upgrade   {}{back}", upgrade_line(upgrade));
        print_said(upgrade, SAID);
    }
    print_workers(status, &usages);
}

/// The state in a word, with its colour.
#[must_use]
pub fn state(status: &Status) -> (Style, &'static str) {
    match status.state {
        State::Serving if status.degraded || status.crash_loop => (BAD, "degraded"),
        State::Serving => (GOOD, "serving"),
        State::Upgrading => (WARN, "upgrading"),
        State::Booting => (WARN, "booting"),
        State::Stopping => (WARN, "stopping"),
        State::Down => (BAD, "down"),
        State::Other => (WARN, "in a state that this gin-ctl does not know"),
    }
}

fn print_generation(generation: &GenerationStatus, wanted: u32) {
    let what = if generation.role == Role::Candidate { "candidate " } else { "generation" };
    let release = generation.release.as_ref().map(|release| format!("   release {release}")).unwrap_or_default();
    let word = if generation.role == Role::Candidate { "ready" } else { "serving" };
    let reached = generation.workers.iter().filter(|w| w.state == "serving" || w.state == word).count();
    crate::say!(
        "  {what} {}{release}   {reached}/{wanted} {word}   since {}",
        generation.generation,
        time(generation.since_ms)
    );
}

/// An upgrade in a line.
#[must_use]
pub fn upgrade_line(upgrade: &Upgrade) -> String {
    let took = took(upgrade.took_ms as f64);
    let outcome = match &upgrade.reason {
        None => "done",
        Some(_) if upgrade.cancelled => "cancelled",
        Some(_) => "failed",
    };
    let reason = upgrade.reason.as_ref().map(|reason| format!(": {}", reason.replace('\n', "; "))).unwrap_or_default();
    let back = upgrade.rollback.map(|to| format!(" (rollback to {to})")).unwrap_or_default();
    format!(
        "{}{back} {outcome} in {took}, asked by {}, {}{reason}",
        upgrade.generation,
        upgrade.asked_by,
        time(upgrade.at_ms)
    )
}

/// Prints the last lines of the worker that an upgrade has failed by, `most` at most.
pub fn print_said(upgrade: &Upgrade, most: usize) {
    let last = &upgrade.said[upgrade.said.len().saturating_sub(most)..];
    for (index, line) in last.iter().enumerate() {
        crate::say!("    {:<7} {line}", if index == 0 { "said" } else { "" });
    }
    // The supervisor has not read lines that stand in the journal alone.
    let is_hinted = upgrade.reason.as_ref().is_some_and(|reason| reason.contains(address_in_use::HINT));
    if address_in_use::is_told(&upgrade.said) && !is_hinted {
        crate::say!("    {:<7} {}", "hint", address_in_use::HINT);
    }
}

/// What an upgrade reached, in a line.
#[must_use]
pub fn phases_line(upgrade: &Upgrade) -> String {
    let release = upgrade.release.as_ref().map(|release| format!("release {release}   ")).unwrap_or_default();
    let phases = upgrade.phases.iter().map(|one| format!("{} {}", one.phase.word(), took(one.took_ms as f64)));
    format!("{DIM}{release}{}{PLAIN}", phases.collect::<Vec<_>>().join("   "))
}

fn print_workers(status: &Status, usages: &HashMap<i32, Usage>) {
    let mut rows = table(&["GEN", "SLOT", "PID", "STATE", "AGE", "CPU", "MEM", "CONNS", "RESTARTS", ""]);
    for generation in &status.generations {
        for worker in &generation.workers {
            let usage = worker.pid.and_then(|pid| usages.get(&pid));
            let dash = || "-".to_owned();
            rows.add_row(vec![
                generation.generation.to_string(),
                worker.slot.to_string(),
                worker.pid.map_or_else(dash, |pid| pid.to_string()),
                worker.state.clone(),
                age(worker.age_ms),
                usage.and_then(|usage| usage.cpu_percent).map_or_else(dash, |cpu| format!("{cpu:.0}%")),
                usage.and_then(|usage| usage.memory_bytes).map_or_else(dash, size),
                usage.and_then(|usage| usage.connections).map_or_else(dash, |count| count.to_string()),
                worker.restarts.to_string(),
                note(worker),
            ]);
        }
    }
    print_table(&rows);
    print_failures(status);
    for worker in status.generations.iter().flat_map(|generation| &generation.workers) {
        if let (Some(said), Some(pid)) = (&worker.said, worker.pid) {
            crate::say!("  {DIM}{pid} says: {said}{PLAIN}");
        }
    }
}

/// Prints how the slots failed last in which nobody serves.
fn print_failures(status: &Status) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    for generation in status.generations.iter().filter(|generation| generation.role != Role::Leaving) {
        for worker in generation.workers.iter().filter(|worker| worker.state != "serving") {
            if let Some(LastFailure { reason, at_ms }) = &worker.last_failure {
                let ago = age(now.saturating_sub(*at_ms));
                crate::say!("  {WARN}{}.{} failed {ago} ago: {reason}{PLAIN}", generation.generation, worker.slot);
            }
        }
    }
}

fn note(worker: &WorkerStatus) -> String {
    let Some(left) = worker.deadline_ms else { return String::new() };
    match worker.state.as_str() {
        "draining" => format!("cut in {}", age(left)),
        "backoff" => format!("again in {}", took(left as f64)),
        "starting" | "spawning" => format!("given up in {}", age(left)),
        _ => String::new(),
    }
}
