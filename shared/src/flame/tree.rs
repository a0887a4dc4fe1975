//! Stacks as a tree: a function called from two places is there twice.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::pprof::Folded;

/// Limit of the depth, without the root. What is above belongs to the last frame.
pub(super) const DEPTH_MAX: usize = 512;
/// Limit of the frames, with the root. Each takes at most 400 bytes beside its name: 48 of its own, twice that while the list grows, and
/// 300 of the table of its children. So a tree takes 40 MB at most.
pub(super) const FRAMES_MAX: usize = 100_000;

/// The frames of all stacks. The root is called "all".
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    cut: usize,
}

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

    /// Makes a tree of stacks, whose outermost frame is the first. Stacks without a value are left out. Those with the greatest values come
    /// first, and so have room.
    pub(super) fn of(folded: &'a Folded) -> Self {
        let mut stacks: Vec<_> = folded.iter().filter(|(_, value)| **value > 0).collect();
        stacks.sort_by_key(|(_, value)| Reverse(**value));
        let mut tree = Self { nodes: vec![Node::new("all")], cut: 0 };
        for (stack, value) in stacks {
            tree.add(stack, *value);
        }
        tree
    }

    fn add(&mut self, stack: &'a [Rc<str>], value: i64) {
        let mut at = Self::ROOT;
        self.count(at, value);
        for (depth, name) in stack.iter().enumerate() {
            let new = self.nodes.len();
            at = match self.nodes[at].children.get(&**name).copied() {
                Some(child) => child,
                None if depth < DEPTH_MAX && new < FRAMES_MAX => {
                    self.nodes[at].children.insert(name, new);
                    self.nodes.push(Node::new(name));
                    new
                }
                None => {
                    self.cut += 1;
                    return;
                }
            };
            self.count(at, value);
        }
    }

    fn count(&mut self, node: usize, value: i64) {
        let sum = &mut self.nodes[node].value;
        *sum = sum.saturating_add(value);
    }

    /// The value of all stacks together.
    pub(super) fn total(&self) -> i64 {
        self.nodes[Self::ROOT].value
    }

    /// Number of the stacks of which the inner frames had no room.
    pub(super) fn cut(&self) -> usize {
        self.cut
    }

    /// Name and value.
    pub(super) fn node(&self, node: usize) -> (&'a str, i64) {
        (self.nodes[node].name, self.nodes[node].value)
    }

    pub(super) fn children(&self, node: usize) -> impl Iterator<Item = usize> {
        self.nodes[node].children.values().copied()
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
