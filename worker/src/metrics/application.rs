//! The application's own metrics: one list for the process, whatever servers it runs.
//!
//! A series counts in itself until there is a memory for it. Then all that it has counted moves there, and it counts there for good.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use gin_shared::metrics::{Cells, Definition, Family, Kind, Place, Series, Shape, is_label_name, is_name};

use super::point::{Early, Point};
use super::{NAMES, Registry};

/// Place of a call, for people.
type Caller = &'static Location<'static>;

/// Most bounds of a histogram.
const BOUNDS_MAX: usize = 40;
/// Most series that may wait for a memory.
const WAITING_MAX: usize = 4096;
/// Most mistakes that are told.
const WRONG_MAX: usize = 64;
/// Value of each label of the series that counts for those without room.
const OVERFLOW: &str = "overflow";
/// Shards of a series: threads that count in it at once are few.
const SHARDS: usize = 4;

/// All metrics of an application.
#[derive(Default)]
pub(super) struct Application(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By name.
    families: HashMap<String, Known>,
    /// Mistakes that no server shall start with.
    wrong: Vec<String>,
    /// Mistakes that came up later: the log has them.
    told: Vec<String>,
    /// True once a server has asked for mistakes.
    is_checked: bool,
    /// Number of series that wait for a memory.
    waiting: usize,
    home: Option<&'static Registry>,
}

/// A family, with its series.
struct Known {
    family: &'static Registered,
    /// Names of its labels, sorted. `None` before its first series.
    names: Option<Vec<String>>,
    /// By the labels' values, in the order of their names.
    points: HashMap<Vec<String>, &'static Point>,
    /// Counts for those without room.
    rest: Option<&'static Point>,
}

/// A family as it was registered.
pub(super) struct Registered {
    definition: Definition,
    place: Caller,
    application: &'static Application,
    /// Its series without labels, once that has counted.
    bare: OnceLock<&'static Point>,
}

/// A family, or one of its series, in the hands of the application. `None`: a mistake, which counts nothing.
#[derive(Clone, Copy)]
pub(super) struct Instrument {
    family: Option<&'static Registered>,
    /// `None`: the series without labels.
    point: Option<&'static Point>,
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.family.map(|family| family.definition.name.as_str());
        let labels = self.point.map(Point::labels);
        f.debug_struct("Instrument").field("name", &name).field("labels", &labels).finish_non_exhaustive()
    }
}

impl Instrument {
    const NONE: Self = Self { family: None, point: None };

    /// The series with these labels.
    pub(super) fn with(&self, labels: &[(&str, &str)], place: Caller) -> Self {
        let Some(family) = self.family else { return Self::NONE };
        match family.application.point(family, labels, place) {
            Some(point) => Self { family: Some(family), point: Some(point) },
            None => Self::NONE,
        }
    }

    /// Kind of the family, with all that belongs to it.
    pub(super) fn shape(&self) -> Option<&'static Shape> {
        self.family.map(|family| &family.definition.shape)
    }

    /// Counts in the series: by the one function if it has a memory, by the other before.
    pub(super) fn count(&self, in_memory: impl FnOnce(&Cells), early: impl FnOnce(&mut Early)) {
        if let Some(point) = self.point.or_else(|| self.family.and_then(Registered::bare)) {
            point.count(in_memory, early);
        }
    }
}

impl Registered {
    /// The series without labels.
    fn bare(&'static self) -> Option<&'static Point> {
        if let Some(point) = self.bare.get() {
            return Some(*point);
        }
        let point = self.application.point(self, &[], self.place)?;
        Some(*self.bare.get_or_init(|| point))
    }
}

impl Application {
    /// That of this process.
    pub(super) fn of_process() -> &'static Self {
        static OWN: LazyLock<Application> = LazyLock::new(Application::default);
        &OWN
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a family, or gives the one that is there.
    pub(super) fn register(&'static self, definition: Definition, place: Caller) -> Instrument {
        match self.family(definition, place) {
            Ok(family) => Instrument { family: Some(family), point: None },
            Err(text) => {
                self.reject(place, &text);
                Instrument::NONE
            }
        }
    }

