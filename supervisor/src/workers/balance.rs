//! Orders by which workers share their load.

use super::Workers;
use crate::machine::Machine;

impl Workers {
    /// Has workers with many connections give some to workers with few.
    pub fn balance(&self, _: &Machine) {}
}
