//! Flame graphs, as SVG: one file that needs nothing from elsewhere.
//!
//! A frame is as wide as its part of all, and stands upon the frame that has called it. A click shows one frame as wide as the picture,
//! Ctrl-F marks frames by their names (`flame/script.js`).

mod tree;

use std::fmt::Write;

use crate::pprof::Folded;
use tree::{DEPTH_MAX, FRAMES_MAX, Tree};

/// Width of the picture, in pixels.
const WIDTH: f64 = 1200.0;
/// Free space at each side.
const SIDE: f64 = 10.0;
/// Height of a frame.
const ROW: usize = 16;
/// Height of what is above the frames, and below them.
const HEAD: usize = 48;
const FOOT: usize = 28;
/// Narrower frames are left out.
const NARROWEST: f64 = 0.3;
/// Width of a letter.
const LETTER: f64 = 7.0;
/// Limit of the letters of a name.
const NAME_MAX: usize = 512;

const SCRIPT: &str = include_str!("flame/script.js");

/// Draws a flame graph of stacks, whose outermost frame is the first. `unit`: of their values.
#[must_use]
pub fn svg(title: &str, unit: &str, folded: &Folded) -> String {
    let tree = Tree::of(folded);
    let (mut boxes, narrow) = boxes(&tree);
    boxes.sort_by_key(|one| one.depth);
    let height = HEAD + (boxes.last().map_or(0, |last| last.depth) + 1) * ROW + FOOT;
    let mut to = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <style>g.f {{ cursor: pointer }} g.f:hover rect {{ stroke: #000 }} .link {{ cursor: pointer; fill: #00c }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let text = |to: &mut String, x: f64, y: usize, more: &str, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(to, "<text x=\"{x}\" y=\"{y}\" {more}>{}</text>", escaped(text));
    };
    text(&mut to, WIDTH / 2.0, 20, "font-size=\"16\" text-anchor=\"middle\"", title);
    text(&mut to, SIDE, 38, "id=\"back\" class=\"link\"", "all");
    text(&mut to, SIDE + 40.0, 38, "id=\"search\" class=\"link\"", "search");
    text(&mut to, WIDTH - SIDE, 38, "id=\"told\" text-anchor=\"end\"", "");
    for one in &boxes {
        let y = height - FOOT - (one.depth + 1) * ROW;
        one.draw(&mut to, y, unit, tree.total());
    }
    let note = if boxes.is_empty() { "no samples".to_owned() } else { left_out(narrow, tree.cut()) };
    text(&mut to, SIDE, height - 10, "fill=\"#666\"", &note);
    to.push_str("<script><![CDATA[\n");
    to.push_str(SCRIPT);
    to.push_str("]]></script>\n</svg>\n");
    to
}

/// Says what a picture has not: frames that are too narrow, and stacks of which the inner frames had no room.
fn left_out(narrow: usize, cut: usize) -> String {
    let narrow =
        (narrow > 0).then(|| format!("{narrow} frames are left out, as they are narrower than {NARROWEST} pixels"));
    let cut = (cut > 0).then(|| {
        format!("{cut} stacks are cut: there is room for {DEPTH_MAX} frames of each, and {FRAMES_MAX} in all")
    });
    narrow.into_iter().chain(cut).collect::<Vec<_>>().join("; ")
}

/// A value with its unit, for people: "1.25 s", "3.0 MiB", "12 samples". `unit`: as in a profile, "nanoseconds" say.
#[must_use]
pub fn quantity(value: i64, unit: &str) -> String {
    let of = |divisor: f64, unit: &str| format!("{:.2} {unit}", value as f64 / divisor);
    match (unit, value.unsigned_abs()) {
        ("nanoseconds", 1_000_000_000..) => of(1e9, "s"),
        ("nanoseconds", 1_000_000..) => of(1e6, "ms"),
        ("nanoseconds", _) => of(1e3, "us"),
        ("bytes", 0x4000_0000..) => of(1_073_741_824.0, "GiB"),
        ("bytes", 0x10_0000..) => of(1_048_576.0, "MiB"),
        ("bytes", 0x400..) => of(1024.0, "KiB"),
        (unit, _) => format!("{value} {unit}"),
    }
}

/// A frame's place in the picture.
struct Drawn<'a> {
    name: &'a str,
    value: i64,
    depth: usize,
    x: f64,
    width: f64,
}

