//! Kinds of connections that a worker knows to take over, as it names them in its hello.

/// Connections with keys, written by s2n-tls in its first format.
const TLS: &str = "tls-s2n-1";
/// Connections of HTTP/2 with the first format of their state.
const HTTP2: &str = "http2-1";
/// Connections behind a PROXY header.
const PROXIED: &str = "proxied-1";

/// Kinds of connections that a worker can serve beside HTTP/1.1 and WebSockets over cleartext, which every worker can.
///
/// Each kind is a word in the hello. Another version of its format is another word, and a word that is not known is passed over: so a
/// giver offers to a taker nothing that the taker would misread.
///
/// ```
/// use gin_shared::handover::Abilities;
///
/// let taker = Abilities::of(&["tls-s2n-1".to_owned(), "http2-9".to_owned()]);
/// assert_eq!(taker, Abilities { tls: true, ..Abilities::default() });
/// assert!(taker.cover(Abilities::default()));
/// assert!(!taker.cover(Abilities { http2: true, ..taker }));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Abilities {
    /// Connections over TLS, with their keys, and those that wait for a handshake.
    pub tls: bool,
    /// Connections of HTTP/2.
    pub http2: bool,
    /// Connections of a listener with PROXY headers.
    pub proxied: bool,
}

impl Abilities {
    /// The abilities that these words name.
    #[must_use]
    pub fn of(words: &[String]) -> Self {
        let has = |word: &str| words.iter().any(|known| known == word);
        Self { tls: has(TLS), http2: has(HTTP2), proxied: has(PROXIED) }
    }

    /// The words for these abilities.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        let all = [(self.tls, TLS), (self.http2, HTTP2), (self.proxied, PROXIED)];
        all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word.to_owned()).collect()
    }

    /// True if a worker with these abilities can serve a connection that needs those.
    #[must_use]
    pub fn cover(self, needed: Self) -> bool {
        (self.tls || !needed.tls) && (self.http2 || !needed.http2) && (self.proxied || !needed.proxied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All eight.
    fn all() -> impl Iterator<Item = Abilities> {
        (0..8).map(|bits| Abilities { tls: bits & 1 != 0, http2: bits & 2 != 0, proxied: bits & 4 != 0 })
    }

    #[test]
    fn words_read_back_whatever_stands_between_them() {
        for abilities in all() {
            let mut words = abilities.words();
            assert_eq!(Abilities::of(&words), abilities);
            words.insert(0, "tls-s2n-2".to_owned());
            words.push(String::new());
            assert_eq!(Abilities::of(&words), abilities);
        }
    }

    #[test]
    fn abilities_cover_their_own_and_fewer() {
        for (has, needed) in all().flat_map(|has| all().map(move |needed| (has, needed))) {
            let lacks = needed.words().iter().any(|word| !has.words().contains(word));
            assert_eq!(has.cover(needed), !lacks, "{has:?} {needed:?}");
        }
    }
}
