//! A view of the whole: the lifecycle and what belongs to it, for the owners that write it down or report it.

use crate::certificates::Certificates;
use crate::generations::Generations;
use crate::machine::Machine;
use crate::workers::Workers;

/// Everything that is, borrowed from its owners.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The lifecycle.
    pub machine: &'a Machine,
    /// The workers.
    pub workers: &'a Workers,
    /// The generations.
    pub generations: &'a Generations,
    /// The certificates.
    pub certificates: &'a Certificates,
}
