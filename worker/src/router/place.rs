//! Where something was registered, for people.

use std::fmt;
use std::panic::Location;

/// A place in the application's code, or a key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Code(&'static Location<'static>),
    Key(&'static str),
}

impl Place {
    /// The place of the call, or, in a function with `track_caller`, of that function's.
    #[track_caller]
    pub fn caller() -> Self {
        Self::Code(Location::caller())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(place) => write!(f, "{place}"),
            Self::Key(key) => f.write_str(key),
        }
    }
}
