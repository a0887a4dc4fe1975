//! What is written down is true: generated files are current, messages exist, defaults are defaults.

use std::path::{Path, PathBuf};
use std::process::Command;

use gin_shared::reference::peers::{PEERS, Peer};
use harness::binary;
use syn::visit::{self, Visit};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn ctl(args: &[&str]) -> String {
    let output = Command::new(binary("gin-ctl")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `GIN_BLESS=1` writes them anew.
#[test]
fn generated_files_are_those_of_this_version() {
    let files = [
        ("gin.toml", vec!["config", "default"]),
        ("gin.schema.json", vec!["config", "schema"]),
        ("CONFIGURATION.md", vec!["config", "reference"]),
        ("man/gin.toml.5", vec!["man", "gin.toml"]),
        ("man/gin-ctl.1", vec!["man", "gin-ctl"]),
        ("man/gin-supervisor.8", vec!["man", "gin-supervisor"]),
        ("man/gin-server.8", vec!["man", "gin-server"]),
    ];
    for (name, args) in files {
        let (file, text) = (root().join("systemd").join(name), ctl(&args));
        if std::env::var_os("GIN_BLESS").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(there == text, "systemd/{name} is of another version: GIN_BLESS=1 cargo nextest run makes it anew");
    }
}

/// Rows of the first table in `text` that begins with this row.
fn table(text: &str, head: &str) -> Vec<String> {
    let rows = text.lines().map(|line| line.trim_start_matches("//! ")).skip_while(|line| *line != head);
    rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_states_of_a_connection_are_the_same_in_architecture_and_in_the_code() {
    let head = "| state | means | owner | left by |";
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let code = std::fs::read_to_string(root().join("worker/src/connections/machine.rs")).unwrap();
    let rows = table(&page, head);
    assert!(rows.len() > 10, "{} rows", rows.len());
    assert_eq!(rows, table(&code, head));
}

#[test]
fn the_default_file_with_its_defaults_uncommented_is_accepted() {
    let mut text = String::new();
    let mut skip = false;
    for line in ctl(&["config", "default"]).lines() {
        let table = line.starts_with("#[");
        // host and port stand for the listener; a table of examples alone needs none of its keys.
        skip = if line.starts_with('[') { false } else { skip || line.starts_with("#[[") };
        let value = line.starts_with('#') && !line.starts_with("# ") && !line.contains("# an example");
        let uncommented = if (value || table) && !skip { line.trim_start_matches('#') } else { line };
        text.push_str(uncommented);
        text.push('\n');
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(dir.path().join("a.toml"), &text).unwrap();
    assert!(text.contains("\nworkers = 1\n") && text.contains("\n[supervisor.probe]\n"), "{text}");
    assert_eq!(ctl(&["check", &dir.path().join("a.toml").display().to_string()]), "the configuration is fine\n");
    // As it is shipped, it says nothing at all.
    let shipped = root().join("systemd/gin.toml").display().to_string();
    assert_eq!(ctl(&["check", &shipped]), "the configuration is fine\n");
}

/// All Rust files below a directory, by their paths from the root of the repository.
pub fn rust_files(directory: &str) -> Vec<String> {
    let (mut files, mut left) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(root().join(&directory)).unwrap().flatten() {
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            match entry.path() {
                inner if inner.is_dir() => left.push(path),
                inner if inner.extension().is_some_and(|ending| ending == "rs") => files.push(path),
                _ => {}
            }
        }
    }
    files
}

/// All source text below a directory, with strings that go on over a line put together.
fn sources(directory: &str, into: &mut String) {
    for file in rust_files(directory) {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            match line.strip_suffix('\\') {
                Some(start) => {
                    into.push_str(start);
                    if let Some(next) = lines.peek_mut() {
                        *next = next.trim_start();
                    }
                }
                None => into.push_str(line),
            }
            if !line.ends_with('\\') {
                into.push('\n');
            }
        }
    }
}

#[test]
fn every_message_of_the_troubleshooting_page_exists() {
    let mut code = String::new();
    for part in
        ["supervisor/src", "supervisor/ctl/src", "worker/src", "worker/server/src", "shared/src", "shared/otlp/src"]
    {
        sources(part, &mut code);
    }
    let code = code.replace("\\\"", "\"").replace("{{", "{").replace("}}", "}");
    let page = std::fs::read_to_string(root().join("systemd/TROUBLESHOOTING.md")).unwrap();
    let messages: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(messages.len() > 15, "{messages:?}");
    for message in messages {
        for fragment in message.split('…').filter(|fragment| fragment.trim().len() > 2) {
            assert!(code.contains(fragment.trim()), "no {fragment:?} of {message:?} in the code");
        }
    }
}

#[test]
fn the_workflow_runs_all_that_ci_runs() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let workflow = read(".github/workflows/test.yml");
    let commands: Vec<String> =
        read(".ci/run").lines().filter_map(|line| Some(line[line.find("tests/run")?..].to_owned())).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        assert!(workflow.lines().any(|line| line.ends_with(&command)), "{command}");
    }
    assert_eq!(workflow.matches("if: failure()").count(), 2, "pictures of a browser are kept");
}

