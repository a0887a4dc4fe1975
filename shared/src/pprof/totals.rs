//! Values of a profile by function, and by stack.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::{Location, Profile, Sample};

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
    let named = Named::of(profile);
    let mut all = Folded::new();
    for sample in &profile.samples {
        let mut stack: Vec<Rc<str>> = named.leaf_first(sample).cloned().collect();
        stack.reverse();
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
}
