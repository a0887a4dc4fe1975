//! Looks at the queues of listeners: who waits there for how long.

use std::collections::HashSet;

use tokio::sync::oneshot;

use super::Driver;
use crate::inbox::Message;
use crate::os::{proc_net, time};
use crate::task;
use crate::view::View;

impl Driver {
    /// Looks at the listeners' queues. Where clients wait, a thread looks up who: the kernel's tables have a row for each
    /// connection of the machine, and the loop has other things to do.
    pub(super) fn look_at_queues(&mut self) {
        let Self { machine, workers, generations, certificates, reporter, handle, .. } = self;
        let view = View { machine, workers, generations, certificates };
        let waited_at = reporter.look_at_queues(time::now(), view);
        if waited_at.is_empty() {
            return;
        }
        let (sender, looked) = oneshot::channel::<Vec<(String, HashSet<String>)>>();
        let look = move || {
            let waiting = waited_at.into_iter().map(|(name, address)| (name, proc_net::waiting(&address)));
            let _ = sender.send(waiting.collect());
        };
        // If no thread can be had, the sender is dropped, and the look has seen nobody.
        let _ = std::thread::Builder::new().name("queues".to_owned()).spawn(look);
        let inbox = handle.inbox.clone();
        task::spawn(async move {
            let _ = inbox.send(Message::Looked(looked.await.unwrap_or_default())).await;
        });
    }

    /// Handles the end of a look: the clients that wait at each listener.
    pub(super) fn handle_looked(&mut self, waiting: Vec<(String, HashSet<String>)>) {
        let Self { machine, workers, generations, certificates, reporter, .. } = self;
        reporter.handle_looked(time::now(), View { machine, workers, generations, certificates }, waiting);
    }
}
