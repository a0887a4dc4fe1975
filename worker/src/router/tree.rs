//! A method's routes as a radix tree, as httprouter keeps them and Gin's users know it: for people to look at.
//!
//! A node's priority is the number of routes in it and below; children stand in the order of theirs, so that short and busy
//! prefixes come first. (Requests are matched by axum's router, which keeps a tree of the same kind.)

use std::fmt;

/// A tree of one method's routes.
#[derive(Debug, Default)]
pub struct Tree {
    roots: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// Text without parameters, or one parameter as it is written: `:id`, `*filepath`, `{id}`.
    text: String,
    is_param: bool,
    handler: Option<String>,
    children: Vec<Node>,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Routes in it and below.
    pub priority: usize,
    /// Branches, as they are drawn before the text.
    pub branch: String,
    /// What it adds to the path.
    pub text: String,
    /// The route that ends here.
    pub handler: Option<String>,
}

impl Tree {
    /// Adds a route; `path` as it is written, in Gin's words or in axum's.
    pub fn insert(&mut self, path: &str, handler: &str) {
        insert(&mut self.roots, &pieces(path), handler);
    }

    /// From the root down.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        draw(&self.roots, "", true, &mut lines);
        lines
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let width = |line: &Line| line.branch.chars().count() + line.text.chars().count();
        let path = lines.iter().map(width).max().unwrap_or_default().max("PATH".len());
        writeln!(f, "{:<9} {:<path$}  HANDLER", "PRIORITY", "PATH")?;
        for line in &lines {
            let drawn = format!("{}{}", line.branch, line.text);
            let row = format!("{:<9} {drawn:<path$}  {}", line.priority, line.handler.as_deref().unwrap_or_default());
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

impl Node {
    fn priority(&self) -> usize {
        usize::from(self.handler.is_some()) + self.children.iter().map(Self::priority).sum::<usize>()
    }
}

/// The text between parameters, and these, each to the end of its segment.
fn pieces(path: &str) -> Vec<(String, bool)> {
    let mut pieces = Vec::new();
    let mut rest = path;
    while let Some(at) = rest.find([':', '*', '{']) {
        let (before, param) = rest.split_at(at);
        let (param, after) = param.split_at(param.find('/').unwrap_or(param.len()));
        if !before.is_empty() {
            pieces.push((before.to_owned(), false));
        }
        pieces.push((param.to_owned(), true));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push((rest.to_owned(), false));
    }
    pieces
}

fn insert(children: &mut Vec<Node>, pieces: &[(String, bool)], handler: &str) {
    let Some(((text, is_param), rest)) = pieces.split_first() else { return };
    let shared = |node: &Node| match (node.is_param, *is_param) {
        (false, false) => common(&node.text, text),
        // All of both, in whichever words.
        (true, true) if name(&node.text) == name(text) => usize::MAX,
        _ => 0,
    };
    let Some((place, length)) = children.iter().map(shared).enumerate().find(|(_, length)| *length > 0) else {
        let mut node = Node { text: text.clone(), is_param: *is_param, handler: None, children: Vec::new() };
        end_or_go_on(&mut node, rest, handler);
        children.push(node);
        return;
    };
    let node = &mut children[place];
    if length < node.text.len() {
        let below = Node {
            text: node.text.split_off(length),
            is_param: false,
            handler: node.handler.take(),
            children: std::mem::take(&mut node.children),
        };
        node.children.push(below);
    }
    if length < text.len() {
        let mut left = vec![(text[length..].to_owned(), false)];
        left.extend_from_slice(rest);
        insert(&mut node.children, &left, handler);
    } else {
        end_or_go_on(node, rest, handler);
    }
}

/// A parameter's name.
fn name(param: &str) -> &str {
    param.trim_start_matches([':', '*', '{']).trim_end_matches('}')
}

fn end_or_go_on(node: &mut Node, rest: &[(String, bool)], handler: &str) {
    if rest.is_empty() {
        node.handler = Some(handler.to_owned());
    } else {
        insert(&mut node.children, rest, handler);
    }
}

/// How many bytes both begin with.
fn common(one: &str, other: &str) -> usize {
    one.char_indices()
        .zip(other.chars())
        .take_while(|((_, a), b)| a == b)
        .map(|((at, a), _)| at + a.len_utf8())
        .last()
        .unwrap_or(0)
}

fn draw(nodes: &[Node], indent: &str, is_root: bool, lines: &mut Vec<Line>) {
    let mut sorted: Vec<&Node> = nodes.iter().collect();
    sorted.sort_by_key(|node| std::cmp::Reverse(node.priority()));
    for (number, node) in sorted.iter().enumerate() {
        let is_last = number + 1 == sorted.len();
        let (corner, below) = match (is_root, is_last) {
            (true, _) => ("", ""),
            (false, true) => ("└", " "),
            (false, false) => ("├", "│"),
        };
        lines.push(Line {
            priority: node.priority(),
            branch: format!("{indent}{corner}"),
            text: node.text.clone(),
            handler: node.handler.clone(),
        });
        draw(&node.children, &format!("{indent}{below}"), false, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_as_httprouter_prints_it() {
        let mut tree = Tree::default();
        for (number, path) in
            ["/", "/search/", "/support/", "/user/", "/user/:id/", "/about-us/", "/about-us/team/", "/contact/"]
                .iter()
                .enumerate()
        {
            tree.insert(path, &format!("func{}", number + 1));
        }
        let drawn = tree.to_string();
        let expected = "\
PRIORITY  PATH        HANDLER
8         /           func1
2         ├s
1         │├earch/    func2
1         │└upport/   func3
2         ├user/      func4
1         │└:id
1         │ └/        func5
2         ├about-us/  func6
1         │└team/     func7
1         └contact/   func8
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_parameter_stands_as_it_is_written_and_is_one_in_whichever_words() {
        let mut tree = Tree::default();
        for path in ["/users/{id}", "/users/:id/posts", "/files/{*rest}"] {
            tree.insert(path, path);
        }
        let texts: Vec<String> = tree.lines().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["/", "users/", "{id}", "/posts", "files/", "{*rest}"]);
    }

    #[test]
    fn routes_may_be_inserted_in_any_order() {
        let paths = ["/a", "/ab", "/abc/{id}", "/abc/{id}/x", "/abd", "/files/{*rest}"];
        let tree = |order: &[usize]| {
            let mut tree = Tree::default();
            order.iter().for_each(|number| tree.insert(paths[*number], paths[*number]));
            let mut lines: Vec<_> =
                tree.lines().into_iter().map(|line| (line.priority, line.text, line.handler)).collect();
            lines.sort();
            lines
        };
        let expected = tree(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(expected.iter().filter(|(_, _, handler)| handler.is_some()).count(), paths.len());
        assert_eq!(tree(&[5, 4, 3, 2, 1, 0]), expected);
        assert_eq!(tree(&[3, 0, 5, 2, 4, 1]), expected);
    }
}
