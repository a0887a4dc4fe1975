//! Time of the close frame, for the I/O to fetch once the application speaks WebSocket.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::connections::websocket_closer::CloseTime;

/// The time, until it is fetched.
#[derive(Default)]
pub(super) struct CloseFrame {
    is_set: AtomicBool,
    at: Mutex<Option<CloseTime>>,
}

impl CloseFrame {
    pub(super) fn set(&self, at: CloseTime) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.is_set.store(true, Ordering::Release);
    }

    /// Takes the time, which is given once. Costs no lock if there is none.
    pub(super) fn take(&self) -> Option<CloseTime> {
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        self.is_set.store(false, Ordering::Relaxed);
        self.at.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseFrame").finish_non_exhaustive()
    }
}
