//! Material of TLS for workers, in one sealed memory that the master writes: pairs of certificate and key, authorities, ticket keys.
//!
//! A change is another memory with a higher number. It is given to a worker whole, so that a worker has all of it or nothing. The seals
//! keep everybody from writing it, workers as well as the master itself.

use std::fmt;
use std::hint::black_box;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::SealFlags;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::listen::PairFiles;

/// Version of the layout. A field that a later build adds is optional and raises nothing.
pub const VERSION: u32 = 1;
/// Name of the memory, as `/proc/PID/fd` shows it: `memfd:gin-tls`.
pub const MEMFD: &str = "gin-tls";
/// The most bytes that are read.
pub const BYTES_MAX: u64 = 4 << 20;

/// The contents of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// [`VERSION`].
    pub version: u32,
    /// Rises with each change.
    pub number: u64,
    /// All pairs that any generation names.
    pub pairs: Vec<Pair>,
    /// Authorities of client certificates.
    #[serde(default)]
    pub authorities: Vec<Authority>,
    /// Keys of session tickets: those of the past, of now, and the next one.
    #[serde(default)]
    pub tickets: Vec<TicketKey>,
    /// Contents of `security.ticket_secret_file`, of which workers derive the keys of session tickets instead.
    #[serde(default)]
    pub ticket_secret: Option<Secret>,
}

/// A certificate with its chain, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The files, by which a listener names the pair.
    pub files: PairFiles,
    /// The certificate first, then its chain, in PEM.
    pub chain: String,
    /// The key, in PEM.
    pub key: Secret,
}

/// Authorities of one file, which client certificates must be signed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The file, by which a listener names them.
    pub file: PathBuf,
    /// Its certificates, in PEM.
    pub pem: String,
}

/// A key of session tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// Its name, which stands in each ticket in clear.
    pub name: [u8; 16],
    /// The key: 32 bytes.
    pub key: Secret,
    /// The time from which it encrypts, in seconds since 1970.
    pub from: u64,
}

/// Bytes that stand in no log and are wiped when they are dropped.
///
/// ```
/// use gin_shared::tls::material::Secret;
///
/// let key = Secret::new(b"hidden".to_vec());
/// assert_eq!((format!("{key:?}").as_str(), key.bytes()), ("(secret)", &b"hidden"[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub(super) Vec<u8>);

impl Secret {
    /// Takes these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Overwrites bytes with zeros, also where nobody reads them again.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

/// Writes bytes as hexadecimal digits. No copy of them is made on the way into the JSON.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                from_hex(text).map(Secret).ok_or_else(|| E::custom("no hexadecimal digits"))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = Vec::with_capacity(pairs.len());
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    rest.is_empty().then_some(bytes)
}

/// Why a memory is not taken.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The descriptor cannot be looked at or read.
    #[error("cannot read the certificates that the supervisor has passed: {0}")]
    Io(#[from] std::io::Error),
    /// Somebody could write it still.
    #[error("the memory with certificates is not sealed: it is not the supervisor's")]
    NotSealed,
    /// Larger than [`BYTES_MAX`].
    #[error("{0} bytes of certificates, of which {BYTES_MAX} at most are read; name fewer files")]
    TooLarge(u64),
    /// The contents are something else.
    #[error("the memory with certificates cannot be understood: {0}")]
    Malformed(serde_json::Error),
    /// Another layout.
    #[error("certificates in layout {0}, and this program reads layout {VERSION}; upgrade it")]
    Version(u32),
}

/// Bytes of a memory with this contents. The caller wipes them when they are written.
#[must_use]
pub fn write(material: &Material) -> Vec<u8> {
    // A buffer that grows would leave copies behind.
    let mut bytes = Vec::with_capacity(room(material));
    serde_json::to_writer(&mut bytes, material)
        .expect("all keys of maps are texts, and nothing fails to be written to memory");
    bytes
}

/// More than the bytes that are written.
fn room(material: &Material) -> usize {
    let Material { pairs, authorities, tickets, ticket_secret, .. } = material;
    // A byte of a path may take six.
    let of_path = |path: &Path| 6 * path.as_os_str().len();
    let of_files = |files: &PairFiles| of_path(&files.cert) + of_path(&files.key);
    let of_pair = |pair: &Pair| 1024 + of_files(&pair.files) + 2 * pair.chain.len() + 2 * pair.key.0.len();
    let of_authority = |authority: &Authority| 1024 + of_path(&authority.file) + 2 * authority.pem.len();
    1024 + pairs.iter().map(of_pair).sum::<usize>()
        + authorities.iter().map(of_authority).sum::<usize>()
        + 512 * tickets.len()
        + 2 * ticket_secret.as_ref().map_or(0, |secret| secret.0.len())
}

