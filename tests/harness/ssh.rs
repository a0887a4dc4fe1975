//! ssh to hosts of a [`crate::Switch`], as root with a key. Needs sshd of Debian's package openssh-server, and ssh.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{Host, binary, on_change};

/// Keys of a client and of all its hosts, and servers on these, until it is dropped.
#[derive(Debug)]
pub struct Ssh {
    dir: TempDir,
    servers: Vec<Child>,
}

impl Ssh {
    /// Keys without a server.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let own = Self { dir: tempfile::Builder::new().prefix("ssh").tempdir_in("/tmp").unwrap(), servers: Vec::new() };
        for key in ["host", "user"] {
            let mut command = Command::new("/usr/bin/ssh-keygen");
            let made = command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(own.file(key)).status().unwrap();
            assert!(made.success(), "no key: openssh-client is needed");
        }
        let client = format!(
            "Host *\nUser root\nIdentityFile {}\nIdentitiesOnly yes\nStrictHostKeyChecking no\n\
             UserKnownHostsFile /dev/null\nLogLevel ERROR\n",
            own.file("user").display()
        );
        std::fs::write(own.config(), client).unwrap();
        // Where `PATH` begins with the programs of the tests, gin-ctl is found as if it were installed.
        let server = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nSubsystem sftp internal-sftp\n\
             SetEnv PATH={}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n",
            own.file("host").display(),
            own.file("user.pub").display(),
            binary("").display()
        );
        std::fs::write(own.file("sshd"), server).unwrap();
        own
    }

    /// Gives a host `/etc` and `/srv` of its own, and starts sshd there. Its `/etc` is the machine's at first, and has an empty
    /// directory `gin`; `/srv` is empty.
    ///
    /// # Panics
    /// If it does not start: root is needed.
    pub fn serve(&mut self, host: &Host) {
        // sshd refuses an account whose password begins with "!", also by a key.
        let own = "set -e\nmkdir -p /run/etc/upper /run/etc/work /run/sshd\n\
                   mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc\n\
                   mount -t tmpfs tmpfs /srv\nmkdir -p /etc/gin\n\
                   sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow";
        host.ok(&["sh", "-c", own]);
        let log = self.file(&format!("log-{}", host.name()));
        let mut command = host.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(self.file("sshd"));
        self.servers.push(command.stdin(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap());
        let read = || std::fs::read_to_string(&log).unwrap();
        on_change(&log, "sshd listens", read, |log| log.contains("Server listening on 0.0.0.0 port 22"));
    }

    /// The configuration of ssh that reaches these hosts, for `ssh -F`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.file("config")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A directory of its own, which hosts see, too.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
