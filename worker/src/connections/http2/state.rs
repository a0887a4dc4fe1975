//! State of an HTTP/2 connection without open streams: everything that the next hyper has to know, here or in another worker.
//!
//! In bytes, whole numbers with the highest byte first:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version of this format: 1 |
//! | 16 | our settings: streams, window of a stream, window of the connection, head |
//! | 4 | last stream id of the client |
//! | 8, 8 | bytes that we may send, and that the client may send, over the connection |
//! | 4 | requests that the client has reset |
//! | 1, then 6 each | settings of the client: their number, ids and values |
//! | 2, then as many | the client's HPACK table, as a header block |

use std::fmt;

use crate::connections::http2::settings::{ClientSettings, OwnSettings};

const VERSION: u8 = 1;
/// Length of everything but the client's settings and its table.
const FIXED: usize = 1 + 16 + 4 + 8 + 8 + 4 + 1 + 2;
/// Length of one setting.
const SETTING: usize = 6;
/// Largest length of the table as a header block: it must fit into one frame. A table of 4,096 bytes takes 15,400 at most.
pub(super) const TABLE_MAX: usize = 16_000;
/// Smallest head with which hyper reads a whole table.
const HEAD_LIST_MIN: u32 = 4096;
/// Largest stream id, and largest window.
const WORD_MAX: u32 = (1 << 31) - 1;

/// State of an HTTP/2 connection without open streams.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Http2State {
    /// Settings of the client.
    pub(crate) client: ClientSettings,
    /// Settings of ours that the client knows.
    pub(crate) own: OwnSettings,
    /// Stream id of the client's last request. 0: there was none.
    pub(crate) last_id: u32,
    /// Bytes of bodies that we may send over all streams.
    pub(crate) send_window: i64,
    /// Bytes of bodies that the client may send over all streams.
    pub(crate) receive_window: i64,
    /// Requests that the client has reset.
    pub(crate) resets: u32,
    /// The client's HPACK table: the header block that brings an empty one to this state.
    pub(crate) table: Box<[u8]>,
}

/// State of an HTTP/2 connection that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadState {
    /// Another version wrote it.
    #[error(
        "cannot read the state of an HTTP/2 connection: it has version {0}, and this worker reads version {VERSION}"
    )]
    Version(u8),
    /// Bytes are missing, or left over.
    #[error("cannot read the state of an HTTP/2 connection: its length is wrong")]
    Length,
    /// A value that no connection has.
    #[error("cannot read the state of an HTTP/2 connection: its {0} is out of range")]
    OutOfRange(&'static str),
    /// The table is no header block.
    #[error("cannot read the state of an HTTP/2 connection: its header table is no header block")]
    Table,
}

/// Header fields have cookies and tokens in them: they are not printed.
impl fmt::Debug for Http2State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2State")
            .field("client", &self.client)
            .field("own", &self.own)
            .field("last_id", &self.last_id)
            .field("send_window", &self.send_window)
            .field("receive_window", &self.receive_window)
            .field("resets", &self.resets)
            .field("table", &format_args!("{} bytes", self.table.len()))
            .finish()
    }
}

impl Http2State {
    /// Length of what [`Self::write`] writes, in bytes.
    pub(crate) fn length(&self) -> usize {
        FIXED + self.client.payload().len() + self.table.len()
    }

