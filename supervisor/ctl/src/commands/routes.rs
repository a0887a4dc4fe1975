//! `gin-ctl routes`

use gin_shared::exit;
use gin_shared::status::{Role, Status};
use serde_json::Value;

use super::print_json;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::table;

/// Those of the current generation, as one of its workers says them.
pub(super) async fn show(client: &Client, json: bool, tree: bool) -> Result<u8, Failure> {
    let status: Status = client.get("/v1/status").await?;
    let current = status.generations.iter().find(|generation| generation.role == Role::Current);
    let worker = current.and_then(|generation| generation.workers.iter().find(|worker| worker.state == "serving"));
    let (Some(generation), Some(worker)) = (current, worker) else {
        return Err(Failure::new(exit::FAILED, "no worker serves now"));
    };
    let path = format!("/v1/workers/{}/{}/routes", generation.generation, worker.slot);
    if tree {
        let text = client.text(&format!("{path}?tree")).await.map_err(silent)?;
        crate::show!("{text}");
        return Ok(exit::DONE);
    }
    let routes: Value = client.get(&path).await.map_err(silent)?;
    if json {
        print_json(&routes);
        return Ok(exit::DONE);
    }
    // A row of the table is a line.
    let one_line = |text: &str| text.replace(['\n', '\t'], " ");
    let text = |record: &Value, key: &str| one_line(record[key].as_str().unwrap_or_default());
    let mut all: Vec<&Value> = routes["routes"].as_object().into_iter().flatten().map(|(_, record)| record).collect();
    all.sort_by_key(|record| (text(record, "path"), text(record, "method")));
    let mut rows = table(&["METHOD", "PATH", "HANDLER", "TAGS", "DESCRIPTION"]);
    for record in all {
        let tags =
            record["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(one_line).collect::<Vec<_>>();
        let [method, path, handler, description] =
            ["method", "path", "handler", "description"].map(|key| text(record, key));
        rows.add_row([method, path, handler, tags.join(" "), description]);
    }
    crate::say!("{rows}");
    Ok(exit::DONE)
}

/// A worker that has no such endpoint, or another one there, is not of ours.
fn silent(failure: Failure) -> Failure {
    match failure.exit {
        exit::USAGE | exit::FAILED => {
            Failure::new(exit::FAILED, format!("this worker does not say its routes: {}", failure.text))
        }
        _ => failure,
    }
}
