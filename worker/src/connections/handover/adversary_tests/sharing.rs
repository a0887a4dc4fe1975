//! Givers that serve on and give a part of their connections, and their takers.

use std::time::Instant;

use tokio::sync::mpsc;

use super::relief::full_worker;
use super::*;
use crate::connections::handover::giver;
use crate::connections::relief::Neighbours;

/// Has the worker give so many connections to the other one. Ends when the giver has all answers.
async fn shares(hub: &Arc<Hub>, count: u32, other: &Arc<Hub>) {
    let (giver, taker) = pair();
    let taking = tokio::spawn(taker::take(taker, Arc::clone(other), other.room().clone()));
    hub.share(count, vec![giver], ());
    taking.await.unwrap();
}

/// No client hears of it.
async fn assert_served(clients: &mut [TcpStream]) {
    for client in clients {
        assert!(!asks(client).await.1);
    }
}

#[tokio::test]
async fn a_worker_gives_as_many_parked_connections_as_were_ordered() {
    let ((hub, mut clients), other) = (full_worker().await, worker());
    shares(&hub, 3, &other).await;
    assert_eq!((hub.life().connections(), other.life().connections()), (ROOM - 3, 3));
    assert_eq!((hub.life().handed_over_for_share(), hub.life().handed_over_for_room()), (3, 0));
    assert_eq!(hub.life().fates().handed_over, 0, "that is about the drain");
    assert_served(&mut clients).await;
}

#[tokio::test]
async fn connections_in_use_leave_as_they_pause_and_no_more_than_were_ordered() {
    let (hub, other, mut clients) = (worker(), worker(), Vec::new());
    for _ in 0..4 {
        clients.push(served_by(&hub).await);
    }
    // One has said nothing yet.
    assert_served(&mut clients[1..]).await;
    let (giver, taker) = pair();
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&other), other.room().clone()));
    hub.share(2, vec![giver], ());
    assert_served(&mut clients).await;
    taking.await.unwrap();
    assert_eq!((hub.life().connections(), other.life().connections()), (2, 2));
    assert_served(&mut clients).await;
}

#[tokio::test]
async fn a_drain_ends_a_share_and_no_client_hears_of_either() {
    let (hub, other, last, mut clients) = (worker(), worker(), worker(), Vec::new());
    for _ in 0..4 {
        clients.push(served_by(&hub).await);
    }
    assert_served(&mut clients).await;
    let ((giver, taker), (drained, next)) = (pair(), pair());
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&other), other.room().clone()));
    // It has fewer: the share is not over when they have left.
    hub.share(100, vec![giver], ());
    asks(&mut clients[0]).await;
    let draining = tokio::spawn(taker::take(next, Arc::clone(&last), last.room().clone()));
    drain(&hub, drained);
    hub.life().all_closed().await;
    taking.await.unwrap();
    assert_eq!(other.life().connections() + last.life().connections(), 4);
    assert_served(&mut clients).await;
    draining.abort();
}

#[tokio::test]
async fn a_worker_whose_takers_are_gone_keeps_all_and_carries_the_next_order_out() {
    let ((hub, mut clients), other) = (full_worker().await, worker());
    let (reports, mut told) = mpsc::unbounded_channel();
    hub.set_neighbours(Arc::new(Master(reports)));
    let (giver, gone) = pair();
    drop(gone);
    hub.share(3, vec![giver], ());
    let all = u32::try_from(ROOM).unwrap();
    assert_eq!(told.recv().await, Some((all, Some(0))), "the master is not to ask again at once");
    // Nothing says when a connection is parked.
    while hub.parked() < ROOM {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.life().connections(), ROOM);
    shares(&hub, 2, &other).await;
    assert_eq!((hub.life().connections(), other.life().connections()), (ROOM - 2, 2));
    assert_eq!(told.recv().await, Some((all - 2, Some(2))));
    assert_served(&mut clients).await;
}

#[tokio::test]
async fn the_order_after_a_giver_that_ended_in_the_midst_counts() {
    let (hub, (giver, _taker)) = (worker(), pair());
    let begin = || hub.drain().sharing().begin(Instant::now(), 3, |_| Vec::new());
    let (parked, end) = begin().unwrap();
    let giving = giver::share(Arc::clone(&hub) as Arc<dyn Dispatch>, vec![giver], parked, end);
    // Polled once, and dropped, as by a panic.
    tokio::select! {
        biased;
        _ = giving => panic!("nobody has paused"),
        () = std::future::ready(()) => {}
    }
    assert!(begin().is_some());
}

#[tokio::test]
async fn a_client_whose_taker_is_silent_is_served_by_the_giver() {
    let (hub, mut clients) = full_worker().await;
    let (giver, taker) = pair();
    say(&taker, &hello(), &[]);
    hub.share(u32::try_from(ROOM).unwrap(), vec![giver], ());
    let link = link::Link::new(taker).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    loop {
        let (length, fds) = link.receive(&mut buffer).await.unwrap();
        if let FromGiver::Give { .. } = decode(&buffer[..length]).unwrap().0 {
            assert!(!fds.is_empty());
            break;
        }
    }
    assert_served(&mut clients).await;
    assert_eq!((hub.life().connections(), hub.life().handed_over_for_share()), (ROOM, 0));
}

#[tokio::test]
async fn a_worker_that_drains_gives_no_share() {
    let (hub, _clients) = full_worker().await;
    let ((giver, taker), (share, other)) = (pair(), pair());
    drain(&hub, giver);
    hub.share(3, vec![share], ());
    // The socket is closed at once.
    let other = link::Link::new(other).unwrap();
    assert!(!matches!(other.receive(&mut [0; 100]).await, Ok((length, _)) if length > 0));
    drop(taker);
}

/// A master that notes what it is told.
#[derive(Debug)]
struct Master(mpsc::UnboundedSender<(u32, Option<u32>)>);

impl Neighbours for Master {
    fn ask(&self) -> bool {
        false
    }

    fn has_room_again(&self) {}

    fn ask_for_takers(&self) {}

    fn say_load(&self, connections: u32, given: Option<u32>) {
        self.0.send((connections, given)).unwrap();
    }
}

#[tokio::test]
async fn a_worker_with_others_beside_it_tells_how_many_connections_it_has() {
    let (reports, mut told) = mpsc::unbounded_channel();
    let hub = worker();
    hub.set_neighbours(Arc::new(Master(reports)));
    let _first = served_by(&hub).await;
    hub.set_peers(2);
    assert_eq!(told.recv().await, Some((1, None)));
    let _second = served_by(&hub).await;
    // Once more after a while, and then nothing until something changes.
    assert_eq!((told.recv().await, told.try_recv().is_err()), (Some((2, None)), true));
    // Alone it tells nothing, and begins anew afterwards.
    hub.set_peers(1);
    // Nothing says when it has heard that.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    hub.set_peers(3);
    assert_eq!(told.recv().await, Some((2, None)));
}
