//! The way of connections from the hub to the giver, for as long as others take.

use tokio::sync::mpsc;

use crate::connections::connection::IdleConnection;
use crate::connections::handover::recipient::Recipient;

/// The ends of a giver's channels that others hold.
#[derive(Debug)]
pub(crate) struct HandoverQueue {
    offers: mpsc::UnboundedSender<IdleConnection>,
    recipients: mpsc::UnboundedSender<Vec<Recipient>>,
}

/// The giver's ends.
#[derive(Debug)]
pub(crate) struct QueueEnd {
    pub(crate) offered: mpsc::UnboundedReceiver<IdleConnection>,
    /// Takers that come later, in place of earlier ones.
    pub(crate) recipients: mpsc::UnboundedReceiver<Vec<Recipient>>,
}

/// Makes a queue and the giver's end of it.
pub(crate) fn queue() -> (HandoverQueue, QueueEnd) {
    let (offers, offered) = mpsc::unbounded_channel();
    let (sender, recipients) = mpsc::unbounded_channel();
    (HandoverQueue { offers, recipients: sender }, QueueEnd { offered, recipients })
}

impl HandoverQueue {
    /// Queues a connection. Gives it back if the giver has ended.
    pub(crate) fn offer(&self, connection: IdleConnection) -> Option<IdleConnection> {
        self.offers.send(connection).err().map(|unsent| unsent.0)
    }

    /// True if the giver has ended without a word.
    pub(crate) fn is_closed(&self) -> bool {
        self.offers.is_closed()
    }

    /// Sends further takers to the giver. Gives them back if it has ended.
    pub(crate) fn replace(&self, recipients: Vec<Recipient>) -> Result<(), Vec<Recipient>> {
        self.recipients.send(recipients).map_err(|unsent| unsent.0)
    }
}
