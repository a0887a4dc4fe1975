//! A Debian on which packages are installed, with two services under load.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gin_shared::status::{Role, Status};
use harness::{Address, Client, Lab, Load, binary, get};

/// The program of a supervisor that is the installed one.
pub(super) const INSTALLED: &str = "/usr/bin/gin-supervisor";
/// The program of a supervisor that goes on with one that was replaced.
pub(super) const REPLACED: &str = "/usr/bin/gin-supervisor (deleted)";

/// A machine. Its directory, in which commands run, has the packages and the worker of a service of one's own.
pub(super) struct Machine {
    lab: Lab,
}

impl Machine {
    /// Boots one, with files under these names.
    pub(super) fn with(packages: &[(&str, PathBuf)]) -> Self {
        let lab = Lab::in_root();
        for (name, file) in packages {
            std::fs::copy(file, lab.dir().join(name)).unwrap();
        }
        std::fs::copy(binary("fixture-worker"), lab.dir().join("worker")).unwrap();
        lab.releases().release("one", "ok");
        Self { lab }
    }

    /// Runs a command, whose arguments have no spaces. Returns its exit code and what it said.
    pub(super) fn run(&self, command: &str) -> (i32, String) {
        self.lab.run(&command.split(' ').collect::<Vec<_>>())
    }

