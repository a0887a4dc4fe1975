//! A filter of system calls for workers (seccomp(2)): calls that no web worker makes are answered EPERM.
//!
//! The filter lists the denied calls, not the allowed ones: a new version of libc or of a runtime may make calls that nobody
//! has listed, and a worker that breaks in production protects nobody. Nothing is killed: a program sees an error that it
//! knows. Calls of another machine's table (32 bit programs, x32) are denied as a whole, as their numbers mean other calls.
//!
//! Linux before 5.16 also takes speculative store bypass from a process with a filter, which makes it slower. A filter can be put on
//! without that (SECCOMP_FILTER_FLAG_SPEC_ALLOW), but seccompiler passes no flags.

use std::io;

use nix::libc::{self, c_long};
use seccompiler::{Error, sock_filter};

/// The machine as the kernel names it to filters (AUDIT_ARCH_*), where the filter is known to fit.
const MACHINE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// True if there is a filter for this machine.
pub const IS_KNOWN: bool = MACHINE.is_some();

/// The calls that are answered EPERM.
const DENIED: &[c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Namespaces; clone(2) is looked at by its flags.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Other processes: their memory and their descriptors. Workers of one user may do that to each other otherwise. Handovers
    // send descriptors (SCM_RIGHTS), and take none.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Large parts of the kernel that a web worker has no use for.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// The calls that are denied on this machine alone.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[c_long] = &[libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
/// The calls that are denied on this machine alone.
#[cfg(target_arch = "aarch64")]
const DENIED_HERE: &[c_long] = &[libc::SYS_kexec_file_load];
/// The calls that are denied on this machine alone.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const DENIED_HERE: &[c_long] = &[];

/// The flags of clone(2) that make a namespace: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACES: u32 = 0x7e02_0000;
/// The lowest number of an x32 call.
const X32: u32 = 0x4000_0000;

// The instructions in use (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data; the argument is the lower half, as all machines above are little endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

// Answers (linux/seccomp.h).
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0000 | 1;
const ENOSYS: u32 = 0x0005_0000 | 38;

/// Puts the filter on this process, which must have no_new_privs. No process can take it off again.
///
/// # Errors
/// The errors of `seccomp(2)`; that there is no filter for this machine.
pub fn install() -> io::Result<()> {
    let machine = MACHINE.ok_or_else(|| io::Error::other("there is no filter for this machine"))?;
    seccompiler::apply_filter(&program(machine)).map_err(|error| match error {
        Error::Prctl(error) | Error::Seccomp(error) => error,
        other => io::Error::other(other.to_string()),
    })
}

fn program(machine: u32) -> Vec<sock_filter> {
    let number = |call: c_long| u32::try_from(call).expect("calls have small numbers");
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(IF_EQUAL, machine, 1, 0),
        statement(RETURN, EPERM),
        statement(LOAD, NUMBER),
    ];
    if cfg!(target_arch = "x86_64") {
        program.extend([jump(IF_AT_LEAST, X32, 0, 1), statement(RETURN, EPERM)]);
    }
    for call in DENIED.iter().chain(DENIED_HERE) {
        program.extend([jump(IF_EQUAL, number(*call), 0, 1), statement(RETURN, EPERM)]);
    }
    program.extend([
        // Its flags lie in memory, where a filter cannot look. Every libc falls back on clone(2).
        jump(IF_EQUAL, number(libc::SYS_clone3), 0, 1),
        statement(RETURN, ENOSYS),
        jump(IF_EQUAL, number(libc::SYS_clone), 0, 3),
        statement(LOAD, FIRST_ARGUMENT),
        jump(IF_ANY_BIT, NAMESPACES, 0, 1),
        statement(RETURN, EPERM),
        statement(RETURN, ALLOW),
    ]);
    program
}

fn statement(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// An instruction that skips `jt` others if it holds, and `jf` others if not.
fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u32 = 0xc000_003e;

    /// The answer that the kernel would give.
    fn answer(number: u32, architecture: u32, argument: u32) -> u32 {
        let (program, mut loaded, mut at) = (program(HERE), 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            at += 1;
            let holds = match code {
                RETURN => return k,
                LOAD => {
                    loaded = match k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("offset {other}"),
                    };
                    continue;
                }
                IF_EQUAL => loaded == k,
                IF_AT_LEAST => loaded >= k,
                IF_ANY_BIT => loaded & k != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    fn of(call: c_long) -> u32 {
        answer(u32::try_from(call).unwrap(), HERE, 0)
    }

    #[test]
    fn denied_calls_are_answered_eperm_and_all_others_are_allowed() {
        for call in DENIED.iter().chain(DENIED_HERE) {
            assert_eq!(of(*call), EPERM, "call {call}");
        }
        // What a worker and its runtime need most, the handover of connections among it.
        for call in [
            libc::SYS_read,
            libc::SYS_accept4,
            libc::SYS_sendmsg,
            libc::SYS_recvmsg,
            libc::SYS_openat2,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_memfd_create,
            libc::SYS_pidfd_open,
            libc::SYS_prlimit64,
            libc::SYS_futex,
            libc::SYS_rseq,
        ] {
            assert_eq!(of(call), ALLOW, "call {call}");
        }
    }

    #[test]
    fn threads_and_children_are_made_and_namespaces_are_not() {
        let clone = |flags| answer(u32::try_from(libc::SYS_clone).unwrap(), HERE, flags);
        // A thread (pthread_create(3)), a fork, a vfork.
        for flags in [0x003d_0f00, 0x0120_0011, 0x4111] {
            assert_eq!(clone(flags), ALLOW, "{flags:#x}");
        }
        for flags in [0x1000_0011, 0x0002_0011, 0x4000_0000] {
            assert_eq!(clone(flags), EPERM, "{flags:#x}");
        }
        assert_eq!(of(libc::SYS_clone3), ENOSYS);
    }

    #[test]
    fn calls_of_another_machine_are_denied_and_nothing_is_killed() {
        // i386.
        assert_eq!(answer(3, 0x4000_0003, 0), EPERM);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(answer(X32, HERE, 0), EPERM);
        }
        let answers = program(HERE).into_iter().filter(|instruction| instruction.code == RETURN);
        assert!(answers.map(|instruction| instruction.k).all(|k| [ALLOW, EPERM, ENOSYS].contains(&k)));
    }
}
