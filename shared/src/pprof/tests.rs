use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(function: &str) -> Frame {
    Frame { function: function.to_owned(), file: "src/main.rs".to_owned(), line: 7 }
}

fn at(address: u64, functions: &[&str]) -> Location {
    Location { address, mapping: 0, frames: functions.iter().map(|name| frame(name)).collect() }
}

/// A profile of stacks, the leaf first, each with its number of samples.
fn profile(stacks: &[(&[u64], i64)]) -> Profile {
    let mut profile = Profile::new(&[("samples", "count")]);
    for (stack, count) in stacks {
        let stack = stack.iter().map(|address| {
            let name = format!("f{address}");
            profile.location(at(*address, &[&name]))
        });
        let stack = stack.collect();
        profile.add(stack, &[*count], &[]);
    }
    profile
}

#[test]
fn the_same_location_and_the_same_stack_are_there_once() {
    let mut own = profile(&[(&[1, 2], 3), (&[1, 2], 4), (&[2, 1], 1)]);
    assert_eq!((own.locations.len(), own.samples.len()), (2, 2));
    assert_eq!(own.samples[0].values, [7]);
    own.add(vec![0, 1], &[1], &[("thread", "a")]);
    own.add(vec![0, 1], &[1], &[("thread", "b")]);
    own.add(vec![0, 1], &[1], &[("thread", "a")]);
    let labelled: Vec<_> = own.samples[2..].iter().map(|sample| (&*sample.labels[0].1, sample.values[0])).collect();
    assert_eq!(labelled, [("a", 2), ("b", 1)]);
}

#[test]
fn lists_that_somebody_else_has_changed_are_looked_through_again() {
    let mut own = profile(&[(&[1], 1), (&[2], 1)]);
    own.samples.clear();
    own.add(vec![1], &[5], &[]);
    own.samples.push(Sample { locations: vec![0], values: vec![1], labels: Vec::new() });
    own.add(vec![0], &[1], &[]);
    let values: Vec<_> = own.samples.iter().map(|sample| sample.values[0]).collect();
    assert_eq!(values, [5, 2]);
}

#[test]
fn a_function_that_calls_itself_counts_once_and_an_inlined_one_by_itself() {
    let mut own = profile(&[(&[1, 2, 1], 10), (&[2], 5)]);
    let inlined = own.location(at(9, &["inner", "outer"]));
    own.add(vec![inlined], &[7], &[]);
    let unknown = own.location(at(0x40, &[]));
    own.add(vec![unknown], &[1], &[]);
    let row = |function: &str, flat, cumulative| Row { function: function.to_owned(), flat, cumulative };
    let all = [row("f1", 10, 10), row("inner", 7, 7), row("f2", 5, 15), row("0x40", 1, 1), row("outer", 0, 7)];
    assert_eq!(own.top(0, 9), all);
    assert_eq!(own.top(0, 2), all[..2]);
    let stack = |names: &[&str]| names.iter().map(|name| Rc::<str>::from(*name)).collect::<Vec<Rc<str>>>();
    assert_eq!(own.folded(0).get(&stack(&["outer", "inner"])), Some(&7));
    assert_eq!(own.folded(0).get(&stack(&["f1", "f2", "f1"])), Some(&10));
}

#[test]
fn merged_profiles_have_the_sum_of_what_is_the_same_and_all_the_rest() {
    let mapping = |file: &str| Mapping { start: 1, end: 2, offset: 0, file: file.to_owned(), build_id: String::new() };
    let mut one = profile(&[(&[1, 2], 3), (&[3], 1)]);
    (one.began_ns, one.took_ns, one.mappings) = (100, 10, vec![mapping("a")]);
    one.comments = vec!["same".to_owned()];
    let mut other = profile(&[(&[3], 4), (&[2, 1], 5)]);
    (other.began_ns, other.took_ns, other.mappings) = (50, 20, vec![mapping("b"), mapping("a")]);
    other.comments = vec!["same".to_owned(), "new".to_owned()];
    let mapped = other.location(Location { address: 8, mapping: 2, frames: Vec::new() });
    other.add(vec![mapped], &[2], &[]);
    let merged = Profile::merge([one, other]).unwrap();
    assert_eq!((merged.began_ns, merged.took_ns), (50, 20));
    assert_eq!(merged.comments, ["same", "new"]);
    let files: Vec<_> = merged.mappings.iter().map(|mapping| &*mapping.file).collect();
    assert_eq!(files, ["a", "b"]);
    let flat: Vec<_> = merged.top(0, 9).into_iter().map(|row| (row.function, row.flat)).collect();
    let expected = [("f2", 5), ("f3", 5), ("f1", 3), ("0x8", 2)].map(|(name, flat)| (name.to_owned(), flat));
    assert_eq!(flat, expected);
    assert_eq!(merged.locations.last().unwrap().mapping, 1, "a is the first one now");
}

