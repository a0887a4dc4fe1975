//! PROXY protocol, versions 1 and 2: the client's address in front of the first bytes of a connection, as a balancer sends it.
//!
//! | version | header | the client's address |
//! |---|---|---|
//! | 1 | one line of text, at most 107 bytes: `PROXY TCP4 192.0.2.1 10.0.0.1 49152 443`, CR, LF | the first of the two addresses, with the first of the two ports |
//! | 1 | `PROXY UNKNOWN`, with anything up to the end of the line | not told |
//! | 2 | 12 bytes of signature, command, family, length, addresses, at most 536 bytes with what follows the addresses | the first address, with the first port |
//! | 2 | command LOCAL, or a family without addresses of IP | not told: the balancer asks for itself, or its client has none |
//!
//! All bytes of a header that is not whole belong to it: nothing of the protocol behind it is among them. So whoever reads may take them out
//! of the socket, and wait for more. Pure: reading is `protocol`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// The longest header, in bytes.
pub(crate) const HEADER_MAX: usize = 536;

/// The longest line of version 1, without its end.
const LINE_MAX: usize = 105;
const WORD: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before its addresses.
const FIXED: usize = 16;

/// The beginning of a connection, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// All of it belongs to a header, of which more is to come.
    Incomplete,
    /// It begins with a header.
    Header {
        /// Bytes of the header.
        length: usize,
        /// The client's address. `None`: it is not told, and the socket's own counts.
        source: Option<SocketAddr>,
    },
    /// It is not the beginning of a header, for this reason.
    Wrong(&'static str),
}

/// Reads a header at the beginning of these bytes.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    if agree(bytes, SIGNATURE) {
        version_2(bytes)
    } else if agree(bytes, WORD) {
        version_1(bytes)
    } else {
        Parsed::Wrong("the connection does not begin with a PROXY header")
    }
}

/// True if the other end of a connection, at this address, is in one of these networks: its word about the client counts.
pub(crate) fn is_among(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// True if one is the beginning of the other.
fn agree(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.iter().zip(beginning).all(|(one, other)| one == other)
}

fn version_1(bytes: &[u8]) -> Parsed {
    const ENDLESS: Parsed = Parsed::Wrong("a PROXY line of more than 107 bytes");
    let Some(end) = bytes.iter().position(|byte| !matches!(byte, b' '..=b'~')) else {
        return if bytes.len() > LINE_MAX { ENDLESS } else { Parsed::Incomplete };
    };
    if end > LINE_MAX {
        return ENDLESS;
    }
    let (line, rest) = bytes.split_at(end);
    match rest {
        [b'\r'] => Parsed::Incomplete,
        [b'\r', b'\n', ..] => match source_of_line(line) {
            Some(source) => Parsed::Header { length: end + 2, source },
            None => Parsed::Wrong("a PROXY line without two addresses and two ports"),
        },
        _ => Parsed::Wrong("a PROXY line with other characters than text"),
    }
}

/// The client of a line. `None` if the line is none of version 1.
fn source_of_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    match *words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let (from, _): (Ipv4Addr, Ipv4Addr) = (from.parse().ok()?, to.parse().ok()?);
            ports(from_port, to_port).map(|port| Some((from, port).into()))
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let (from, _): (Ipv6Addr, Ipv6Addr) = (from.parse().ok()?, to.parse().ok()?);
            ports(from_port, to_port).map(|port| Some((from, port).into()))
        }
        _ => None,
    }
}

/// The client's port. `None` if one of the two is no port.
fn ports(from: &str, to: &str) -> Option<u16> {
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    port(to)?;
    port(from)
}

fn version_2(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Parsed::Incomplete };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > HEADER_MAX {
        return Parsed::Wrong("a PROXY header of more than 536 bytes");
    }
    let Some(contents) = rest.get(..length) else { return Parsed::Incomplete };
    match source_of_contents(command, family, contents) {
        Ok(source) => Parsed::Header { length: FIXED + length, source },
        Err(why) => Parsed::Wrong(why),
    }
}

