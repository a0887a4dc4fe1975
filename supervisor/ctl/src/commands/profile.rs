//! `gin-ctl profile`

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gin_shared::exit;
use gin_shared::flame;
use gin_shared::generation::Generation;
use gin_shared::pprof::{Profile, Row};
use gin_shared::status::{Role, Status};
use serde_json::json;
use tokio::task::JoinSet;

use super::print_json;
use crate::cli;
use crate::client::Client;
use crate::failure::Failure;
use crate::instance::find;
use crate::render::print_table;
use crate::render::profile::{Kind, rows, value};

/// Workers that are asked at once. The supervisor has as many places.
const AT_ONCE: usize = 64;
/// Time for an answer beside that for which a worker profiles.
const REST: Duration = Duration::from_secs(30);
/// The number of functions that are shown.
const SHOWN: usize = 10;

/// A worker that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    generation: Generation,
    slot: u32,
}

/// Asks the workers for their profiles at once, writes them as one, and shows where most of it is.
pub(super) async fn take(socket: Option<&Path>, json: bool, asked: &cli::Profile) -> Result<u8, Failure> {
    let (name, slot) = asked.meant();
    let instance = find(socket, name)?;
    let client = Client::new(&instance);
    let out = Out::new(asked.out.as_deref(), &instance.name)?;
    let status: Status = client.get("/v1/status").await?;
    let workers = workers(&status, slot, asked.all);
    if workers.is_empty() {
        let text =
            slot.map_or_else(|| "no worker serves now".to_owned(), |slot| format!("no worker serves in slot {slot}"));
        return Err(Failure::new(exit::FAILED, text));
    }
    let mut profiles = Vec::new();
    for (worker, answer) in ask_all(&client, workers, asked).await {
        match answer {
            Ok(profile) => profiles.push(profile),
            Err(Failure { text, .. }) => {
                crate::complain!("worker {}.{} is not in it: {text}", worker.generation, worker.slot);
            }
        }
    }
    let count = profiles.len();
    if count == 0 {
        return Ok(exit::FAILED);
    }
    let merged = Profile::merge(profiles);
    let merged = merged.ok_or_else(|| Failure::new(exit::FAILED, "the workers' profiles are of different kinds"))?;
    let kind = Kind::of(&merged).ok_or_else(|| Failure::new(exit::FAILED, "the profile has no values"))?;
    out.write(&merged.encode())?;
    let title = title(&instance.name, count, asked);
    if let Some(path) = &asked.flame {
        let svg = flame::svg(&title, &kind.unit, &merged.folded(kind.index));
        fs::write(path, svg).map_err(|error| failed(path, &error))?;
    }
    let shown = Shown { title, total: kind.total(&merged), top: merged.top(kind.index, SHOWN), kind };
    shown.print(json, &out, asked.flame.as_deref());
    Ok(exit::DONE)
}

/// "shop: 4 workers, 10 s"
fn title(instance: &str, count: usize, asked: &cli::Profile) -> String {
    let noun = if count == 1 { "worker" } else { "workers" };
    let what = if asked.heap { "memory in use".to_owned() } else { format!("{} s", asked.seconds) };
    format!("{instance}: {count} {noun}, {what}")
}

/// The workers of the current generation that serve; with `all` those of every generation that serve or drain.
fn workers(status: &Status, slot: Option<u32>, all: bool) -> Vec<Asked> {
    let generations = status.generations.iter().filter(|generation| all || generation.role == Role::Current);
    let workers = generations.flat_map(|one| one.workers.iter().map(move |worker| (one.generation, worker)));
    let can_say = |state: &str| state == "serving" || all && state == "draining";
    let meant = workers.filter(|(_, worker)| can_say(&worker.state) && slot.is_none_or(|slot| slot == worker.slot));
    meant.map(|(generation, worker)| Asked { generation, slot: worker.slot }).collect()
}

