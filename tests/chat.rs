//! The chat example, as people use it: in a browser, while it is replaced under them.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gin_worker::testing::{Request, Talk, UnderLoad};
use harness::{Address, Builder, Supervisor, binary, fixture, on_change, supervisor, times};
use serde_json::{Value, json};

/// The chat's program, and the file of its messages.
pub fn chat() -> (Builder, PathBuf) {
    let builder = supervisor().workers(2).set("soak = \"0s\"");
    let log = builder.dir().join("chat.log");
    let command = format!("command = [{:?}]\nenv = {{ CHAT_LOG = {log:?} }}", binary("examples/chat"));
    (builder.set(&command), log)
}

#[test]
fn people_in_browsers_stay_connected_and_hear_everything_once_and_in_order() {
    let (builder, log) = chat();
    let gin = builder.start();
    let Address::Tcp(address) = gin.tcp() else { panic!("it listens on TCP") };
    people_talk(&gin, &format!("http://{address}/"), &log, "chat");
    gin.stop();
}

/// People talk in browsers at `url`, whose messages stand in the file `log`, over restarts. Pictures go to a directory of the name `shots`.
pub fn people_talk(gin: &Supervisor, url: &str, log: &Path, shots: &str) {
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join(shots);
    std::fs::create_dir_all(&shots).unwrap();
    let names = ["Ada", "Grace", "Linus"];
    let mut people = Command::new("/usr/bin/python3")
        .arg(fixture("chatters.py"))
        .arg(url)
        .arg(&shots)
        .args(names)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(people.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    for _ in 0..times(10, 50) {
        // Somebody says something between two restarts.
        let length = || std::fs::metadata(log).unwrap().len();
        let before = length();
        on_change(log, "somebody says something", length, |now| *now != before);
        gin.restart();
    }
    people.stdin.take().unwrap().write_all(b"enough\n").unwrap();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(people.wait().unwrap().success(), "{rest}");
    let all: Value = serde_json::from_str(&rest).unwrap();
    let mut said: Vec<&str> = all["said"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    println!("{} messages; pictures in {}", said.len(), shots.display());
    let first = &all["known"][names[0]]["said"];
    for name in names {
        let known = &all["known"][name];
        assert_eq!(known["sockets"], 1, "{name} had to connect again: {}", gin.log());
        assert!(known["generations"].as_array().unwrap().len() > 5, "{name}: {known}");
        // All were there before the first word.
        assert_eq!(&known["said"], first, "{name} heard it otherwise");
    }
    let mut heard: Vec<&str> = first.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for name in names {
        let own =
            |all: &[&str]| all.iter().filter(|t| t.starts_with(name)).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(own(&heard), own(&said), "in the order of who said it");
    }
    heard.sort_unstable();
    said.sort_unstable();
    assert_eq!(heard, said, "nothing is lost, and nothing doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_post_and_websockets_that_talk_notice_no_restart() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let talk = Talk::new("/ws?user_id=Ada").sockets(4).says(|socket, number| format!("hello {socket}-{number}"));
    let outcome = UnderLoad::new(binary("examples/chat"))
        .env("CHAT_LOG", directory.path().join("chat.log").display().to_string())
        .request_with(|number| {
            Request::post("/broadcast").json(json!({ "message": format!("build {number} is green") }))
        })
        .request(Request::post("/broadcast").json(json!({})).expects(400))
        .request(Request::post("/broadcast").typed("text/plain", "{\"message\":\"hi\"}").expects(403))
        .request(Request::get("/pid"))
        .websocket(talk)
        .clients(2)
        .restarts(u32::try_from(times(5, 20)).unwrap())
        .run()
        .await;
    println!("{} answers, {} messages, {:?}", outcome.answered, outcome.messages, outcome.restarts);
    outcome.assert_nobody_noticed();
    assert_eq!(outcome.connected, 2, "one for each client");
    assert!(outcome.messages >= 4 * 4, "each WebSocket before, between and after the restarts: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "GET /typo: 404 Not Found")]
async fn a_path_that_is_not_there_is_no_success() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let log = directory.path().join("chat.log").display().to_string();
    let load = UnderLoad::new(binary("examples/chat")).env("CHAT_LOG", log).path("/typo").clients(1).restarts(1);
    load.run().await.assert_nobody_noticed();
}
