//! Givers that serve on and only lack room, and their takers.

use super::*;

/// A worker with as many parked connections as it may have.
pub(super) async fn full_worker() -> (Arc<Hub>, Vec<TcpStream>) {
    let (hub, mut clients) = (worker(), Vec::new());
    for _ in 0..ROOM {
        let mut client = served_by(&hub).await;
        assert!(!asks(&mut client).await.1);
        clients.push(client);
    }
    // Nothing says when a connection is parked.
    while hub.parked() < ROOM {
        tokio::task::yield_now().await;
    }
    (hub, clients)
}

#[tokio::test]
async fn a_worker_without_room_hands_over_some_and_serves_on() {
    let ((hub, mut clients), other) = (full_worker().await, worker());
    let (giver, taker) = pair();
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&other), other.room().clone()));
    hub.relieve(vec![giver], ());
    // The giver ends the link when it has all answers.
    taking.await.unwrap();
    assert_eq!((hub.life().connections(), other.life().connections()), (ROOM - 1, 1));
    assert_eq!((hub.life().handed_over_for_room(), hub.life().closed_for_room()), (1, 0));
    assert_eq!(hub.life().fates().handed_over, 0, "that is about the drain");
    for client in &mut clients {
        assert!(!asks(client).await.1, "nobody hears of it");
    }
}

#[tokio::test]
async fn a_worker_that_nobody_relieves_closes_the_longest_idle_and_has_room_at_once() {
    for refuses in [false, true] {
        let (hub, mut clients) = full_worker().await;
        let (giver, taker) = pair();
        let taker = link::Link::new(taker).unwrap();
        if refuses {
            taker.send_first(&hello(), &[]).unwrap();
            hub.relieve(vec![giver], ());
            let mut buffer = vec![0; PACKET_MAX];
            loop {
                let (length, fds) = taker.receive(&mut buffer).await.unwrap();
                match decode(&buffer[..length]).unwrap().0 {
                    FromGiver::Hello { serves_on, .. } => assert!(serves_on),
                    FromGiver::Give { batch, connections } => {
                        assert_eq!((connections.len(), fds.len()), (1, 1));
                        taker.send_all(&took(batch, 0)).await.unwrap();
                        break;
                    }
                }
            }
        } else {
            hub.relieve(Vec::new(), ());
        }
        let mut first = clients.remove(0);
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0, "it was idle for longest");
        // Its client has not left, and needs no slot.
        assert_eq!(hub.room().free(), 1);
        assert_eq!((hub.life().closed_for_room(), hub.life().handed_over_for_room()), (1, 0));
        for client in &mut clients {
            assert!(!asks(client).await.1);
        }
    }
}

#[tokio::test]
async fn a_taker_keeps_some_room_from_a_giver_that_serves_on() {
    let ((giver, taker), hub) = (pair(), worker());
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&hub), hub.room().clone()));
    let withdrawn = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    greet_as(&giver, &own(), &withdrawn, true);
    let mut connections = Vec::new();
    for _ in 0..ROOM {
        connections.push(connection().await);
    }
    let fds: Vec<BorrowedFd<'_>> = connections.iter().map(|(_, accepted)| accepted.as_fd()).collect();
    say(&giver, &give(0, vec![carried(0); fds.len()]), &fds);
    let giver = link::Link::new(giver).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let count = loop {
        let (length, _) = giver.receive(&mut buffer).await.unwrap();
        if let FromTaker::Took { count, .. } = decode(&buffer[..length]).unwrap().0 {
            break count;
        }
    };
    assert_eq!((count, hub.room().free()), (ROOM - 1, 1));
    drop(giver);
    taking.await.unwrap();
}
