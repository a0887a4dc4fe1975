//! Room for connections: how many a worker may have, and how many it has.
//!
//! A connection holds a [`Place`] for as long as its socket lives. A place counts the connection in the worker's [`Life`], and
//! takes one of the slots of `limits.connections`, and one of its client's. Nothing here knows what a connection is doing.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::connections::clients::{ClientConnection, Clients};
use crate::graceful::{Ending, HandoverReason, Life, OpenConnection, Spoken};

/// Connections that are being closed and take no slot, at most.
const CLOSING: usize = 256;
/// Connections that go to other workers at once, at most.
const SHARE_MAX: usize = 256;

/// Slots for connections of one worker. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    life: Life,
    /// Number of slots.
    count: usize,
    slots: Arc<Semaphore>,
    /// Slots of connections that are being closed: new ones do not wait for the clients of these.
    closing: Arc<Semaphore>,
    /// `None` if a client may have as many as there is room for.
    clients: Option<Arc<Clients>>,
}

/// A slot that is kept free for a connection that may come.
#[derive(Debug)]
pub(crate) struct Slot(Option<HeldSlot>);

/// A slot that is taken. A semaphore's own permit would make each idle connection eight bytes larger.
#[derive(Debug)]
struct HeldSlot(Arc<Semaphore>);

impl HeldSlot {
    fn of(slots: &Arc<Semaphore>, permit: SemaphorePermit<'_>) -> Self {
        permit.forget();
        Self(Arc::clone(slots))
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A connection's place. It may live longer than the HTTP part of the connection, after an upgrade.
#[derive(Debug)]
pub(crate) struct Place {
    open: OpenConnection,
    slot: Option<HeldSlot>,
    client: Option<ClientConnection>,
}

impl Place {
    /// The connection's end, as far as it is known.
    pub(crate) fn ending(&self) -> Ending {
        self.open.ending
    }

    /// Takes over what a protocol knows of the connection's end.
    pub(crate) fn set_ending(&mut self, ending: Ending) {
        self.open.ending = ending;
    }

    /// Notes that this worker has the connection for good.
    pub(crate) fn own(&mut self) {
        self.open.ending.is_anothers = false;
    }

    /// Notes the protocol of a connection that another worker had.
    pub(crate) fn speaks(&mut self, spoken: Spoken) {
        self.open.ending.spoken = spoken;
    }

    /// Notes that the worker closes the connection.
    pub(crate) fn tell_end(&mut self) {
        self.open.ending.is_told = true;
    }

    /// Notes whether the connection is over TLS, or begins with its handshake.
    pub(crate) fn set_tls(&mut self, is_tls: bool) {
        self.open.set_tls(is_tls);
    }

    /// Notes that another worker has the connection now, for this reason.
    pub(crate) fn hand_over(&mut self, reason: HandoverReason) {
        self.open.hand_over(reason);
    }

    /// Notes whether the connection is parked.
    pub(crate) fn note_parked(&self, is_parked: bool) {
        self.open.note_parked(is_parked);
    }
}

impl Room {
    /// Makes room for `count` connections.
    pub(crate) fn new(life: Life, count: usize, clients: Option<Arc<Clients>>) -> Self {
        let (slots, closing) = (Arc::new(Semaphore::new(count)), Arc::new(Semaphore::new(CLOSING)));
        Self { life, count, slots, closing, clients }
    }

    /// Number of connections that make room at once: an eighth of all. A worker with no more free slots than these takes nothing
    /// from one that has none, or the two would fill one another.
    pub(crate) fn share(&self) -> usize {
        (self.count / 8).clamp(1, SHARE_MAX)
    }

    /// Number of connections below which the worker has room for those of others.
    pub(crate) fn roomy_below(&self) -> usize {
        self.count.saturating_sub(2 * self.share()).max(1)
    }

    /// A free slot, if there is one.
    pub(crate) fn free_slot(&self) -> Option<Slot> {
        self.slots.try_acquire().ok().map(|permit| Slot(Some(HeldSlot::of(&self.slots, permit))))
    }

    /// Waits for a free slot.
    pub(crate) async fn slot(&self) -> Slot {
        Slot(self.slots.acquire().await.ok().map(|permit| HeldSlot::of(&self.slots, permit)))
    }

    /// Gives the place of a connection that was accepted from this address. `None` if this client has as many as it may have.
    pub(crate) fn place(&self, slot: Slot, peer: Option<IpAddr>) -> Option<Place> {
        let client = match (&self.clients, peer) {
            (Some(clients), Some(peer)) => Some(clients.admit(peer)?),
            (None, _) | (_, None) => None,
        };
        Some(Place { open: self.life.open(), slot: slot.0, client })
    }

    /// Gives the place of a connection that another worker had. `None` if there is no room, or the worker has ended already.
    pub(crate) fn take_over(&self) -> Option<Place> {
        let slot = HeldSlot::of(&self.slots, self.slots.try_acquire().ok()?);
        Some(Place { open: self.life.take_over()?, slot: Some(slot), client: None })
    }

    /// Frees the slot of a connection that is being closed, unless many such connections have none already.
    pub(crate) fn let_go(&self, place: &mut Place) {
        if let Ok(permit) = self.closing.try_acquire() {
            place.slot = Some(HeldSlot::of(&self.closing, permit));
        }
    }

    /// Counts a connection whose client is known only now, by the header of a proxy. False if this client has as many as it may have.
    pub(crate) fn admit(&self, place: &mut Place, client: IpAddr) -> bool {
        let Some(clients) = &self.clients else { return true };
        place.client = clients.admit(client);
        place.client.is_some()
    }

    /// Counts a connection that another worker had as its client's.
    pub(crate) fn count(&self, place: &mut Place, peer: Option<IpAddr>) {
        if let (Some(clients), Some(peer)) = (&self.clients, peer) {
            place.client = clients.take_over(peer);
        }
    }

    /// Number of free slots.
    pub(crate) fn free(&self) -> usize {
        self.slots.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_being_closed_takes_no_slot() {
        let room = Room::new(Life::default(), 1, None);
        let mut place = room.place(room.slot().await, None).unwrap();
        assert!(room.free_slot().is_none());
        room.let_go(&mut place);
        let next = room.free_slot();
        assert!(next.is_some() && room.free_slot().is_none());
        drop((place, next));
        assert_eq!((room.free(), room.closing.available_permits()), (1, CLOSING));
    }

    #[tokio::test]
    async fn a_connection_behind_a_proxy_counts_once_its_client_is_known() {
        let room = Room::new(Life::default(), 4, Some(Clients::new(1, Vec::new())));
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(room.place(room.slot().await, None).unwrap());
        }
        let [client, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        assert!(room.admit(&mut places[0], client) && !room.admit(&mut places[1], client));
        assert!(room.admit(&mut places[1], other));
        // A connection that ends makes room.
        drop(places.remove(0));
        assert!(room.admit(&mut places[1], client));
        let unlimited = Room::new(Life::default(), 4, None);
        assert!(unlimited.admit(&mut places[0], client));
    }

    #[test]
    fn a_share_is_an_eighth_and_never_nothing() {
        let share = |count| Room::new(Life::default(), count, None).share();
        assert_eq!([1, 20, 800, 10_000].map(share), [1, 2, 100, SHARE_MAX]);
        let roomy = |count| Room::new(Life::default(), count, None).roomy_below();
        assert_eq!([1, 20, 800].map(roomy), [1, 16, 600]);
    }
}
