//! Rounds of reading: everything that workers have said is read before a deadline is judged.

use super::Workers;
use crate::inbox::Message;
use crate::inbox::reading::Round;
use crate::moment::Moment;

impl Workers {
    /// The moment up to which deadlines can be judged, if `deadline` is due at `now` and everything that came before was
    /// read. Else a round of reading begins, and the caller asks again when it is over.
    pub fn read_for(&mut self, now: Moment, deadline: Option<Moment>) -> Option<Moment> {
        if let Some((round, began)) = self.reading.take() {
            if !round.is_over() {
                self.reading = Some((round, began));
                return None;
            }
            if deadline.is_some_and(|at| at <= began) {
                return Some(began);
            }
        }
        let round = deadline.filter(|at| *at <= now).map(|_| Round::default())?;
        self.processes.values().for_each(|process| process.reader.ask(round.clone()));
        self.gates.values().for_each(|gate| gate.reader().ask(round.clone()));
        // What stands in the inbox already comes first. If it is full, so are the ways of everybody who was asked.
        let _ = self.inbox.try_send(Message::Read(round.clone()));
        self.reading = Some((round, now));
        None
    }

    /// True while a round of reading is under way.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Waits until somebody has read everything, if a round is under way.
    pub async fn has_read(&self) {
        match &self.reading {
            Some((round, _)) => round.returned().await,
            None => std::future::pending().await,
        }
    }
}