    /// The same for one that succeeds.
    pub(super) fn ok(&self, command: &str) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "{command}: {said}\n{}", self.run("journalctl -n 40 -o short-precise").1);
        said
    }

    /// Writes a file of the machine.
    pub(super) fn write(&self, path: &str, text: &str) {
        self.lab.ok(&["sh", "-c", "printf %s \"$1\" >\"$2\"", "sh", text, path]);
    }

    /// The path of a file in its directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    /// All paths of the root file system.
    pub(super) fn files(&self) -> BTreeSet<String> {
        self.ok("find / -xdev").lines().map(str::to_owned).collect()
    }

    /// Names of all users and groups.
    pub(super) fn names(&self) -> Vec<String> {
        let lines = self.ok("cat /etc/passwd /etc/group");
        lines.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
    }

    /// Nothing of the package is enabled, and nothing runs.
    pub(super) fn assert_idle(&self) {
        for unit in ["gin-server.socket", "gin-server.service", "gin@.service"] {
            let (_, said) = self.run(&format!("systemctl is-enabled {unit}"));
            assert_eq!(said.trim(), "disabled", "{unit}");
        }
        assert_eq!(self.ok("systemctl list-units gin* --plain --no-legend"), "");
    }

    /// Configures, enables and starts `gin-server` and `gin@shop`. Clients come over Unix sockets, for the machine has no network but its
    /// own.
    pub(super) fn start_services(&self) {
        let socket = format!("ListenStream=\nListenStream={}\nNoDelay=no\n", self.path("server.sock").display());
        self.lab.unit("gin-server.socket.d/address.conf", &format!("[Socket]\n{socket}"));
        self.write("/etc/gin/gin-server.toml", "[server]\nname = \"Mine\"\n");
        self.write("/etc/gin/shop.toml", &self.configuration("shop", &self.own_worker()));
        self.ok("systemctl enable --now gin-server.socket gin-server gin@shop");
    }

    /// Starts `gin@front`, an instance with a configuration of its own whose workers are the package's gin-server.
    pub(super) fn start_front(&self) {
        self.write("/etc/gin/front.toml", &self.configuration("front", "/usr/bin/gin-server"));
        self.ok("systemctl enable --now gin@front");
    }

    /// Starts `other`, a service on the package's supervisor by a unit that is not the package's.
    fn start_another(&self) {
        std::fs::write(self.path("other.toml"), self.configuration("other", &self.own_worker())).unwrap();
        let config = self.path("other.toml").display().to_string();
        let unit = "systemd-run --unit=other --service-type=notify";
        self.ok(&format!("{unit} gin-supervisor --config {config} --instance other"));
    }

    fn own_worker(&self) -> String {
        self.path("worker").display().to_string()
    }

    fn configuration(&self, name: &str, worker: &str) -> String {
        let dir = self.lab.dir().display();
        format!(
            "[supervisor]\ncommand = [\"{worker}\"]\ndirectory = \"{dir}/current\"\n\
             [[supervisor.listen]]\nname = \"http\"\naddress = \"unix:{dir}/{name}.sock\"\nmode = \"0666\"\n"
        )
    }

    /// Where a service is: `server`, `shop`, `front` or `other`.
    pub(super) fn address(&self, service: &str) -> Address {
        Address::Unix(self.path(&format!("{service}.sock")))
    }

    /// Clients of both services.
    pub(super) fn load(&self) -> Load {
        let (server, shop) = (self.address("server"), self.address("shop"));
        Load::new().keep_alive(&server, 4).one_shot(&server, 4).keep_alive(&shop, 4).one_shot(&shop, 4)
    }

    /// Properties of the units of both services.
    pub(super) fn properties(&self, name: &str) -> [String; 2] {
        ["gin-server", "gin@shop"].map(|unit| self.lab.property(unit, name))
    }

    /// PIDs of the supervisors of both services.
    pub(super) fn masters(&self) -> [String; 2] {
        self.properties("MainPID")
    }

    /// The programs that the supervisors of both services execute.
    pub(super) fn programs(&self) -> [String; 2] {
        self.masters().map(|pid| self.program(&pid))
    }

    fn program(&self, pid: &str) -> String {
        self.ok(&format!("readlink /proc/{pid}/exe")).trim().to_owned()
    }

    /// PIDs of the workers of an instance's current generation.
    pub(super) fn workers(&self, instance: &str) -> Vec<i32> {
        let status: Status = serde_json::from_str(&self.ok(&format!("gin-ctl --json status {instance}"))).unwrap();
        let current = status.generations.iter().filter(|generation| generation.role == Role::Current);
        current.flat_map(|generation| generation.workers.iter().filter_map(|worker| worker.pid)).collect()
    }

    /// Runs the command that installs another build. Each supervisor becomes the new program in its own process. The package's own server
    /// is restarted, and a service of one's own is left alone.
    pub(super) fn replaces_in_place(&self, load: &Load, command: &str) {
        load.flows(100);
        let (masters, server, shop) = (self.masters(), self.workers("gin-server"), self.workers("shop"));
        let said = self.ok(command);
        assert_eq!((self.masters(), self.workers("shop")), (masters, shop), "{said}");
        assert_eq!(self.programs(), [INSTALLED; 2], "{said}");
        let restarted = self.workers("gin-server");
        assert_eq!(restarted.len(), 1, "{restarted:?}: {said}");
        assert_ne!(restarted, server, "{said}");
        assert_eq!(self.program(&restarted[0].to_string()), "/usr/bin/gin-server", "{said}");
        load.flows(100);
        // The configuration that was changed is still there.
        assert_eq!(get(&self.address("server"), "/").unwrap().json()["name"], "Mine");
    }

    /// Runs the command that removes the package. A request in flight is answered. A service of another unit serves on, and is named.
    /// So does one whose unit has a name of the package's template.
    pub(super) fn removes(&self, command: &str) {
        self.start_another();
        self.write("/etc/systemd/system/gin@mine.service", "[Service]\nExecStart=sleep infinity\n");
        // A socket of one's own does not start a service that is not there any more.
        self.ok("cp /usr/lib/systemd/system/gin-server.socket /etc/systemd/system/gin-server.socket");
        self.ok("systemctl daemon-reload");
        self.ok("systemctl start gin@mine");
        let shop = self.address("shop");
        let mut slow = Client::asking(&shop, "GET /slow?ms=2000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // It is being answered when another one has been.
        assert_eq!(get(&shop, "/").unwrap().status, 200);
        let said = self.ok(command);
        assert_eq!(slow.response().unwrap().status, 200, "{said}");
        assert!(said.contains("gin: other goes on with the program that was removed"), "{said}");
        assert_eq!(get(&self.address("other"), "/").unwrap().status, 200);
        assert_eq!(self.run("systemctl is-active gin@mine"), (0, "active\n".to_owned()));
        self.ok("systemctl stop other gin@mine");
        self.ok("rm /etc/systemd/system/gin@mine.service /etc/systemd/system/gin-server.socket");
        self.ok("systemctl daemon-reload");
        assert_eq!(self.ok("systemctl list-units gin* --all --plain --no-legend"), "");
        // What was enabled would be a link here.
        assert_eq!(self.ok("find /etc/systemd/system -type l"), "");
    }

    /// Nobody was hurt, and no connection was closed.
    pub(super) fn unhurt(load: Load) {
        load.finish().assert_kept();
    }
}
