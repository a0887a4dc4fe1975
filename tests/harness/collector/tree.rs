//! Spans of one trace, as a tree.

use std::collections::BTreeMap;
use std::fmt;

use super::Span;

/// The spans of a trace that have come so far.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Id of the trace.
    pub id: String,
    /// Its spans, in the order in which they have begun.
    pub spans: Vec<Span>,
}

impl Trace {
    /// All traces of these spans.
    #[must_use]
    pub fn all(spans: &[Span]) -> Vec<Self> {
        let mut by_id: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        for span in spans {
            by_id.entry(&span.trace).or_default().push(span.clone());
        }
        let trace = |(id, mut spans): (&str, Vec<Span>)| {
            spans.sort_by_key(|span| span.time.began_ns);
            Self { id: id.to_owned(), spans }
        };
        by_id.into_iter().map(trace).collect()
    }

    /// The first span of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.name == name)
    }

    /// The first span of this name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn span(&self, name: &str) -> &Span {
        self.find(name).unwrap_or_else(|| panic!("no span {name:?} in:\n{self}"))
    }

    /// Spans whose parent is not among the spans of this trace: one in a whole trace, or the first span here of a client's trace.
    #[must_use]
    pub fn roots(&self) -> Vec<&Span> {
        let is_here = |id: &str| self.spans.iter().any(|span| span.id == id);
        self.spans.iter().filter(|span| !span.parent.as_deref().is_some_and(is_here)).collect()
    }

    /// Spans right below this one.
    #[must_use]
    pub fn children(&self, of: &Span) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.parent.as_ref() == Some(&of.id)).collect()
    }

    /// Names from the root to the first span of this name.
    ///
    /// # Panics
    /// If there is no such span.
    #[must_use]
    pub fn path(&self, name: &str) -> Vec<&str> {
        let mut names = Vec::new();
        let mut at = Some(self.span(name));
        while let Some(span) = at.filter(|_| names.len() <= self.spans.len()) {
            names.push(span.name.as_str());
            at = self.spans.iter().find(|above| Some(&above.id) == span.parent.as_ref());
        }
        names.reverse();
        names
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trace {}", self.id)?;
        let mut open: Vec<(&Span, usize)> = self.roots().into_iter().rev().map(|root| (root, 1)).collect();
        while let Some((span, depth)) = open.pop() {
            let indent = depth * 2;
            writeln!(f, "{:indent$}{} ({}, {:?}) {:?}", "", span.name, span.id, span.time.took, span.attributes)?;
            open.extend(self.children(span).into_iter().rev().map(|child| (child, depth + 1)));
        }
        Ok(())
    }
}

/// Traces of these spans, as a text.
pub(super) fn of(spans: &[Span]) -> String {
    Trace::all(spans).iter().map(Trace::to_string).collect()
}
