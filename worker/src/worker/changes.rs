//! Signals that change something while the worker runs, or that somebody expects to: log files that are reopened, a configuration
//! file that is read again, and a restart that a worker cannot make by itself.

use std::sync::Arc;

use gin_shared::inherit;
use tokio::signal::unix::{SignalKind, signal};

use crate::live::{self, Settings, Watch};
use crate::{Config, StartError, logging};

/// Reopens log files on SIGUSR1, and tells on SIGUSR2 who restarts. A worker that runs alone follows its configuration file, and reads
/// it on SIGHUP. Under a supervisor it does not: its generation's settings are frozen.
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
    let mut restart = signal(SignalKind::user_defined2()).map_err(StartError::Signals)?;
    tokio::spawn(async move {
        let advice = restart_advice(inherit::identity().map(|who| who.instance).as_deref());
        while restart.recv().await.is_some() {
            tracing::warn!("{advice}");
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

/// The line for SIGUSR2, by which Gin's servers restart: here it restarts nothing.
fn restart_advice(instance: Option<&str>) -> String {
    match instance {
        Some(instance) => format!(
            "SIGUSR2 restarts nothing here: this is a worker; send it to the supervisor, or run gin-ctl restart {instance}"
        ),
        None => {
            "SIGUSR2 restarts nothing: no supervisor has started this process; run it under gin-supervisor, and send \
                 SIGUSR2 to that, or run gin-ctl restart"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_sigusr2_says_what_to_do() {
        assert!(restart_advice(Some("shop")).ends_with("gin-ctl restart shop"));
        assert!(restart_advice(None).contains("run it under gin-supervisor"));
    }
}