/// Reads a memory that the master has made.
///
/// # Errors
/// If it is not sealed, too large, or something else. Nothing of it is in the error.
pub fn read(fd: BorrowedFd<'_>) -> Result<Material, MaterialError> {
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(std::io::Error::from)?;
    if !seals.contains(SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE) {
        return Err(MaterialError::NotSealed);
    }
    let length = rustix::fs::fstat(fd).map_err(std::io::Error::from)?.st_size;
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if length > BYTES_MAX {
        return Err(MaterialError::TooLarge(length));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let material = read_into(fd, &mut bytes).map_err(MaterialError::Io).and_then(|()| parse(&bytes));
    wipe(&mut bytes);
    material
}

/// Reads from the beginning: the descriptor's position is shared with other processes.
fn read_into(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> std::io::Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(fd, rest, done as u64) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => done += length,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Material, MaterialError> {
    #[derive(Deserialize)]
    struct Layout {
        version: u32,
    }
    let Layout { version } = serde_json::from_slice(bytes).map_err(without_values)?;
    if version != VERSION {
        return Err(MaterialError::Version(version));
    }
    serde_json::from_slice(bytes).map_err(without_values)
}

/// The error without the value that it quotes, which could be a key.
fn without_values(error: serde_json::Error) -> MaterialError {
    let place = format!("{:?} at column {}", error.classify(), error.column());
    MaterialError::Malformed(serde_json::Error::custom(place))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use rustix::fs::MemfdFlags;

    use super::*;

    fn material() -> Material {
        let files = PairFiles { cert: "/etc/a.pem".into(), key: "/etc/a.key".into() };
        Material {
            version: VERSION,
            number: 7,
            pairs: vec![Pair { files, chain: "chain\n".to_owned(), key: Secret::new(b"key\n\x00\xff".to_vec()) }],
            authorities: vec![Authority { file: "/etc/ca.pem".into(), pem: "ca".to_owned() }],
            tickets: vec![TicketKey { name: [3; 16], key: Secret::new(vec![9; 32]), from: 14_400 }],
            ticket_secret: Some(Secret::new(vec![1; 40])),
        }
    }

    fn memory(bytes: &[u8], seals: SealFlags) -> std::fs::File {
        let fd = rustix::fs::memfd_create(MEMFD, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let mut file = std::fs::File::from(fd);
        file.write_all(bytes).unwrap();
        rustix::fs::fcntl_add_seals(&file, seals).unwrap();
        file
    }

    fn all() -> SealFlags {
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
    }

    #[test]
    fn what_is_written_is_read_again_and_as_often_as_asked() {
        let bytes = write(&material());
        let file = memory(&bytes, all());
        for _ in 0..2 {
            assert_eq!(read(file.as_fd()).unwrap(), material());
        }
    }

    #[test]
    fn the_room_that_is_set_aside_is_enough() {
        let mut one = material();
        one.pairs[0].chain = "line\n".repeat(1000);
        one.pairs[0].key = Secret::new(vec![0xab; 8000]);
        one.pairs[0].files.cert = format!("/etc/{}", "\u{1}".repeat(4000)).into();
        one.authorities[0].file = format!("/etc/{}", "long/".repeat(800)).into();
        let length = write(&one).len();
        assert!(length <= room(&one), "{length} bytes, {} set aside", room(&one));
    }

    #[test]
    fn only_a_sealed_memory_of_this_layout_is_taken() {
        let bytes = write(&material());
        let error = |bytes: &[u8], seals| read(memory(bytes, seals).as_fd()).unwrap_err();
        assert!(matches!(error(&bytes, SealFlags::SHRINK | SealFlags::GROW), MaterialError::NotSealed));
        assert!(matches!(error(b"{\"version\":2,\"new\":1}", all()), MaterialError::Version(2)));
        assert!(matches!(error(b"", all()), MaterialError::Malformed(_)));
        let large = vec![b' '; usize::try_from(BYTES_MAX).unwrap() + 1];
        assert!(matches!(error(&large, all()), MaterialError::TooLarge(_)));
    }

    #[test]
    fn no_secret_is_told() {
        let told = format!("{:?}", material());
        assert!(!told.contains("107") && told.contains("(secret)"), "{told}");
        let text = r#"{"version":1,"number":1,"pairs":[],"ticket_secret":"geheim"}"#;
        let error = read(memory(text.as_bytes(), all()).as_fd()).unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn a_later_field_is_passed_over_and_an_earlier_build_wrote_fewer() {
        let text = r#"{"version":1,"number":4,"pairs":[],"later":{"a":1}}"#;
        let read = read(memory(text.as_bytes(), all()).as_fd()).unwrap();
        assert_eq!((read.number, read.tickets.len(), read.ticket_secret), (4, 0, None));
    }
}