    fn family(&'static self, definition: Definition, place: Caller) -> Result<&'static Registered, String> {
        checked(&definition)?;
        let mut inner = self.inner();
        if let Some(known) = inner.families.get(&definition.name) {
            let first = known.family;
            // Another help is no harm: the first one counts.
            let is_same = first.definition.shape == definition.shape;
            return if is_same { Ok(first) } else { Err(differs(&first.definition, first.place, &definition)) };
        }
        if let Some(text) = inner.families.values().find_map(|known| clash(known.family, &definition)) {
            return Err(text);
        }
        let name = definition.name.clone();
        let new = Registered { definition, place, application: self, bare: OnceLock::new() };
        let family: &'static Registered = Box::leak(Box::new(new));
        inner.families.insert(name, Known { family, names: None, points: HashMap::new(), rest: None });
        Ok(family)
    }

    /// The series of a family with these labels. `None`: a mistake, which is told.
    fn point(&self, family: &'static Registered, labels: &[(&str, &str)], place: Caller) -> Option<&'static Point> {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        let found = checked_labels(&family.definition.name, &labels).and_then(|()| {
            let mut inner = self.inner();
            let found = inner.point(family, &labels);
            let home = inner.home;
            drop(inner);
            home.into_iter().for_each(Registry::tell);
            found
        });
        found.map_err(|text| self.reject(place, &text)).ok()
    }

    /// Keeps a mistake for the start, or tells it if there was one.
    fn reject(&self, place: Caller, text: &str) {
        let text = format!("{place}: {text}");
        let mut inner = self.inner();
        let is_late = inner.is_checked;
        let all = if is_late { &mut inner.told } else { &mut inner.wrong };
        if all.len() >= WRONG_MAX || all.contains(&text) {
            return;
        }
        all.push(text.clone());
        drop(inner);
        if is_late {
            tracing::error!("{text}; nothing is counted there");
        }
    }

    /// # Errors
    /// Everything that is wrong, a line each.
    pub(super) fn check(&self, namespace: &str) -> Result<(), String> {
        let mut inner = self.inner();
        inner.is_checked = true;
        let mut wrong = inner.wrong.clone();
        for name in NAMES {
            if let Some(known) = inner.families.get(&format!("{namespace}_{name}")) {
                let (place, name) = (known.family.place, &known.family.definition.name);
                wrong.push(format!("{place}: {name} is a metric of this library; choose another name"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Moves all series to a memory, unless they have one.
    pub(super) fn attach(&self, registry: &'static Registry) {
        let mut inner = self.inner();
        if inner.home.is_some() {
            return;
        }
        inner.home = Some(registry);
        for known in inner.families.values() {
            for point in known.points.values().copied().chain(known.rest) {
                point.move_to(registry.series(&known.family.definition, &point.labels(), SHARDS));
            }
        }
        drop(inner);
        registry.tell();
    }

    /// The families whose series have no memory.
    pub(super) fn without_memory(&self) -> Vec<Family> {
        let inner = self.inner();
        if inner.home.is_some() {
            return Vec::new();
        }
        inner.families.values().filter(|known| !known.points.is_empty()).map(Known::told).collect()
    }
}

impl Inner {
    /// # Errors
    /// If the family has other labels.
    fn point(&mut self, family: &'static Registered, labels: &[(&str, &str)]) -> Result<&'static Point, String> {
        let definition = &family.definition;
        let known = self.families.get_mut(&definition.name).expect("a family is never removed");
        let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
        let first = known.names.get_or_insert_with(|| names.iter().map(|name| (*name).to_owned()).collect());
        if *first != names {
            return Err(format!(
                "{} has the labels {names:?} here, and had {first:?} at its first use; give it the same ones everywhere",
                definition.name
            ));
        }
        let values: Vec<String> = labels.iter().map(|(_, value)| (*value).to_owned()).collect();
        if let Some(point) = known.points.get(&values) {
            return Ok(*point);
        }
        let new = |value: &dyn Fn(&str) -> String| {
            let labels = labels.iter().map(|(name, is)| ((*name).to_owned(), value(is))).collect();
            Point::new(labels, &definition.shape)
        };
        let (point, has_room) = match self.home {
            Some(registry) => {
                let cells = registry.series(definition, labels, SHARDS);
                let point = new(&str::to_owned);
                point.move_to(cells);
                (point, cells.place() == Place::Own)
            }
            None if self.waiting < WAITING_MAX => (new(&str::to_owned), true),
            None => (new(&|_| OVERFLOW.to_owned()), false),
        };
        if !has_room {
            // No more of these are kept than one: their labels may be anything.
            return Ok(*known.rest.get_or_insert_with(|| Box::leak(Box::new(point))));
        }
        self.waiting += usize::from(self.home.is_none());
        let point: &'static Point = Box::leak(Box::new(point));
        known.points.insert(values, point);
        Ok(point)
    }
}

impl Known {
    /// The family, as it is told.
    fn told(&self) -> Family {
        let Definition { name, help, shape } = &self.family.definition;
        let kind = kind_of(shape);
        let mut series: Vec<Series> =
            self.points.values().copied().chain(self.rest).map(|point| point.told(shape)).collect();
        series.sort_by(|one, other| one.labels.cmp(&other.labels));
        Family { name: name.clone(), help: help.clone(), kind, series }
    }
}

fn kind_of(shape: &Shape) -> Kind {
    match shape {
        Shape::Counter => Kind::Counter,
        Shape::Gauge | Shape::IntGauge => Kind::Gauge,
        Shape::Histogram { .. } => Kind::Histogram,
    }
}

fn kind(shape: &Shape) -> &'static str {
    match kind_of(shape) {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

/// Says what is wrong if both would have a sample of the same name.
fn clash(first: &Registered, other: &Definition) -> Option<String> {
    let (definition, place) = (&first.definition, first.place);
    let taken: Vec<String> = kind_of(&definition.shape).sample_names(&definition.name).collect();
    let both = kind_of(&other.shape).sample_names(&other.name).find(|name| taken.contains(name))?;
    let (name, one, another) = (&other.name, kind(&other.shape), kind(&definition.shape));
    Some(format!(
        "the {one} {name} would be told as {both}, as the {another} {} at {place} is; give one of them another name",
        definition.name
    ))
}

fn differs(first: &Definition, place: Caller, other: &Definition) -> String {
    let (name, one, another) = (&other.name, kind(&other.shape), kind(&first.shape));
    if one == another {
        return format!("{name} has other bounds here than at {place}; give both the same ones, or one another name");
    }
    format!("{name} is a {one} here, and a {another} at {place}; give one of them another name")
}

/// # Errors
/// If Prometheus could not take it.
fn checked(definition: &Definition) -> Result<(), String> {
    let Definition { name, shape, .. } = definition;
    if !is_name(name) {
        return Err(format!("{name:?} cannot name a metric; use letters, digits and _, and no digit first"));
    }
    if *shape != Shape::Counter && name.ends_with("_total") {
        return Err(format!("{name} ends as a counter's name, and is a {}; take _total away", kind(shape)));
    }
    let Shape::Histogram { bounds, .. } = shape else { return Ok(()) };
    let ascend = bounds.windows(2).all(|pair| pair[0] < pair[1]) && bounds.iter().all(|bound| bound.is_finite());
    if ascend && (1..=BOUNDS_MAX).contains(&bounds.len()) {
        return Ok(());
    }
    Err(format!("the bounds of {name} must be 1 to {BOUNDS_MAX} numbers, finite, each more than the one before"))
}

/// # Errors
/// If Prometheus could not take these labels, which are sorted.
fn checked_labels(metric: &str, labels: &[(&str, &str)]) -> Result<(), String> {
    for (name, _) in labels {
        // A histogram's own.
        if !is_label_name(name) || *name == "le" {
            return Err(format!(
                "{name:?} cannot name a label of {metric}; use letters, digits and _, no digit first, not two _ first, and not le"
            ));
        }
    }
    match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(format!("{metric} has the label {} twice", pair[0].0)),
        None => Ok(()),
    }
}
