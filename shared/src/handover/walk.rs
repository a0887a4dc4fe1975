//! Giver and taker, every way that it can go: either may fall silent, give up or die between any two steps.
//!
//! A connection is served by a worker that lives and has it. What must hold in every state that can be reached: none is served
//! by both; and when nothing is on its way any more, each is served by somebody, unless the one that had it in hand is dead.

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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    giver: Giver<Connection>,
    giver_lives: bool,
    /// Serves on: not offered yet, or its own again.
    keeps: Vec<Connection>,
    /// Has called shutdown(2).
    shut: bool,
    /// Has said by its eventfd that it takes back what has no answer.
    withdrawn: bool,
    /// Has read to the end.
    over: bool,
    to_taker: Queue<(u64, Vec<Connection>)>,
    to_giver: Queue<Taking>,
    taker_lives: bool,
    serves: Vec<Connection>,
    /// What somebody had in hand when it died: lost with it.
    buried: Vec<Connection>,
    /// What the giver has served after it was offered: an older copy of it must never be served.
    gone_on: Vec<Connection>,
}

const ALL: [Connection; 4] = [0, 1, 2, 3];

impl World {
    fn start() -> Self {
        Self {
            giver: Giver::default(),
            giver_lives: true,
            keeps: ALL.to_vec(),
            shut: false,
            withdrawn: false,
            over: false,
            to_taker: Queue::new(),
            to_giver: Queue::from([Taking::Hello]),
            taker_lives: true,
            serves: Vec::new(),
            buried: Vec::new(),
            gone_on: Vec::new(),
        }
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
            step(&|world| {
                world.giver_lives = false;
                world.buried.append(&mut world.keeps);
                // What it has withdrawn is lost with it, whatever of it is still on its way.
                let on_its_way: Vec<Connection> = match world.withdrawn {
                    true => Vec::new(),
                    false => world.to_taker.iter().flat_map(|(_, all)| all.clone()).collect(),
                };
                let offered = world.giver.end();
                let mine = offered.into_iter().filter(|c| !on_its_way.contains(c) && !world.serves.contains(c));
                let mine: Vec<Connection> = mine.filter(|c| !world.buried.contains(c)).collect();
                world.buried.extend(mine);
            });
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
            }
            if self.shut && !self.withdrawn {
                step(&|world| world.withdrawn = true);
            }
            if self.withdrawn && !self.over && self.to_giver.is_empty() {
                step(&|world| {
                    world.over = true;
                    let back = world.giver.end();
                    world.gone_on.extend(&back);
                    world.keeps.extend(back);
                });
            }
        }
        if self.taker_lives {
            step(&|world| {
                world.taker_lives = false;
                world.to_taker.clear();
                world.buried.append(&mut world.serves);
            });
            // Descriptors that are in the queue are delivered though the giver has shut it down, or is dead.
            if let Some((_, offered)) = self.to_taker.front() {
                for count in 0..=offered.len() {
                    step(&move |world| world.take(count));
                }
            }
        }
        next
    }

    fn hear(&mut self) {
        let message = match self.to_giver.pop_front() {
            Some(Taking::Took(batch, count)) => FromTaker::Took { batch, count },
            Some(Taking::Hello) => FromTaker::Hello { version: 1, takes: Vec::new() },
            None => return,
        };
        let (_, stay) = self.giver.heard(&message).expect("this taker tells the truth");
        self.keeps.extend(stay);
    }

    fn take(&mut self, count: usize) {
        let Some((batch, offered)) = self.to_taker.pop_front() else { return };
        if !self.giver_lives && !self.withdrawn {
            // EPIPE, its pidfd says that it is dead, and its eventfd that it had not taken them back: nobody else has them.
            self.serves.extend(&offered[..count]);
            self.buried.extend(&offered[count..]);
        } else if !self.shut {
            self.to_giver.push_back(Taking::Took(batch, count));
            self.serves.extend(&offered[..count]);
        }
        // EPIPE, and it has them back, or had when it died: the copies are closed.
    }

    fn check(&self) {
        for connection in &ALL {
            let copies = self.keeps.iter().chain(&self.serves).filter(|served| *served == connection).count();
            assert!(copies <= 1, "{connection} is served twice: {self:?}");
            let old = self.serves.contains(connection) && self.gone_on.contains(connection);
            assert!(!old, "an old copy of {connection} is served: {self:?}");
        }
        let heard = !self.giver_lives || self.over;
        let taken = !self.taker_lives || self.to_taker.is_empty();
        if heard && taken && (self.giver_lives || self.taker_lives) {
            for connection in &ALL {
                let somewhere = [&self.keeps, &self.serves, &self.buried].iter().any(|all| all.contains(connection));
                assert!(somewhere, "{connection} is served by nobody: {self:?}");
            }
        }
    }
}

#[test]
fn no_connection_is_served_by_both_and_none_by_nobody() {
    let mut seen = HashSet::from([World::start()]);
    let mut ahead = vec![World::start()];
    while let Some(world) = ahead.pop() {
        world.check();
        ahead.extend(world.steps().into_iter().filter(|next| seen.insert(next.clone())));
    }
    println!("{} states", seen.len());
    assert!(seen.len() > 1000, "{}", seen.len());
    assert!(seen.iter().any(|world| world.serves.len() == ALL.len()), "all can be handed over");
    assert!(seen.iter().any(|world| world.over && world.keeps.len() == ALL.len()), "all can stay");
}
