//! Certificates and keys of one worker: which it was given, and whether it has taken them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use gin_shared::channel::{FromMaster, MATERIAL};

use super::Process;
use crate::certificates::sealed::Sealed;
use crate::workers::shared::Shared;

/// The longest reason of a worker that is kept, in characters.
const REASON_MAX: usize = 200;

/// What a worker has of TLS.
#[derive(Debug, Default)]
pub(super) struct Tls {
    /// The place of the newest certificates; `None`: the worker speaks no TLS.
    shared: Option<Rc<Shared>>,
    /// The highest number that it has, or was sent.
    given: Cell<u64>,
    /// True if newer ones could not be sent, or have not arrived: that is to be tried again.
    lacks: Cell<bool>,
    /// The reason for which it has refused what it was sent last.
    refused: RefCell<Option<String>>,
}

impl Tls {
    /// Notes the outcome of sending the certificates `number`.
    fn sent(&self, number: u64, outcome: &io::Result<()>) {
        match outcome {
            Ok(()) => {
                self.given.set(number);
                self.lacks.set(false);
            }
            Err(error) => {
                // Nobody listens there any more, and nobody will.
                let is_over = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected);
                self.lacks.set(!is_over);
            }
        }
    }

    /// Notes the number that the worker names. A refusal with a number below that of what it was sent last says that nothing has arrived.
    fn heard(&self, number: u64, is_refused: bool) {
        if is_refused && number < self.given.get() {
            self.given.set(number);
            self.lacks.set(true);
        }
        self.given.set(self.given.get().max(number));
    }
}

impl Process {
    /// The same worker, which speaks TLS if there is a place of certificates.
    #[must_use]
    pub fn with_tls(mut self, shared: Option<Rc<Shared>>) -> Self {
        self.tls.shared = shared;
        self
    }

    /// The certificates and keys for its start, which count as given from here on; `None` if it speaks no TLS.
    #[must_use]
    pub fn take_material(&self) -> Option<Rc<Sealed>> {
        let material = self.tls.shared.as_ref()?.material()?;
        self.tls.given.set(material.number);
        Some(material)
    }

    /// Notes the number of the certificates that it was given.
    pub(super) fn note_material(&self, number: u64) {
        self.tls.given.set(number);
    }

    /// True if newer certificates could not be sent to it, or have not arrived.
    #[must_use]
    pub fn lacks_material(&self) -> bool {
        self.tls.lacks.get()
    }

    /// Sends it the newest certificates and keys, if it understands that and has older ones. A worker that has not said its version yet
    /// says with it what it has. If they cannot be sent, that is tried again, once it has read all that it was sent before.
    pub fn send_material(&self) {
        let material = self.tls.shared.as_ref().and_then(|shared| shared.material());
        let understands = self.version.get().is_some_and(|version| version >= MATERIAL);
        let Some(material) = material.filter(|material| understands && self.tls.given.get() < material.number) else {
            self.tls.lacks.set(false);
            return;
        };
        if self.tls.lacks.get() && !self.reads() {
            return;
        }
        let number = material.number;
        self.tls.sent(number, &self.try_send(&FromMaster::Material { number }, &[material.as_fd()]));
    }

    /// Handles what it says of the certificates `number`: they count, or it has refused them, or none have arrived. It gets newer ones, if
    /// there are some; what has not arrived it gets a little later.
    pub fn handle_material(&self, number: u64, refused: Option<&str>) {
        let refused = refused.map(|text| text.chars().take(REASON_MAX).collect::<String>());
        if let Some(why) = &refused {
            tracing::warn!(
                worker = %self.id,
                pid = self.pid(),
                number,
                "the worker refuses the new certificates, and goes on with those that it has: {why}"
            );
        }
        self.tls.heard(number, refused.is_some());
        self.tls.refused.replace(refused);
        if !self.tls.lacks.get() {
            self.send_material();
        }
    }

    /// The reason for which it has refused the newest certificates.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.tls.refused.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(tls: &Tls) -> (u64, bool) {
        (tls.given.get(), tls.lacks.get())
    }

    #[test]
    fn what_could_not_be_sent_is_tried_again_unless_nobody_listens_any_more() {
        let tls = Tls::default();
        tls.sent(7, &Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(state(&tls), (0, true));
        tls.sent(7, &Ok(()));
        assert_eq!(state(&tls), (7, false));
        for over in [io::ErrorKind::BrokenPipe, io::ErrorKind::NotConnected] {
            tls.sent(8, &Err(over.into()));
            assert_eq!(state(&tls), (7, false));
        }
    }

    #[test]
    fn what_has_not_arrived_is_sent_again_and_what_was_refused_is_not() {
        let tls = Tls::default();
        tls.heard(5, false);
        tls.sent(7, &Ok(()));
        // It has refused these themselves: the next ones may be better.
        tls.heard(7, true);
        assert_eq!(state(&tls), (7, false));
        tls.sent(8, &Ok(()));
        tls.heard(7, true);
        assert_eq!(state(&tls), (7, true));
        // It had these before it was sent the others: they are on their way.
        tls.sent(8, &Ok(()));
        tls.heard(7, false);
        assert_eq!(state(&tls), (8, false));
    }
}
