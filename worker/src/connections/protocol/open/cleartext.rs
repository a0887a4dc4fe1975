//! HTTP in cleartext where a handshake must come: a wrong URL, mostly. Its client gets an answer that it can read, and the connection ends.
//!
//! HTTP/2 in cleartext begins with a method that nobody else uses, and gets none.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// First bytes of a request of HTTP/1.1.
const METHODS: [&str; 9] = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "];
/// The longest of them, in bytes.
const LONGEST: usize = 8;
const BODY: &str =
    r#"{"error":"this port speaks TLS, and the request came in cleartext; use https:// in place of http://"}"#;

/// Reads the beginning of a request. Returns its answer; `None` if the client speaks something else.
///
/// # Errors
/// If the connection breaks.
pub(super) async fn answer(socket: &mut TcpStream) -> io::Result<Option<String>> {
    let (mut bytes, mut length) = ([0; LONGEST], 0);
    loop {
        let count = socket.read(&mut bytes[length..]).await?;
        length += count;
        match method(&bytes[..length]) {
            Some(method) if method.len() <= length => return Ok(Some(refusal(method))),
            Some(_) if count > 0 => {}
            Some(_) | None => return Ok(None),
        }
    }
}

/// A method that agrees with these bytes, as far as they have come.
fn method(bytes: &[u8]) -> Option<&'static str> {
    METHODS.into_iter().find(|method| method.bytes().zip(bytes).all(|(of_method, byte)| of_method == *byte))
}

/// The refusal in the shape of any other. That of `HEAD` has no body.
fn refusal(method: &str) -> String {
    let body = if method == "HEAD " { "" } else { BODY };
    let length = BODY.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told_from_anything_else_by_each_byte() {
        for whole in METHODS {
            for length in 1..=whole.len() {
                let found = method(&whole.as_bytes()[..length]).unwrap();
                assert_eq!(&found[..length], &whole[..length]);
                assert_eq!(found.len() <= length, length == whole.len(), "{whole}");
            }
            assert!(whole.len() <= LONGEST);
        }
        for other in ["PRI * HTTP/2.0", "get ", "GETS", "\u{16}\u{3}\u{1}", " GET", "SSH-2.0-"] {
            assert_eq!(method(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_refusal_has_the_length_that_it_tells() {
        let text = refusal("GET ");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["error"].is_string());
        assert_eq!(refusal("HEAD "), format!("{head}\r\n\r\n"));
    }
}
