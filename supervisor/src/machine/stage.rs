//! The stages of a generation.
//!
//! The table at the head of [`super::generation`] says what each stage means, and by what it is left.

use gin_shared::generation::Slot;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// The stage of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Workers are on their way.
    Starting,
    /// Told to accept.
    Going,
    /// All serve; until then a failure withdraws it.
    Soaking(Moment),
    /// Slot by slot.
    Rolling {
        /// The one on its way.
        slot: u32,
        /// The moment when it will have soaked; it serves already.
        until: Option<Moment>,
    },
    /// It is what serves.
    Current,
    /// Withdrawn, but not before the old one is whole again.
    Standby,
    /// It ends.
    Leaving,
}

impl Stage {
    /// True if the generation is on its way to serve.
    #[must_use]
    pub fn is_candidate(self) -> bool {
        match self {
            Self::Starting | Self::Going | Self::Soaking(_) | Self::Rolling { .. } => true,
            Self::Current | Self::Standby | Self::Leaving => false,
        }
    }
}

/// The progress of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// Nothing new.
    None,
    /// This slot serves and has soaked: the old one's is not needed any more.
    Slot(Slot),
    /// All of it.
    Whole,
}
