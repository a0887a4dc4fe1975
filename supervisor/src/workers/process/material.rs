//! Certificates and keys of one worker: which it was given, and whether it has taken them.

use std::cell::{Cell, RefCell};
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
    /// The reason for which it has refused what it was sent last.
    refused: RefCell<Option<String>>,
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

    /// Sends it the newest certificates and keys, if it understands that and has older ones. A worker that has not said its version yet
    /// says with it what it has.
    pub fn send_material(&self) {
        let Some(material) = self.tls.shared.as_ref().and_then(|shared| shared.material()) else { return };
        if self.version.get().is_none_or(|version| version < MATERIAL) || self.tls.given.get() >= material.number {
            return;
        }
        let number = material.number;
        if self.send(&FromMaster::Material { number }, &[material.as_fd()]) {
            self.tls.given.set(number);
        }
    }

    /// Handles what it says of the certificates `number`: they count, or it has refused them. It gets newer ones, if there are some.
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
        self.tls.given.set(self.tls.given.get().max(number));
        self.tls.refused.replace(refused);
        self.send_material();
    }

    /// The reason for which it has refused the newest certificates.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.tls.refused.borrow().clone()
    }
}