/// Frames that are wide enough, and the number of those that are not.
fn boxes<'a>(tree: &Tree<'a>) -> (Vec<Drawn<'a>>, usize) {
    let scale = (WIDTH - 2.0 * SIDE) / (tree.total().max(1) as f64);
    let (mut drawn, mut narrow) = (Vec::new(), 0);
    // A node, its depth, and its left end.
    let mut left = vec![(Tree::ROOT, 0, SIDE)];
    while let Some((node, depth, x)) = left.pop() {
        let (name, value) = tree.node(node);
        let width = value as f64 * scale;
        if width < NARROWEST {
            // What stands upon it is narrower still.
            narrow += tree.size(node);
            continue;
        }
        drawn.push(Drawn { name, value, depth, x, width });
        let mut x = x;
        for child in tree.children(node) {
            left.push((child, depth + 1, x));
            x += tree.node(child).1 as f64 * scale;
        }
    }
    (drawn, narrow)
}

impl Drawn<'_> {
    fn draw(&self, to: &mut String, y: usize, unit: &str, total: i64) {
        let Self { name, value, x, width, .. } = self;
        let share = 100.0 * *value as f64 / total.max(1) as f64;
        let (escaped_name, quantity) = (escaped(&shortened(name, NAME_MAX)), quantity(*value, unit));
        let fill = colour(name);
        let (height, text_x, text_y) = (ROW - 1, x + 3.0, y + 12);
        let label = escaped(&shortened(name, ((width - 6.0) / LETTER).max(0.0) as usize));
        // Writing to a String cannot fail.
        let _ = writeln!(
            to,
            "<g class=\"f\"><title>{escaped_name} ({}, {share:.2} %)</title>\
             <rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\" fill=\"{fill}\" rx=\"1\"/>\
             <text x=\"{text_x:.2}\" y=\"{text_y}\">{label}</text></g>",
            escaped(&quantity)
        );
    }
}

/// A name that has room for so many letters.
fn shortened(name: &str, letters: usize) -> String {
    if letters < 3 {
        return String::new();
    }
    match name.char_indices().nth(letters) {
        None => name.to_owned(),
        Some(_) => name.chars().take(letters - 2).chain("..".chars()).collect(),
    }
}