/// All pages of the recipes, from the root of the repository.
fn pages_of_recipes() -> Vec<String> {
    let place = "systemd/recipes";
    let names = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        [format!("{place}/{name}"), format!("{place}/{name}/README.md")]
    };
    let all = std::fs::read_dir(root().join(place)).unwrap().flatten().flat_map(names);
    all.filter(|page| page.ends_with(".md") && root().join(page).is_file()).collect()
}

#[test]
fn files_that_the_documents_link_to_are_there() {
    let mut checked = 0;
    let mut pages: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "SECURITY.md", "systemd/COMING-FROM.md"].map(str::to_owned).into();
    pages.extend(["systemd", "systemd/package"].map(|directory| format!("{directory}/README.md")));
    pages.extend(pages_of_recipes());
    for page in pages {
        let file = root().join(&page);
        let text = std::fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.contains("://") && !target.starts_with('#') {
                let there = file.parent().unwrap().join(target.split('#').next().unwrap());
                assert!(there.exists(), "{page} links to {target}");
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "{checked} links");
}

#[test]
fn every_limit_of_a_connection_stands_in_the_table_of_what_a_client_can_cost() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let rows = table(&page, "| a client | gin-worker | nginx | Go net/http |");
    for Peer { section, key, .. } in PEERS {
        let name = format!("`{section}.{key}`");
        assert!(rows.iter().any(|row| row.contains(&name)), "SECURITY.md: no row of the table names {name}");
    }
    for row in rows {
        assert_eq!(row.matches('|').count(), 5, "four cells: {row}");
    }
}

#[test]
fn units_follow_their_configuration() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let file = dir.path().join("my shop.toml");
    let text = "[supervisor]\ncontrol = \"/run/ctl.sock\"\nready_timeout = \"2m\"\ndrain_timeout = \"3m\"\n\
                [[supervisor.listen]]\nname = \"http\"\naddress = \"[::1]:80\"\n\
                [[supervisor.listen]]\nname = \"unix\"\naddress = \"unix:/run/a b%.sock\"\nmode = \"0660\"\n\
                [[supervisor.listen]]\nname = \"any\"\naddress = \"udp:127.0.0.1:0\"\n";
    std::fs::write(&file, text).unwrap();
    let units = ctl(&["unit", "shop", "--config", &file.display().to_string()]);
    for part in [
        "--socket /run/ctl.sock restart\n",
        &format!("--config \"{}\" --instance shop\n", file.display()),
        // gin-server waits for go: twice ready_timeout, and a margin.
        "TimeoutStartSec=255s\nTimeoutStopSec=195s\n",
        "# /etc/systemd/system/shop-http.socket\n",
        "ListenStream=[::1]:80\nBindIPv6Only=ipv6-only\n",
        "ListenStream=/run/a b%%.sock\nRemoveOnStop=yes\nBacklog=4096\nSocketMode=0660\nFileDescriptorName=unix\n",
        "# any listens at a port that is chosen at each start",
        // Proposed, and switched off.
        "\n#StateDirectory=gin/shop\n",
        "\n#NoNewPrivileges=yes\n",
        "\n#SystemCallErrorNumber=EPERM\n\n[Install]\n",
    ] {
        assert!(units.contains(part), "no {part:?} in {units}");
    }
    assert!(!units.contains("\nNoNewPrivileges="), "{units}");
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ctl(&["completions", shell]);
        assert!(script.contains("restart") && script.contains("gin-ctl"), "{shell}: {script}");
    }
}

/// True if a file has unsafe code, or allows it.
#[derive(Default)]
struct Unsafe(bool);

impl<'ast> Visit<'ast> for Unsafe {
    fn visit_expr_unsafe(&mut self, _: &'ast syn::ExprUnsafe) {
        self.0 = true;
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.0 |= item.unsafety.is_some();
        visit::visit_item_impl(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            let is_lint = ["allow", "expect", "warn"].iter().any(|lint| list.path.is_ident(lint));
            self.0 |= is_lint && list.tokens.clone().into_iter().any(|token| token.to_string() == "unsafe_code");
        }
    }
}

fn has_unsafe(file: &str) -> bool {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let mut found = Unsafe::default();
    found.visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}")));
    found.0
}

/// The workspace denies `unsafe_code`, so a file has none that does not allow it.
#[test]
fn unsafe_code_stands_where_the_page_for_contributors_says() {
    let page = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let list = page.split("- `unsafe` stands only").nth(1).expect("the rule");
    let entries = list.lines().skip(1).take_while(|line| line.starts_with("  "));
    let allowed: Vec<&str> = entries.filter_map(|line| line.strip_prefix("  - `")?.strip_suffix('`')).collect();
    let directories = ["shared", "supervisor", "worker"];
    let all: Vec<String> =
        directories.iter().flat_map(|directory| rust_files(directory)).filter(|file| has_unsafe(file)).collect();
    let covers = |entry: &str, file: &str| if entry.ends_with('/') { file.starts_with(entry) } else { file == entry };
    for file in &all {
        assert!(
            allowed.iter().any(|entry| covers(entry, file)),
            "{file} has unsafe code; CONTRIBUTING.md lists {allowed:?}"
        );
    }
    for entry in allowed {
        assert!(all.iter().any(|file| covers(entry, file)), "CONTRIBUTING.md lists {entry}, which has no unsafe code");
    }
    assert!(!all.is_empty());
}
