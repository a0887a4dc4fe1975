//! `/proc/net`: who holds an address, and who waits there. It may be long, so it is read only when an address is taken, or its
//! queue is not empty.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use gin_shared::listen::Address;
use gin_shared::process::{self, OpenFile};

/// TCP_LISTEN in the kernel's `st` column.
const LISTEN: &str = "0A";
/// The state of a UDP socket that is bound alone.
const UNCONNECTED: &str = "07";

struct Row {
    local: SocketAddr,
    inode: u64,
}

/// The process that holds `address`, in words: "pid 812 (nginx)"; `None` if it cannot be seen.
#[must_use]
pub fn holder(address: &Address) -> Option<String> {
    let inodes: HashSet<u64> = match address {
        Address::Tcp(wanted) => {
            listening().into_iter().filter(|row| overlaps(row.local, *wanted)).map(|row| row.inode).collect()
        }
        Address::Udp(wanted) => {
            let rows = rows(["/proc/self/net/udp", "/proc/self/net/udp6"], UNCONNECTED);
            rows.into_iter().filter(|row| overlaps(row.local, *wanted)).map(|row| row.inode).collect()
        }
        Address::Unix(path) => unix_inodes(path),
    };
    let has = |file: OpenFile| file.socket().is_some_and(|inode| inodes.contains(&inode));
    let holds = |pid: &i32| process::open_files(*pid).is_ok_and(|mut files| files.any(has));
    // The master before its workers: parents have the smaller PIDs, mostly.
    let pid = process::all().filter(holds).min()?;
    Some(format!("pid {pid} ({})", process::name(pid)))
}

/// The states of a connection that waits to be accepted: TCP_ESTABLISHED, and TCP_CLOSE_WAIT if its client has hung up.
const WAITING: [&str; 2] = ["01", "08"];

/// The same of a Unix socket: the kernel calls it SS_CONNECTING until a process has accepted it.
const CONNECTING: &str = "02";

/// The clients at `address` whom no process has accepted: their connections have no inode yet. Each has the name that the
/// kernel's table gives it. Nobody for UDP, nor where the kernel hides the names (`kernel.kptr_restrict`, of Unix sockets).
#[must_use]
pub fn waiting(address: &Address) -> HashSet<String> {
    match address {
        Address::Tcp(address) => {
            names(&["/proc/self/net/tcp", "/proc/self/net/tcp6"], |columns| waiting_tcp(columns, *address))
        }
        Address::Unix(path) => names(&["/proc/self/net/unix"], |columns| waiting_unix(columns, path)),
        Address::Udp(_) => HashSet::new(),
    }
}

/// A table's text. Any user of the machine can put bytes into it that are no text: the name of a Unix socket.
fn read(table: &str) -> String {
    String::from_utf8_lossy(&fs::read(table).unwrap_or_default()).into_owned()
}

/// The names that `parse` finds in the rows of these tables.
fn names(tables: &[&str], parse: impl Fn(&[&str]) -> Option<String>) -> HashSet<String> {
    let mut names = HashSet::new();
    for table in tables {
        let text = read(table);
        let rows = text.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        names.extend(rows.filter_map(|columns| parse(&columns)));
    }
    names
}

fn waiting_tcp(columns: &[&str], address: SocketAddr) -> Option<String> {
    let waits = WAITING.contains(columns.get(3)?) && *columns.get(9)? == "0";
    (waits && overlaps(parse_address(columns[1])?, address)).then(|| columns[2].to_owned())
}

fn waiting_unix(columns: &[&str], path: &Path) -> Option<String> {
    let waits = *columns.get(5)? == CONNECTING && *columns.get(6)? == "0";
    let is_meant = waits && Path::new(columns.get(7)?) == path;
    // A name of zeros is hidden.
    (is_meant && columns[0].trim_end_matches(':').contains(|digit: char| digit != '0')).then(|| columns[0].to_owned())
}

fn overlaps(held: SocketAddr, wanted: SocketAddr) -> bool {
    held.port() == wanted.port()
        && (held.ip() == wanted.ip() || held.ip().is_unspecified() || wanted.ip().is_unspecified())
}

