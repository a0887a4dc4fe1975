//! Units for systemd: what a configuration needs. Hardening that a foreign program might not bear is proposed, as comments.

use std::fmt::Write;
use std::path::Path;

use gin_shared::check::{Checked, CheckedListener};
use gin_shared::listen::Address;

/// What the units are made of.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The instance, and the units' name.
    pub name: &'a str,
    /// Its configuration.
    pub file: &'a Path,
    /// gin-supervisor.
    pub supervisor: &'a Path,
    /// gin-ctl.
    pub ctl: &'a Path,
    /// What the configuration says.
    pub checked: &'a Checked,
}

/// A literal in a unit: % begins a specifier there, and $ a variable in commands (systemd.syntax(7)).
fn literal(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%").replace('$', "$$");
    if text.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c)) { format!("{text:?}") } else { text }
}

fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

/// Hardening for an operator to try, each line with what it takes from a program.
const PROPOSED: &str = "\
# Proposed: what most programs bear. Remove the # of one line after the other, and try what your program does.
# Nothing the program starts gains rights: no sudo, no setgid sendmail, no file capabilities.
#NoNewPrivileges=yes
# /usr, /boot and /etc cannot be written; strict: nothing can, but for ReadWritePaths=, /run/gin and the sockets' directories.
#ProtectSystem=full
# No /home and /root.
#ProtectHome=yes
# A /tmp of its own: no files and sockets there are shared with others.
#PrivateTmp=yes
# No devices but /dev/null and the like.
#PrivateDevices=yes
# Other users' processes are not seen.
#ProtectProc=invisible
#ProtectClock=yes
#ProtectHostname=yes
#ProtectKernelLogs=yes
#ProtectKernelModules=yes
#ProtectKernelTunables=yes
#ProtectControlGroups=yes
#RestrictRealtime=yes
#LockPersonality=yes
# No files with setuid or setgid bits are made; directories, neither.
#RestrictSUIDSGID=yes
# No containers, and no browsers with a sandbox of their own.
#RestrictNamespaces=yes
#RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# No code is made at run time: no Node.js, Java, LuaJIT or PCRE with a JIT.
#MemoryDenyWriteExecute=yes
# No 32 bit programs.
#SystemCallArchitectures=native
#SystemCallFilter=~@clock @cpu-emulation @module @mount @obsolete @raw-io @reboot @swap
#SystemCallErrorNumber=EPERM
";

/// NAME.service
#[must_use]
pub fn service(plan: &Plan<'_>) -> String {
    let Plan { name, file, supervisor, ctl, checked } = plan;
    let (supervisor, ctl, file) = (literal(supervisor), literal(ctl), literal(file));
    let control = checked.control.clone().unwrap_or_else(|| format!("/run/gin/{name}/control.sock"));
    let control = literal(Path::new(&control));
    let (start, stop) = (seconds(checked.start_ms), seconds(checked.stop_ms));
    format!(
        "# /etc/systemd/system/{name}.service
# made by: gin-ctl unit {name}
[Unit]
Description={name} under gin-supervisor
Documentation=man:gin-supervisor(8) man:gin.toml(5)
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={supervisor} --config {file} --instance {name}
ExecReload={ctl} --socket {control} restart
ExecStop={ctl} --socket {control} stop
ExecStopPost=-{ctl} --socket {control} stop --left-over
RuntimeDirectory=gin/{name}
RuntimeDirectoryPreserve=restart
# With User=: a directory of that user's for what the service keeps (SQLite, sessions, secrets, uploads).
#StateDirectory=gin/{name}
Restart=on-failure
RestartSec=200ms
RestartPreventExitStatus=2
# A start and a reload may take ready_timeout, warm_up, probe, soak and hooks together; a stop drain_timeout.
TimeoutStartSec={start}s
TimeoutStopSec={stop}s
WatchdogSec=30s
# A supervisor that dies leaves its workers serving, and the next one adopts them: with what systemd keeps for it meanwhile.
KillMode=process
FileDescriptorStoreMax=4096
# With a socket unit, for a program that waits for events and not in accept(2): else each start makes its sockets blocking.
#NonBlocking=yes
# One worker that is killed for memory is replaced; the service lives.
OOMPolicy=continue
LimitNOFILE=1048576

{PROPOSED}
[Install]
WantedBy=multi-user.target
"
    )
}

/// NAME.socket: systemd listens, so that a stop and a start refuse no connection.
#[must_use]
pub fn socket(plan: &Plan<'_>) -> String {
    let Plan { name, checked, .. } = plan;
    if checked.listeners.is_empty() {
        return format!("# no {name}.socket: it listens to nothing\n");
    }
    let (mut text, many) = (String::new(), checked.listeners.len() > 1);
    for listener in &checked.listeners {
        if listener.address.is_any_port() {
            let _ = writeln!(
                text,
                "# {} listens at a port that is chosen at each start: no socket unit for it",
                listener.name
            );
            continue;
        }
        // A socket unit has one name for all its sockets, so each listener has a unit of its own.
        let unit = if many { format!("{name}-{}", listener.name) } else { (*name).to_owned() };
        let _ = write!(
            text,
            "# /etc/systemd/system/{unit}.socket\n# optional: with it, a stop and a start refuse no connection\n"
        );
        let _ = write!(text, "[Unit]\nDescription={} of {name}\n\n[Socket]\n{}", listener.name, stanza(listener));
        let _ = write!(
            text,
            "FileDescriptorName={}\nService={name}.service\n\n[Install]\nWantedBy=sockets.target\n",
            listener.name
        );
    }
    text
}

fn stanza(listener: &CheckedListener) -> String {
    let mut text = match &listener.address {
        Address::Tcp(address) => {
            let only = if address.is_ipv6() { "BindIPv6Only=ipv6-only\n" } else { "" };
            format!("ListenStream={address}\n{only}")
        }
        Address::Udp(address) => {
            let only = if address.is_ipv6() { "BindIPv6Only=ipv6-only\n" } else { "" };
            format!("ListenDatagram={address}\n{only}")
        }
        // Neither quotes nor $ mean anything there.
        Address::Unix(path) => {
            format!("ListenStream={}\nRemoveOnStop=yes\n", path.display().to_string().replace('%', "%%"))
        }
    };
    if !matches!(listener.address, Address::Udp(_)) {
        let _ = writeln!(text, "Backlog={}", listener.backlog);
    }
    for (key, value) in [
        ("SocketMode", listener.mode.map(|mode| format!("{mode:04o}"))),
        ("SocketUser", listener.owner.map(|uid| uid.to_string())),
        ("SocketGroup", listener.group.map(|gid| gid.to_string())),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}={value}");
        }
    }
    text
}
