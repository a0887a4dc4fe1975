//! Orders by which workers share their load.

use super::Workers;
use super::process::Process;
use crate::balance::{self, Load, Move, moves};
use crate::machine::Machine;
use crate::machine::generation::Run;
use crate::moment::Moment;
use crate::os::time;

impl Workers {
    /// Has workers of the current generation that have many connections give some to those that have few. Other generations are about to
    /// leave, or to become the current one. Returns the moment at which to call this again, if nobody reports before.
    pub fn balance(&self, machine: &Machine) -> Option<Moment> {
        let now = time::now();
        for Move { from, to, count } in moves(now, &self.loads(machine)) {
            let Some(giver) = self.processes.get(&from) else { continue };
            // Each move's sockets are closed when it is sent.
            self.spare.reserve.borrow_mut().lend();
            giver.share(count, &self.processes_of(&to));
            self.spare.reserve.borrow_mut().fill();
        }
        // The moves have begun pauses. One that has ended since `now` was seen as a pause: it is looked at again, too.
        balance::next(now, &self.loads(machine))
    }

    /// Loads of the workers that share.
    fn loads(&self, machine: &Machine) -> Vec<Load> {
        let workers = machine.current().into_iter().flat_map(Run::workers).filter(|worker| worker.is_serving());
        workers.filter_map(|worker| self.get(worker.id)?.load()).collect()
    }

    /// Tells the workers that serve how many there are, if that has changed. `shares`: false if they are not to share their load, as if each
    /// were alone.
    pub fn tell_peers(&self, machine: &Machine, shares: bool) {
        let serving = machine.runs().flat_map(Run::workers).filter(|worker| worker.is_serving());
        let serving: Vec<&Process> = serving.filter_map(|worker| self.get(worker.id)).collect();
        let peers = if shares { u32::try_from(serving.len()).unwrap_or(u32::MAX) } else { 1 };
        serving.into_iter().for_each(|process| process.tell_peers(peers));
    }
}
