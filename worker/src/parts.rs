//! Parts of a service outside of its process: a database, a cache, a store of sessions or logins, a directory of uploads.
//!
//! A program registers them at its server; each is a feature of this library. What is here is the same for all:
//!
//! | when | what happens | where |
//! |---|---|---|
//! | start | each is opened, again and again until `supervisor.ready_timeout` is nearly over, and prepared; then READY | `opening` |
//! | request | its handler takes a part by an extractor, [`Parts::handle`] | here |
//! | away | `/readyz` names it; it is looked at until it is back; handlers answer 503 ([`Error::away`]) | `watching` |
//! | once a minute | what has expired is removed, of a part that has such things | `sweeper` |
//! | reload | each goes by the new settings; if one cannot, the old configuration stays in force | [`Parts::reconfigure`] |
//! | end | each is closed by a hook of its name, behind the application's own hooks | [`Parts::hooks`] |

#![cfg_attr(
    not(all(feature = "cache", feature = "database", feature = "sessions")),
    allow(dead_code, unused_imports, reason = "every part is a feature")
)]

mod opening;
mod state_directory;
mod sweeper;
#[cfg(test)]
mod tests;
mod watching;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::graceful::Hook;
use crate::{Config, Error, StartError};
pub(crate) use opening::Pace;
pub(crate) use state_directory::state_directory;
pub(crate) use sweeper::Sweeper;
pub(crate) use watching::{LOOK, Watching};

/// Time that the end of a part may take.
const CLOSE: Duration = Duration::from_secs(5);
/// Parts that may be kept in another one: they are closed before it.
const KEPT_IN_OTHERS: [&str; 2] = ["sessions", "auth"];

/// A part's state, as its last use or the last look has told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// The part answers.
    Here,
    /// The part does not answer, or is not open.
    Away {
        /// For the log and the private listener: a sentence without secrets.
        why: String,
    },
}

/// Something outside of the process that a service needs.
pub(crate) trait Part: Send + Sync + 'static {
    /// The part's name, and its hook's: "database", "cache", "sessions".
    fn name(&self) -> &'static str;

    /// The part's name in answers that it is away, after "the".
    fn noun(&self) -> &'static str {
        self.name()
    }

    /// False if requests are served without it, too, only slower: then a start does not wait for it, and `/readyz` is 200 without it.
    fn is_needed(&self) -> bool {
        true
    }

    /// Tries once to open it. It is called again if it fails. The future may be dropped where it waits.
    fn open(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes it ready for requests, once it is open and before READY: migrations. It may take long, and an error ends the start.
    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// The start is given up. The part begins nothing more that would remain half done, and this returns when nothing of that kind runs:
    /// [`Self::prepare`] goes on until then.
    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Tells what the last use or look said, without asking anybody.
    fn health(&self) -> Health;

    /// Asks whether it is back. It is called while the part is [`Health::Away`].
    fn look(&self) -> BoxFuture<'_, ()>;

    /// Closes it. Nothing uses it any more; after a start that was broken off, nothing ever has.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Figures for the private listener: an object, without secrets.
    fn details(&self) -> Value;

    /// Goes by the keys of this configuration that count live. It is called before the configuration is in force, and may read a few small
    /// files.
    ///
    /// # Errors
    /// Why the part cannot: then it goes on as before, and so does the configuration.
    fn reconfigure(&self, _: &Config) -> Result<(), String> {
        Ok(())
    }
}

/// The parts of a server. A clone is an extension of each request, if there is any part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts(Arc<Registered>);

/// Parts while a server is made.
#[derive(Default)]
pub(crate) struct Registered {
    /// In the order in which they are opened.
    all: Vec<Arc<dyn Part>>,
    /// Handles that handlers and other parts take, by their types.
    handles: Extensions,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|part| part.name())).finish()
    }
}

impl Registered {
    /// Adds a part. It is opened behind those that were added before.
    pub(crate) fn add(&mut self, part: Arc<dyn Part>) {
        self.all.push(part);
    }

    /// Gives this to handlers, and to the parts that are made later.
    pub(crate) fn lend<H: Clone + Send + Sync + 'static>(&mut self, handle: H) {
        self.handles.insert(handle);
    }

    /// The handle of this type, if it was lent.
    pub(crate) fn lent<H: Clone + Send + Sync + 'static>(&self) -> Option<&H> {
        self.handles.get()
    }

    pub(crate) fn finish(self) -> Parts {
        Parts(Arc::new(self))
    }
}

impl Parts {
    /// Takes a part's handle out of a request's extensions. `method` is the one of `Server` that registers the part.
    ///
    /// # Errors
    /// If the server has no such part: a 500, whose log line says what to do.
    pub(crate) fn handle<H: Clone + Send + Sync + 'static>(
        extensions: &Extensions,
        method: &'static str,
    ) -> Result<H, Error> {
        let handle = extensions.get::<Self>().and_then(|parts| parts.0.lent::<H>());
        handle.cloned().ok_or_else(|| {
            Error::internal(format!(
                "the handler takes a part that its server does not have: register it by Server::{method}()"
            ))
        })
    }

    /// The handle of this type, if it was lent: for this library's own middleware.
    pub(crate) fn lent<H: Clone + Send + Sync + 'static>(&self) -> Option<&H> {
        self.0.lent()
    }

    /// Waits until the start can be given up; see [`Part::leave`].
    pub(crate) async fn leave(&self) {
        for part in &self.0.all {
            part.leave().await;
        }
    }

    /// True if nothing was registered.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.all.is_empty() && self.0.handles.is_empty()
    }

    /// The needed parts that are away, in words: "the database is away". `None`: all are here.
    pub(crate) fn away(&self) -> Option<String> {
        let needed = self.0.all.iter().filter(|part| part.is_needed() && part.health() != Health::Here);
        let names: Vec<String> = needed.map(|part| format!("the {}", part.noun())).collect();
        match names.as_slice() {
            [] => None,
            [name] => Some(format!("{name} is away")),
            names => Some(format!("{} are away", names.join(" and "))),
        }
    }

    /// Every part with its state and its figures, for the private listener.
    pub(crate) fn details(&self) -> Value {
        let told = |part: &Arc<dyn Part>| {
            let (health, why) = match part.health() {
                Health::Here => ("here", Value::Null),
                Health::Away { why } => ("away", Value::String(why)),
            };
            let details =
                json!({ "health": health, "why": why, "needed": part.is_needed(), "figures": part.details() });
            (part.name().to_owned(), details)
        };
        Value::Object(self.0.all.iter().map(told).collect::<Map<_, _>>())
    }

    /// Has each part go by the new settings.
    ///
    /// # Errors
    /// If one of them cannot.
    pub(crate) fn reconfigure(&self, config: &Config) -> Result<(), StartError> {
        self.0
            .all
            .iter()
            .try_for_each(|part| part.reconfigure(config).map_err(|why| StartError::Part { name: part.name(), why }))
    }

    /// Hooks that close the parts. Sessions and logins go first, as they are kept in one of the others; then the documents' order.
    pub(crate) fn hooks(&self) -> Vec<Hook> {
        let mut all: Vec<_> = self.0.all.iter().map(Arc::clone).collect();
        all.sort_by_key(|part| !KEPT_IN_OTHERS.contains(&part.name()));
        let hook = |part: Arc<dyn Part>| {
            Hook::new(part.name(), CLOSE, move || async move {
                part.close().await;
                Ok(())
            })
        };
        all.into_iter().map(hook).collect()
    }
}
