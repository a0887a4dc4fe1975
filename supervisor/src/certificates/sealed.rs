//! The memory with certificates and keys: written once, sealed, and given to workers by its descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gin_shared::tls::material::{self, BYTES_MAX, MEMFD, Material, MaterialError};

use crate::os::memfd;
use crate::os::shared_memory::SharedMemory;

/// A memory with certificates and keys that nobody can write.
#[derive(Debug)]
pub struct Sealed {
    /// Number of the material in it. Later ones have higher numbers.
    pub number: u64,
    memory: SharedMemory,
}

impl Sealed {
    /// Writes a material.
    ///
    /// # Errors
    /// If there is no descriptor or memory to be had, or the material is larger than workers read.
    pub fn make(material: &Material) -> io::Result<Self> {
        let mut bytes = material::write(material);
        let made = match bytes.len() as u64 {
            length if length > BYTES_MAX => {
                Err(io::Error::other(format!("{length} bytes, and {BYTES_MAX} are allowed; name fewer certificates")))
            }
            _ => memfd::sealed(MEMFD, &bytes),
        };
        material::wipe(&mut bytes);
        Ok(Self { number: material.number, memory: SharedMemory::resume(OwnedFd::from(made?))? })
    }

    /// Takes the memory of a master before this one, and reads it.
    ///
    /// # Errors
    /// If it is not sealed, or holds something else.
    pub fn resume(memory: SharedMemory) -> Result<(Self, Material), MaterialError> {
        let material = material::read(memory.as_fd())?;
        Ok((Self { number: material.number, memory }, material))
    }

    /// Names it in the whole system.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.memory.inode()
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
