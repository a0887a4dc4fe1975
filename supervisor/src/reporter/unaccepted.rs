//! Listeners at which clients wait and nobody accepts: the program listens at a port of its own, or hangs, or is full.
//!
//! Nothing is polled while all is well. The queues are looked at when somebody asks for the status, and once when a generation
//! has served for [`FIRST`]. A queue that is not empty is looked at again each [`INTERVAL`], until it is.
//!
//! Whether a queue is empty its socket tells. Who waits in it stands in tables of the kernel that may be long: a thread reads
//! them (`driver/queues.rs`), one look at a time.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::moment::Moment;

/// Time for which not one connection may be accepted.
const LONG: Duration = Duration::from_secs(3);
/// Pause between two looks at queues that are not empty.
const INTERVAL: Duration = Duration::from_secs(1);
/// Age of a generation at the look that nobody has asked for.
const FIRST: Duration = Duration::from_secs(5);
/// The most clients of a queue that are remembered.
const REMEMBERED: usize = 64;

/// The queues that were not empty at the last look, by listener.
#[derive(Debug, Default)]
pub(super) struct Unaccepted {
    queues: BTreeMap<String, Queue>,
    next: Option<Moment>,
    /// True while a thread looks.
    is_looking: bool,
}

#[derive(Debug)]
struct Queue {
    /// The moment when these clients were there first.
    since: Moment,
    /// Some of the clients that wait. While all of them do, nobody was accepted: a queue is emptied in order.
    clients: HashSet<String>,
    /// The number that waited at the last look.
    count: usize,
    is_told: bool,
}

impl Unaccepted {
    /// Begins anew with a generation that serves from now on.
    pub(super) fn begin(&mut self, now: Moment) {
        *self = Self { queues: BTreeMap::new(), next: Some(now + FIRST), is_looking: self.is_looking };
    }

    /// The moment of the next look, if one is to come by itself.
    pub(super) fn next_look(&self) -> Option<Moment> {
        self.next
    }

    /// Begins a look at queues that are not empty; `false` if one is under way.
    pub(super) fn begin_look(&mut self, now: Moment) -> bool {
        // The end of the look sets the next one.
        self.next = self.next.filter(|next| *next > now);
        !std::mem::replace(&mut self.is_looking, true)
    }

    /// Ends the look that was begun.
    pub(super) fn end_look(&mut self) {
        self.is_looking = false;
    }

    /// Notes the clients that wait at each listener.
    pub(super) fn note(&mut self, now: Moment, listeners: Vec<(String, HashSet<String>)>) {
        self.queues.retain(|name, _| listeners.iter().any(|(other, clients)| other == name && !clients.is_empty()));
        for (name, clients) in listeners.into_iter().filter(|(_, clients)| !clients.is_empty()) {
            let count = clients.len();
            match self.queues.get_mut(&name) {
                Some(queue) if queue.clients.is_subset(&clients) => queue.count = count,
                _ => {
                    let clients = clients.into_iter().take(REMEMBERED).collect();
                    self.queues.insert(name, Queue { since: now, clients, count, is_told: false });
                }
            }
        }
        self.next = match self.next.filter(|next| *next > now) {
            _ if !self.queues.is_empty() => Some(now + INTERVAL),
            later => later,
        };
    }

    /// The listeners at which nobody accepts, in an operator's words. `hint`: what to do about it.
    pub(super) fn texts(&self, now: Moment, hint: &str) -> Vec<String> {
        let stuck = self.queues.iter().filter(|(_, queue)| now.since(queue.since) >= LONG);
        let text = |(name, queue): (&String, &Queue)| {
            let (seconds, count) = (now.since(queue.since).as_secs(), queue.count);
            let (noun, verb) = if count == 1 { ("client", "waits") } else { ("clients", "wait") };
            format!(
                "listener {name}: nobody has accepted a connection for {seconds} s, and {count} {noun} {verb}; {hint}"
            )
        };
        stuck.map(text).collect()
    }

    /// True once for each listener at which nobody accepts.
    pub(super) fn is_news(&mut self, now: Moment) -> bool {
        let stuck = self.queues.values_mut().filter(|queue| now.since(queue.since) >= LONG);
        stuck.fold(false, |is_news, queue| is_news | !std::mem::replace(&mut queue.is_told, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(ports: &[u16]) -> Vec<(String, HashSet<String>)> {
        vec![("http".to_owned(), ports.iter().map(ToString::to_string).collect())]
    }

    fn at(seconds: u64) -> Moment {
        Moment(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_queue_that_moves_is_fine_however_long_it_is() {
        let mut queues = Unaccepted::default();
        for second in 0..10 {
            let port = u16::try_from(second).unwrap();
            queues.note(at(second), clients(&[port, port + 1, port + 2]));
            assert!(queues.texts(at(second), "").is_empty() && !queues.is_news(at(second)));
        }
    }

    #[test]
    fn a_queue_that_stands_is_told_once_and_looked_at_until_it_is_empty() {
        let mut queues = Unaccepted::default();
        queues.begin(at(0));
        assert_eq!(queues.next_look(), Some(at(5)));
        queues.note(at(5), clients(&[1]));
        assert_eq!(queues.next_look(), Some(at(6)));
        // More may come.
        queues.note(at(8), clients(&[1, 2]));
        let text = queues.texts(at(8), "do this").remove(0);
        assert_eq!(text, "listener http: nobody has accepted a connection for 3 s, and 2 clients wait; do this");
        assert!(queues.is_news(at(8)) && !queues.is_news(at(9)));
        queues.note(at(9), clients(&[]));
        assert!(queues.texts(at(20), "").is_empty());
        assert_eq!(queues.next_look(), None);
    }

    #[test]
    fn a_look_that_somebody_asked_for_does_not_replace_the_first_one() {
        let mut queues = Unaccepted::default();
        queues.begin(at(0));
        queues.note(at(1), clients(&[]));
        assert_eq!(queues.next_look(), Some(at(5)));
        queues.note(at(5), clients(&[]));
        assert_eq!(queues.next_look(), None);
    }

    #[test]
    fn one_look_is_under_way_and_its_end_sets_the_next() {
        let mut queues = Unaccepted::default();
        queues.begin(at(0));
        // Somebody asks for the status.
        assert!(queues.begin_look(at(4)));
        assert_eq!(queues.next_look(), Some(at(5)));
        // A deadline that has fired is cleared, or the loop would spin.
        assert!(!queues.begin_look(at(5)));
        assert_eq!(queues.next_look(), None);
        queues.end_look();
        queues.note(at(6), clients(&[1]));
        assert_eq!(queues.next_look(), Some(at(7)));
        assert!(queues.begin_look(at(7)));
    }
}
