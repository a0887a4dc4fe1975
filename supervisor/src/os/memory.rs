//! How much memory a worker's processes hold, as `/proc` shows it.

use std::collections::HashMap;
use std::fs;

/// Resident memory in bytes, by session: each worker leads a session of its own, which its children are in.
///
/// Pages that several processes share are counted for each.
#[must_use]
pub fn by_session() -> HashMap<i32, u64> {
    let page = rustix::param::page_size() as u64;
    let mut sessions: HashMap<i32, u64> = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return sessions };
    for entry in processes.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        if let Some((session, pages)) = fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(parse) {
            *sessions.entry(session).or_default() += pages * page;
        }
    }
    sessions
}

/// Session (field 6) and resident pages (field 24), counted behind the name in parentheses (proc_pid_stat(5)).
fn parse(stat: &str) -> Option<(i32, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let session = fields.nth(3)?.parse().ok()?;
    let pages = fields.nth(17)?.parse().ok()?;
    Some((session, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_session_holds_something() {
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let own: u64 = own.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(by_session()[&session] / 1024 >= own / 2, "{own} kB");
    }
}
