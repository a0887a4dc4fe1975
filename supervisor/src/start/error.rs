//! Reasons why the master does not start. One variant, one message, one exit code.

use std::io::{self, Write};

use gin_shared::config::Problem;
use gin_shared::exit;

use crate::adopt::TakeUpError;
use crate::adopt::in_place::{CheckError, InPlaceError};
use crate::driver::DriverError;
use crate::generations::freeze_error::FreezeError;
use crate::generations::worker_program::GinServerError;
use crate::instance_files::InstanceFilesError;
use crate::os::activation::ActivationError;
use crate::os::listener::ListenError;

/// A start that failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Problem>),
    /// The configuration in force cannot be used by this program, which was executed in the master's place.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    ConfigInPlace(Vec<Problem>),
    /// gin-server refuses its part of the configuration.
    #[error(transparent)]
    GinServer(#[from] GinServerError),
    /// Something that the configuration names is not there.
    #[error(transparent)]
    Missing(#[from] FreezeError),
    /// This program cannot go on with the state that it was asked about.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// This program cannot take over in place.
    #[error(transparent)]
    InPlace(#[from] InPlaceError),
    /// A file of the instance cannot be had.
    #[error(transparent)]
    Files(#[from] InstanceFilesError),
    /// A passed socket cannot be used.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listener for scrapers cannot be opened.
    #[error("supervisor.metrics: {0}")]
    Metrics(ListenError),
    /// A dead master's workers cannot be adopted now.
    #[error(transparent)]
    TakeUp(#[from] TakeUpError),
    /// The journal was asked for and is not there.
    #[error("--log-format journald: {error}")]
    Journal {
        /// The system's error.
        error: io::Error,
        /// True if the program was executed in the master's place.
        in_place: bool,
    },
    /// A system call failed.
    #[error("{step}: {error}")]
    System {
        /// The step of the start.
        step: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// The loop ended before its time.
    #[error("supervisor: {0}")]
    Driver(#[from] DriverError),
}

impl StartError {
    /// The exit code: 2 for what stays wrong until somebody changes it, 1 for what the next try may find mended.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Files(error) => error.exit(),
            Self::Config(_)
            | Self::GinServer(_)
            | Self::Missing(_)
            | Self::Activation(_)
            | Self::Listen(ListenError::NotASocket(_) | ListenError::Doubtful { .. })
            | Self::Journal { in_place: false, .. } => exit::USAGE,
            // Workers live: the service manager is to start the master again.
            Self::ConfigInPlace(_) | Self::InPlace(_) | Self::Journal { in_place: true, .. } => exit::FAILED,
            Self::Listen(_)
            | Self::Metrics(_)
            | Self::Check(_)
            | Self::TakeUp(_)
            | Self::System { .. }
            | Self::Driver(_) => exit::FAILED,
        }
    }

    /// Writes the error to stderr, which may take nothing: the exit code tells as much.
    pub fn print(&self) {
        let mut stderr = io::stderr().lock();
        match self {
            Self::Config(problems) | Self::ConfigInPlace(problems) => {
                problems.iter().for_each(|problem| drop(writeln!(stderr, "error: {problem}")));
            }
            // gin-server has written "error:" itself.
            Self::GinServer(error) => drop(writeln!(stderr, "{}", error.to_string().trim_end())),
            other => drop(writeln!(stderr, "error: {other}")),
        }
    }
}
