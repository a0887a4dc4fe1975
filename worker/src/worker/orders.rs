//! Orders of the master, phase by phase: what a worker waits for, and what it does with an order that comes at another time.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::channel::{Order, Why};
use super::stop_signals::{StopSignal, StopSignals};
use crate::connections::Hub;

/// A reason to drain.
#[derive(Debug)]
pub(super) enum DrainRequest {
    /// The master's order, with sockets to workers that take connections.
    ByMaster(Why, Vec<OwnedFd>),
    /// A stop signal.
    BySignal(StopSignal),
}

/// Orders that come over the channel.
#[derive(Debug)]
pub(super) struct Orders {
    received: mpsc::Receiver<Order>,
    /// True once `go` has come while nobody waited for it.
    is_told_to_go: bool,
}

impl Orders {
    /// The channel's end, and the worker's.
    pub(super) fn channel() -> (mpsc::Sender<Order>, Self) {
        let (orders, ordered) = mpsc::channel(4);
        (orders, Self { received: ordered, is_told_to_go: false })
    }

    /// Waits for a request to drain, before the worker is ready. `go` may come then: a master need not wait for READY.
    pub(super) async fn wait_at_start(&mut self, stop: &mut StopSignals) -> DrainRequest {
        loop {
            tokio::select! {
                order = self.received.recv() => match order {
                    Some(Order::Go) => self.is_told_to_go = true,
                    // Nothing is taken over before it serves, and there is nothing to give.
                    Some(Order::Take(_) | Order::Relieve(..) | Order::Share(..) | Order::Peers(_)) => {}
                    Some(Order::Drain(why, takers)) => return DrainRequest::ByMaster(why, takers),
                    // There is no channel.
                    None => return DrainRequest::BySignal(stop.next().await),
                },
                signal = stop.next() => return DrainRequest::BySignal(signal),
            }
        }
    }

    /// Waits for `go`. Returns a request to drain if that comes first.
    pub(super) async fn wait_for_go(&mut self, stop: &mut StopSignals) -> Option<DrainRequest> {
        if self.is_told_to_go {
            return None;
        }
        loop {
            tokio::select! {
                order = self.received.recv() => match order {
                    Some(Order::Go) => return None,
                    // Nothing is taken over before it serves, and there is nothing to give.
                    Some(Order::Take(_) | Order::Relieve(..) | Order::Share(..) | Order::Peers(_)) => {}
                    Some(Order::Drain(why, takers)) => return Some(DrainRequest::ByMaster(why, takers)),
                    None => return Some(DrainRequest::BySignal(StopSignal::Other)),
                },
                signal = stop.next() => return Some(DrainRequest::BySignal(signal)),
            }
        }
    }

    /// Serves on until there is a request to drain.
    pub(super) async fn wait_for_drain(&mut self, stop: &mut StopSignals, hub: &Arc<Hub>) -> DrainRequest {
        loop {
            tokio::select! {
                order = self.received.recv() => match order {
                    Some(Order::Drain(why, takers)) => return DrainRequest::ByMaster(why, takers),
                    Some(Order::Take(socket)) => hub.take_over(socket),
                    Some(Order::Relieve(sockets, lent)) => hub.relieve(sockets, lent),
                    Some(Order::Share(count, sockets, lent)) => hub.share(count, sockets, lent),
                    Some(Order::Peers(workers)) => hub.set_peers(workers),
                    Some(Order::Go) => {}
                    None => return DrainRequest::BySignal(stop.next().await),
                },
                signal = stop.next() => return DrainRequest::BySignal(signal),
            }
        }
    }

    /// Carries out orders during the drain. A successor of the master may send more takers, and a worker that drains may take
    /// connections still.
    pub(super) async fn while_draining(&mut self, hub: &Arc<Hub>) -> Infallible {
        loop {
            match self.received.recv().await {
                Some(Order::Take(socket)) => hub.take_over(socket),
                // The earlier takers are to end themselves.
                Some(Order::Drain(_, takers)) => hub.hand_over(takers),
                // A worker that drains needs no room, and gives all that it has.
                Some(Order::Go | Order::Relieve(..) | Order::Share(..) | Order::Peers(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
