//! Servers with profiles, and clients that ask for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use gin_shared::pprof::Profile;
use harness::{Address, Builder, Client, Response, Scrape, Supervisor, binary, supervisor};

/// Opens `/debug/` on public listeners.
pub const TOKEN: &str = "a-token-of-the-tests";
/// Switches profiles on, for the private listener.
pub const ON: &str = "[features]\npprof = true\n";

/// The same for public listeners, too.
pub fn with_token() -> String {
    format!("{ON}[monitoring.pprof]\ntoken = \"{TOKEN}\"\n")
}

/// Fleet of so many workers of the fixture, with profiles for who has the token. Only `tests/run --services` builds it.
pub fn fleet(workers: usize) -> Builder {
    supervisor().workers(workers).set("soak = \"0s\"").observed("one", "ok").section(&with_token())
}

/// The same, of the fixture whose allocator tells of the heap.
pub fn heap_fleet(workers: usize) -> Builder {
    let [plain, heap] = ["fixture-observed", "fixture-observed-heap"].map(|name| format!("{:?}", binary(name)));
    fleet(workers).replace(&plain, &heap)
}

/// Private listeners of all workers that live.
pub fn private_sockets(gin: &Supervisor) -> Vec<PathBuf> {
    let files = std::fs::read_dir(gin.dir().join("run")).unwrap().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|end| end == "private")).collect()
}

/// The private listener of a fleet's only worker.
pub fn private(gin: &Supervisor) -> Address {
    let sockets = private_sockets(gin);
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    Address::Unix(sockets[0].clone())
}

fn head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n")
}

/// The answer for somebody who has the token.
pub fn ask(address: &Address, path: &str) -> Response {
    Scrape::ask(address, path, &format!("Authorization: Bearer {TOKEN}\r\n")).unwrap()
}

/// The same as text.
pub fn ask_text(address: &Address, path: &str) -> String {
    let answer = ask(address, path);
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{path}: {text}");
    text
}

/// Begins a profile: its head has come.
pub fn begun(address: &Address, path: &str) -> (Client, Response) {
    let mut client = Client::asking(address, &head(path)).unwrap();
    let head = client.head().unwrap();
    assert_eq!(head.status, 200, "{path}: {:?}", client.rest_of(head.clone()));
    (client, head)
}

/// Takes a profile of the time on the CPU, while `meanwhile` happens again and again.
pub fn taken(address: &Address, path: &str, mut meanwhile: impl FnMut()) -> Profile {
    let (mut client, head) = begun(address, path);
    while !client.has_news() {
        meanwhile();
    }
    Profile::decode(&client.rest_of(head).unwrap().body).unwrap()
}

/// True if the function is on one of the profile's stacks.
pub fn has_function(profile: &Profile, part: &str) -> bool {
    profile.locations.iter().flat_map(|location| &location.frames).any(|frame| frame.function.contains(part))
}

/// What `go tool pprof` prints of a file or an address.
pub fn go_pprof(args: &[&str]) -> String {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let mut command = Command::new("go");
    command.args(["tool", "pprof"]).args(args).env("HOME", home.path()).env("PPROF_TMPDIR", home.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Functions of `go tool pprof -top`, those with the largest own part first.
pub fn top(printed: &str) -> Vec<String> {
    let rows = printed.lines().skip_while(|line| !line.trim_start().starts_with("flat ")).skip(1);
    // Five numbers stand before the name.
    let name = |row: &str| row.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
    rows.map(name).collect()
}

/// The output of a shell's command line, which must succeed.
pub fn shell(line: &str, directory: &Path) -> String {
    let home = directory.display().to_string();
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", line]).current_dir(directory).env("HOME", &home).env("PPROF_TMPDIR", &home);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
