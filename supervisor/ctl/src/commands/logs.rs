//! `gin-ctl log-level`

use clap::ValueEnum;
use gin_shared::control::LogLevel;
use gin_shared::exit;

use super::print_json;
use crate::cli;
use crate::client::Client;
use crate::failure::Failure;

/// Tells it, or changes it.
pub(super) async fn level(client: &Client, json: bool, wanted: Option<cli::LogLevel>) -> Result<u8, Failure> {
    let answer: LogLevel = match wanted.and_then(|level| level.to_possible_value()) {
        None => client.get("/v1/log-level").await?,
        Some(level) => {
            let level = level.get_name().to_owned();
            client.post("/v1/log-level", &LogLevel { level, workers: None }).await?
        }
    };
    match &answer {
        answer if json => print_json(answer),
        LogLevel { level, workers: None } => crate::say!("{level}"),
        LogLevel { level, workers: Some(workers) } => {
            let noun = if *workers == 1 { "worker" } else { "workers" };
            let verb = if *workers == 1 { "was" } else { "were" };
            crate::say!("{level}: the supervisor; {workers} {noun} {verb} told, until the next restart");
        }
    }
    Ok(exit::DONE)
}
