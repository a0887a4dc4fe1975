//! Orders for a program to migrate its database instead of to serve: the words that gin-ctl, the master and the program share.
//!
//! The master starts the workers' program with the order in `GIN_MIGRATE` ([`crate::inherit::GIN_MIGRATE`]). The program says
//! [`greeting`] on its standard output as soon as it has understood, does what it is told, prints the outcome, and ends. A program that
//! knows nothing of the order says no greeting, and is ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Action on the migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Tell which are applied.
    Status,
    /// Apply those that are pending.
    Up,
    /// Take applied ones back, the last one first.
    Down,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Status, Self::Up, Self::Down];

    /// The word in an order.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Body of `POST /v1/migrate`; as text (`up 2`) the value of `GIN_MIGRATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The action that the order asks for.
    pub direction: Direction,
    /// Number of migrations, 1 at least; without a number `up` means all and `down` one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// An order that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no order for migrations; it must be status, up, up N, down or down N, N 1 at least")]
pub struct WrongOrder(String);

impl Order {
    /// The order, if its number makes sense.
    ///
    /// # Errors
    /// If it has a number that is 0, or one for `status`.
    pub fn checked(self) -> Result<Self, WrongOrder> {
        match (self.direction, self.count) {
            (Direction::Status, Some(_)) | (_, Some(0)) => Err(WrongOrder(self.to_string())),
            (_, _) => Ok(self),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.direction.word())?;
        self.count.map_or(Ok(()), |count| write!(f, " {count}"))
    }
}

impl FromStr for Order {
    type Err = WrongOrder;

    fn from_str(text: &str) -> Result<Self, WrongOrder> {
        let wrong = || WrongOrder(text.to_owned());
        let mut words = text.split_whitespace();
        let word = words.next().ok_or_else(wrong)?;
        let direction = Direction::ALL.into_iter().find(|direction| direction.word() == word).ok_or_else(wrong)?;
        let count = words.next().map(|number| number.parse().map_err(|_| wrong())).transpose()?;
        if words.next().is_some() {
            return Err(wrong());
        }
        Self { direction, count }.checked()
    }
}

/// The first line of a program that has understood its order.
#[must_use]
pub fn greeting(order: Order) -> String {
    format!("migrate: {order}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_is_written_and_what_makes_no_sense_is_refused() {
        for text in ["status", "up", "up 2", "down", "down 10"] {
            let order: Order = text.parse().unwrap();
            assert_eq!(order.to_string(), text);
            assert_eq!(serde_json::from_str::<Order>(&serde_json::to_string(&order).unwrap()).unwrap(), order);
        }
        for text in ["", "upp", "up 0", "up -1", "down x", "status 1", "up 1 2", "up 99999999999"] {
            assert!(text.parse::<Order>().is_err(), "{text:?}");
        }
    }
}
