//! The driver's inbox: everything that reaches the loop from elsewhere, and the handle by which others reach the loop.
//!
//! Tasks beside the loop and the control API know this module and nothing of the driver.

pub mod migration;
pub mod operations;
pub mod reading;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use gin_shared::control::{EventLine, OperationId};
use gin_shared::generation::{Generation, Slot};
use gin_shared::migration::Order;
use gin_shared::status::{CertificateStatus, Status, Upgrade};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use crate::certificates::source::Reading;
use crate::machine::event::{Event, Queue};
use crate::machine::failure::Failure;
use crate::samples::Samples;
use migration::Migration;
use operations::Operations;
use reading::Round;

/// Messages on their way to the loop; more make their senders wait.
const INBOX: usize = 256;
/// Transitions kept for a follower that is slow; a slower one misses some.
const EVENTS: usize = 256;
/// Callers that follow the events at once.
const EVENT_FOLLOWERS: usize = 128;
/// Callers that follow an operation at once. Who follows events takes no place of these.
const OPERATION_FOLLOWERS: usize = 96;
/// Connections at once to each socket of the control API; more wait in the socket's queue.
pub const CONNECTIONS: u32 = 256;
/// Connections at once to the listener for scrapers; more wait in its queue.
pub const SCRAPERS: u32 = 32;

/// A message to the loop.
#[derive(Debug)]
pub enum Message {
    /// An event for the machine.
    Event(Event),
    /// A request to read the configuration anew.
    Reload(ReloadRequest),
    /// A request to have the workers' program migrate its database.
    Migrate(MigrateRequest),
    /// The notice that no caller is connected any more, and that none is let in. Callers' requests stand before it.
    Paused,
    /// The answer of the program that is to become the master: its version, if it can take over.
    ReexecChecked(Result<String, Failure>),
    /// A request for the status.
    Status(oneshot::Sender<Status>),
    /// A request for what the metrics are made of.
    Samples(oneshot::Sender<Samples>),
    /// A request for the upgrades that ended, newest first.
    History(oneshot::Sender<Vec<Upgrade>>),
    /// A request for the path of a worker's private listener.
    Private(Generation, Slot, oneshot::Sender<Option<PathBuf>>),
    /// A new log level; answered with the number of workers that were told.
    LogLevel(String, oneshot::Sender<usize>),
    /// The clients that wait at each listener, by its name: the end of a look at the queues.
    Looked(Vec<(String, HashSet<String>)>),
    /// The notice that a file of certificates has changed, or is watched from now on.
    CertificatesChanged,
    /// The files of certificates as they were read just now.
    Certificates(Vec<Reading>),
    /// A request for the certificates that are in use.
    ListCertificates(oneshot::Sender<Vec<CertificateStatus>>),
    /// The notice that the configuration file has changed.
    FileChanged,
    /// The notice that a file of the program has changed (`--watch`): which.
    ProgramChanged(PathBuf),
    /// The notice that a task has read everything that had come. What it read stands before it.
    Read(Round),
}

/// A request to read the configuration anew.
#[derive(Debug)]
pub struct ReloadRequest {
    /// The operation to answer.
    pub operation: Option<OperationId>,
    /// The name for the history.
    pub asked_by: String,
    /// The choice between waiting and refusing while an upgrade is under way.
    pub queue: Queue,
}

/// A request to have the workers' program migrate its database.
#[derive(Debug)]
pub struct MigrateRequest {
    /// The operation to answer.
    pub operation: OperationId,
    /// The order for the program.
    pub order: Order,
}

/// The loop as others reach it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Sends to the loop.
    pub inbox: mpsc::Sender<Message>,
    /// The operations that callers asked for.
    pub operations: Operations,
    /// The migration that is under way.
    pub migration: Migration,
    /// The transitions, as they happen.
    pub events: broadcast::Sender<EventLine>,
    /// Places for callers that follow something.
    pub followers: Followers,
    /// True while callers are to leave, because another program is about to take over.
    pub paused: watch::Sender<bool>,
    /// A place for each connection of the control socket, and of the status socket.
    pub connections: [Arc<Semaphore>; 2],
    /// A place for each connection of the listener for scrapers.
    pub scrapers: Arc<Semaphore>,
}

/// Places for callers that follow something: all together fewer than there are connections, so that a command is always
/// heard, and its outcome, too.
#[derive(Debug, Clone)]
pub struct Followers {
    /// Places for those that follow the events, or take a worker's profile.
    pub of_events: Arc<Semaphore>,
    /// Places for those that follow an operation.
    pub of_operations: Arc<Semaphore>,
}

impl Followers {
    fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { of_events: places(EVENT_FOLLOWERS), of_operations: places(OPERATION_FOLLOWERS) }
    }
}

impl Handle {
    /// A new handle, and the receiving end for the loop.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(INBOX);
        let handle = Self {
            inbox: sender,
            operations: Operations::default(),
            migration: Migration::default(),
            events: broadcast::Sender::new(EVENTS),
            followers: Followers::new(),
            paused: watch::Sender::new(false),
            connections: std::array::from_fn(|_| Arc::new(Semaphore::new(CONNECTIONS as usize))),
            scrapers: Arc::new(Semaphore::new(SCRAPERS as usize)),
        };
        (handle, receiver)
    }

    /// The same handle, with its own places for followers.
    #[must_use]
    pub fn with_own_followers(self) -> Self {
        Self { followers: Followers::new(), ..self }
    }
}
