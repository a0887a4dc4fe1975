//! Giver and taker, every way that it can go: either may fall silent, be stopped, give up or die between any two steps, and the giver's
//! reading of the taker's answers may end in an error.
//!
//! A connection is served by a worker that lives and has it. What must hold in every state that can be reached: none is served
//! by both, nor by one after the other in the order of an old copy; and when nothing is on its way any more, each is served by somebody,
//! unless the one that had it in hand is dead. With keys, the first holds in doubt, too, and a connection in doubt is closed; without
//! them, the second does.

use std::collections::{HashSet, VecDeque};

use super::{FromTaker, Giver};

type Connection = u8;

/// The kernel's part: one direction of the socket pair.
type Queue<M> = VecDeque<M>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Taking {
    /// `hello` or `took`, short enough to compare.
    Hello,
    Took(u64, usize),
}

/// Progress of the giver in taking back its offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Withdrawal {
    No,
    /// Has said so by its eventfd.
    Marked,
    /// Could not write to it.
    Unmarked,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// True if the connections have keys.
    keyed: bool,
    /// True if the taker got an eventfd with the hello.
    has_eventfd: bool,
    giver: Giver<Connection>,
    giver_lives: bool,
    /// Serves on: not offered yet, or its own again.
    keeps: Vec<Connection>,
    /// Has called shutdown(2).
    shut: bool,
    withdrawal: Withdrawal,
    /// An answer was lost, or not understood: the giver does not know what the taker has.
    garbled: bool,
    /// Has read to the end.
    over: bool,
    to_taker: Queue<(u64, Vec<Connection>)>,
    to_giver: Queue<Taking>,
    taker_lives: bool,
    /// The commit of these could not be sent, and the taker has not looked why: it may be stopped here for long.
    unsent: Option<(usize, Vec<Connection>)>,
    serves: Vec<Connection>,
    /// Connections that somebody had in hand when it died, or closed in doubt.
    buried: Vec<Connection>,
    /// Connections that the giver has written to after their offer, and the taker after its commit: under keys that both have had.
    giver_wrote: Vec<Connection>,
    taker_wrote: Vec<Connection>,
}

const ALL: [Connection; 4] = [0, 1, 2, 3];

impl World {
    fn start(keyed: bool, has_eventfd: bool) -> Self {
        Self {
            keyed,
            has_eventfd,
            giver: Giver::default(),
            giver_lives: true,
            keeps: ALL.to_vec(),
            shut: false,
            withdrawal: Withdrawal::No,
            garbled: false,
            over: false,
            to_taker: Queue::new(),
            to_giver: Queue::from([Taking::Hello]),
            taker_lives: true,
            unsent: None,
            serves: Vec::new(),
            buried: Vec::new(),
            giver_wrote: Vec::new(),
            taker_wrote: Vec::new(),
        }
    }

    /// True if the giver cannot know what the taker has, or the taker what the giver has.
    fn is_doubtful(&self) -> bool {
        self.garbled || self.withdrawal == Withdrawal::Unmarked || !self.has_eventfd
    }

    /// True if the taker, looking now, would know that the giver has not taken back what it offered.
    fn is_orphan(&self) -> bool {
        let is_withdrawn = self.has_eventfd && self.withdrawal == Withdrawal::Marked;
        !self.giver_lives && !is_withdrawn && (self.has_eventfd || !self.keyed)
    }

