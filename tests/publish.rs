//! The crates that are for others can be published; examples and tests cannot. `tests/run --services` has cargo pack them.

use std::process::Command;

use serde_json::Value;

use crate::docs::root;

/// The crates that are published, each behind those that it needs.
pub const PUBLISHED: [&str; 6] = ["gin-shared", "gin-otlp", "gin-worker", "gin-supervisor", "gin-ctl", "gin-server"];

/// The members of the workspace, as cargo reads them.
fn members() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"]);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn name(member: &Value) -> &str {
    member["name"].as_str().unwrap()
}

#[test]
fn the_crates_for_others_are_published_and_no_others() {
    let members = members();
    // `publish = false` is a list of no registries.
    let mut published: Vec<&str> = members.iter().filter(|member| member["publish"].is_null()).map(name).collect();
    let mut expected = PUBLISHED.to_vec();
    published.sort_unstable();
    expected.sort_unstable();
    assert_eq!(published, expected);
}

#[test]
fn a_published_crate_says_all_that_a_registry_asks_for_and_needs_published_crates_alone() {
    for member in members().iter().filter(|member| PUBLISHED.contains(&name(member))) {
        let about = name(member);
        for key in ["description", "license", "readme", "rust_version"] {
            assert!(member[key].as_str().is_some_and(|text| !text.is_empty()), "{about} has no {key}");
        }
        // crates.io takes five keywords at most, of at most 20 characters.
        let keywords = member["keywords"].as_array().unwrap();
        assert!(keywords.len() <= 5, "{about}: {keywords:?}");
        assert!(keywords.iter().all(|word| word.as_str().unwrap().len() <= 20), "{about}: {keywords:?}");
        let own = PUBLISHED.iter().position(|published| *published == about).unwrap();
        // A dependency for tests alone may have no version: then it is left out.
        let local =
            member["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["path"].is_string());
        for dependency in local.filter(|dependency| dependency["kind"] != "dev") {
            let before = PUBLISHED[..own].contains(&name(dependency));
            assert!(before, "{about} needs {}, which is not published before it", name(dependency));
            assert_ne!(dependency["req"], "*", "{about} needs {} of no version", name(dependency));
        }
    }
}
