//! Named values of a request, from several places, as a type takes them.

mod deserializer;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::{Value, json};
use serde_path_to_error::Segment;

use deserializer::Wrong;

/// Names, and what they say. What is put in first counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(BTreeMap<String, Field>);

#[derive(Debug, Clone, PartialEq)]
enum Field {
    /// Of a JSON body: of the type that it has.
    Json(Value),
    /// A text, which may stand for something else, and more of the same name.
    Texts(String, Vec<String>),
}

/// What is wrong: with which field, if it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) field: String,
    pub(super) text: String,
}

/// A step from a value to one inside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// A value that does not fit, and what is there instead meanwhile.
struct Replaced {
    place: Vec<Step>,
    /// Number of the substitute.
    substitute: usize,
}

/// Fields are read so often at most, or a large body with many mistakes would cost too much. It suffices for some twenty mistakes.
const READS_MAX: usize = 64;

/// A value that some type takes, by its number; a type of an application's own may take none.
fn substitute(number: usize) -> Option<Value> {
    let all = [json!(""), json!(0), json!(false), json!([]), json!({}), json!(null), json!(1), json!("a")];
    all.into_iter().nth(number)
}

impl Fields {
    /// Of a JSON body; `None` if it is no object.
    pub(super) fn of_json(value: Value) -> Option<Self> {
        match value {
            Value::Object(entries) => {
                Some(Self(entries.into_iter().map(|(name, value)| (name, Field::Json(value))).collect()))
            }
            _ => None,
        }
    }

    /// Of pairs; one name may come several times.
    pub(super) fn of_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut fields = BTreeMap::<String, Field>::new();
        for (name, text) in pairs {
            match fields.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(Field::Texts(text, Vec::new()));
                }
                Entry::Occupied(mut place) => {
                    if let Field::Texts(_, more) = place.get_mut() {
                        more.push(text);
                    }
                }
            }
        }
        Self(fields)
    }

    /// Those of `other`, where there are none of the name yet.
    #[must_use]
    pub(super) fn or(mut self, other: Self) -> Self {
        for (name, field) in other.0 {
            self.0.entry(name).or_insert(field);
        }
        self
    }

    /// As this type takes them, and everything that does not fit.
    ///
    /// serde stops at the first value that does not fit, or is missing. So another one is put in its place, and it is read again. A value
    /// that was made in this way is `Some` beside mismatches: only its other fields count.
    pub(super) fn read<T: DeserializeOwned>(mut self) -> (Option<T>, Vec<Mismatch>) {
        // What keeps the place of a mistake copies each name: so it is asked only once there is one.
        let fields = self.0.iter().map(|(name, field)| (name.as_str(), field));
        if let Ok(value) = T::deserialize(MapDeserializer::<_, Wrong>::new(fields)) {
            return (Some(value), Vec::new());
        }
        let (mut wrong, mut replaced) = (Vec::new(), Vec::<Replaced>::new());
        for _ in 0..READS_MAX {
            let (place, mismatch) = match self.try_read() {
                Ok(value) => return (Some(value), wrong),
                Err(error) => error,
            };
            let number = match replaced.iter_mut().find(|one| Some(&one.place) == place.as_ref()) {
                Some(one) => {
                    one.substitute += 1;
                    one.substitute
                }
                None => {
                    // What a substitute lacks is nobody's mistake.
                    let is_inside = |one: &Replaced| place.as_ref().is_some_and(|place| place.starts_with(&one.place));
                    if !replaced.iter().any(is_inside) {
                        wrong.push(mismatch);
                    }
                    replaced.extend(place.clone().map(|place| Replaced { place, substitute: 0 }));
                    0
                }
            };
            let is_put = place.zip(substitute(number)).is_some_and(|(place, value)| self.put(&place, value));
            if !is_put {
                break;
            }
        }
        (None, wrong)
    }

    fn try_read<T: DeserializeOwned>(&self) -> Result<T, (Option<Vec<Step>>, Mismatch)> {
        let map = MapDeserializer::new(self.0.iter().map(|(name, field)| (name.as_str(), field)));
        serde_path_to_error::deserialize(map).map_err(|error| {
            let path = error.path().to_string();
            let mut place = steps(error.path());
            let text = error.into_inner().0;
            // A missing field is named by the text alone.
            let named = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
            let path = if path == "." { String::new() } else { path };
            let Some((field, _)) = named else { return (place, Mismatch { field: path, text }) };
            place.iter_mut().for_each(|place| place.push(Step::Key(field.to_owned())));
            let field = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
            (place, Mismatch { field, text: "is required".to_owned() })
        })
    }

    /// Puts a value in a place. Returns false if there is no such place.
    fn put(&mut self, place: &[Step], value: Value) -> bool {
        let Some((Step::Key(name), rest)) = place.split_first() else { return false };
        if rest.is_empty() {
            self.0.insert(name.clone(), Field::Json(value));
            return true;
        }
        let Some(Field::Json(whole)) = self.0.get_mut(name) else { return false };
        let Some((last, way)) = rest.split_last() else { return false };
        let inside = way.iter().try_fold(whole, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(*index),
        });
        match (inside, last) {
            (Some(Value::Object(entries)), Step::Key(key)) => drop(entries.insert(key.clone(), value)),
            (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => items[*index] = value,
            _ => return false,
        }
        true
    }
}