    /// Appends it to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let OwnSettings { max_streams, window, connection_window, head_list } = self.own;
        out.reserve(self.length());
        out.push(VERSION);
        for value in [max_streams, window, connection_window, head_list, self.last_id] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&self.send_window.to_be_bytes());
        out.extend_from_slice(&self.receive_window.to_be_bytes());
        out.extend_from_slice(&self.resets.to_be_bytes());
        let settings = self.client.payload();
        out.push(u8::try_from(settings.len() / SETTING).expect("eight are kept"));
        out.extend_from_slice(&settings);
        out.extend_from_slice(&u16::try_from(self.table.len()).expect("at most TABLE_MAX").to_be_bytes());
        out.extend_from_slice(&self.table);
    }

    /// Reads what [`Self::write`] has written.
    ///
    /// # Errors
    /// Another version, a wrong length, values that no connection has. The table is read by whoever resumes the connection.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BadState> {
        let mut reader = Reader(bytes);
        match reader.take::<1>()? {
            [VERSION] => {}
            [other] => return Err(BadState::Version(other)),
        }
        let own = OwnSettings {
            max_streams: reader.word()?,
            window: reader.word()?,
            connection_window: reader.word()?,
            head_list: reader.word()?,
        };
        let last_id = reader.word()?;
        let send_window = i64::from_be_bytes(reader.take()?);
        let receive_window = i64::from_be_bytes(reader.take()?);
        let resets = reader.word()?;
        let mut client = ClientSettings::default();
        let [settings] = reader.take()?;
        client.hear(reader.slice(usize::from(settings) * SETTING)?);
        let length = u16::from_be_bytes(reader.take()?);
        let table = reader.slice(usize::from(length))?.into();
        let state = Self { client, own, last_id, send_window, receive_window, resets, table };
        if reader.0.is_empty() { state.checked() } else { Err(BadState::Length) }
    }

    fn checked(self) -> Result<Self, BadState> {
        let OwnSettings { window, connection_window, head_list, .. } = self.own;
        let most = i64::from(WORD_MAX);
        let checks = [
            // Requests of clients have odd ids.
            ("last stream id", self.last_id == 0 || self.last_id <= WORD_MAX && self.last_id % 2 == 1),
            ("window for sending", (0..=most).contains(&self.send_window)),
            ("window for receiving", (-most..=most).contains(&self.receive_window)),
            ("window of a stream", window <= WORD_MAX),
            ("window of the connection", connection_window <= WORD_MAX),
            ("largest head", head_list >= HEAD_LIST_MIN),
            // A header block came with a request.
            ("header table", self.table.is_empty() || self.last_id > 0 && self.table.len() <= TABLE_MAX),
        ];
        match checks.iter().find(|(_, is_right)| !is_right) {
            Some((name, _)) => Err(BadState::OutOfRange(name)),
            None => Ok(self),
        }
    }
}

/// Bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], BadState> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BadState::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn word(&mut self) -> Result<u32, BadState> {
        self.take().map(u32::from_be_bytes)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], BadState> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadState::Length)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Http2State {
        let mut client = ClientSettings::default();
        client.hear(&[0, 4, 0, 0, 0x10, 0, 0, 2, 0, 0, 0, 0]);
        let own = OwnSettings { max_streams: 100, window: 65_536, connection_window: 6_553_600, head_list: 65_536 };
        let table: Box<[u8]> = Box::from(*b"\x40\x01a\x01b");
        Http2State { client, own, last_id: 7, send_window: 0, receive_window: -3, resets: 2, table }
    }

    fn written(state: &Http2State) -> Vec<u8> {
        let mut out = b"before".to_vec();
        state.write(&mut out);
        out.split_off(6)
    }

    #[test]
    fn a_state_that_was_written_is_read_back() {
        let (state, bytes) = (state(), written(&state()));
        assert_eq!(bytes.len(), state.length());
        assert_eq!(Http2State::read(&bytes), Ok(state));
    }

    #[test]
    fn every_cut_and_every_surplus_is_an_error() {
        let bytes = written(&state());
        for length in 0..bytes.len() {
            assert_eq!(Http2State::read(&bytes[..length]), Err(BadState::Length), "{length}");
        }
        assert_eq!(Http2State::read(&[&bytes[..], b"x"].concat()), Err(BadState::Length));
    }

    #[test]
    fn another_version_is_told() {
        let mut bytes = written(&state());
        bytes[0] = 2;
        let error = Http2State::read(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the state of an HTTP/2 connection: it has version 2, and this worker reads version 1"
        );
    }

    #[test]
    fn values_that_no_connection_has_are_refused() {
        let own = state().own;
        let wrong = [
            ("last stream id", Http2State { last_id: 8, ..state() }),
            ("last stream id", Http2State { last_id: u32::MAX, ..state() }),
            ("window for sending", Http2State { send_window: -1, ..state() }),
            ("window for sending", Http2State { send_window: 1 << 31, ..state() }),
            ("window for receiving", Http2State { receive_window: i64::MIN, ..state() }),
            ("window of a stream", Http2State { own: OwnSettings { window: 1 << 31, ..own }, ..state() }),
            (
                "window of the connection",
                Http2State { own: OwnSettings { connection_window: 1 << 31, ..own }, ..state() },
            ),
            ("largest head", Http2State { own: OwnSettings { head_list: 100, ..own }, ..state() }),
            ("header table", Http2State { last_id: 0, ..state() }),
            ("header table", Http2State { table: Box::from([0x40; TABLE_MAX + 1]), ..state() }),
        ];
        for (name, state) in wrong {
            assert_eq!(Http2State::read(&written(&state)), Err(BadState::OutOfRange(name)));
        }
    }

    #[test]
    fn the_state_of_a_parked_connection_is_small() {
        assert!(size_of::<Http2State>() <= 96, "{}", size_of::<Http2State>());
    }

    #[test]
    fn the_table_is_not_printed() {
        let text = format!("{:?}", state());
        assert!(text.contains("table: 5 bytes") && !text.contains("\\x01a"), "{text}");
    }
}
