//! A server that answers as a test wants, for what a real Redis does not do at will. It keeps nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::Redis;
use crate::config;

/// Gives the answer to a command, as it is sent: the first word is its name.
type Answer = Box<dyn FnMut(&[String]) -> &'static str + Send>;

/// An answer that suits whatever is asked by the way.
pub(crate) const OK: &str = "+OK\r\n";

/// Redis, answered by `answer`. It is away soon.
pub(crate) fn answered_by(answer: impl FnMut(&[String]) -> &'static str + Send + 'static) -> Redis {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(answer)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, &answer));
        }
    });
    let soon = Duration::from_millis(250);
    let config = config::Redis { port, dial_timeout: soon, read_timeout: soon, ..config::Redis::default() };
    Redis::new(&config).unwrap()
}

fn serve(mut stream: TcpStream, answer: &Mutex<Answer>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    loop {
        // *2, then a length and a word each: no word of a test has an end of a line.
        let count: usize = lines.next()?.strip_prefix('*')?.parse().ok()?;
        let words: Vec<String> = (0..count).map_while(|_| lines.nth(1)).collect();
        let said = {
            let mut answer = answer.lock().unwrap();
            (*answer)(&words)
        };
        stream.write_all(said.as_bytes()).ok()?;
    }
}