/// A warm colour, the same for all functions of a crate.
fn colour(name: &str) -> String {
    let name = name.trim_start_matches(['<', '&', '_', '(']);
    let of = name.find("::").map_or(name, |end| &name[..end]);
    // FNV-1a: the same colour in each picture.
    let hash = of.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let (red, green, blue) = (205 + hash % 50, 60 + (hash >> 8) % 170, (hash >> 20) % 55);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A text within XML, which cannot have every character.
fn escaped(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            '\0'..' ' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => to.push('\u{fffd}'),
            letter => to.push(letter),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn folded(stacks: &[(&[&str], i64)]) -> Folded {
        let stack = |names: &[&str]| names.iter().map(|name| Rc::<str>::from(*name)).collect();
        stacks.iter().map(|(names, value)| (stack(names), *value)).collect()
    }

    /// Asserts that each element has its end, and that no text and no attribute has a character that it must not have.
    fn assert_well_formed(svg: &str) {
        let (before, behind) = svg.split_once("<script><![CDATA[").unwrap();
        let (script, behind) = behind.split_once("]]></script>").unwrap();
        assert_eq!(script.trim(), SCRIPT.trim());
        let mut open: Vec<String> = Vec::new();
        for piece in format!("{before}{behind}").split('<').skip(1).filter(|piece| !piece.starts_with('?')) {
            let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("a tag has no end: {piece}"));
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            assert!(!text.contains('>'), "{text}");
            let is_legal = |letter: char| letter >= ' ' && !('\u{7f}'..='\u{9f}').contains(&letter) || letter == '\n';
            assert!(
                piece.chars().all(|letter| is_legal(letter) && letter < '\u{fffe}' || letter > '\u{ffff}'),
                "{piece}"
            );
            for entity in piece.split('&').skip(1) {
                let name = entity.split_once(';').map(|(name, _)| name);
                assert!(matches!(name, Some("amp" | "lt" | "gt" | "quot" | "#39")), "{piece}");
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_frame_is_as_wide_as_its_part_of_all_and_stands_upon_its_caller() {
        let all = folded(&[(&["main", "app::hot"], 75), (&["main", "app::cold"], 25)]);
        let svg = svg("shop", "samples", &all);
        assert_well_formed(&svg);
        let line = |name: &str| svg.lines().find(|line| line.contains(&format!("<title>{name} ("))).unwrap().to_owned();
        assert!(line("all").contains("(100 samples, 100.00 %)") && line("all").contains("width=\"1180.00\""));
        assert!(line("app::hot").contains("(75 samples, 75.00 %)") && line("app::hot").contains("width=\"885.00\""));
        let y =
            |name: &str| line(name).split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse::<usize>().unwrap();
        assert_eq!((y("all") - y("main"), y("main") - y("app::hot")), (ROW, ROW));
        assert_eq!(y("app::hot"), y("app::cold"));
    }

    #[test]
    fn narrow_frames_are_counted_and_a_deep_stack_is_cut() {
        let deep = vec!["f"; 2000];
        let all = folded(&[(&deep, 1_000_000), (&["rare", "rarer"], 1)]);
        let svg = svg("shop", "samples", &all);
        assert_well_formed(&svg);
        assert!(svg.contains("2 frames are left out") && svg.contains("; 1 stacks are cut"));
        assert_eq!(svg.matches("<g class=\"f\">").count(), 1 + DEPTH_MAX);
    }

    #[test]
    fn where_there_is_no_room_for_all_frames_the_greatest_stacks_have_it() {
        let mut all: Folded = (0..FRAMES_MAX + 9).map(|number| (vec![Rc::from(format!("f{number}"))], 1)).collect();
        // The last one by its name. The root takes a place, too.
        all.insert(vec![Rc::from("zz")], 1_000_000);
        let svg = svg("shop", "samples", &all);
        assert_well_formed(&svg);
        assert!(svg.contains("<title>zz (1000000 samples, ") && svg.contains("; 11 stacks are cut"));
        assert!(svg.contains(&format!("<title>all ({} samples, 100.00 %)", 1_000_009 + FRAMES_MAX)));
    }

    #[test]
    fn a_long_name_is_not_in_the_picture_as_often_as_it_has_frames() {
        let name = "n".repeat(10 * NAME_MAX);
        let svg = svg("shop", "samples", &folded(&[(&[&*name; 100], 1)]));
        assert_well_formed(&svg);
        assert!(svg.len() < 100 * 3 * NAME_MAX, "{}", svg.len());
    }

    #[test]
    fn a_profile_of_nothing_says_so() {
        let svg = svg("shop", "samples", &Folded::new());
        assert_well_formed(&svg);
        assert!(svg.contains("no samples") && !svg.contains("<g class=\"f\">"));
    }

    #[test]
    fn a_value_is_told_for_people() {
        for (value, unit, told) in [
            (12, "samples", "12 samples"),
            (1_250_000_000, "nanoseconds", "1.25 s"),
            (2_500_000, "nanoseconds", "2.50 ms"),
            (-1_500, "nanoseconds", "-1.50 us"),
            (3 << 20, "bytes", "3.00 MiB"),
            (12, "bytes", "12 bytes"),
        ] {
            assert_eq!(quantity(value, unit), told);
        }
    }

    /// Every letter, those that XML cannot have, too.
    fn text() -> impl Strategy<Value = String> {
        vec(prop_oneof![any::<char>(), Just('<'), Just('&'), Just('"'), Just('\0')], 0..20).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn it_is_well_formed_for_names_of_any_text(
            title in text(),
            all in btree_map(vec(text(), 0..4), any::<i64>(), 0..6),
        ) {
            let shared = |stack: Vec<String>| stack.into_iter().map(Rc::<str>::from).collect();
            let all: Folded = all.into_iter().map(|(stack, value)| (shared(stack), value)).collect();
            assert_well_formed(&svg(&title, "<samples & more>", &all));
        }
    }
}
