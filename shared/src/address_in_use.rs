//! A program that binds a port that the supervisor holds for it.

/// The advice for its operator.
pub const HINT: &str = "the supervisor holds its listeners: the program must take descriptor 3 (LISTEN_FDS) instead of binding \
                        the port itself, or have a port of its own and listen = []";

/// True if the last words of a program say that its port was taken.
#[must_use]
pub fn is_told(words: &[String]) -> bool {
    words.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("address already in use") || line.contains("address in use") || line.contains("eaddrinuse")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_understood() {
        for line in [
            "OSError: [Errno 98] Address already in use",
            "Error: listen EADDRINUSE: address already in use :::3000",
            "listen tcp :8080: bind: address already in use",
        ] {
            assert!(is_told(&["Traceback".to_owned(), line.to_owned()]), "{line}");
        }
        assert!(!is_told(&["ModuleNotFoundError: No module named 'orders'".to_owned()]));
    }
}
