//! What a worker tells its master: the protocol of `sd_notify(3)`, read side.

use std::time::Duration;

/// The longest message that is read; systemd reads as much. What is longer is cut there.
pub const MESSAGE_MAX: usize = 4096;
/// The assignment by which a worker announces itself; see `announcement`.
pub const ANNOUNCE: &str = "X_GIN_ANNOUNCE";
/// The longest STATUS text kept, in characters.
pub const STATUS_MAX: usize = 256;

/// One assignment out of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `READY=1`
    Ready,
    /// `RELOADING=1`
    Reloading,
    /// `STOPPING=1`
    Stopping,
    /// `STATUS=...`, cut at [`STATUS_MAX`], control characters replaced.
    Status(String),
    /// `ERRNO=...`
    Errno(i32),
    /// `WATCHDOG=1`
    Watchdog,
    /// `WATCHDOG=trigger`
    WatchdogTrigger,
    /// `EXTEND_TIMEOUT_USEC=...`
    ExtendTimeout(Duration),
    /// `BARRIER=1`: answered by closing the descriptor that came with it.
    Barrier,
    /// `MAINPID=...`: logged and ignored.
    MainPid(String),
    /// `X_GIN_ANNOUNCE=...`: a worker built on gin-worker waits for an answer at the descriptor that came with it.
    Announced,
}

/// Reads a message. Assignments that are unknown or make no sense are passed over, as systemd does.
#[must_use]
pub fn parse(message: &[u8]) -> Vec<Notice> {
    String::from_utf8_lossy(message).lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Notice> {
    let (key, value) = line.split_once('=')?;
    match (key, value) {
        ("READY", "1") => Some(Notice::Ready),
        ("RELOADING", "1") => Some(Notice::Reloading),
        ("STOPPING", "1") => Some(Notice::Stopping),
        ("WATCHDOG", "1") => Some(Notice::Watchdog),
        ("WATCHDOG", "trigger") => Some(Notice::WatchdogTrigger),
        ("BARRIER", "1") => Some(Notice::Barrier),
        ("STATUS", text) => {
            Some(Notice::Status(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_MAX).collect()))
        }
        ("ERRNO", number) => number.parse().ok().map(Notice::Errno),
        ("EXTEND_TIMEOUT_USEC", number) => {
            number.parse().ok().map(|us| Notice::ExtendTimeout(Duration::from_micros(us)))
        }
        (ANNOUNCE, _) => Some(Notice::Announced),
        ("MAINPID", pid) => Some(Notice::MainPid(pid.chars().take(20).collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_read_line_by_line() {
        let notices = parse(b"READY=1\nSTATUS=all \x1b[31mwell\nEXTEND_TIMEOUT_USEC=1500000\nX=y\nREADY=2\n");
        assert_eq!(
            notices,
            [Notice::Ready, Notice::Status("all  [31mwell".into()), Notice::ExtendTimeout(Duration::from_millis(1500)),]
        );
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..MESSAGE_MAX)) {
            for notice in parse(&bytes) {
                if let Notice::Status(text) = notice {
                    prop_assert!(text.chars().count() <= STATUS_MAX);
                }
            }
        }
    }

    #[test]
    fn garbage_is_nothing() {
        assert_eq!(parse(&[0xff; 4096]), []);
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=-1\nERRNO=x\n====\n\n"), []);
    }
}