fn source_of_contents(command: u8, family: u8, contents: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    const SHORT: &str = "a PROXY header that is shorter than its addresses";
    match (command, family) {
        // LOCAL, whatever the family.
        (0x20, _) => Ok(None),
        // No family, and Unix sockets.
        (0x21, 0x00 | 0x31) => Ok(None),
        // TCP over IPv4, and over IPv6.
        (0x21, 0x11) => Ok(Some(first_of::<4>(contents).ok_or(SHORT)?.into())),
        (0x21, 0x21) => Ok(Some(first_of::<16>(contents).ok_or(SHORT)?.into())),
        (0x21, _) => Err("a PROXY header of something else than TCP"),
        (_, _) => Err("a PROXY header with an unknown version or command"),
    }
}

/// The first of two addresses of `N` bytes, with the first of the two ports behind them.
fn first_of<const N: usize>(contents: &[u8]) -> Option<([u8; N], u16)> {
    let (from, rest) = contents.split_first_chunk::<N>()?;
    let (_to, rest) = rest.split_first_chunk::<N>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (_to_port, _more) = rest.split_first_chunk::<2>()?;
    Some((*from, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, length: usize) -> Parsed {
        Parsed::Header { length, source: Some(text.parse().unwrap()) }
    }

    fn untold(length: usize) -> Parsed {
        Parsed::Header { length, source: None }
    }

    /// A header of version 2.
    fn binary(command: u8, family: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, contents].concat()
    }

    /// 192.0.2.1:49152 to 10.0.0.1:443.
    const FOUR: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0xc0, 0, 1, 0xbb];

    /// [2001:db8::1]:49152 to [::2]:443.
    fn six() -> Vec<u8> {
        let addresses = ["2001:db8::1", "::2"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
        [&addresses[0][..], &addresses[1][..], &[0xc0, 0, 1, 0xbb]].concat()
    }

    /// Headers, with what they tell.
    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let line = |text: &str| text.as_bytes().to_vec();
        // A TLV of 3 bytes: a name of the client's host.
        let with_more = [&FOUR[..], &[0x02, 0, 3, b'a', b'.', b'b']].concat();
        let longest = [&FOUR[..], &[0; HEADER_MAX - FIXED - FOUR.len()]].concat();
        vec![
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 49152 443\r\n"), Some("192.0.2.1:49152")),
            (line("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), Some("0.0.0.0:0")),
            (line("PROXY TCP6 2001:db8::1 ::2 49152 443\r\n"), Some("[2001:db8::1]:49152")),
            (line("PROXY TCP6 ::ffff:192.0.2.1 ::2 49152 443\r\n"), Some("[::ffff:192.0.2.1]:49152")),
            (line("PROXY UNKNOWN\r\n"), None),
            (line("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), None),
            (binary(0x21, 0x11, &FOUR), Some("192.0.2.1:49152")),
            (binary(0x21, 0x11, &with_more), Some("192.0.2.1:49152")),
            (binary(0x21, 0x11, &longest), Some("192.0.2.1:49152")),
            (binary(0x21, 0x21, &six()), Some("[2001:db8::1]:49152")),
            // A balancer's own look at the service, with addresses or without.
            (binary(0x20, 0x11, &FOUR), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn a_header_is_read_and_nothing_behind_it() {
        for (header, source) in headers() {
            let wanted = source.map_or_else(|| untold(header.len()), |source| told(source, header.len()));
            assert_eq!(parse(&header), wanted, "{header:?}");
            for behind in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02", b"\r\n", b"PROXY UNKNOWN\r\n"] {
                assert_eq!(parse(&[&header, behind].concat()), wanted, "{header:?}");
            }
        }
    }

    #[test]
    fn each_part_of_a_header_waits_for_more() {
        for (header, _) in headers() {
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Parsed::Incomplete, "{length} of {header:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_seen() {
        let line = "a PROXY line without two addresses and two ports";
        let odd = "a PROXY line with other characters than text";
        for (text, why) in [
            ("G", "the connection does not begin with a PROXY header"),
            ("PO", "the connection does not begin with a PROXY header"),
            ("\r\n\r\nG", "the connection does not begin with a PROXY header"),
            ("\x16\x03", "the connection does not begin with a PROXY header"),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 49152\r\n", line),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 49152 443 1\r\n", line),
            ("PROXY TCP4 192.0.2.1  10.0.0.1 49152 443\r\n", line),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 +1 443\r\n", line),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", line),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n", line),
            ("PROXY TCP4 2001:db8::1 ::2 1 2\r\n", line),
            ("PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n", line),
            ("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", line),
            ("PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n", line),
            ("PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", line),
            ("PROXY UNKNOWNS\r\n", line),
            ("PROXY \r\n", line),
            ("PROXY UNKNOWN\n", odd),
            ("PROXY UNKNOWN\r\r", odd),
            ("PROXY UNKNOWN\0", odd),
            ("PROXY UNKNOWN\té", odd),
        ] {
            assert_eq!(parse(text.as_bytes()), Parsed::Wrong(why), "{text:?}");
        }
    }

    #[test]
    fn a_line_has_an_end_after_107_bytes_at_most() {
        let line = |length: usize| format!("{:length$}", "PROXY UNKNOWN");
        assert_eq!(parse(format!("{}\r\n", line(LINE_MAX)).as_bytes()), untold(LINE_MAX + 2));
        assert_eq!(parse(line(LINE_MAX).as_bytes()), Parsed::Incomplete);
        assert_eq!(parse(format!("{}\r", line(LINE_MAX)).as_bytes()), Parsed::Incomplete);
        let endless = Parsed::Wrong("a PROXY line of more than 107 bytes");
        for text in [line(LINE_MAX + 1), format!("{}\r\n", line(LINE_MAX + 1)), line(HEADER_MAX)] {
            assert_eq!(parse(text.as_bytes()), endless, "{}", text.len());
        }
    }

    #[test]
    fn binary_headers_that_lie_are_refused() {
        let short = "a PROXY header that is shorter than its addresses";
        let other = "a PROXY header of something else than TCP";
        let unknown = "a PROXY header with an unknown version or command";
        for (header, why) in [
            (binary(0x21, 0x11, &FOUR[..11]), short),
            (binary(0x21, 0x11, &[]), short),
            (binary(0x21, 0x21, &six()[..35]), short),
            (binary(0x21, 0x21, &FOUR), short),
            (binary(0x21, 0x12, &FOUR), other),
            (binary(0x21, 0x10, &FOUR), other),
            (binary(0x21, 0x41, &FOUR), other),
            (binary(0x22, 0x11, &FOUR), unknown),
            (binary(0x11, 0x11, &FOUR), unknown),
            (binary(0x31, 0x11, &FOUR), unknown),
            (binary(0x21, 0x11, &[0; HEADER_MAX]), "a PROXY header of more than 536 bytes"),
        ] {
            assert_eq!(parse(&header), Parsed::Wrong(why), "{header:?}");
        }
        // Its length is known, and what is to come is not awaited.
        let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert_eq!(parse(&huge), Parsed::Wrong("a PROXY header of more than 536 bytes"));
    }

    #[test]
    fn networks_are_those_of_the_address_itself() {
        let networks: Vec<IpNet> = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap()).into();
        let among = |text: &str| is_among(text.parse().unwrap(), &networks);
        assert!(among("10.1.2.3") && among("::ffff:10.1.2.3") && among("::1"));
        assert!(!among("192.0.2.1") && !among("::ffff:192.0.2.1") && !among("::2"));
    }
}
