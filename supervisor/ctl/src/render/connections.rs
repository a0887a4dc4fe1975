//! How many clients a worker of any language is connected to: its sockets, looked up among the system's connections.

use std::collections::HashSet;
use std::fs;

use gin_shared::listen::Address;
use gin_shared::process;

/// Connections established at the listeners, by inode.
#[derive(Debug)]
pub struct Connections(HashSet<u64>);

impl Connections {
    /// Those at these addresses, now.
    #[must_use]
    pub fn at(addresses: &[String]) -> Self {
        let parsed: Vec<Address> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let mut inodes = HashSet::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            inodes.extend(rows(table).iter().filter_map(|row| tcp(row, &parsed)));
        }
        inodes.extend(rows("/proc/net/unix").iter().filter_map(|row| unix(row, &parsed)));
        Self(inodes)
    }

    /// Number of them that the processes of a worker have, each once; `None` if none of these can be looked into.
    #[must_use]
    pub fn of(&self, pids: &[i32]) -> Option<usize> {
        let mut looked: Vec<_> = pids.iter().filter_map(|pid| process::open_files(*pid).ok()).collect();
        let sockets = looked.iter_mut().flatten().filter_map(|file| file.socket());
        let ours: HashSet<u64> = sockets.filter(|inode| self.0.contains(inode)).collect();
        (!looked.is_empty()).then_some(ours.len())
    }
}

fn rows(path: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().skip(1).map(|line| line.split_ascii_whitespace().map(str::to_owned).collect()).collect()
}

/// Established (01), with the listener's port on our side.
fn tcp(row: &[String], addresses: &[Address]) -> Option<u64> {
    let port = u16::from_str_radix(row.get(1)?.rsplit_once(':')?.1, 16).ok()?;
    let ours = addresses.iter().any(|address| matches!(address, Address::Tcp(tcp) if tcp.port() == port));
    (ours && row.get(3)? == "01").then(|| row.get(9)?.parse().ok()).flatten()
}

/// Connected (03), with the listener's path.
fn unix(row: &[String], addresses: &[Address]) -> Option<u64> {
    let path = row.get(7)?;
    let ours = addresses.iter().any(|address| matches!(address, Address::Unix(unix) if unix.to_str() == Some(path)));
    (ours && row.get(5)? == "03").then(|| row.get(6)?.parse().ok()).flatten()
}