/// The answers of workers, by generation and slot.
async fn ask_all(client: &Client, workers: Vec<Asked>, asked: &cli::Profile) -> Vec<(Asked, Result<Profile, Failure>)> {
    let (mut waiting, mut asking, mut answers) = (workers.into_iter(), JoinSet::new(), Vec::new());
    let question = |worker: Asked| {
        let (client, path, labels) = (client.clone(), path(worker, asked), labels(worker, asked.all));
        let patience = if asked.heap { REST } else { REST + Duration::from_secs(asked.seconds) };
        async move { (worker, ask(&client, &path, patience, labels).await) }
    };
    for worker in waiting.by_ref().take(AT_ONCE) {
        asking.spawn(question(worker));
    }
    while let Some(answer) = asking.join_next().await {
        answers.extend(answer);
        if let Some(worker) = waiting.next() {
            asking.spawn(question(worker));
        }
    }
    answers.sort_by_key(|(worker, _)| *worker);
    answers
}

async fn ask(
    client: &Client,
    path: &str,
    patience: Duration,
    labels: Vec<(String, String)>,
) -> Result<Profile, Failure> {
    let bytes = client.bytes(path, patience).await.map_err(|failure| match failure.interrupted {
        true => {
            let text =
                "its profile was cut short: the supervisor was upgraded in place, or the worker has ended; ask again";
            Failure::new(exit::FAILED, text)
        }
        false => failure,
    })?;
    let decoded = Profile::decode(&bytes);
    let mut profile =
        decoded.map_err(|error| Failure::new(exit::FAILED, format!("its answer is no profile: {error}")))?;
    profile.samples.iter_mut().for_each(|sample| sample.labels.extend_from_slice(&labels));
    Ok(profile)
}

fn path(worker: Asked, asked: &cli::Profile) -> String {
    let what = match asked.heap {
        true => "heap".to_owned(),
        false => format!("profile?seconds={}&hz={}", asked.seconds, asked.hz),
    };
    format!("/v1/workers/{}/{}/debug/pprof/{what}", worker.generation, worker.slot)
}

/// The labels by which samples of one worker are told from those of others.
fn labels(worker: Asked, all: bool) -> Vec<(String, String)> {
    let generation = all.then(|| ("generation".to_owned(), worker.generation.to_string()));
    [("slot".to_owned(), worker.slot.to_string())].into_iter().chain(generation).collect()
}

/// The file for the profile.
struct Out {
    path: PathBuf,
    /// True if it was named: then it may be there already.
    is_named: bool,
}

impl Out {
    /// The file that was named; else one with the instance's name, unless it is there already.
    fn new(named: Option<&Path>, instance: &str) -> Result<Self, Failure> {
        let path = named.map_or_else(|| PathBuf::from(format!("{instance}.pprof")), Path::to_owned);
        let out = Self { path, is_named: named.is_some() };
        match out.is_named || out.path.symlink_metadata().is_err() {
            true => Ok(out),
            false => Err(out.failed(&ErrorKind::AlreadyExists.into())),
        }
    }

    fn write(&self, profile: &[u8]) -> Result<(), Failure> {
        let file = if self.is_named { File::create(&self.path) } else { File::create_new(&self.path) };
        file.and_then(|mut file| file.write_all(profile)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        if error.kind() == ErrorKind::AlreadyExists {
            let text = format!("{} is there already; remove it, or name a file with --out", self.path.display());
            return Failure::new(exit::USAGE, text);
        }
        failed(&self.path, error)
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::FAILED, format!("{}: {error}", path.display()))
}

/// A profile for people.
struct Shown {
    title: String,
    kind: Kind,
    total: i64,
    top: Vec<Row>,
}

impl Shown {
    fn print(&self, json: bool, out: &Out, flame: Option<&Path>) {
        let Self { title, kind, total, top } = self;
        let path = out.path.display();
        if json {
            let row = |row: &Row| json!({ "function": row.function, "flat": row.flat, "cumulative": row.cumulative });
            return print_json(&json!({
                "out": path.to_string(),
                "flame": flame.map(|flame| flame.display().to_string()),
                "kind": kind.what,
                "unit": kind.unit,
                "total": total,
                "top": top.iter().map(row).collect::<Vec<_>>(),
            }));
        }
        crate::say!("{title}: {} of {}", value(*total, &kind.unit), kind.what);
        print_table(&rows(top, *total, &kind.unit));
        crate::say!("go tool pprof {path}");
        if let Some(flame) = flame {
            crate::say!("flame graph: {}", flame.display());
        }
    }
}

#[cfg(test)]
mod tests;