    /// Every state that can come next.
    fn steps(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut step = |change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            next.push(world);
        };
        if self.giver_lives {
            step(&Self::giver_dies);
            if !self.shut {
                // A send to somebody dead fails, and is like giving up.
                step(&|world| world.shut = true);
                for count in 1..=2.min(self.keeps.len()) {
                    if self.giver.has_room() && self.taker_lives {
                        step(&move |world| {
                            let batch: Vec<Connection> = world.keeps.drain(..count).collect();
                            world.to_taker.push_back((world.giver.next_batch(), batch.clone()));
                            world.giver.offered(batch);
                        });
                    }
                }
            }
            if !self.over && !self.to_giver.is_empty() {
                step(&Self::hear);
                step(&|world| {
                    world.to_giver.pop_front();
                    (world.garbled, world.shut) = (true, true);
                });
            }
            if self.shut && self.withdrawal == Withdrawal::No {
                step(&|world| world.withdrawal = Withdrawal::Marked);
                step(&|world| world.withdrawal = Withdrawal::Unmarked);
            }
            if self.withdrawal != Withdrawal::No && !self.over && self.to_giver.is_empty() {
                step(&Self::take_back);
            }
        }
        if self.taker_lives {
            step(&|world| {
                world.taker_lives = false;
                world.to_taker.clear();
                world.unsent = None;
                world.buried.append(&mut world.serves);
            });
            if self.unsent.is_some() {
                step(&Self::look);
            } else if let Some((_, offered)) = self.to_taker.front() {
                // Descriptors that are in the queue are delivered though the giver has shut it down, or is dead.
                for count in 0..=offered.len() {
                    step(&move |world| world.take(count));
                }
            }
        }
        next
    }

    fn giver_dies(&mut self) {
        let is_orphan = Self { giver_lives: false, ..self.clone() }.is_orphan();
        self.giver_lives = false;
        self.buried.append(&mut self.keeps);
        // What the taker will not keep is lost with the giver, whatever of it is still on its way.
        let unsent = self.unsent.iter().flat_map(|(count, all)| all[..*count].to_vec());
        let on_its_way: Vec<Connection> = match is_orphan {
            true => self.to_taker.iter().flat_map(|(_, all)| all.clone()).chain(unsent).collect(),
            false => Vec::new(),
        };
        let offered = self.giver.end();
        let mine = offered.into_iter().filter(|c| !on_its_way.contains(c) && !self.serves.contains(c));
        let mine: Vec<Connection> = mine.filter(|c| !self.buried.contains(c)).collect();
        self.buried.extend(mine);
    }

    fn hear(&mut self) {
        let message = match self.to_giver.pop_front() {
            Some(Taking::Took(batch, count)) => FromTaker::Took { batch, count },
            Some(Taking::Hello) => FromTaker::Hello { version: 1, takes: Vec::new() },
            None => return,
        };
        match self.giver.heard(&message) {
            Ok((_, stay)) => {
                // Refused: the taker has dropped its copies unread.
                self.keeps.extend(stay);
            }
            Err(_) => {
                assert!(self.garbled, "this taker tells the truth");
                self.to_giver.clear();
                self.shut = true;
            }
        }
    }

    /// The giver has read to the end: what has no answer is its own again, unless that is in doubt.
    fn take_back(&mut self) {
        self.over = true;
        let back = self.giver.end();
        let is_certain = !self.garbled && self.withdrawal == Withdrawal::Marked;
        if self.keyed && !is_certain {
            let lost = back.into_iter().filter(|c| !self.serves.contains(c) && !self.buried.contains(c));
            let lost: Vec<Connection> = lost.collect();
            self.buried.extend(lost);
        } else {
            self.giver_wrote.extend(&back);
            self.keeps.extend(back);
        }
    }

    fn take(&mut self, count: usize) {
        let Some((batch, mut offered)) = self.to_taker.pop_front() else { return };
        if !self.shut && self.giver_lives {
            self.to_giver.push_back(Taking::Took(batch, count));
            self.serve(&offered[..count]);
        } else {
            // There is no room for the others, and nobody hears it.
            let rest = offered.split_off(count);
            if self.is_orphan() {
                self.buried.extend(rest);
            }
            self.unsent = Some((count, offered));
        }
    }

    /// EPIPE: the taker looks whether the giver is dead, and then whether it had taken back what it offered.
    fn look(&mut self) {
        let Some((_, offered)) = self.unsent.take() else { return };
        if self.is_orphan() {
            // Nobody else has them.
            self.serve(&offered);
        }
        // Else the giver has them back, or had when it died: the copies are closed.
    }

    fn serve(&mut self, connections: &[Connection]) {
        self.serves.extend(connections);
        self.taker_wrote.extend(connections);
    }

    fn check(&self) {
        let may_be_two = self.is_doubtful() && !self.keyed;
        for connection in ALL.iter().filter(|_| !may_be_two) {
            let copies = self.keeps.iter().chain(&self.serves).filter(|served| *served == connection).count();
            assert!(copies <= 1, "{connection} is served twice: {self:?}");
            let both = self.giver_wrote.contains(connection) && self.taker_wrote.contains(connection);
            assert!(!both, "both have written to {connection}: {self:?}");
        }
        let heard = !self.giver_lives || self.over;
        let taken = !self.taker_lives || (self.to_taker.is_empty() && self.unsent.is_none());
        if heard && taken && (self.giver_lives || self.taker_lives) {
            for connection in &ALL {
                let somewhere = [&self.keeps, &self.serves, &self.buried].iter().any(|all| all.contains(connection));
                assert!(somewhere, "{connection} is served by nobody: {self:?}");
            }
        }
    }
}

/// Looks at every state that can be reached.
fn walk(keyed: bool, has_eventfd: bool) -> HashSet<World> {
    let start = World::start(keyed, has_eventfd);
    let mut seen = HashSet::from([start.clone()]);
    let mut ahead = vec![start];
    while let Some(world) = ahead.pop() {
        world.check();
        ahead.extend(world.steps().into_iter().filter(|next| seen.insert(next.clone())));
    }
    println!("keyed: {keyed}, eventfd: {has_eventfd}: {} states", seen.len());
    seen
}

#[test]
fn no_connection_is_served_by_both_and_none_by_nobody() {
    for (keyed, has_eventfd) in [(false, true), (true, true), (false, false), (true, false)] {
        let seen = walk(keyed, has_eventfd);
        assert!(seen.len() > 1000, "{}", seen.len());
        assert!(seen.iter().any(|world| world.serves.len() == ALL.len()), "all can be handed over");
        let is_back = |world: &&World| world.over && world.keeps.len() == ALL.len() && !world.giver_wrote.is_empty();
        assert!(seen.iter().any(|world| is_back(&world) && !world.garbled), "all can stay");
        let restored = seen.iter().filter(is_back).any(|world| world.garbled && !world.taker_wrote.is_empty());
        assert_eq!(restored, !keyed, "in doubt a connection is restored, but not one with keys");
        let orphan = seen.iter().any(|world| !world.giver_lives && world.unsent.is_none() && !world.serves.is_empty());
        assert!(orphan, "a dead giver's connections are served on");
    }
}
