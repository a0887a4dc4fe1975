//! The order of imports that ARCHITECTURE.md draws, and what breaks it.

use super::source::Crate;

/// A fenced block of a page: its opening line is three backticks, the kind, and what it is about.
#[derive(Debug)]
pub struct Block {
    /// The text behind the kind.
    pub about: String,
    /// Its lines that are not empty, with their numbers in the page.
    pub lines: Vec<(usize, String)>,
}

/// The blocks of one kind.
pub fn blocks(page: &str, kind: &str) -> Vec<Block> {
    let mut lines = (1..).zip(page.lines());
    let mut blocks = Vec::new();
    while let Some((_, line)) = lines.next() {
        let Some(opening) = line.strip_prefix("```").filter(|opening| !opening.is_empty()) else { continue };
        let inside = lines.by_ref().take_while(|(_, line)| *line != "```");
        let inside = inside.filter(|(_, line)| !line.trim().is_empty());
        let block: Vec<_> = inside.map(|(number, line)| (number, line.to_owned())).collect();
        let (found, about) = opening.split_once(' ').unwrap_or((opening, ""));
        if found == kind {
            blocks.push(Block { about: about.trim().to_owned(), lines: block });
        }
    }
    blocks
}

/// A listed module, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    module: &'a str,
    /// The top layer is 0.
    layer: usize,
    /// Line of the page.
    line: usize,
}

/// Everything in a crate that is not as the block says, one complaint each.
pub fn complaints(krate: &Crate, block: &Block, page: &str) -> Vec<String> {
    let layers = block.lines.iter().enumerate();
    let places: Vec<Place<'_>> = layers
        .flat_map(|(layer, (line, text))| {
            text.split_whitespace().map(move |module| Place { module, layer, line: *line })
        })
        .collect();
    let mut complaints = Vec::new();
    for (index, place) in places.iter().enumerate() {
        if !krate.has(place.module) {
            complaints.push(format!("{page}:{}: {} has no module {}", place.line, krate.dir, place.module));
        }
        if places[..index].iter().any(|other| other.module == place.module) {
            complaints.push(format!("{page}:{}: {} stands twice", place.line, place.module));
        }
    }
    let place = |module: &str| -> Option<Place<'_>> {
        let fits =
            |listed: &str| module == listed || module.strip_prefix(listed).is_some_and(|rest| rest.starts_with("::"));
        places.iter().copied().filter(|place| fits(place.module)).max_by_key(|place| place.module.len())
    };
    for module in krate.modules().filter(|module| place(module).is_none()) {
        complaints.push(format!("{page}: the block of {} has no layer for {module}", krate.dir));
    }
    for arrow in krate.arrows() {
        let (Some(from), Some(to)) = (place(&arrow.from), place(&arrow.to)) else { continue };
        if from.module == to.module || from.layer < to.layer {
            continue;
        }
        let relation = if from.layer == to.layer { "beside" } else { "below" };
        complaints.push(format!(
            "{}:{}: {} imports {} ({}); {page}:{} forbids it: {} stands {relation} {}",
            arrow.file, arrow.line, arrow.from, arrow.to, arrow.path, from.line, from.module, to.module
        ));
    }
    complaints
}
