//! Profiles that were taken.

use super::counter;

/// Counts a profile of this kind, `cpu` or `heap`, in a metric whose name begins with this namespace.
pub(crate) fn taken(namespace: &str, kind: &'static str) {
    counter(&format!("{namespace}_profiles"), "Profiles that were taken").with(&[("kind", kind)]).add(1);
}