/// The way to a value; `None` if it leads through something that cannot be entered.
fn steps(path: &serde_path_to_error::Path) -> Option<Vec<Step>> {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Sort {
        #[default]
        Asc,
        Desc,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(u64);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        page: u32,
        size: Option<u8>,
        #[serde(default)]
        all: bool,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        sort: Sort,
        id: Option<Id>,
        #[serde(default)]
        ratio: f64,
        #[serde(default)]
        nested: Value,
    }

    fn pairs(all: &[(&str, &str)]) -> Fields {
        Fields::of_pairs(all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn texts_become_what_the_type_takes() {
        let page: Page = pairs(&[
            ("page", "2"),
            ("size", ""),
            ("all", "on"),
            ("tags", "a"),
            ("tags", "b"),
            ("sort", "desc"),
            ("id", "7"),
            ("ratio", "0.5"),
            ("other", "x"),
        ])
        .read()
        .0
        .unwrap();
        let tags = vec!["a".to_owned(), "b".to_owned()];
        let expected = Page {
            page: 2,
            size: None,
            all: true,
            tags,
            sort: Sort::Desc,
            id: Some(Id(7)),
            ratio: 0.5,
            nested: Value::Null,
        };
        assert_eq!(page, expected);
    }

    #[test]
    fn json_keeps_its_types_and_counts_over_texts() {
        let body = serde_json::json!({ "page": 3, "tags": ["x"], "nested": { "a": [1] } });
        let page: Page = Fields::of_json(body).unwrap().or(pairs(&[("page", "9"), ("size", "4")])).read().0.unwrap();
        assert_eq!((page.page, page.size, page.tags.len(), &page.nested["a"][0]), (3, Some(4), 1, &Value::from(1)));
        let strict = Fields::of_json(serde_json::json!({ "page": "3" })).unwrap().read::<Page>().1;
        assert_eq!(strict[0].field, "page");
        assert!(Fields::of_json(serde_json::json!([1])).is_none());
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        for (given, field, says) in [
            (pairs(&[]), "page", "is required"),
            (pairs(&[("page", "two")]), "page", "\"two\" is not a whole number"),
            (pairs(&[("page", "-1")]), "page", "is not a whole number of this size"),
            (pairs(&[("page", "1"), ("size", "300")]), "size", "is not a whole number of this size"),
            (pairs(&[("page", "1"), ("all", "maybe")]), "all", "is not true or false"),
            (pairs(&[("page", "1"), ("sort", "up")]), "sort", "unknown variant"),
        ] {
            let wrong = given.read::<Page>().1;
            assert!(wrong.len() == 1 && wrong[0].field == field && wrong[0].text.contains(says), "{wrong:?}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "they are read, and that is all")]
    struct Order {
        name: String,
        count: std::num::NonZeroU32,
        inner: Inner,
        list: Vec<Inner>,
        sort: Sort,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "they are read, and that is all")]
    struct Inner {
        a: u8,
        b: bool,
    }

    #[test]
    fn everything_that_is_missing_or_does_not_fit_is_named_at_any_depth() {
        let wrong = |body: Value| {
            let (_, wrong) = Fields::of_json(body).unwrap().read::<Order>();
            wrong.into_iter().map(|one| one.field).collect::<std::collections::BTreeSet<_>>()
        };
        let set = |all: &[&str]| -> std::collections::BTreeSet<String> {
            all.iter().map(|field| (*field).to_owned()).collect()
        };
        // What is in a part that is missing is not missing beside it.
        assert_eq!(wrong(json!({ "sort": "asc" })), set(&["name", "count", "inner", "list"]));
        let body =
            json!({ "name": 1, "count": 0, "inner": { "a": 300 }, "list": [{ "a": 1, "b": true }, {}], "sort": "asc" });
        assert_eq!(wrong(body), set(&["name", "count", "inner.a", "inner.b", "list[1].a", "list[1].b"]));
        // Nothing can stand for an enum: what comes behind it is not looked at.
        assert!(wrong(json!({ "name": "n", "sort": "up" })).contains("sort"));
        assert!(
            wrong(json!({ "name": "n", "count": 1, "inner": { "a": 1, "b": true }, "list": [], "sort": "asc" }))
                .is_empty()
        );
    }
}
