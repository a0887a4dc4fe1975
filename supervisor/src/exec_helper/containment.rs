//! The helper's steps that contain a worker. Each takes something away for good, so their order matters.
//!
//! The bounding set needs CAP_SETPCAP, which goes with the change of user: it comes before that. What the worker has itself is
//! reduced after it, when nothing is left to do that needs a capability. no_new_privs comes before Landlock and seccomp,
//! which the kernel takes from an unprivileged process on that condition alone. seccomp is last: it may deny a call that the
//! steps before it need.

use std::os::fd::OwnedFd;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use super::{StepError, step};
use crate::os::sandbox::{Sandbox, beyond, may_bound};
use crate::os::{file_access, seccomp};

/// Takes all capabilities that it may never have out of the bounding set. Without CAP_SETPCAP nothing can be taken out;
/// with no_new_privs nothing that is in it can be gained, so the step is passed over then.
pub(super) fn bound(sandbox: &Sandbox) -> Result<(), StepError> {
    let Some(most) = sandbox.capabilities.map(CapabilitySet::from_bits_retain) else { return Ok(()) };
    if sandbox.no_new_privs && !may_bound() {
        return Ok(());
    }
    let failed = step("sandbox.capabilities");
    let more = beyond(most).map_err(&failed)?;
    more.into_iter().try_for_each(remove_capability_from_bounding_set).map_err(&failed)
}

/// Gives up what it has beyond the most that it may have; the kernel takes the same from the ambient set.
pub(super) fn reduce(sandbox: &Sandbox) -> Result<(), StepError> {
    let Some(most) = sandbox.capabilities.map(CapabilitySet::from_bits_retain) else { return Ok(()) };
    let failed = step("sandbox.capabilities");
    let own = capabilities(None).map_err(&failed)?;
    let reduced = CapabilitySets {
        effective: own.effective & most,
        permitted: own.permitted & most,
        inheritable: own.inheritable & most,
    };
    if reduced == own { Ok(()) } else { set_capabilities(None, reduced).map_err(&failed) }
}

/// Closes all ways to new rights: the last steps before the program.
pub(super) fn close(sandbox: &Sandbox, executable: &OwnedFd) -> Result<(), StepError> {
    if sandbox.no_new_privs {
        set_no_new_privs(true).map_err(step("sandbox.no_new_privs"))?;
    }
    if let Some(files) = &sandbox.files {
        file_access::restrict(files, executable)?;
    }
    if sandbox.seccomp {
        seccomp::install().map_err(step("sandbox.seccomp"))?;
    }
    Ok(())
}
