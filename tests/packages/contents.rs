//! The files of the packages, looked at without an installation.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Change, Package};

/// Runs a script of sh with arguments. Returns what it said on stdout.
fn sh(script: &str, args: &[&Path]) -> String {
    let mut command = Command::new("sh");
    command.args(["-euc", script, "sh"]).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}{errors}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// Files of an unpacked package, each with its mode and digest, and links, each with its target: as rpm lists its own.
fn tree(directory: &Path) -> BTreeSet<String> {
    let list = r#"
        cd "$1"
        find . -type f | while read -r file; do
            echo "${file#.} 100$(stat -c %a "$file") $(sha256sum <"$file" | cut -d ' ' -f 1)"
        done
        find . -type l -printf '/%P 120777  %l\n'
    "#;
    lines(&sh(list, &[directory]))
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Lines of `from` that `without` does not have: paths alone.
fn paths<'a>(from: &'a BTreeSet<String>, without: &'a BTreeSet<String>) -> Vec<&'a str> {
    from.difference(without).map(|line| line.split(' ').next().unwrap_or_default()).collect()
}

#[test]
#[ignore = "needs dpkg-dev, rpm and binutils: tests/run --services"]
fn a_deb_an_rpm_and_an_archive_have_one_tree_and_it_is_all_for_usr() {
    let package = Package::build("0.1.0", Change::None);
    let directory = tempfile::tempdir().unwrap();
    let (deb, archive) = (directory.path().join("deb"), directory.path().join("archive"));
    sh("dpkg-deb --extract \"$1\" \"$2\"", &[&package.deb(), &deb]);
    sh("mkdir \"$2\" && tar -xzf \"$1\" -C \"$2\" --strip-components=1", &[&package.archive(), &archive]);

    // rpm lists directories, too: those of mode 40755.
    let query = r#"rpm -qp --qf '[%{FILENAMES} %{FILEMODES:octal} %{FILEDIGESTS} %{FILELINKTOS}\n]' "$1""#;
    let of_rpm = lines(&sh(query, &[&package.rpm()]));
    let of_rpm: BTreeSet<String> = of_rpm.into_iter().filter(|line| !line.ends_with(" 40755")).collect();
    let of_deb = tree(&deb);
    assert_eq!(of_rpm, tree(&archive));
    // Debian wants a log of its own, and has the texts of the licences.
    let debian = ["/usr/share/doc/gin/changelog.Debian.gz", "/usr/share/lintian/overrides/gin"];
    assert_eq!(paths(&of_deb, &of_rpm), debian);
    let licences = ["/usr/share/doc/gin/LICENSE-APACHE", "/usr/share/doc/gin/LICENSE-MIT"];
    assert_eq!(paths(&of_rpm, &of_deb), licences);
    for program in ["gin-supervisor", "gin-ctl", "gin-server"] {
        let start = format!("/usr/bin/{program} 100755 ");
        assert!(of_deb.iter().any(|line| line.starts_with(&start)), "{of_deb:#?}");
    }

    // The units of the repository are for programs in /usr/local. The configuration has an example with it, the page a piece of advice; and a
    // removal and a purge look there for units of one's own.
    let local = sh("cd \"$1\" && grep -rlI /usr/local . | sort", &[&deb]);
    let known = ["./etc/gin/gin-server.toml", "./usr/libexec/gin/before-removal", "./usr/share/doc/gin/README.md"];
    assert_eq!(local.lines().collect::<Vec<_>>(), known);
    let scripts =
        sh("dpkg-deb --info \"$1\" postinst prerm postrm; rpm -qp --scripts \"$2\"", &[&package.deb(), &package.rpm()]);
    let local: Vec<&str> = scripts.lines().filter(|line| line.contains("/usr/local")).map(str::trim).collect();
    assert_eq!(local, ["for directory in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system; do"]);
    let kept = sh("dpkg-deb --info \"$1\" conffiles", &[&package.deb()]);
    assert_eq!(kept, "/etc/default/gin\n/etc/gin/gin-server.toml\n");
    assert_eq!(sh("rpm -qpc \"$1\"", &[&package.rpm()]), kept);
}

#[test]
#[ignore = "needs dpkg-dev, rpm and binutils: tests/run --services"]
fn programs_are_stripped_and_every_page_is_of_their_version() {
    let package = Package::build("0.1.0", Change::None);
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    sh("dpkg-deb --extract \"$1\" \"$2\"", &[&package.deb(), &tree]);
    let sections = sh("for program in \"$1\"/usr/bin/*; do readelf --sections --wide \"$program\"; done", &[&tree]);
    assert!(
        sections.contains(" .text ") && !sections.contains(" .debug_info ") && !sections.contains(" .symtab "),
        "{sections}"
    );
    let size = std::fs::metadata(package.deb()).unwrap().len();
    println!("the deb has {} KiB, compressed little", size / 1024);

    let said = sh("\"$1\"/usr/bin/gin-ctl --version", &[&tree]);
    let version = said.trim().strip_prefix("gin-ctl ").unwrap();
    let pages = sh(
        "cd \"$1\"/usr/share/man && for page in */*; do echo \"$page $(zcat \"$page\" | grep -m 1 '^\\.TH ')\"; done",
        &[&tree],
    );
    let names: Vec<&str> = pages.lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = ["man1/gin-ctl.1.gz", "man5/gin.toml.5.gz", "man8/gin-server.8.gz", "man8/gin-supervisor.8.gz"];
    assert_eq!(names, expected);
    for page in pages.lines() {
        assert!(page.contains(&format!(" {version}\"")), "not of {version}: {page}");
    }
    let completions = sh(
        "cd \"$1\"/usr/share && cat bash-completion/completions/gin-ctl | bash -n && cat zsh/site-functions/_gin-ctl",
        &[&tree],
    );
    assert!(completions.starts_with("#compdef gin-ctl"), "{completions}");
}

#[test]
#[ignore = "needs dpkg-dev, rpm and binutils: tests/run --services"]
fn the_same_programs_make_the_same_bytes() {
    let (one, again) = (Package::build("1.0.0-rc1", Change::None), Package::build("1.0.0-rc1", Change::None));
    for (one, again) in [(one.deb(), again.deb()), (one.rpm(), again.rpm()), (one.archive(), again.archive())] {
        assert_eq!(one.file_name(), again.file_name());
        assert!(std::fs::read(&one).unwrap() == std::fs::read(&again).unwrap(), "{}", one.display());
    }
    let version = sh("dpkg-deb --field \"$1\" Version; rpm -qp --qf '%{VERSION}' \"$2\"", &[&one.deb(), &one.rpm()]);
    assert_eq!(version, "1.0.0~rc1-1\n1.0.0~rc1", "a pre-release comes before its release");
}

#[test]
#[ignore = "needs lintian, dpkg-dev, rpm and binutils: tests/run --services"]
fn lintian_has_nothing_to_say_but_what_is_argued() {
    let package = Package::build("0.1.0", Change::None);
    // An override that overrides nothing is told, too.
    let said = sh("lintian --display-info --fail-on error,warning,info \"$1\"", &[&package.deb()]);
    assert_eq!(said, "");
}
