//! Routes in the words in which they were registered: `/users/:id`, where axum's router knows `/users/{id}`.
//!
//! The log and the metrics tell of a route in the words of `/routes`. A route of axum's own routers keeps axum's words.

use std::collections::HashMap;
use std::sync::LazyLock;

use arc_swap::ArcSwap;

/// By the words of axum's router. Nothing is ever removed: there are as many as routes.
static KNOWN: LazyLock<ArcSwap<HashMap<&'static str, &'static str>>> = LazyLock::new(ArcSwap::default);

/// Notes routes: each in the words of axum's router, and as it was registered.
pub(crate) fn remember<'a>(routes: impl Iterator<Item = (&'a str, &'a str)>) {
    let is_new =
        |(template, written): &(&str, &str)| template.contains('{') && template != written && of(template) != *written;
    let new: Vec<_> = routes.filter(is_new).map(|(template, written)| (leaked(template), leaked(written))).collect();
    if new.is_empty() {
        return;
    }
    KNOWN.rcu(|known| {
        let mut all = HashMap::clone(known);
        all.extend(new.iter().copied());
        all
    });
}

fn leaked(text: &str) -> &'static str {
    Box::leak(text.into())
}

/// A route as it was registered.
pub(crate) fn of(template: &str) -> &str {
    if template.contains('{') { KNOWN.load().get(template).copied().unwrap_or(template) } else { template }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_as_it_was_registered() {
        remember([("/one/{id}", "/one/:id"), ("/two/{id}", "/two/{id}"), ("/plain", "/plain")].into_iter());
        for (template, told) in [
            ("/one/{id}", "/one/:id"),
            ("/two/{id}", "/two/{id}"),
            ("/plain", "/plain"),
            ("/other/{id}", "/other/{id}"),
        ] {
            assert_eq!(of(template), told);
        }
    }
}
