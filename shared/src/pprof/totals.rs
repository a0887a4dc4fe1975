//! Values of a profile by function, and by stack.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::{Location, Profile, Sample};

/// Limit of a stack's frames, from the outermost one on.
const STACK_MAX: usize = 1024;
/// Limit of the frames of all stacks together. Each takes 16 bytes, and a stack as many as four frames: 64 MiB in all.
const FRAMES_MAX: usize = 4 << 20;
/// The name of all stacks for which there is no room.
const OTHERS: &str = "[other stacks]";

/// Stacks with their values, the outermost frame first. A name is there once for each location, however many stacks have it.
pub type Folded = BTreeMap<Vec<Rc<str>>, i64>;

/// Figures of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the function.
    pub function: String,
    /// Value of the function itself.
    pub flat: i64,
    /// The same with all that it has called.
    pub cumulative: i64,
}

pub(super) fn top(profile: &Profile, kind: usize, count: usize) -> Vec<Row> {
    let named = Named::of(profile);
    let mut sums = HashMap::<&str, (i64, i64)>::new();
    for sample in &profile.samples {
        let value = value(sample, kind);
        let (mut is_leaf, mut seen) = (true, HashSet::new());
        for function in named.leaf_first(sample).map(|name| &**name) {
            let sum = sums.entry(function).or_default();
            if is_leaf {
                sum.0 = sum.0.saturating_add(value);
            }
            // A function that calls itself counts once.
            if seen.insert(function) {
                sum.1 = sum.1.saturating_add(value);
            }
            is_leaf = false;
        }
    }
    let row =
        |(function, (flat, cumulative)): (&str, (i64, i64))| Row { function: function.to_owned(), flat, cumulative };
    let mut rows: Vec<Row> = sums.into_iter().map(row).collect();
    rows.sort_by(|one, other| {
        let order = |row: &Row| (Reverse(row.flat), Reverse(row.cumulative));
        order(one).cmp(&order(other)).then_with(|| one.function.cmp(&other.function))
    });
    rows.truncate(count);
    rows
}

pub(super) fn folded(profile: &Profile, kind: usize) -> Folded {
    within(FRAMES_MAX, profile, kind)
}

/// The same with room for so many frames, which those with the greatest values have.
fn within(mut left: usize, profile: &Profile, kind: usize) -> Folded {
    let named = Named::of(profile);
    let mut samples: Vec<&Sample> = profile.samples.iter().collect();
    samples.sort_by_key(|sample| Reverse(value(sample, kind)));
    let (mut all, others) = (Folded::new(), Rc::<str>::from(OTHERS));
    for sample in samples {
        let mut stack: Vec<Rc<str>> = named.root_first(sample).take(STACK_MAX).cloned().collect();
        stack.shrink_to_fit();
        if !all.contains_key(&stack) {
            match left.checked_sub(stack.len() + 4) {
                Some(rest) => left = rest,
                None => stack = vec![Rc::clone(&others)],
            }
        }
        let sum = all.entry(stack).or_default();
        *sum = sum.saturating_add(value(sample, kind));
    }
    all
}

fn value(sample: &Sample, kind: usize) -> i64 {
    sample.values.get(kind).copied().unwrap_or_default()
}

/// Names of the functions at each location, the inlined one first. An address of which nothing is known is its own name.
struct Named(Vec<Vec<Rc<str>>>);

impl Named {
    fn of(profile: &Profile) -> Self {
        let names = |location: &Location| {
            if location.frames.is_empty() {
                return vec![Rc::<str>::from(format!("{:#x}", location.address))];
            }
            location.frames.iter().map(|frame| Rc::<str>::from(&*frame.function)).collect()
        };
        Self(profile.locations.iter().map(names).collect())
    }

    fn leaf_first<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = &'a Rc<str>> {
        let locations = sample.locations.iter().filter_map(|place| self.0.get(*place as usize));
        locations.flatten()
    }

    fn root_first<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = &'a Rc<str>> {
        let locations = sample.locations.iter().rev().filter_map(|place| self.0.get(*place as usize));
        locations.flat_map(|names| names.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;

    fn named(functions: &[&str]) -> Location {
        let frame = |name: &&str| Frame { function: (*name).to_owned(), file: String::new(), line: 1 };
        Location { frames: functions.iter().map(frame).collect(), ..Location::default() }
    }

    #[test]
    fn stacks_for_which_there_is_no_room_are_one_and_of_a_deep_one_there_is_the_outer_part() {
        let mut profile = Profile::new(&[("samples", "count")]);
        let leaf = profile.location(named(&["inlined", "leaf"]));
        for value in 1..=10 {
            let root = profile.location(named(&[&format!("f{value}")]));
            profile.add(vec![leaf, root], &[value], &[]);
        }
        // Room for three stacks of three frames.
        let told: Vec<_> =
            within(3 * 7 + 6, &profile, 0).into_iter().map(|(stack, sum)| (stack.join(";"), sum)).collect();
        let expected =
            [("[other stacks]", 28), ("f10;leaf;inlined", 10), ("f8;leaf;inlined", 8), ("f9;leaf;inlined", 9)];
        assert_eq!(told, expected.map(|(stack, sum)| (stack.to_owned(), sum)));

        let mut profile = Profile::new(&[("samples", "count")]);
        let (leaf, root) = (profile.location(named(&["leaf"])), profile.location(named(&["root"])));
        profile.add([vec![leaf], vec![root; STACK_MAX]].concat(), &[1], &[]);
        let folded = folded(&profile, 0);
        let stack = folded.keys().next().unwrap();
        assert!(stack.len() == STACK_MAX && stack.iter().all(|name| &**name == "root"));
    }
}
