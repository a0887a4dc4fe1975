//! gin in containers of a real Docker engine, by the recipes `systemd/recipes/docker` and `systemd/recipes/compose`.

pub mod compose;
mod image;
mod memory;
mod reload;
mod two_stages;
pub mod users;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness::{Address, Change, Engine, Load, Releases, Report, binary, put_config_map};
use serde_json::Value;
use tempfile::TempDir;

use crate::docs::root;

/// The path of a file of the recipe.
fn path(name: &str) -> PathBuf {
    root().join("systemd/recipes/docker").join(name)
}

/// The text of a file of the recipe.
fn recipe(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A service of one's own, in so many workers. It runs in `/srv/shop/current`.
fn service(workers: usize) -> String {
    format!(
        "[supervisor]\ncommand = [\"/usr/local/bin/shop\"]\nchannel = true\ndirectory = \"/srv/shop/current\"\n\
         workers = {workers}\ndrain_timeout = \"8s\"\n\
         [[supervisor.listen]]\nname = \"http\"\naddress = \"0.0.0.0:8080\"\n"
    )
}

/// A container by the command of the recipe's README: the image's user, a root that cannot be written, no rights.
struct Web {
    engine: Engine,
    /// `etc` is the container's `/etc/gin`, and `shop` its `/srv/shop`.
    dir: TempDir,
}

/// Its name.
const NAME: &str = "web";

impl Web {
    /// Starts one of the image `gin:one` with this configuration and further options of `docker run`, and waits until it serves.
    fn start(config: &str, options: &[&str]) -> Self {
        let engine = Engine::start("engine");
        engine.build_gin("one", Change::None);
        Self::run(engine, "gin:one", config, options)
    }

    /// The same with an image that the engine has.
    fn run(engine: Engine, image: &str, config: &str, options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("web").tempdir_in("/var/tmp").unwrap();
        let (etc, shop) = (dir.path().join("etc"), dir.path().join("shop"));
        for volume in [&etc, &shop] {
            std::fs::create_dir(volume).unwrap();
            std::fs::set_permissions(volume, PermissionsExt::from_mode(0o755)).unwrap();
        }
        put_config_map(&etc, config);
        Releases::new(&shop).release("one", "ok");
        let volumes = [
            format!("{}:/etc/gin:ro", etc.display()),
            format!("{}:/srv/shop:ro", shop.display()),
            format!("{}:/usr/local/bin/shop:ro", binary("fixture-worker").display()),
        ];
        let mut args = vec!["run", "--detach", "--name", NAME, "--publish", "8080:8080"];
        args.extend(["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        volumes.iter().for_each(|volume| args.extend(["--volume", volume.as_str()]));
        args.extend(options);
        args.push(image);
        engine.ok(&args);
        let web = Self { engine, dir };
        web.until_log("\"message\":\"serving\"");
        web
    }

    /// Swaps its configuration, as Kubernetes does.
    fn configure(&self, config: &str) {
        put_config_map(&self.dir.path().join("etc"), config);
    }

    fn releases(&self) -> Releases {
        Releases::new(&self.dir.path().join("shop"))
    }

    fn address(&self) -> Address {
        Address::from(format!("{}:8080", self.engine.address()).as_str())
    }

    /// Clients from outside that keep their connections, and others that make one for each request.
    fn load(&self) -> Load {
        Load::new().keep_alive(&self.address(), 4).one_shot(&self.address(), 4)
    }

    /// Runs a command in the container; gives its exit code and what it said.
    fn exec(&self, args: &[&str]) -> (i32, String) {
        self.engine.docker(&[&["exec", NAME][..], args].concat())
    }

    /// The same for one that succeeds.
    fn ok(&self, args: &[&str]) -> String {
        self.engine.ok(&[&["exec", NAME][..], args].concat())
    }

    /// Waits until its log has this text; gives the log.
    fn until_log(&self, text: &str) -> String {
        self.engine.until_log(NAME, |log| log.contains(text))
    }

    fn inspect(&self, format: &str) -> String {
        self.engine.ok(&["container", "inspect", "--format", format, NAME])
    }

    /// Equal as long as the container is the same one, and its PID 1, too.
    fn identity(&self) -> String {
        self.inspect("{{.Id}} {{.State.StartedAt}} {{.RestartCount}}")
    }

    fn status(&self) -> Value {
        // A degraded instance says so by its exit code, too.
        let (_, status) = self.exec(&["gin-ctl", "--json", "status"]);
        serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}"))
    }

    /// PIDs of the workers of the generation that serves, in the container.
    fn workers(&self) -> Vec<u64> {
        let status = self.status();
        let generations = status["generations"].as_array().unwrap();
        let current = generations.iter().find(|generation| generation["role"] == "current").unwrap();
        current["workers"].as_array().unwrap().iter().filter_map(|worker| worker["pid"].as_u64()).collect()
    }
}

/// Ends the load. Nobody was hurt, and no connection was closed.
fn kept(load: Load) -> Report {
    load.flows(100);
    let report = load.finish();
    report.assert_kept();
    report
}
