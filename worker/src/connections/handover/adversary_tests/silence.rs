//! Givers whose takers take nothing: they are silent, or have no room. The master names others.

use tokio::sync::mpsc;

use super::*;
use crate::connections::relief::Neighbours;

/// A master that notes each question for other takers.
#[derive(Debug)]
struct Master(mpsc::UnboundedSender<()>);

impl Neighbours for Master {
    fn ask(&self) -> bool {
        false
    }

    fn has_room_again(&self) {}

    fn ask_for_takers(&self) {
        self.0.send(()).unwrap();
    }

    fn say_load(&self, _: u32, _: Option<u32>) {}
}

/// A worker, the questions that it asks its master, and clients whose connections it has.
async fn worker_with_master(clients: usize) -> (Arc<Hub>, mpsc::UnboundedReceiver<()>, Vec<TcpStream>) {
    let (questions, asked) = mpsc::unbounded_channel();
    let (hub, mut connected) = (worker(), Vec::new());
    hub.set_neighbours(Arc::new(Master(questions)));
    for _ in 0..clients {
        let mut client = served_by(&hub).await;
        assert!(!asks(&mut client).await.1);
        connected.push(client);
    }
    (hub, asked, connected)
}

/// Waits for a batch. Returns its number, and that of its connections.
async fn offered(taker: &link::Link) -> (u64, usize) {
    let mut buffer = vec![0; PACKET_MAX];
    loop {
        let (length, fds) = taker.receive(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the giver has gone");
        if let FromGiver::Give { batch, .. } = decode(&buffer[..length]).unwrap().0 {
            return (batch, fds.len());
        }
    }
}

#[tokio::test]
async fn what_a_silent_taker_was_not_offered_goes_to_others() {
    let (hub, mut asked, mut clients) = worker_with_master(3).await;
    // It says nothing, not even hello, and its socket stays open.
    let (giver, _silent) = pair();
    drain(&hub, giver);
    asked.recv().await.unwrap();
    let ((giver, next), other) = (pair(), worker());
    hub.hand_over(vec![giver]);
    let taking = tokio::spawn(taker::take(next, Arc::clone(&other), other.room().clone()));
    hub.life().all_closed().await;
    assert_eq!((other.life().connections(), hub.life().fates().handed_over), (3, 3));
    for client in &mut clients {
        assert!(!asks(client).await.1, "nobody hears of it");
    }
    assert!(asked.try_recv().is_err(), "a taker that takes is enough");
    taking.abort();
}

#[tokio::test]
async fn what_a_silent_taker_was_offered_is_in_doubt_until_it_answers() {
    let (hub, mut asked, _clients) = worker_with_master(1).await;
    let (giver, taker) = pair();
    say(&taker, &hello(), &[]);
    drain(&hub, giver);
    let silent = link::Link::new(taker).unwrap();
    let (batch, count) = offered(&silent).await;
    assert_eq!(count, 1);
    asked.recv().await.unwrap();
    let (giver, next) = pair();
    say(&next, &hello(), &[]);
    hub.hand_over(vec![giver]);
    let next = link::Link::new(next).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let (length, _) = next.receive(&mut buffer).await.unwrap();
    assert!(matches!(decode(&buffer[..length]).unwrap().0, FromGiver::Hello { .. }));
    // It wakes up in time: the connection is its own.
    silent.send_all(&took(batch, 1)).await.unwrap();
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, 1);
    assert!(next.receive_now(&mut buffer).is_err(), "the other one was offered nothing");
}

#[tokio::test]
async fn what_a_full_taker_refuses_goes_to_others() {
    let (hub, mut asked, mut clients) = worker_with_master(1).await;
    let (giver, taker) = pair();
    say(&taker, &hello(), &[]);
    drain(&hub, giver);
    let full = link::Link::new(taker).unwrap();
    let (batch, _) = offered(&full).await;
    full.send_all(&took(batch, 0)).await.unwrap();
    asked.recv().await.unwrap();
    let ((giver, next), other) = (pair(), worker());
    hub.hand_over(vec![giver]);
    let taking = tokio::spawn(taker::take(next, Arc::clone(&other), other.room().clone()));
    hub.life().all_closed().await;
    assert_eq!(other.life().connections(), 1);
    assert!(!asks(&mut clients[0]).await.1);
    taking.abort();
}
