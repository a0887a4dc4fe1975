//! `gin-ctl migrate`

use gin_shared::exit;
use gin_shared::migration::{Direction, Order};

use crate::cli::{Migrate, MigrateWhat};
use crate::failure::Failure;

/// The order, and the instance: a word that is no number names it.
///
/// # Errors
/// If the number makes no sense.
pub(super) fn read(asked: Migrate) -> Result<(Order, Option<String>), Failure> {
    let direction = match asked.what {
        MigrateWhat::Status => Direction::Status,
        MigrateWhat::Up => Direction::Up,
        MigrateWhat::Down => Direction::Down,
    };
    let wrong = |text: String| Failure::new(exit::USAGE, text);
    let number = asked.number.as_deref().and_then(|number| number.parse::<u32>().ok());
    let (count, instance) = match (number, asked.number, asked.instance) {
        (Some(count), _, instance) => (Some(count), instance),
        (None, Some(word), Some(_)) => return Err(wrong(format!("\"{word}\" is no number of migrations"))),
        (None, name, None) => (None, name),
        (None, None, instance) => (None, instance),
    };
    let order = Order { direction, count }.checked().map_err(|error| wrong(error.to_string()))?;
    Ok((order, instance))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read_line(args: &[&str]) -> Result<(String, Option<String>), u8> {
        match Cli::try_parse_from(["gin-ctl", "migrate"].iter().chain(args)).unwrap().command {
            Command::Migrate(asked) => match read(asked) {
                Ok((order, instance)) => Ok((order.to_string(), instance)),
                Err(failure) => Err(failure.exit),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_number_of_migrations_and_the_instance_may_each_be_left_out() {
        let said = |order: &str, instance: Option<&str>| Ok((order.to_owned(), instance.map(str::to_owned)));
        assert_eq!(read_line(&["status"]), said("status", None));
        assert_eq!(read_line(&["up", "shop"]), said("up", Some("shop")));
        assert_eq!(read_line(&["down", "2"]), said("down 2", None));
        assert_eq!(read_line(&["down", "2", "shop"]), said("down 2", Some("shop")));
        for wrong in [&["up", "0"] as &[&str], &["status", "1"], &["up", "two", "shop"]] {
            assert_eq!(read_line(wrong), Err(exit::USAGE), "{wrong:?}");
        }
    }
}
