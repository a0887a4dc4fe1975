//! The tap: the whole of what stands between hyper and a client of HTTP/2.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::connections::http2::block::Blocks;
use crate::connections::http2::frame::{Head, Kind};
use crate::connections::http2::gate::Gate;
use crate::connections::http2::hpack::Table;
use crate::connections::http2::inbound::Reading;
use crate::connections::http2::ledger::{BARRIER, Ledger};
use crate::connections::http2::outbound::Outbound;
use crate::connections::http2::prime;
use crate::connections::http2::settings::{ClientSettings, OwnSettings};
use crate::connections::http2::state::{BadState, Http2State, TABLE_MAX};
use crate::connections::http2::windows::Windows;

/// Stands between hyper and a client of HTTP/2, and knows when the connection can move, and with what.
///
/// Its caller moves bytes: from the client's socket to [`Tap::from_wire`], from [`Tap::for_hyper`] to hyper, from hyper to
/// [`Tap::from_hyper`], from [`Tap::for_wire`] to the socket. Each call may make bytes for both ends, and open or close the way
/// ([`Tap::may_read`]): whoever waits for that is woken by the caller.
pub(crate) struct Tap {
    pub(super) side: Side,
    pub(super) reading: Reading,
    pub(super) client: ClientSettings,
    own: OwnSettings,
    pub(super) windows: Windows,
    pub(super) ledger: Ledger,
    pub(super) gate: Gate,
    pub(super) blocks: Blocks,
    /// From the client: what hyper does not expect yet, or is no whole frame.
    pub(super) inbound: BytesMut,
    pub(super) outbound: Outbound,
    pub(super) for_hyper: BytesMut,
    pub(super) for_wire: BytesMut,
}

/// Where the connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// From its client: this hyper is its first.
    Fresh,
    /// From another hyper.
    Taken {
        /// Last stream of the hypers before this one.
        floor: u32,
        waits: Priming,
    },
}

/// What is still to come from a new hyper that was told of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priming {
    /// Its settings: the client knows them.
    pub(super) settings: bool,
    /// Its answer to the client's settings: the client has it.
    pub(super) ack: bool,
    /// Its first header block.
    pub(super) block: bool,
}

impl Side {
    /// Streams up to here belong to hypers before this one.
    pub(super) fn floor(&self) -> u32 {
        match self {
            Self::Fresh => 0,
            Self::Taken { floor, .. } => *floor,
        }
    }

    pub(super) fn waits(&mut self) -> Option<&mut Priming> {
        match self {
            Self::Fresh => None,
            Self::Taken { waits, .. } => Some(waits),
        }
    }

    fn has_hyper_settings(&self) -> bool {
        !matches!(self, Self::Taken { waits: Priming { settings: true, .. }, .. })
    }

    fn is_primed(&self) -> bool {
        !matches!(self, Self::Taken { waits: Priming { settings: true, .. } | Priming { ack: true, .. }, .. })
    }
}

impl Tap {
    /// The tap of a connection whose client begins. hyper is built with these settings.
    pub(crate) fn fresh(own: OwnSettings) -> Self {
        let (windows, blocks) = (Windows::new(own.connection_window), Blocks::new(Table::new()));
        Self {
            side: Side::Fresh,
            reading: Reading::Preface,
            client: ClientSettings::default(),
            own,
            windows,
            ledger: Ledger::new(),
            gate: Gate::default(),
            blocks,
            inbound: BytesMut::new(),
            outbound: Outbound::default(),
            for_hyper: BytesMut::new(),
            for_wire: BytesMut::new(),
        }
    }

    /// The tap of a connection that an earlier hyper has served. The new hyper is built with the settings of the state.
    ///
    /// # Errors
    /// The client's header table is no header block; the client may send more than a new hyper ever expects.
    pub(crate) fn resume(state: Http2State) -> Result<Self, BadState> {
        let mut table = Table::new();
        table.follow(&state.table).map_err(|_| BadState::Table)?;
        let for_hyper = prime::beginning(&state)?;
        let Http2State { client, own, last_id, send_window, receive_window, resets, table: _ } = state;
        let waits = Priming { settings: true, ack: true, block: true };
        let windows = Windows::resume(send_window, receive_window, own.connection_window);
        if !windows.can_open() {
            return Err(BadState::OutOfRange("window for receiving"));
        }
        Ok(Self {
            side: Side::Taken { floor: last_id, waits },
            reading: Reading::Frames,
            client,
            windows,
            ledger: Ledger::resume(last_id, resets),
            blocks: Blocks::new(table),
            for_hyper,
            ..Self::fresh(own)
        })
    }

    /// Takes bytes of the client.
    #[expect(clippy::wrong_self_convention, reason = "it says where bytes come from, and converts nothing")]
    pub(crate) fn from_wire(&mut self, bytes: &[u8]) {
        if self.for_hyper.is_empty() {
            // Frames that hyper has read lie in the buffer of `inbound`, which is used again once nothing else holds it.
            self.for_hyper = BytesMut::new();
        }
        self.inbound.extend_from_slice(bytes);
        self.read_inbound();
        self.settle();
    }

