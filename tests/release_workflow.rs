//! The workflows: they parse, call what is there, and may do no more than each job needs; and a dry run releases nothing. The script that
//! `release.yml` calls knows the tag of a version.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::docs::root;
use crate::publish::PUBLISHED;

const WORKFLOWS: [&str; 2] = ["test.yml", "release.yml"];
const SCRIPT: &str = "systemd/package/release";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn workflow(name: &str) -> Value {
    let text = read(&format!(".github/workflows/{name}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The jobs of a workflow, by their names.
fn jobs(workflow: &Value) -> Vec<(&str, &Value)> {
    workflow["jobs"].as_object().unwrap().iter().map(|(name, job)| (name.as_str(), job)).collect()
}

/// This key of all jobs and of all their steps.
fn all(workflow: &Value, key: &str) -> Vec<String> {
    let steps = |job: &Value| job["steps"].as_array().cloned().unwrap_or_default();
    let places = jobs(workflow).into_iter().flat_map(|(_, job)| std::iter::once(job.clone()).chain(steps(job)));
    places.filter_map(|place| place[key].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_the_workflows_run_is_there() {
    let mut called = 0;
    for name in WORKFLOWS {
        for run in all(&workflow(name), "run") {
            let ends = |c: char| c.is_whitespace() || "\"'()=;".contains(c);
            let words: Vec<&str> = run.split(ends).filter(|word| !word.is_empty()).collect();
            for (at, word) in words.iter().enumerate() {
                if !word.starts_with("tests/") && !word.starts_with("systemd/") {
                    continue;
                }
                let file =
                    std::fs::metadata(root().join(word)).unwrap_or_else(|error| panic!("{name}, {word}: {error}"));
                let is_read = at > 0 && words[at - 1] == "--file";
                assert!(is_read || file.permissions().mode() & 0o111 != 0, "{name}: {word} cannot be run");
                called += 1;
            }
        }
    }
    assert!(called > 8, "{called} calls");
}

#[test]
fn a_job_may_write_only_what_it_releases_and_only_for_a_tag() {
    for name in WORKFLOWS {
        assert_eq!(workflow(name)["permissions"], json!({ "contents": "read" }), "{name}");
    }
    let release = workflow("release.yml");
    assert_eq!(release["on"]["push"], json!({ "tags": ["v*"] }));
    let expected = json!({
        "push-image": { "contents": "read", "packages": "write", "id-token": "write", "attestations": "write" },
        "release": { "contents": "write", "id-token": "write", "attestations": "write" },
    });
    for (name, job) in jobs(&release) {
        assert_eq!(job["permissions"], expected[name], "{name}");
        if !job["permissions"].is_null() {
            let when = job["if"].as_str().unwrap_or_default();
            assert!(when.ends_with("&& github.event_name == 'push'"), "{name} writes in a dry run, too: {when}");
        }
    }
    // A tag that is wrong ends the workflow before anything else begins.
    for (name, job) in jobs(&release).into_iter().filter(|(name, _)| *name != "version") {
        let needs = job["needs"].to_string();
        assert!(needs.contains("\"version\""), "{name} needs {needs}");
    }
    assert!(all(&release, "run").iter().any(|run| *run == format!("{SCRIPT} check-tag \"$GITHUB_REF_NAME\"")));
}

#[test]
fn an_action_is_a_commit_and_a_workflow_that_is_called_can_be() {
    let uses: Vec<String> = WORKFLOWS.iter().flat_map(|name| all(&workflow(name), "uses")).collect();
    assert!(uses.len() > 10, "{uses:?}");
    for used in uses {
        if let Some(path) = used.strip_prefix("./.github/workflows/") {
            assert!(workflow(path)["on"].as_object().unwrap().contains_key("workflow_call"), "{path}");
            continue;
        }
        let commit = used.split_once('@').unwrap_or_else(|| panic!("{used} has no version")).1;
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{used} is no commit");
    }
}

/// `cargo test` knows nothing of the groups and limits in `tests/nextest.toml`, without which some tests starve others.
#[test]
fn each_job_that_tests_has_nextest() {
    let workflow = workflow("test.yml");
    let jobs = jobs(&workflow);
    assert_eq!(jobs.len(), 2);
    for (name, job) in jobs {
        let runs: Vec<&str> = job["steps"].as_array().unwrap().iter().filter_map(|step| step["run"].as_str()).collect();
        let at =
            |text: &str| runs.iter().position(|run| run.contains(text)).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(at("https://get.nexte.st/") < at("tests/run"), "{name}");
        // Without `&&` each line that fails ends the step.
        assert!(runs.iter().all(|run| run.lines().count() == 1 || !run.contains("&&")), "{name}: {runs:?}");
    }
}

#[test]
fn what_is_released_is_compiled_as_it_was_tested() {
    let [tested, released] = WORKFLOWS.map(|name| workflow(name)["env"]["RUST"].clone());
    assert!(tested.is_string() && tested == released, "{tested} {released}");
}

/// Runs the script of a tree; gives whether it has succeeded, and what it said.
fn script(tree: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new(tree.join(SCRIPT)).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn a_tag_is_the_version_of_all_crates_and_the_changelog_tells_of_it() {
    let version = env!("CARGO_PKG_VERSION");
    let tag = format!("v{version}");
    assert_eq!(script(&root(), &["version"]), (true, format!("{version}\n")));
    assert!(script(&root(), &["notes"]).0);

    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir_all(dir.path().join("systemd/package")).unwrap();
    std::fs::copy(root().join(SCRIPT), dir.path().join(SCRIPT)).unwrap();
    let manifest = read("Cargo.toml");
    let elsewhere = [
        "Cargo.lock",
        "systemd/recipes/kubernetes/base/kustomization.yaml",
        "systemd/recipes/kubernetes/overlays/production/kustomization.yaml",
        "systemd/recipes/docker/README.md",
        "systemd/recipes/docker/Dockerfile",
        "systemd/recipes/docker/Dockerfile.prebuilt",
        "systemd/recipes/docker/Dockerfile.service",
        "systemd/recipes/compose/README.md",
        "systemd/recipes/compose/compose.yaml",
        "systemd/recipes/swarm/README.md",
        "systemd/recipes/swarm/Dockerfile",
    ];
    let copy = |name: &str, change: &dyn Fn(String) -> String| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, change(read(name))).unwrap();
    };
    elsewhere.iter().for_each(|name| copy(name, &|text| text));
    let write = |manifest: &str, changes: &str| {
        std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::write(dir.path().join("CHANGELOG.md"), changes).unwrap();
    };
    let check = |tag: &str| script(dir.path(), &["check-tag", tag]);
    let is_refused = |tag: &str, why: &str| {
        let (is_good, said) = check(tag);
        assert!(!is_good && said.contains(why), "{tag}: {said}");
    };
    let changes = format!("# Changelog\n\n## {version} (2026-12-01)\n\n- It is new.\n\n## 0.0.9\n\n- It is old.\n");
    write(&manifest, &changes);
    assert_eq!(check(&tag), (true, String::new()));
    assert_eq!(script(dir.path(), &["notes"]), (true, "- It is new.\n\n".to_owned()));
    for wrong in [version, "v0.0.9", &format!("{tag}-rc1"), &format!("{tag}.1"), "v", ""] {
        is_refused(wrong, &format!("the tag must be {tag}"));
    }
    for name in elsewhere {
        for other in ["0.0.9", &format!("{version}-rc1"), "latest"] {
            copy(name, &|text| text.replace(version, other));
            is_refused(&tag, name);
        }
        copy(name, &|text| text);
    }
    write(&manifest, &changes.replace("2026-12-01", "unreleased"));
    is_refused(&tag, "write the date there");
    write(&manifest, "# Changelog\n\n## 0.0.9\n");
    is_refused(&tag, "no section");
    let another = manifest.replace(
        &format!("gin-worker = {{ path = \"worker\", version = \"{version}\""),
        "gin-worker = { path = \"worker\", version = \"0.0.9\"",
    );
    assert_ne!(another, manifest);
    write(&another, &changes);
    is_refused(&tag, "gin-worker");
}

#[test]
fn checksums_are_those_of_all_files() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let place = dir.path().display().to_string();
    assert!(!script(&root(), &["sums", &place]).0, "there are no files");
    for name in ["gin_1.0.0~rc1.deb", "gin.tar.gz"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    // Once more changes nothing: it is no sum of itself.
    for _ in 0..2 {
        assert_eq!(script(&root(), &["sums", &place]), (true, String::new()));
    }
    let check = || Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&dir).output();
    let said = String::from_utf8(check().unwrap().stdout).unwrap();
    assert_eq!(said, "gin.tar.gz: OK\ngin_1.0.0.rc1.deb: OK\n");
    std::fs::write(dir.path().join("gin.tar.gz"), "another").unwrap();
    assert!(!check().unwrap().status.success());
}

#[test]
fn the_crates_that_are_packed_are_those_that_are_published() {
    let tools = read("tests/tools.sh");
    let list = tools.lines().find_map(|line| line.strip_prefix("published=(")?.strip_suffix(')')).unwrap();
    let crates: Vec<&str> = list.split_whitespace().filter(|word| *word != "-p").collect();
    assert_eq!(crates, PUBLISHED);
}
