//! Chromium over HTTP/2: somebody clicks through a site, while it is replaced under them. `tests/fixtures/clicks.py` is that person. The
//! chat over wss is in `tests/wss.rs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use harness::{fixture, times};
use serde_json::{Value, json};

use super::site;

/// Somebody who clicks.
struct Clicks {
    person: Child,
    said: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Clicks {
    fn begin(url: &str) -> Self {
        let mut person = Command::new("/usr/bin/python3")
            .arg(fixture("clicks.py"))
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, told) = (person.stdin.take().unwrap(), BufReader::new(person.stdout.take().unwrap()));
        Self { person, said, told }
    }

    /// Says a word, and waits until clicks that began after it were answered.
    fn say(&mut self, word: &str) {
        writeln!(self.said, "{word}").unwrap();
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        assert_eq!(line, "clicked\n");
    }

    /// Gives what the browser's network has told.
    fn end(mut self) -> Value {
        self.say("enough");
        let mut text = String::new();
        self.told.read_to_string(&mut text).unwrap();
        assert!(self.person.wait().unwrap().success(), "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

#[test]
#[ignore = "needs Chromium: tests/run --services"]
fn chromium_keeps_its_one_connection_under_clicks_over_restarts() {
    let gin = site().start();
    let mut clicks = Clicks::begin(&format!("https://{}/", gin.https_socket()));
    clicks.say("begin");
    let restarts = times(10, 50);
    for _ in 0..restarts {
        // The process is gone that had the connection, and what is asked next comes over the same one. The browser may open another one
        // at any time, and close it without a request.
        let told = gin.ctl(&["restart", "--wait-drained"]);
        told.assert(0, &["cut=0", "http2_handed_over=1"]);
        assert!(!told.out.contains("http2_closed"), "{told:?}: {}", gin.log());
        clicks.say("on");
    }
    let seen = clicks.end();
    assert_eq!(seen["failed"], json!([]), "{}", gin.log());
    let answers = seen["answers"].as_array().unwrap();
    let expected = [&answers[0][0], &json!("h2"), &json!(200)];
    for answer in answers {
        assert_eq!([&answer[0], &answer[1], &answer[2]], expected, "{answer}: {}", gin.log());
    }
    // A page, its script and six files each time.
    assert!(answers.len() >= 8 * restarts, "{} answers in {} rounds", answers.len(), seen["rounds"]);
    println!("{} answers in {} rounds over connection {}", answers.len(), seen["rounds"], expected[0]);
    gin.stop();
}
