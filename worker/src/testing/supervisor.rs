//! A supervisor of its own for one program, in a directory of its own, and what a test orders it to do.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::client::Client;
use super::request::Request;

/// Time for the supervisor to serve, and for a restart.
const PATIENCE: Duration = Duration::from_secs(60);
/// Variable that says where the supervisor is, if not beside the program or in PATH.
const GIN_SUPERVISOR: &str = "GIN_SUPERVISOR";

/// A program, and how it is run.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) workers: u32,
    /// More configuration, as TOML.
    pub(super) config: String,
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, arguments: Vec::new(), environment: Vec::new(), workers: 2, config: String::new() }
    }

    /// The supervisor's configuration, with its files in this directory.
    fn configuration(&self, directory: &Path) -> String {
        let path = self.path.display().to_string();
        let command: Vec<&str> =
            std::iter::once(path.as_str()).chain(self.arguments.iter().map(String::as_str)).collect();
        let mut config = String::from("[supervisor]\nsoak = \"0s\"\non_master_death = \"exit\"\n");
        // A string of JSON is one of TOML.
        let _ = writeln!(config, "command = {}\nworkers = {}", json!(command), self.workers);
        if !self.environment.is_empty() {
            let variables = self.environment.iter().map(|(name, value)| format!("{} = {}", json!(name), json!(value)));
            let _ = writeln!(config, "env = {{ {} }}", variables.collect::<Vec<_>>().join(", "));
        }
        for (key, name) in [("pid_file", "pid"), ("control", "control.sock"), ("status", "status.sock")] {
            let _ = writeln!(config, "{key} = {}", json!(directory.join(name)));
        }
        let _ = writeln!(config, "[[supervisor.listen]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\n{}", self.config);
        config
    }
}

#[derive(Debug)]
pub(super) struct Supervisor {
    process: Child,
    directory: tempfile::TempDir,
    pub(super) address: SocketAddr,
}

impl Supervisor {
    /// Starts it, and waits until the program serves.
    pub(super) async fn start(program: &Program) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let place = |name: &str| directory.path().join(name);
        let file = place("gin.toml");
        std::fs::write(&file, program.configuration(directory.path()))?;
        let log = std::fs::File::create(place("log"))?;
        let supervisor = supervisor(&program.path);
        let process = Command::new(&supervisor)
            .arg("--config")
            .arg(&file)
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("RUNTIME_DIRECTORY", directory.path())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let text = format!("{}: {error}; set {GIN_SUPERVISOR} to where it is", supervisor.display());
                io::Error::new(error.kind(), text)
            })?;
        let mut own = Self { process, directory, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        own.address = own.served().await?;
        Ok(own)
    }

    fn control(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// The last lines of its log.
    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn failed(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what}; it said:\n{}", self.said()))
    }

    /// Waits until it serves. Returns where.
    async fn served(&mut self) -> io::Result<SocketAddr> {
        let until = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < until {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(self.failed(&format!("the supervisor has ended: {status}")));
            }
            // Its socket is there before the first worker is, and nothing tells when.
            if let Ok(status) = self.ask(Method::GET, "/v1/status").await
                && let Some(address) = serves(&status)
            {
                return Ok(address);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(self.failed("the supervisor does not serve"))
    }

    async fn ask(&self, method: Method, path: &str) -> io::Result<Value> {
        let mut client = Client::connect_unix(&self.control()).await?;
        let answer = client.send(&Request::new(method, path)).await?;
        serde_json::from_slice(answer.body()).map_err(io::Error::other)
    }

    /// Restarts the program, and waits for the end of it. Returns the supervisor's answer.
    pub(super) async fn restart(&self) -> io::Result<String> {
        let accepted = self.ask(Method::POST, "/v1/restart").await?;
        let request = Request::get(format!("/v1/operations/{}", accepted["operation"]));
        let mut client = Client::connect_unix(&self.control()).await?;
        // Its end is the operation's.
        let steps = tokio::time::timeout(PATIENCE, client.send(&request)).await;
        let steps = steps.map_err(|_| self.failed("a restart does not end"))??;
        let last: Value = steps
            .body()
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .next_back()
            .unwrap_or_default();
        if last["exit"] == 0 {
            return Ok(last["text"].as_str().unwrap_or_default().to_owned());
        }
        Err(self.failed(&format!("a restart failed: {last}")))
    }

    /// Stops it, and waits for its end.
    pub(super) async fn stop(mut self) {
        let _ = self.ask(Method::POST, "/v1/stop").await;
        // One that does not end is killed when it is dropped.
        let _ = tokio::time::timeout(PATIENCE, self.process.wait()).await;
    }
}

fn serves(status: &Value) -> Option<SocketAddr> {
    let is_current = |generation: &&Value| generation["role"] == "current";
    status["generations"].as_array()?.iter().find(is_current)?;
    status["listeners"][0]["address"].as_str()?.parse().ok()
}

fn supervisor(program: &Path) -> PathBuf {
    let name = "gin-supervisor";
    let around = program.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    let named = std::env::var_os(GIN_SUPERVISOR).map(PathBuf::from);
    named.into_iter().chain(around).find(|path| path.is_file()).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_the_command_and_its_environment() {
        let mut program = Program::new("/opt/a shop".into());
        program.arguments.push("--port=\"0\"".to_owned());
        program.environment.push(("SHOP_LOG".to_owned(), "C:\\a".to_owned()));
        program.config = "[app]\nname = \"shop\"".to_owned();
        let config = program.configuration(Path::new("/tmp/x"));
        for line in [
            r#"command = ["/opt/a shop","--port=\"0\""]"#,
            "workers = 2",
            r#"env = { "SHOP_LOG" = "C:\\a" }"#,
            r#"control = "/tmp/x/control.sock""#,
            "name = \"shop\"",
        ] {
            assert!(config.lines().any(|one| one == line), "{line}: {config}");
        }
        // It announces itself, as it does for its operator, or this is no test of that.
        assert!(!config.contains("channel") && !config.contains("private_listener"), "{config}");
    }
}
