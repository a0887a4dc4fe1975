//! Prints the imports of a crate, as a help for drawing their order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::source::{Arrow, Crate};

/// The arrows between the top-level modules, then those between the children of each directory module. Each group ends
/// with an order that would fit: modules in one pair of brackets import one another in a circle.
pub fn draw(krate: &Crate) -> String {
    let arrows = krate.arrows();
    let parents: BTreeSet<&str> = krate.modules().filter_map(|name| Some(name.rsplit_once("::")?.0)).collect();
    let mut text = format!("== {}\n", krate.dir);
    for parent in std::iter::once("").chain(parents) {
        group(krate, &arrows, parent, &mut text);
    }
    text
}

/// The child of `parent` that `module` belongs to; `parent` itself for its own file.
fn child(module: &str, parent: &str) -> Option<String> {
    let rest = if parent.is_empty() { module } else { module.strip_prefix(parent)? };
    match rest.strip_prefix("::").unwrap_or(rest).split("::").next() {
        Some("") => Some(parent.to_owned()),
        Some(first) if parent.is_empty() => Some(first.to_owned()),
        Some(first) if rest.starts_with("::") => Some(format!("{parent}::{first}")),
        _ => None,
    }
}

fn group(krate: &Crate, arrows: &BTreeSet<Arrow>, parent: &str, text: &mut String) {
    let mut all: BTreeMap<(String, String), Vec<&Arrow>> = BTreeMap::new();
    for arrow in arrows {
        if let (Some(from), Some(to)) = (child(&arrow.from, parent), child(&arrow.to, parent))
            && from != to
        {
            all.entry((from, to)).or_default().push(arrow);
        }
    }
    writeln!(text, "-- {}", if parent.is_empty() { "top level" } else { parent }).unwrap();
    for ((from, to), arrows) in &all {
        let first = arrows[0];
        writeln!(text, "{from} -> {to}  {} times, first {}:{}", arrows.len(), first.file, first.line).unwrap();
    }
    let modules = krate.modules().filter_map(|module| child(module, parent)).collect();
    for layer in order(modules, &all.into_keys().collect()) {
        writeln!(text, "    {layer}").unwrap();
    }
}

/// Layers, the top one first: each module stands right above the highest one that it imports.
fn order(modules: BTreeSet<String>, arrows: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut reached = arrows.clone();
    for middle in &modules {
        for from in &modules {
            for to in &modules {
                let step = |a: &String, b: &String| reached.contains(&(a.clone(), b.clone()));
                if step(from, middle) && step(middle, to) {
                    reached.insert((from.clone(), to.clone()));
                }
            }
        }
    }
    let reaches = |a: &String, b: &String| reached.contains(&(a.clone(), b.clone()));
    let (mut left, mut layers) = (modules, Vec::new());
    while !left.is_empty() {
        let is_low = |module: &&String| left.iter().all(|other| !reaches(module, other) || reaches(other, module));
        let low: BTreeSet<String> = left.iter().filter(is_low).cloned().collect();
        let mut words = BTreeSet::new();
        for module in &low {
            let circle: Vec<&str> = low
                .iter()
                .filter(|o| *o == module || reaches(module, o) && reaches(o, module))
                .map(String::as_str)
                .collect();
            words.insert(if circle.len() > 1 { format!("[{}]", circle.join(" ")) } else { module.clone() });
        }
        layers.push(words.into_iter().collect::<Vec<_>>().join(" "));
        left.retain(|module| !low.contains(module));
    }
    layers.reverse();
    layers
}
