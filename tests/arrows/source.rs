//! The modules of a crate and their imports, read from the source text. Code for tests is passed over.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, Path, UseTree, Visibility};

use super::item::{attributes, is_for_tests, name, plain};

/// Reads a file by its path from the root of the repository; none if there is no such file.
pub type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Longest chain of re-exports that is followed.
const CHAIN: usize = 8;

/// A crate. Its modules are known by their paths (`os::listener`), its root files as `lib` and `main`.
#[derive(Debug)]
pub struct Crate {
    /// Its directory, from the root of the repository.
    pub dir: String,
    /// Name by which its program imports its library.
    library: String,
    modules: BTreeMap<String, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// Path of its file, from the root of the repository.
    file: String,
    /// The module whose file this is: another one if it is written inline.
    owner: String,
    /// `lib` or `main`.
    root: &'static str,
    parent: Option<String>,
    /// By name.
    children: BTreeMap<String, String>,
    /// Names that it defines itself.
    items: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths of two or more segments in its code.
    paths: Vec<Written>,
}

#[derive(Debug)]
struct Import {
    /// Name that it brings into the module; none if it is a glob.
    name: Option<String>,
    written: Written,
}

/// A path as it is written in the source.
#[derive(Debug)]
struct Written {
    path: Vec<String>,
    line: usize,
}

/// An import from one module of a crate into another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// The module that imports.
    pub from: String,
    /// The module that defines what is imported.
    pub to: String,
    /// File of the importing module.
    pub file: String,
    /// Line in it.
    pub line: usize,
    /// The path as it is written.
    pub path: String,
}

impl Crate {
    /// Reads the crate in `dir`, whose library is imported as `library`.
    ///
    /// # Panics
    /// If there is no root file, a module's file is missing, or one is no Rust.
    pub fn read(dir: &str, library: &str, read: Read<'_>) -> Self {
        let mut modules = BTreeMap::new();
        for root in ["lib", "main"] {
            // The harness has no `src`.
            for directory in [format!("{dir}/src"), dir.to_owned()] {
                let file = format!("{directory}/{root}.rs");
                if let Some(text) = read(&file) {
                    let mut reader = Reader { read, modules, root, at: root.to_owned(), directory };
                    reader.modules.insert(root.to_owned(), Module::new(&file, root, root, None));
                    reader.visit_file(&parse(&file, &text));
                    modules = reader.modules;
                }
            }
        }
        assert!(!modules.is_empty(), "{dir} has neither lib.rs nor main.rs");
        Self { dir: dir.to_owned(), library: library.to_owned(), modules }
    }

    /// Names of all modules that have a file of their own.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter(|(name, module)| **name == module.owner).map(|(name, _)| name.as_str())
    }

    /// True if it has a module of this name.
    pub fn has(&self, name: &str) -> bool {
        self.modules.contains_key(name)
    }

    /// All imports from one file of the crate into another one.
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (name, module) in &self.modules {
            let all = module.imports.iter().map(|import| &import.written).chain(&module.paths);
            for Written { path, line } in all {
                let Some(target) = self.locate(name, path, CHAIN).module() else { continue };
                let (from, to) = (module.owner.clone(), self.modules[&target].owner.clone());
                if from != to {
                    let (file, path) = (module.file.clone(), path.join("::"));
                    arrows.insert(Arrow { from, to, file, line: *line, path });
                }
            }
        }
        arrows
    }

    /// Where `path`, written in `from`, leads.
    fn locate(&self, from: &str, path: &[String], chain: usize) -> Origin {
        let Some((first, tail)) = path.split_first() else { return Origin::Elsewhere };
        let module = &self.modules[from];
        if first == "crate" {
            return self.walk(module.root, tail, chain);
        }
        if *first == self.library && self.has("lib") {
            return self.walk("lib", tail, chain);
        }
        if first == "self" || first == "super" || module.children.contains_key(first) {
            return self.walk(from, path, chain);
        }
        match self.imported(from, first, chain) {
            Some(Origin::Module(target)) => self.walk(&target, tail, chain),
            Some(origin) => origin,
            None => Origin::Elsewhere,
        }
    }

    /// Follows `path` from a module down.
    fn walk(&self, from: &str, path: &[String], chain: usize) -> Origin {
        let (mut at, mut rest) = (from.to_owned(), path);
        while let Some((next, tail)) = rest.split_first() {
            let module = &self.modules[&at];
            at = match (next.as_str(), module.children.get(next)) {
                ("self", _) => at,
                ("super", _) => module.parent.clone().unwrap_or_else(|| panic!("{}: too many super", module.file)),
                (_, Some(child)) => child.clone(),
                (_, None) if module.items.contains(next) => return Origin::Item(at),
                (_, None) => match self.imported(&at, next, chain) {
                    Some(Origin::Module(target)) => target,
                    Some(origin) => return origin,
                    None => return Origin::Item(at),
                },
            };
            rest = tail;
        }
        Origin::Module(at)
    }

    /// Where a name comes from that `at` imports; none if it imports no such name.
    fn imported(&self, at: &str, name: &str, chain: usize) -> Option<Origin> {
        let (chain, imports) = (chain.checked_sub(1)?, &self.modules[at].imports);
        if let Some(import) = imports.iter().find(|import| import.name.as_deref() == Some(name)) {
            return Some(self.locate(at, &import.written.path, chain));
        }
        imports.iter().filter(|import| import.name.is_none()).find_map(|glob| {
            let target = self.locate(at, &glob.written.path, chain).module()?;
            let module = &self.modules[&target];
            if let Some(child) = module.children.get(name) {
                return Some(Origin::Module(child.clone()));
            }
            if module.items.contains(name) { Some(Origin::Item(target)) } else { self.imported(&target, name, chain) }
        })
    }
}

