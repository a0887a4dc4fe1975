//! The outcome of an order, for people.

use std::fmt;

use super::journal::Journal;
use super::mark;

/// Applied migrations that are told one by one; of earlier ones only their number.
const SHOWN: usize = 50;

/// All migrations, with their state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    rows: Vec<(String, State)>,
    /// True if a migration runs without a transaction, or has ended half way.
    pub(crate) is_marked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// At this second since 1970.
    Applied(i64),
    Pending,
    /// It has a mark, and this process has no lock.
    UnderWay,
    /// The same of a migration of another version.
    UnderWayElsewhere,
    /// Applied at this second, by a newer version.
    Unknown(i64),
}

impl Report {
    pub(super) fn of(journal: &Journal) -> Self {
        let marked = journal.mark.as_ref().map(|mark| mark.name.as_str());
        let state = |name: &str| match (marked == Some(name), journal.applied_at(name)) {
            (true, _) => State::UnderWay,
            (false, Some(at)) => State::Applied(at),
            (false, None) => State::Pending,
        };
        let known = journal.known.iter().map(|name| (name.clone(), state(name)));
        let elsewhere = journal.foreign_mark().map(|mark| mark.name.clone());
        let is_told = |name: &String| journal.known.contains(name) || elsewhere.as_ref() == Some(name);
        let unknown = journal.applied.iter().filter(|(name, _)| !is_told(name));
        let unknown = unknown.map(|(name, at)| (name.clone(), State::Unknown(*at)));
        let rows = known.chain(unknown).chain(elsewhere.clone().map(|name| (name, State::UnderWayElsewhere))).collect();
        Self { rows, is_marked: marked.is_some() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return f.write_str("there are no migrations");
        }
        let applied = self.rows.iter().take_while(|(_, state)| matches!(state, State::Applied(_))).count();
        let left_out = applied.saturating_sub(SHOWN);
        if left_out > 0 {
            writeln!(f, "{left_out} earlier ones, all applied")?;
        }
        let width = self.rows[left_out..].iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (number, (name, state)) in self.rows[left_out..].iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            match state {
                State::Applied(at) => write!(f, "{name:width$}  applied   {}", mark::time(*at))?,
                State::Pending => write!(f, "{name:width$}  pending")?,
                State::UnderWay => write!(f, "{name:width$}  under way, or ended half way: \"up\" tells which")?,
                State::UnderWayElsewhere => {
                    write!(
                        f,
                        "{name:width$}  under way, or ended half way: \"up\" of the version that has it tells which"
                    )?;
                }
                State::Unknown(at) => {
                    write!(f, "{name:width$}  applied   {}, by a newer version", mark::time(*at))?;
                }
            }
        }
        Ok(())
    }
}

/// Says what was done to which migrations.
pub(super) fn done(what: &str, names: &[String]) -> String {
    match names {
        [] => format!("no migration was {what}: there was none to be"),
        [name] => format!("{what}: {name}"),
        names => format!("{what}, {} of them:\n{}", names.len(), names.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::Mark;
    use super::*;

    #[test]
    fn the_table_tells_each_state_and_not_all_that_was_ever_applied() {
        let journal = Journal {
            table: "seaql_migrations".to_owned(),
            known: ["m1", "m2_longer", "m3"].map(str::to_owned).to_vec(),
            applied: vec![("m1".to_owned(), 0), ("m9".to_owned(), 60)],
            mark: Some(Mark { name: "m2_longer".to_owned(), is_up: true, began_at: 0 }),
        };
        let report = Report::of(&journal);
        assert!(report.is_marked);
        let told = report.to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        assert_eq!(lines[0], "m1         applied   1970-01-01T00:00:00Z");
        assert!(lines[1].starts_with("m2_longer  under way"), "{told}");
        assert_eq!(lines[2], "m3         pending");
        assert_eq!(lines[3], "m9         applied   1970-01-01T00:01:00Z, by a newer version");

        let mark = Some(Mark { name: "m8".to_owned(), is_up: true, began_at: 0 });
        let report = Report::of(&Journal { mark, table: String::new(), known: Vec::new(), applied: Vec::new() });
        assert!(report.is_marked && report.to_string().starts_with("m8  under way"), "{report}");

        let known: Vec<String> = (0..200).map(|number| format!("m{number:03}")).collect();
        let applied = known.iter().take(199).map(|name| (name.clone(), 0)).collect();
        let told = Report::of(&Journal { known, applied, mark: None, ..journal }).to_string();
        assert!(told.starts_with("149 earlier ones, all applied\nm149  applied"), "{told}");
        assert!(told.ends_with("m199  pending"), "{told}");
    }
}
