//! Changes while the worker runs: log files that are reopened, and a configuration file that is read again.

use std::sync::Arc;

use gin_shared::inherit;
use tokio::signal::unix::{SignalKind, signal};

use crate::live::{self, Settings, Watch};
use crate::{Config, StartError, logging};

/// Reopens log files on SIGUSR1. A worker that runs alone follows its configuration file, and reads it on SIGHUP. Under a supervisor
/// it does not: its generation's settings are frozen.
///
/// # Errors
/// If the signals cannot be caught.
pub(super) fn follow(config: &Config, settings: &Settings) -> Result<Option<Watch>, StartError> {
    let mut reopen = signal(SignalKind::user_defined1()).map_err(StartError::Signals)?;
    tokio::spawn(async move {
        while reopen.recv().await.is_some() {
            logging::reopen();
        }
    });
    // Under a supervisor SIGHUP is not meant for this process, and must not end it either.
    let is_meant = inherit::identity().is_none() && config.origin.file.is_some();
    let mut read = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let own = Arc::clone(settings);
    tokio::spawn(async move {
        while read.recv().await.is_some() {
            if is_meant {
                live::reload_or_tell(&own);
            }
        }
    });
    Ok(if is_meant { live::watch(settings) } else { None })
}