fn listening() -> Vec<Row> {
    rows(["/proc/self/net/tcp", "/proc/self/net/tcp6"], LISTEN)
}

fn rows(tables: [&str; 2], state: &str) -> Vec<Row> {
    let of_table = |name| read(name).lines().skip(1).filter_map(|line| parse_row(line, state)).collect::<Vec<_>>();
    tables.into_iter().flat_map(of_table).collect()
}

fn parse_row(line: &str, state: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    if columns.get(3) != Some(&state) {
        return None;
    }
    Some(Row { local: parse_address(columns[1])?, inode: columns.get(9)?.parse().ok()? })
}

fn parse_address(hex: &str) -> Option<SocketAddr> {
    let (host, port) = hex.split_once(':')?;
    Some(SocketAddr::new(parse_ip(host)?, u16::from_str_radix(port, 16).ok()?))
}

/// Addresses stand there as 32-bit words in the machine's own byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = (0..hex.len() / 8)
        .map(|n| u32::from_str_radix(&hex[n * 8..n * 8 + 8], 16).map(u32::to_ne_bytes))
        .collect::<Result<_, _>>()
        .ok()?;
    match *words.as_slice() {
        [v4] => Some(Ipv4Addr::from(v4).into()),
        [a, b, c, d] => {
            let bytes: [u8; 16] = [a, b, c, d].concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

fn unix_inodes(path: &Path) -> HashSet<u64> {
    let table = read("/proc/self/net/unix");
    let wanted = path.to_string_lossy();
    let rows = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        (columns.get(7) == Some(&wanted.as_ref())).then(|| columns[6].parse().ok()).flatten()
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_until_it_is_accepted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let waits = waiting(&Address::Tcp(address));
        let parsed: Vec<SocketAddr> = waits.iter().filter_map(|hex| parse_address(hex)).collect();
        assert_eq!(parsed, [client.local_addr().unwrap()]);
        let _accepted = listener.accept().unwrap();
        assert!(waiting(&Address::Tcp(address)).is_empty());
    }

    #[test]
    fn a_client_of_a_unix_socket_waits_until_it_is_accepted() {
        let path = std::env::temp_dir().join(format!("gin-waiting-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let address = Address::Unix(path.clone());
        let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _first = connect();
        let before = waiting(&address);
        // Who has hung up waits, too.
        drop(connect());
        let both = waiting(&address);
        let _accepted = listener.accept().unwrap();
        let after = waiting(&address);
        fs::remove_file(&path).unwrap();
        assert_eq!([before.len(), both.len(), after.len()], [1, 2, 1]);
        assert!(before.is_subset(&both) && before.is_disjoint(&after), "{before:?} {both:?} {after:?}");
    }

    #[test]
    fn a_name_that_is_no_text_hides_nobody() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
        let name = [&b"\xff gin"[..], &std::process::id().to_ne_bytes()].concat();
        let _strange = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        let path = std::env::temp_dir().join(format!("gin-strange-{}", std::process::id()));
        let _listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let (waits, inodes) = (waiting(&Address::Unix(path.clone())), unix_inodes(&path));
        fs::remove_file(&path).unwrap();
        assert_eq!(waits.len(), 1);
        assert!(!inodes.is_empty());
    }

    #[test]
    fn a_name_that_the_kernel_hides_is_nobodys() {
        let row = |name| [name, "00000002", "00000000", "00000000", "0001", "02", "0", "/run/a.sock"];
        let path = Path::new("/run/a.sock");
        assert_eq!(waiting_unix(&row("0000000000000000:"), path), None);
        assert_eq!(waiting_unix(&row("00000000b5d57507:"), path), Some("00000000b5d57507:".to_owned()));
        assert_eq!(waiting_unix(&row("00000000b5d57507:"), Path::new("/run/b.sock")), None);
    }

    #[test]
    fn who_listens_is_found() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(host) else { continue };
            let address = listener.local_addr().unwrap();
            let me = format!("pid {} (", std::process::id());
            assert!(holder(&Address::Tcp(address)).unwrap().starts_with(&me));
        }
    }
}
