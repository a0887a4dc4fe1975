//! Memories that all workers of the instance are given. The one with certificates is replaced by a newer one; the others stay.

use std::cell::RefCell;
use std::rc::Rc;

use gin_shared::generation::WorkerId;

use super::Workers;
use crate::certificates::sealed::Sealed;
use crate::os::shared_memory::Memories;

/// The memories, as they are now.
#[derive(Debug)]
pub struct Shared {
    /// Those that workers write.
    pub memories: Memories,
    material: RefCell<Option<Rc<Sealed>>>,
}

impl Shared {
    /// No certificates yet.
    #[must_use]
    pub fn new(memories: Memories) -> Self {
        Self { memories, material: RefCell::default() }
    }

    /// Certificates and keys; `None` if no generation speaks TLS.
    #[must_use]
    pub fn material(&self) -> Option<Rc<Sealed>> {
        self.material.borrow().clone()
    }

    /// Puts other certificates and keys in their place, for workers that are started from now on.
    pub fn set_material(&self, material: Option<Rc<Sealed>>) {
        *self.material.borrow_mut() = material;
    }
}

impl Workers {
    /// Puts certificates and keys in place, for workers that are started from now on. [`Self::send_material`] gives them to the others.
    pub fn set_material(&self, material: Option<Rc<Sealed>>) {
        self.shared.set_material(material);
    }

    /// Sends certificates and keys to the workers that speak TLS and have older ones.
    pub fn send_material(&self) {
        self.processes.values().for_each(|process| process.send_material());
    }

    /// The workers that have refused the newest certificates, each with its reason.
    #[must_use]
    pub fn refused(&self) -> Vec<(WorkerId, String)> {
        let mut refused: Vec<_> =
            self.processes.values().filter_map(|process| Some((process.id, process.refused()?))).collect();
        refused.sort();
        refused
    }
}
