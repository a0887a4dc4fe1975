//! Polls that have blocked their thread: all that ran there meanwhile waited for them.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use gin_shared::pprof::Profile;
use tokio::task::spawn_blocking;

use super::alive::named;
use super::form::{Form, Shape};
use super::{Asked, handler};
use crate::observed::requests::{Blocked, Requests};
use crate::{Result, ResultExt};

/// Answers with what has blocked a thread. All that is alive is looked at, on a thread that may be blocked.
pub(super) async fn answer(asked: &Asked<'_>, form: Form) -> Result<Response> {
    let requests = asked.debug.requests;
    let blocked = spawn_blocking(move || requests.map(Requests::blocked).unwrap_or_default()).await.internal()?;
    if form.shape == Shape::Text {
        return Ok((form.head(), text(&blocked)).into_response());
    }
    let profile = profile(&blocked, &asked.handlers());
    form.now(profile).await
}

/// A stack for each route or task: its handler, and its name.
fn profile(blocked: &[Blocked], handlers: &HashMap<String, String>) -> Profile {
    let mut profile = Profile::new(&[("contentions", "count"), ("delay", "nanoseconds")]);
    "delay".clone_into(&mut profile.default_kind);
    for one in blocked {
        let stack = [handler(handlers, &one.name), Some(&*one.name)];
        let stack = stack.into_iter().flatten().map(|frame| profile.location(named(frame))).collect();
        profile.add(stack, &[limited(one.count.into()), limited(one.total.as_nanos())], &[]);
    }
    profile
}

fn limited(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A line for each, the longest together first.
fn text(blocked: &[Blocked]) -> String {
    let millis = |time: Duration| format!("{:.3}ms", time.as_secs_f64() * 1e3);
    let mut to = format!("{:>10}  {:>14}  {:>14}  what\n", "polls", "together", "longest");
    for Blocked { name, count, total, longest } in blocked {
        // Writing to a String cannot fail.
        let _ = writeln!(to, "{count:>10}  {:>14}  {:>14}  {name}", millis(*total), millis(*longest));
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_told_by_their_route_with_its_handler() {
        let blocked = |name: &str, count, millis| {
            let (total, longest) = (Duration::from_millis(millis), Duration::from_millis(millis / 2));
            Blocked { name: name.to_owned(), count, total, longest }
        };
        let all = [blocked("GET /slow", 2, 100), blocked("task mailer", 3, 60)];
        let handlers = HashMap::from([("GET /slow".to_owned(), "app::slow".to_owned())]);
        let profile = profile(&all, &handlers);
        let stacks: Vec<_> = profile.folded(1).into_iter().map(|(stack, value)| (stack.join(";"), value)).collect();
        let expected = [("GET /slow;app::slow", 100_000_000), ("task mailer", 60_000_000)];
        assert_eq!(stacks, expected.map(|(stack, value)| (stack.to_owned(), value)));
        assert_eq!(profile.folded(0).values().sum::<i64>(), 5);
        let told = text(&all);
        let line = told.lines().nth(1).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["2", "100.000ms", "50.000ms", "GET", "/slow"]);
    }
}
