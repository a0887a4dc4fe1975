//! The reason of a failure, with advice where the worker's last words ask for it.

use gin_shared::address_in_use;

use crate::machine::failure::Failure;

/// The failure in a sentence. `said`: the last words of the worker.
#[must_use]
pub fn reason(failure: &Failure, said: &[String]) -> String {
    match failure {
        Failure::Exited { .. } if address_in_use::is_told(said) => format!("{failure}; {}", address_in_use::HINT),
        _ => failure.to_string(),
    }
}
