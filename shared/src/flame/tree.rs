//! Stacks as a tree: a function called from two places is there twice.

use std::collections::BTreeMap;

use crate::pprof::Folded;

/// Limit of the depth, without the root. What is above belongs to the last frame.
pub(super) const DEPTH_MAX: usize = 512;

/// The frames of all stacks. The root is called "all".
pub(super) struct Tree<'a>(Vec<Node<'a>>);

struct Node<'a> {
    name: &'a str,
    value: i64,
    children: BTreeMap<&'a str, usize>,
}

impl<'a> Node<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, value: 0, children: BTreeMap::new() }
    }
}

impl<'a> Tree<'a> {
    pub(super) const ROOT: usize = 0;

    /// Makes a tree of stacks, whose outermost frame is the first. Stacks without a value are left out.
    pub(super) fn of(folded: &'a Folded) -> Self {
        let mut nodes = vec![Node::new("all")];
        for (stack, value) in folded.iter().filter(|(_, value)| **value > 0) {
            let mut at = Self::ROOT;
            nodes[at].value = nodes[at].value.saturating_add(*value);
            for name in stack.iter().take(DEPTH_MAX) {
                let new = nodes.len();
                let child = *nodes[at].children.entry(name).or_insert(new);
                if child == new {
                    nodes.push(Node::new(name));
                }
                at = child;
                nodes[at].value = nodes[at].value.saturating_add(*value);
            }
        }
        Self(nodes)
    }

    /// The value of all stacks together.
    pub(super) fn total(&self) -> i64 {
        self.0[Self::ROOT].value
    }

    /// Name and value.
    pub(super) fn node(&self, node: usize) -> (&'a str, i64) {
        (self.0[node].name, self.0[node].value)
    }

    pub(super) fn children(&self, node: usize) -> impl Iterator<Item = usize> {
        self.0[node].children.values().copied()
    }

    /// Number of frames from this one on.
    pub(super) fn size(&self, node: usize) -> usize {
        let (mut count, mut left) = (0, vec![node]);
        while let Some(node) = left.pop() {
            count += 1;
            left.extend(self.children(node));
        }
        count
    }
}
