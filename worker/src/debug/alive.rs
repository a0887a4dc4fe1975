//! Requests and tasks that are alive: how old they are, and where they wait as far as that is known.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use gin_shared::pprof::{Frame, Location, Profile};
use tokio::task::spawn_blocking;

use super::form::{Form, Shape};
use super::{Asked, handler};
use crate::observed::doing::Doing;
use crate::observed::requests::{Alive, Requests, What};
use crate::{Result, ResultExt};

/// Lines of a text.
const LINES: usize = 10_000;
/// Everything that can be waited for, as it is told.
const WAITS: [(Doing, &str); 7] = [
    (Doing::Handler, "handler"),
    (Doing::Body, "body"),
    (Doing::DatabaseConnection, "database connection"),
    (Doing::Query, "query"),
    (Doing::Redis, "redis"),
    (Doing::Cache, "cache"),
    (Doing::Outgoing, "outgoing call"),
];

/// Answers with what is alive. There may be a hundred thousand of them: they are listed on a thread that may be blocked.
pub(super) async fn answer(asked: &Asked<'_>, form: Form) -> Result<Response> {
    let requests = asked.debug.requests;
    let alive = move || requests.map(Requests::alive).unwrap_or_default();
    if form.shape == Shape::Text {
        let text = spawn_blocking(move || text(&alive())).await.internal()?;
        return Ok((form.head(), text).into_response());
    }
    let handlers = asked.handlers();
    let profile = spawn_blocking(move || profile(&alive(), &handlers)).await.internal()?;
    form.now(profile).await
}

/// A stack for each: where it waits, in which handler, of which route.
fn profile(alive: &[Arc<Alive>], handlers: &HashMap<String, String>) -> Profile {
    let mut profile = Profile::new(&[("goroutine", "count")]);
    for one in alive {
        let (name, waits) = (one.what.to_string(), waits(one));
        let stack = [Some(&*waits), handler(handlers, &name), Some(&*name)];
        let stack = stack.into_iter().flatten().map(|frame| profile.location(named(frame))).collect();
        profile.add(stack, &[1], &[]);
    }
    profile
}

/// A location that is no code.
pub(super) fn named(name: &str) -> Location {
    let frame = Frame { function: name.to_owned(), file: String::new(), line: 0 };
    Location { frames: vec![frame], ..Location::default() }
}

/// A line for each, the oldest first.
fn text(alive: &[Arc<Alive>]) -> String {
    let requests = alive.iter().filter(|one| matches!(one.what, What::Request { .. })).count();
    let mut to = format!("{requests} requests and {} tasks are alive\n\n", alive.len() - requests);
    let seconds = |time: Duration| format!("{:.3}s", time.as_secs_f64());
    // Writing to a String cannot fail.
    let _ = writeln!(to, "{:>10}  {:<20}  {:>7}  {:>10}  what", "age", "waits for", "polls", "polled for");
    for one in alive.iter().take(LINES) {
        let (age, waits, polls) = (seconds(one.since.elapsed()), waits(one), one.polls());
        let polled = one.polled_for().map_or("-".to_owned(), seconds);
        let id = match &one.what {
            What::Request { id, .. } => format!(" {}", id.as_str()),
            What::Task { .. } => String::new(),
        };
        let _ = writeln!(to, "{age:>10}  {waits:<20}  {polls:>7}  {polled:>10}  {}{id}", one.what);
    }
    if alive.len() > LINES {
        let _ = writeln!(to, "and {} more", alive.len() - LINES);
    }
    to
}

/// Where it waits, in words. Of a handler that waits for something else, a lock say, nobody knows more than that it is in its handler.
fn waits(alive: &Alive) -> String {
    let known = WAITS.iter().filter(|(kind, _)| alive.waits_for(*kind as u8)).map(|(_, word)| *word);
    let known: Vec<&str> = known.collect();
    match (known.is_empty(), alive.polled_for()) {
        (false, _) => known.join(", "),
        (true, Some(_)) => "running".to_owned(),
        (true, None) => "handler".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use axum::http::Method;

    use super::*;
    use crate::RequestId;
    use crate::observed::requests::wait_for;

    #[test]
    fn the_alive_are_told_with_their_age_and_what_they_wait_for() {
        let requests = Requests::new(Duration::from_secs(3600));
        let get =
            |route| What::Request { method: Method::GET, route, id: RequestId::given_or_new(&Request::default()) };
        let (lock, database) = (requests.enter(get("/lock")), requests.enter(get("/users/:id")));
        let task = requests.enter(What::Task { name: Arc::from("mailer") });
        let _waiting = database.within(|| (wait_for(Doing::DatabaseConnection as u8), wait_for(Doing::Body as u8)));
        let told = task.within(|| text(&requests.alive()));
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "2 requests and 1 tasks are alive");
        for (line, waits, polls, what) in [
            (lines[3], "handler", " 0 ", "GET /lock"),
            (lines[4], "body, database connection", " 1 ", "GET /users/:id"),
            (lines[5], "running", " 0 ", "task mailer"),
        ] {
            assert!(line.contains(waits) && line.contains(polls) && line.contains(what), "{line}");
        }
        drop(lock);

        let handlers = HashMap::from([("ANY /users/:id".to_owned(), "app::user".to_owned())]);
        let folded = profile(&requests.alive(), &handlers).folded(0);
        let stacks: Vec<String> = folded.keys().map(|stack| stack.join(";")).collect();
        assert_eq!(stacks, ["GET /users/:id;app::user;body, database connection", "task mailer;handler"]);
    }
}
