//! A program of the documents under a supervisor.

use harness::{Address, Builder, Client, Failure, Response, binary, supervisor};
use serde_json::Value;

/// Variables of programs with passwords: a hash takes no time that a test would wait for.
const CHEAP: &str = ", GIN_AUTH_PASSWORD_MEMORY = \"64KiB\", GIN_AUTH_PASSWORD_PASSES = \"1\"";

/// Fleet of so many workers of this program, in debug mode, with these sections of the configuration. What it keeps lies in `state` of its
/// directory.
pub fn site(program: &str, workers: usize, sections: &[&str]) -> Builder {
    let builder = supervisor().workers(workers).set("soak = \"0s\"");
    let (path, state) = (binary(program), builder.dir().join("state"));
    let cheap = if ["auth", "full"].contains(&program) { CHEAP } else { "" };
    let builder = builder
        .set(&format!("command = [{path:?}]"))
        .set(&format!("env = {{ STATE_DIRECTORY = {state:?}, GIN_SERVER_MODE = \"debug\"{cheap} }}"));
    sections.iter().fold(builder, |builder, section| builder.section(section))
}

/// A request on a connection of its own. An empty `token` is none, and `null` is no body.
pub fn ask(address: &Address, method: &str, path: &str, token: &str, body: &Value) -> Result<Response, Failure> {
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}");
    let length = body.len();
    let text = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    Client::asking(address, &text)?.response()
}