#[test]
fn profiles_of_other_kinds_are_not_merged() {
    let other = Profile::new(&[("delay", "nanoseconds")]);
    assert_eq!(Profile::merge([profile(&[]), other]), None);
    assert_eq!(Profile::merge([]), None);
    assert_eq!(Profile::merge([profile(&[(&[1], 1)])]), Some(profile(&[(&[1], 1)])));
}

#[test]
fn a_profile_is_told_as_profile_proto_says() {
    let mut own = Profile::new(&[("a", "b")]);
    let place = own.location(at(5, &["f"]));
    own.add(vec![place], &[-1], &[]);
    let expected = [
        // sample_type: the strings 1 and 2.
        &[0x0a, 4, 8, 1, 16, 2][..],
        // sample: location 1; the value -1, which takes ten bytes.
        &[0x12, 15, 0x0a, 1, 1, 0x12, 10],
        &[0xff; 9],
        &[1],
        // location: id 1, address 5; line: function 1, line 7.
        &[0x22, 10, 8, 1, 24, 5, 0x22, 4, 8, 1, 16, 7],
        // function: id 1, name 3, file 4.
        &[0x2a, 6, 8, 1, 16, 3, 32, 4],
        // The table: the empty text first.
        &[0x32, 0, 0x32, 1, b'a', 0x32, 1, b'b', 0x32, 1, b'f', 0x32, 11],
        b"src/main.rs",
    ];
    assert_eq!(own.encode(), expected.concat());
}

#[test]
fn nonsense_is_an_error() {
    for (bytes, why) in [
        (&[0x1f, 0x8b, 8][..], "compressed"),
        (&[0x0a, 2, 8, 9], "text is not in the table"),
        // A sample of the location 1, and of none that is there.
        (&[0x12, 3, 0x0a, 1, 1], "location that is not there"),
        (&[0x22, 4, 8, 1, 16, 3], "in no mapping"),
        (&[0x22, 6, 8, 1, 0x22, 2, 8, 9], "in no function"),
        (&[0x32, 1, 0xff], "no UTF-8"),
        (&[0x0a, 200], ""),
        (b"<html>", ""),
    ] {
        let error = Profile::decode(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{bytes:?}: {error}");
    }
}

#[test]
fn a_short_text_cannot_ask_for_any_memory() {
    let name = "n".repeat(16 << 20);
    let mut own = Profile::new(&[("a", "b")]);
    for address in 0..5 {
        own.locations.push(at(address, &[&name]));
    }
    let error = Profile::decode(&own.encode()).unwrap_err().to_string();
    assert!(error.contains("too many names"), "{error}");
    // Nor can one with frames whose names are empty, of which each takes four bytes there.
    let nameless = Frame { function: String::new(), file: String::new(), line: 0 };
    own.locations = vec![Location { frames: vec![nameless; 5 << 18], ..Location::default() }];
    let error = Profile::decode(&own.encode()).unwrap_err().to_string();
    assert!(error.contains("too many names"), "{error}");
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("main".to_owned()), "[a-z:<>]{0,9}"]
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    vec((name(), name(), any::<u32>()).prop_map(|(function, file, line)| Frame { function, file, line }), 0..3)
}

fn mappings() -> impl Strategy<Value = Vec<Mapping>> {
    let mapping = (any::<u64>(), any::<u64>(), any::<u64>(), name(), name());
    let mapping =
        mapping.prop_map(|(start, end, offset, file, build_id)| Mapping { start, end, offset, file, build_id });
    vec(mapping, 1..4)
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    // The values are never all left out: of a sample of nothing there would be nothing to read.
    let sample = (vec(0..4_u32, 0..6), vec(any::<i64>(), 2), vec((name(), name()), 0..3));
    vec(sample.prop_map(|(locations, values, labels)| Sample { locations, values, labels }), 0..9)
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let head = (vec(("[a-z]{1,4}", name()), 2), name(), any::<i64>(), any::<i64>(), vec(name(), 0..3));
    let period = proptest::option::of((("[a-z]{1,4}", name()), any::<i64>()));
    let locations = vec((any::<u64>(), 0..2_u32, frames()), 4);
    (head, period, mappings(), locations, samples()).prop_map(|(head, period, mappings, locations, samples)| {
        let (kinds, default_kind, began_ns, took_ns, comments) = head;
        let location = |(address, mapping, frames)| Location { address, mapping, frames };
        let locations = locations.into_iter().map(location).collect();
        Profile {
            kinds,
            default_kind,
            period,
            began_ns,
            took_ns,
            mappings,
            locations,
            samples,
            comments,
            ..Profile::new(&[])
        }
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(own in any_profile()) {
        prop_assert_eq!(Profile::decode(&own.encode()).unwrap(), own);
    }

    #[test]
    fn nothing_makes_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Profile::decode(&bytes);
    }

    #[test]
    fn a_profile_that_is_broken_makes_no_panic(own in any_profile(), place in any::<usize>(), to in any::<u8>()) {
        let mut bytes = own.encode();
        let place = place % bytes.len();
        bytes[place] = to;
        if let Ok(read) = Profile::decode(&bytes) {
            let _ = (read.top(0, 9), read.folded(1), Profile::merge([read, own]));
        }
    }
}
