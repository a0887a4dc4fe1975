//! OS strings and paths in JSON: as text, or, where they are no UTF-8, as their bytes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(&'a str),
    Bytes { bytes: &'a [u8] },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Read {
    Text(String),
    Bytes { bytes: Vec<u8> },
}

impl<'a> Written<'a> {
    fn of(value: &'a OsStr) -> Self {
        match value.to_str() {
            Some(text) => Self::Text(text),
            None => Self::Bytes { bytes: value.as_bytes() },
        }
    }
}

impl From<Read> for OsString {
    fn from(read: Read) -> Self {
        match read {
            Read::Text(text) => text.into(),
            Read::Bytes { bytes } => Self::from_vec(bytes),
        }
    }
}

/// Writes it.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &impl AsRef<OsStr>, to: S) -> Result<S::Ok, S::Error> {
    Written::of(value.as_ref()).serialize(to)
}

/// Reads it.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize<'a, T: From<OsString>, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
    Ok(OsString::from(Read::deserialize(from)?).into())
}

/// The same for one that may be absent.
pub mod option {
    use super::{AsOsStr, Deserialize, Deserializer, OsString, Read, Serialize, Serializer, Written};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: AsOsStr, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(|value| Written::of(value.as_os_str())).serialize(to)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'a, T: From<OsString>, D: Deserializer<'a>>(from: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<Read>::deserialize(from)?.map(|read| OsString::from(read).into()))
    }
}

/// The same for a list.
pub mod list {
    use super::{Deserialize, Deserializer, OsString, Read, Serialize, Serializer, Written};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(values: &[OsString], to: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|value| Written::of(value)).collect::<Vec<_>>().serialize(to)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<OsString>, D::Error> {
        Ok(Vec::<Read>::deserialize(from)?.into_iter().map(OsString::from).collect())
    }
}

/// The same for an environment.
pub mod pairs {
    use super::{Deserialize, Deserializer, OsString, Read, Serialize, Serializer, Written};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(values: &[(OsString, OsString)], to: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|(name, value)| (Written::of(name), Written::of(value))).collect::<Vec<_>>().serialize(to)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'a, T: From<Vec<(OsString, OsString)>>, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
        let pairs = Vec::<(Read, Read)>::deserialize(from)?;
        Ok(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>().into())
    }
}

/// A signal by its name.
pub mod signal {
    use nix::sys::signal::Signal;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(signal: &Signal, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(signal.as_str())
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is the name of none.
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Signal, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A type that holds an OS string.
pub trait AsOsStr {
    /// The OS string.
    fn as_os_str(&self) -> &OsStr;
}

impl AsOsStr for std::path::PathBuf {
    fn as_os_str(&self) -> &OsStr {
        std::path::Path::as_os_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        #[serde(with = "super")]
        path: std::path::PathBuf,
        #[serde(with = "super::option")]
        maybe: Option<std::path::PathBuf>,
        #[serde(with = "super::list")]
        argv: Vec<OsString>,
        #[serde(with = "super::pairs")]
        environment: Vec<(OsString, OsString)>,
    }

    #[test]
    fn what_is_no_text_comes_back_too() {
        let odd = OsString::from_vec(b"/srv/\xff".to_vec());
        let all = All {
            path: odd.clone().into(),
            maybe: Some("/x".into()),
            argv: vec!["a".into(), odd.clone()],
            environment: vec![("A".into(), odd)],
        };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<All>(&text).unwrap(), all);
    }
}
