//! The containment of a worker: what is taken from it before its program runs, and what of that cannot be had here.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_bounding_set};
use serde::{Deserialize, Serialize};

use super::file_access::{self, Files};

/// The steps that contain a worker. None of them: the default, and what a state says that knows none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// True if no program that it executes gains rights.
    pub no_new_privs: bool,
    /// The most capabilities that it can ever have, as bits; `None`: the master's.
    pub capabilities: Option<u64>,
    /// True if calls that no web worker makes are denied.
    pub seccomp: bool,
    /// The files that it may open; `None`: what their modes allow.
    pub files: Option<Files>,
}

/// Abilities of this process and its kernel.
#[derive(Debug, Clone, Copy)]
struct Means {
    /// The version of Landlock; 0: none.
    landlock: u32,
    /// True if the bounding set can be changed.
    bounds: bool,
}

impl Sandbox {
    /// The sandbox in a line, with what cannot be had here; `None` without one.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        (*self != Self::default())
            .then(|| self.describe(Means { landlock: file_access::version(), bounds: may_bound() }))
    }

    /// True if the bounding set has to be reduced, which takes CAP_SETPCAP. With no_new_privs nothing that is in it can be gained.
    #[must_use]
    pub fn needs_setpcap(&self) -> bool {
        let is_larger = |most: u64| beyond(CapabilitySet::from_bits_retain(most)).is_ok_and(|more| !more.is_empty());
        !self.no_new_privs && self.capabilities.is_some_and(is_larger)
    }

    fn describe(&self, means: Means) -> String {
        let (mut has, mut lacks) = (Vec::new(), Vec::new());
        if self.no_new_privs {
            has.push("no_new_privs".to_owned());
        }
        if let Some(bits) = self.capabilities {
            has.push(if bits == 0 { "no capabilities".to_owned() } else { format!("capabilities {}", names(bits)) });
            if !means.bounds {
                lacks.push(
                    "the bounding set stays, as the supervisor has no CAP_SETPCAP: no_new_privs stands in for it",
                );
            }
        }
        if self.seccomp {
            has.push("seccomp".to_owned());
        }
        if self.files.is_some() {
            match means.landlock {
                0 => lacks.push("this kernel has no Landlock: files are open as their modes say"),
                version => has.push(format!("files (Landlock {version})")),
            }
            match means.landlock {
                1..=2 => lacks.push("this kernel does not restrict truncating files, nor ioctl on devices"),
                3..=4 => lacks.push("this kernel does not restrict ioctl on devices"),
                _ => {}
            }
        }
        std::iter::once(has.join(", ")).chain(lacks.into_iter().map(str::to_owned)).collect::<Vec<_>>().join("; ")
    }
}

/// "CAP_CHOWN CAP_KILL"
fn names(bits: u64) -> String {
    let named = CapabilitySet::from_bits_retain(bits);
    named.iter_names().map(|(name, _)| format!("CAP_{name}")).collect::<Vec<_>>().join(" ")
}

/// True if this process may take capabilities out of its bounding set.
#[must_use]
pub fn may_bound() -> bool {
    capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SETPCAP))
}

/// The capabilities of this process's bounding set that are not among `most`.
///
/// # Errors
/// The errors of `prctl(2)`.
pub fn beyond(most: CapabilitySet) -> Result<Vec<CapabilitySet>, Errno> {
    let mut beyond = Vec::new();
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !most.contains(one) => beyond.push(one),
            Ok(_) => {}
            // The kernel knows none that is higher.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_what_is_in_force_and_what_cannot_be_had() {
        let all = Sandbox {
            no_new_privs: true,
            capabilities: Some(CapabilitySet::NET_BIND_SERVICE.bits()),
            seccomp: true,
            files: Some(Files::default()),
        };
        let line = |landlock, bounds| all.describe(Means { landlock, bounds });
        let full = "no_new_privs, capabilities CAP_NET_BIND_SERVICE, seccomp, files (Landlock 5)";
        assert_eq!(line(5, true), full);
        assert!(line(5, false).starts_with(&format!("{full}; the bounding set stays")));
        assert!(line(0, true).ends_with("seccomp; this kernel has no Landlock: files are open as their modes say"));
        assert!(
            line(2, true)
                .ends_with("(Landlock 2); this kernel does not restrict truncating files, nor ioctl on devices")
        );
        assert_eq!(Sandbox::default().line(), None);
        let none = Sandbox { capabilities: Some(0), ..Sandbox::default() };
        assert_eq!(none.describe(Means { landlock: 0, bounds: true }), "no capabilities");
    }

    #[test]
    fn the_bounding_set_is_reduced_for_what_is_in_it_and_where_nothing_stands_in_for_that() {
        let own = beyond(CapabilitySet::empty()).unwrap();
        let all = own.iter().fold(CapabilitySet::empty(), |all, one| all | *one);
        assert!(beyond(all).unwrap().is_empty());
        let needs =
            |no_new_privs, capabilities| Sandbox { no_new_privs, capabilities, ..Sandbox::default() }.needs_setpcap();
        assert_eq!(needs(false, Some(0)), !own.is_empty());
        assert!(!needs(false, Some(all.bits())) && !needs(true, Some(0)) && !needs(false, None));
    }

    #[test]
    fn a_state_that_knows_no_sandbox_or_no_step_of_it_has_none() {
        assert_eq!(serde_json::from_str::<Sandbox>("{}").unwrap(), Sandbox::default());
        let some: Sandbox = serde_json::from_str("{\"seccomp\":true,\"a_later_step\":1}").unwrap();
        assert_eq!(some, Sandbox { seccomp: true, ..Sandbox::default() });
    }
}
