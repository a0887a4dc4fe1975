//! Limits of size, for the directories that ARCHITECTURE.md names.

use syn::visit::{self, Visit};
use syn::{FnArg, ItemStruct, Signature};

use super::source::parse;

/// Lines of a file.
const LINES: usize = 400;
/// Fields of a struct.
const FIELDS: usize = 12;
/// Arguments of a function, beside `self`.
const ARGUMENTS: usize = 6;

/// Everything in a file that is above a limit, one complaint each.
pub fn complaints(file: &str, text: &str) -> Vec<String> {
    let mut large = Large { file, complaints: Vec::new() };
    let lines = text.lines().count();
    if lines > LINES {
        large.complaints.push(format!("{file}: {lines} lines, and {LINES} are allowed"));
    }
    large.visit_file(&parse(file, text));
    large.complaints
}

struct Large<'a> {
    file: &'a str,
    complaints: Vec<String>,
}

impl Large<'_> {
    fn check(&mut self, name: &syn::Ident, count: usize, most: usize, of: &str) {
        if count > most {
            let line = name.span().start().line;
            self.complaints.push(format!("{}:{line}: {name} has {count} {of}, and {most} are allowed", self.file));
        }
    }
}

impl<'ast> Visit<'ast> for Large<'_> {
    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.check(&item.ident, item.fields.len(), FIELDS, "fields");
        visit::visit_item_struct(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        let count = signature.inputs.iter().filter(|argument| matches!(argument, FnArg::Typed(_))).count();
        self.check(&signature.ident, count, ARGUMENTS, "arguments");
        visit::visit_signature(self, signature);
    }
}
