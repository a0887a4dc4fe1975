//! What is known of each route: for `/routes`, `gin-ctl routes`, and the list that debug mode prints.

use std::collections::BTreeMap;
#[cfg(feature = "csrf")]
use std::collections::HashSet;
use std::sync::Arc;

#[cfg(feature = "csrf")]
use axum::http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::place::Place;
use super::tree::Tree;
use crate::api::Operation;

/// In place of the method, for a route that answers every one.
pub(super) const ANY: &str = "ANY";

/// A route that is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// `GET`, or `ANY`.
    pub method: String,
    /// With its groups', as it was written.
    pub path: String,
    /// Who answers: a function's name, or the place of a closure.
    pub handler: String,
    /// Who runs before, from the outside in.
    pub middleware: Vec<String>,
    /// What it does.
    pub description: String,
    /// Words to find it by; its groups' first.
    pub tags: Vec<String>,
    /// Its parameters by name, each as Gin writes it: `:id`, `*filepath`.
    pub params: BTreeMap<String, String>,
    /// When it was registered (RFC 3339, in seconds).
    pub created_at: String,
    /// What it reads and answers, of a route that knows its types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The path in axum's words, and in the normal form of requests' paths.
    #[serde(skip)]
    pub(crate) template: String,
    /// True if no token against CSRF is asked for.
    #[serde(skip)]
    pub(crate) csrf_exempt: bool,
    /// Where the application has registered it.
    #[serde(skip)]
    pub(crate) place: Place,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    pub(super) all: Vec<Record>,
    /// Groups' prefixes, and how many routes each has.
    pub(super) groups: BTreeMap<String, usize>,
}

impl Routes {
    /// Of several servers' parts together.
    pub(crate) fn joined(all: &[Arc<Self>]) -> Self {
        let groups = all.iter().flat_map(|routes| routes.groups.clone()).collect();
        Self { all: all.iter().flat_map(|routes| routes.all.clone()).collect(), groups }
    }

    /// The same with these links at the beginning of each chain.
    pub(crate) fn within(&self, outer: &[String]) -> Self {
        let mut own = self.clone();
        for record in &mut own.all {
            record.middleware.splice(0..0, outer.iter().cloned());
        }
        own
    }

    /// Routes without a token against CSRF: the method, if a route has one, and the path in axum's words.
    #[cfg(feature = "csrf")]
    pub(crate) fn csrf_exempt(&self) -> HashSet<(Option<Method>, String)> {
        let exempt = self.all.iter().filter(|record| record.csrf_exempt);
        let method = |name: &str| Method::from_bytes(name.as_bytes()).ok().filter(|_| name != ANY);
        exempt.map(|record| (method(&record.method), record.template.clone())).collect()
    }

    /// In the order of their registration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.all.iter()
    }

    /// As `/routes` answers.
    #[must_use]
    pub fn json(&self) -> Value {
        let routes: BTreeMap<String, &Record> =
            self.all.iter().map(|record| (format!("{}:{}", record.method, record.path), record)).collect();
        let group =
            |(prefix, count): (&String, &usize)| (prefix.clone(), json!({ "prefix": prefix, "routes_count": count }));
        let groups: serde_json::Map<String, Value> = self.groups.iter().map(group).collect();
        json!({ "total": self.all.len(), "routes": routes, "groups": groups })
    }

    /// A radix tree a method.
    #[must_use]
    pub fn trees(&self) -> BTreeMap<String, Tree> {
        let mut trees = BTreeMap::<String, Tree>::new();
        for record in &self.all {
            trees.entry(record.method.clone()).or_default().insert(&record.path, &record.handler);
        }
        trees
    }

    /// A line a route, as Gin prints them in debug mode.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let path = self.all.iter().map(|record| record.path.chars().count()).max().unwrap_or_default();
        let line = |record: &Record| {
            let chain = record.middleware.len() + 1;
            format!("{:<7} {:<path$} --> {} ({chain} handlers)", record.method, record.path, record.handler)
        };
        self.all.iter().map(line).collect()
    }
}
