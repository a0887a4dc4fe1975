//! A profile as bytes: the messages of profile.proto.

use std::collections::HashMap;

use super::{Frame, Location, Mapping, Profile, Sample};
use crate::protobuf::Writer;

pub(super) fn encode(profile: &Profile) -> Vec<u8> {
    let (mut to, mut strings, mut functions) = (Writer::new(), Strings::default(), Functions::default());
    // The first string must be the empty one.
    strings.of("");
    for kind in &profile.kinds {
        value_type(&mut to, 1, kind, &mut strings);
    }
    for one in &profile.samples {
        sample(&mut to, one, &mut strings);
    }
    // go tool pprof asks the server for the names of a mapping that has none (`/symbol`), which is not there. What has no name in a profile
    // that has some, has none at all.
    let is_named = profile.locations.iter().any(|location| !location.frames.is_empty());
    for (one, number) in profile.mappings.iter().zip(1_u32..) {
        mapping(&mut to, one, number, is_named, &mut strings);
    }
    for (one, number) in profile.locations.iter().zip(1_u64..) {
        location(&mut to, one, number, &mut functions);
    }
    for (&(name, file), number) in functions.all.iter().zip(1_u64..) {
        let (name, file) = (strings.of(name), strings.of(file));
        // Without the linker's name (3). If that is the same, go tool pprof takes the name for C++, and cuts all within < and >: of
        // `<shop::Cart as Future>::poll` it leaves `::poll`.
        to.message(5, |to| {
            to.number(1, number);
            to.number(2, name);
            to.number(4, file);
        });
    }
    to.number(9, profile.began_ns as u64);
    to.number(10, profile.took_ns as u64);
    if let Some((kind, period)) = &profile.period {
        value_type(&mut to, 11, kind, &mut strings);
        to.number(12, *period as u64);
    }
    let comments: Vec<u64> = profile.comments.iter().map(|comment| strings.of(comment)).collect();
    to.packed(13, comments);
    to.number(14, strings.of(&profile.default_kind));
    for string in strings.all {
        to.text_always(6, string);
    }
    to.into_vec()
}

fn value_type<'a>(to: &mut Writer, field: u32, (what, unit): &'a (String, String), strings: &mut Strings<'a>) {
    let (what, unit) = (strings.of(what), strings.of(unit));
    to.message(field, |to| {
        to.number(1, what);
        to.number(2, unit);
    });
}

fn sample<'a>(to: &mut Writer, sample: &'a Sample, strings: &mut Strings<'a>) {
    to.message(2, |to| {
        to.packed(1, sample.locations.iter().map(|place| u64::from(*place) + 1));
        to.packed(2, sample.values.iter().map(|value| *value as u64));
        for (key, value) in &sample.labels {
            let (key, value) = (strings.of(key), strings.of(value));
            to.message(3, |to| {
                to.number(1, key);
                to.number(2, value);
            });
        }
    });
}

/// `is_named`: functions of its addresses are known, so that nobody need look for them in the file.
fn mapping<'a>(to: &mut Writer, mapping: &'a Mapping, number: u32, is_named: bool, strings: &mut Strings<'a>) {
    to.message(3, |to| {
        to.number(1, u64::from(number));
        to.number(2, mapping.start);
        to.number(3, mapping.end);
        to.number(4, mapping.offset);
        to.number(5, strings.of(&mapping.file));
        to.number(6, strings.of(&mapping.build_id));
        for field in 7..=10 {
            to.number(field, u64::from(is_named));
        }
    });
}

fn location<'a>(to: &mut Writer, location: &'a Location, number: u64, functions: &mut Functions<'a>) {
    to.message(4, |to| {
        to.number(1, number);
        to.number(2, u64::from(location.mapping));
        to.number(3, location.address);
        for Frame { function, file, line } in &location.frames {
            let function = functions.of(function, file);
            to.message(4, |to| {
                to.number(1, function);
                to.number(2, u64::from(*line));
            });
        }
    });
}

/// Each text once.
#[derive(Default)]
struct Strings<'a> {
    all: Vec<&'a str>,
    places: HashMap<&'a str, u64>,
}

impl<'a> Strings<'a> {
    fn of(&mut self, text: &'a str) -> u64 {
        *self.places.entry(text).or_insert_with(|| {
            self.all.push(text);
            self.all.len() as u64 - 1
        })
    }
}

/// Each function once: its name and file. Its number begins at 1.
#[derive(Default)]
struct Functions<'a> {
    all: Vec<(&'a str, &'a str)>,
    numbers: HashMap<(&'a str, &'a str), u64>,
}

impl<'a> Functions<'a> {
    fn of(&mut self, name: &'a str, file: &'a str) -> u64 {
        *self.numbers.entry((name, file)).or_insert_with(|| {
            self.all.push((name, file));
            self.all.len() as u64
        })
    }
}