/// Where a path leads.
enum Origin {
    /// A module.
    Module(String),
    /// Something that this module defines.
    Item(String),
    /// Another crate, or a name of the language.
    Elsewhere,
}

impl Origin {
    fn module(self) -> Option<String> {
        match self {
            Self::Module(module) | Self::Item(module) => Some(module),
            Self::Elsewhere => None,
        }
    }
}

impl Module {
    fn new(file: &str, owner: &str, root: &'static str, parent: Option<&str>) -> Self {
        let parent = parent.map(str::to_owned);
        Self { file: file.to_owned(), owner: owner.to_owned(), root, parent, ..Self::default() }
    }
}

pub fn parse(file: &str, text: &str) -> syn::File {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{file}:{}: {error}", error.span().start().line))
}

/// Goes through one target of a crate, file by file.
struct Reader<'a> {
    read: Read<'a>,
    modules: BTreeMap<String, Module>,
    root: &'static str,
    /// The module that is being read.
    at: String,
    /// The directory of the files of its children.
    directory: String,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        self.modules.get_mut(&self.at).expect("it is being read")
    }

    fn written(&mut self, path: Vec<String>, span: Span) {
        if path.len() > 1 {
            self.module().paths.push(Written { path, line: span.start().line });
        }
    }

    /// Reads the items of a child.
    fn enter(&mut self, name: &str, file: Option<&str>, items: &[Item]) {
        let key = if self.at == self.root { name.to_owned() } else { format!("{}::{name}", self.at) };
        let parent = self.module();
        parent.children.insert(name.to_owned(), key.clone());
        let (inline, owner) = (parent.file.clone(), parent.owner.clone());
        let child = match file {
            Some(file) => Module::new(file, &key, self.root, Some(&self.at)),
            None => Module::new(&inline, &owner, self.root, Some(&self.at)),
        };
        assert!(self.modules.insert(key.clone(), child).is_none(), "{}: two modules {key}", self.directory);
        let directory = format!("{}/{name}", self.directory);
        let outside = (std::mem::replace(&mut self.at, key), std::mem::replace(&mut self.directory, directory));
        items.iter().for_each(|item| self.visit_item(item));
        (self.at, self.directory) = outside;
    }

    /// Paths in tokens that nobody has parsed: the arguments of a macro or of an attribute.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) => {
                    // Behind two colons it is the rest of something else.
                    let is_rest = at > 1 && is_colon(at - 1) && is_colon(at - 2);
                    let mut path = vec![plain(first)];
                    while is_colon(at + 1)
                        && is_colon(at + 2)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(plain(next));
                        at += 3;
                    }
                    if !is_rest {
                        self.written(path, first.span());
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_for_tests) {
            return;
        }
        if let Some(name) = name(item) {
            self.module().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = plain(&item.ident);
        if let Some((_, items)) = &item.content {
            return self.enter(&name, None, items);
        }
        let files = [format!("{}/{name}.rs", self.directory), format!("{}/{name}/mod.rs", self.directory)];
        let found = files.iter().find_map(|file| Some((file, (self.read)(file)?)));
        let (file, text) = found.unwrap_or_else(|| panic!("there is neither {} nor {}", files[0], files[1]));
        self.enter(&name, Some(file), &parse(file, &text).items);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            flatten(&item.tree, &mut Vec::new(), &mut self.module().imports);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            let first = path.segments[0].ident.span();
            self.written(path.segments.iter().map(|segment| plain(&segment.ident)).collect(), first);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    /// `pub(super)` and `pub(in crate::x)` import nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, into: &mut Vec<Import>) {
    let mut add = |last: Option<&proc_macro2::Ident>, name: Option<String>, span: Span| {
        // `use os::{self, x}`: the module itself.
        let last = last.map(plain).filter(|last| last != "self" || before.is_empty());
        let path: Vec<String> = before.iter().cloned().chain(last).collect();
        let name = name.map(|name| if name == "self" { path.last().cloned().unwrap_or_default() } else { name });
        into.push(Import { name, written: Written { path, line: span.start().line } });
    };
    match tree {
        UseTree::Name(leaf) => add(Some(&leaf.ident), Some(plain(&leaf.ident)), leaf.ident.span()),
        UseTree::Rename(leaf) => add(Some(&leaf.ident), Some(plain(&leaf.rename)), leaf.ident.span()),
        UseTree::Glob(leaf) => add(None, None, leaf.star_token.span),
        UseTree::Path(path) => {
            before.push(plain(&path.ident));
            flatten(&path.tree, before, into);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, into)),
    }
}
