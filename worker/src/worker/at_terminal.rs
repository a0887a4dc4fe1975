//! A drain for which a person at a terminal waits: what it still waits for is told.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use gin_shared::inherit;

use crate::connections::Hub;

/// Time for connections on which nothing is under way to be closed.
const IDLE: Duration = Duration::from_millis(200);

/// Tells what is waited for, if that is not over in a moment.
pub(super) async fn tell(hub: &Arc<Hub>) -> Infallible {
    tokio::time::sleep(IDLE).await;
    let (requests, others) = hub.under_way();
    if let Some(text) = waits_for(requests, others) {
        say(&match inherit::identity() {
            Some(own) => format!("worker {}.{}: {text}", own.generation, own.slot),
            None => text,
        });
    }
    std::future::pending().await
}

/// To the terminal itself: a bare server has no log. The line begins over the `^C` that the terminal has shown.
fn say(text: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // A terminal that has gone needs no words.
        let _ = writeln!(stderr, "\r{text}");
    } else {
        tracing::info!("{text}");
    }
}

/// The line for so many requests, and so many connections on which something else goes on.
fn waits_for(requests: usize, others: usize) -> Option<String> {
    let count = |number: usize, noun: &str| match number {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{number} {noun}s")),
    };
    let noun = if requests == 0 { "connection" } else { "other connection" };
    let all: Vec<String> = [count(requests, "request"), count(others, noun)].into_iter().flatten().collect();
    let pronoun = if requests + others == 1 { "it" } else { "them" };
    (!all.is_empty()).then(|| format!("waiting for {}; Ctrl-C again ends {pronoun}", all.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_counted() {
        let text = |requests, others| waits_for(requests, others).unwrap_or_default();
        assert_eq!(text(0, 0), "");
        assert_eq!(text(1, 0), "waiting for 1 request; Ctrl-C again ends it");
        assert_eq!(text(2, 0), "waiting for 2 requests; Ctrl-C again ends them");
        assert_eq!(text(0, 1), "waiting for 1 connection; Ctrl-C again ends it");
        assert_eq!(text(1, 2), "waiting for 1 request and 2 other connections; Ctrl-C again ends them");
    }
}