    /// Bytes that hyper is to read. What it has read is taken off the front.
    pub(crate) fn for_hyper(&mut self) -> &mut BytesMut {
        &mut self.for_hyper
    }

    /// Takes bytes of hyper.
    #[expect(clippy::wrong_self_convention, reason = "it says where bytes come from, and converts nothing")]
    pub(crate) fn from_hyper(&mut self, bytes: &[u8]) {
        self.read_outbound(bytes);
        // hyper may expect more than before.
        self.read_inbound();
        self.settle();
    }

    /// Bytes that the client is to get. What was written is taken off the front.
    pub(crate) fn for_wire(&mut self) -> &mut BytesMut {
        &mut self.for_wire
    }

    /// False while the caller must read nothing from the client.
    pub(crate) fn may_read(&self) -> bool {
        self.reading != Reading::Dead && self.is_open_to_client() && !self.is_full()
    }

    /// From here on new requests wait.
    pub(crate) fn close_gate(&mut self) {
        self.gate.close();
        self.settle();
    }

    /// Requests go on, first those that have waited.
    pub(crate) fn open_gate(&mut self) {
        self.inbound = self.take_unread();
        self.read_inbound();
        self.settle();
    }

    /// True if hyper can be dropped now, and the connection be served on by another one. The caller knows one thing more: hyper must have
    /// flushed what it has written.
    pub(crate) fn is_quiet(&self) -> bool {
        let has_begun = self.ledger.has_begun() && self.side.is_primed();
        let no_frame_waits = self.is_between_frames() && !self.windows.hold();
        let no_byte_waits = self.for_hyper.is_empty() && self.outbound.gathered.is_empty() && self.for_wire.is_empty();
        self.may_move()
            && has_begun
            && self.is_open_to_client()
            && self.ledger.is_even()
            && no_frame_waits
            && no_byte_waits
    }

    /// False if the connection will have no quiet moment any more: one side has said goodbye, or the client has sent what is not followed.
    pub(crate) fn may_move(&self) -> bool {
        let is_read = matches!(self.reading, Reading::Preface | Reading::Frames);
        let is_small = self.blocks.table_length().is_some_and(|length| length <= TABLE_MAX);
        is_read && is_small && !self.ledger.is_leaving
    }

    /// True if frames of hyper wait for the client's window. hyper takes them for sent: before it closes the connection, the caller reads
    /// on from the client until this is false.
    pub(crate) fn holds(&self) -> bool {
        self.windows.hold()
    }

    /// Notes that the client has closed its side: the connection moves no more.
    pub(crate) fn client_closed(&mut self) {
        self.ledger.is_leaving = true;
    }

    /// Requests that the client has reset, since its connection began.
    pub(crate) fn resets(&self) -> u32 {
        self.ledger.resets()
    }

    /// Most bytes that the client's header table takes in the state of the connection.
    pub(crate) fn table_length(&self) -> usize {
        self.blocks.table_length().unwrap_or(usize::MAX)
    }

    /// Takes what another hyper has to know, and the client's bytes that this one has not seen: they come first there. Only at a quiet
    /// moment; afterwards nothing is read or written.
    pub(crate) fn leave(&mut self) -> (Http2State, Bytes) {
        let state = Http2State {
            client: self.client,
            own: self.own,
            last_id: self.ledger.last_id(),
            send_window: self.windows.send(),
            receive_window: self.windows.receive(),
            resets: self.ledger.resets(),
            table: self.blocks.table().unwrap_or_default(),
        };
        self.reading = Reading::Dead;
        (state, self.take_unread().freeze())
    }

    /// True if bytes of the client have not gone on.
    pub(super) fn has_unread(&self) -> bool {
        !self.inbound.is_empty() || self.gate.is_holding()
    }

    /// True if hyper expects all that the client may send. Before its settings are there, it would take streams for smaller than they are.
    pub(super) fn is_open_to_client(&self) -> bool {
        self.side.has_hyper_settings() && self.windows.are_open()
    }

    /// True if no frame of hyper is passing, and no header block is under way.
    fn is_between_frames(&self) -> bool {
        self.outbound.passing == 0 && !self.blocks.are_under_way()
    }

    /// Sends a PING behind our resets, once nothing of hyper's waits: when no stream is open, and while the gate is closed at once. Its answer
    /// is then often before the next request.
    fn settle(&mut self) {
        let is_all_out = self.is_between_frames() && !self.windows.hold();
        if is_all_out && self.ledger.needs_barrier(!self.gate.is_open()) {
            Head::new(Kind::Ping, 0, 0).write(BARRIER, &mut self.for_wire);
            self.ledger.barrier_sent();
        }
    }
}

/// Header fields have cookies and tokens in them: bytes are not printed.
impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("side", &self.side)
            .field("reading", &self.reading)
            .field("ledger", &self.ledger)
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}
