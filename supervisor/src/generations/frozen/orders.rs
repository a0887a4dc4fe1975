//! Orders for the exec helper: how a worker, or a command of the operator, of a frozen generation is started.

use std::ffi::OsString;
use std::path::Path;

use gin_shared::generation::WorkerId;
use gin_shared::trace_context::TraceContext;
use gin_shared::{announcement, inherit};

use super::{Frozen, resolve_directory};
use crate::config::OnMasterDeath;
use crate::generations::environment::{self, Environment};
use crate::generations::freeze_error::FreezeError;
use crate::generations::program::Program;
use crate::generations::worker_program;
use crate::os::core_filter::{self, NO_MEMORY};
use crate::os::limits::inherited_nofile;
use crate::os::sandbox::Sandbox;
use crate::os::spawn::Spec;

impl Frozen {
    /// The orders for the helper that becomes one of its workers. `notify` is the path of the worker's notify socket; with `has_material`
    /// certificates are passed behind the other memories. `trace`: the span that its start belongs to.
    #[must_use]
    pub fn worker_spec(&self, id: WorkerId, notify: &Path, has_material: bool, trace: Option<TraceContext>) -> Spec {
        let listeners = self.listeners.open();
        let mut names: Vec<&str> = listeners.iter().map(|listening| listening.spec.name.as_str()).collect();
        names.extend(self.config.private_listener.then_some(inherit::PRIVATE));
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: OsString| environment::set(&mut environment, name, value);
        set(inherit::GIN_ATTEMPT, id.attempt.to_string().into());
        set(inherit::GIN_SLOT, id.slot.to_string().into());
        set(inherit::NOTIFY_SOCKET, notify.into());
        if let Some(trace) = trace {
            set(inherit::TRACEPARENT, String::from_utf8_lossy(&trace.text()).into_owned().into());
        }
        if let Some(snapshot) = &self.snapshot {
            set(inherit::GIN_CONFIG, snapshot.path().into());
        }
        // The worker's LISTEN_PID, which our channel needs too, is set where its PID is known; so is WATCHDOG_PID.
        let passes_descriptors = !names.is_empty() || self.config.channel;
        if passes_descriptors {
            set(inherit::LISTEN_FDS, names.len().to_string().into());
            set(inherit::LISTEN_FDNAMES, names.join(":").into());
        }
        if self.config.channel {
            let number = inherit::FIRST_FD as usize + names.len();
            set(inherit::GIN_CHANNEL_FD, number.to_string().into());
            set(inherit::GIN_SHARED_MEMORY_FD, (number + 1).to_string().into());
            set(inherit::GIN_METRICS_FD, (number + 2).to_string().into());
            if has_material {
                set(inherit::GIN_TLS_FD, (number + 3).to_string().into());
            }
        }
        if self.config.offered.is_some() {
            set(inherit::GIN_ANNOUNCE, announcement::VERSION.to_string().into());
        }
        if let Some(patience) = self.config.watchdog {
            set(inherit::WATCHDOG_USEC, patience.as_micros().to_string().into());
        }
        let watched = self.config.watchdog.is_some();
        let spec = self.spec(&self.program, environment);
        let hides_keys = !self.config.tls.is_empty() && !self.config.tls.core_dumps;
        Spec {
            passes_descriptors,
            watched,
            sandbox: self.sandbox(self.directory.as_deref()),
            core_filter: if hides_keys { Some(NO_MEMORY) } else { spec.core_filter },
            ..spec
        }
    }

    /// The sandbox of a worker that runs in `directory`. If its files are restricted, it may read that and its configuration, too.
    fn sandbox(&self, directory: Option<&Path>) -> Sandbox {
        let mut sandbox = self.config.sandbox.clone();
        if let Some(files) = &mut sandbox.files {
            files.read.extend(directory.map(Path::to_owned));
            files.read.extend(self.snapshot.as_ref().map(|snapshot| snapshot.path().to_owned()));
        }
        sandbox
    }

    /// The orders for the helper that becomes one of the operator's commands. A command inherits no descriptor; it knows
    /// `more` beside the workers' environment. It is not contained: a hook may have to send mail or use sudo.
    #[must_use]
    pub fn command_spec(&self, program: &Program, more: Vec<(&str, String)>) -> Spec {
        let mut environment = self.environment.clone();
        more.into_iter().for_each(|(name, value)| environment::set(&mut environment, name, value.into()));
        self.spec(program, environment)
    }

    /// The workers' program as it lies at its path now, and the orders for a helper that becomes it once, beside the workers: to migrate
    /// their database. It has the workers' user, environment, configuration and sandbox, and no descriptor.
    ///
    /// # Errors
    /// See [`FreezeError`].
    pub fn program_anew(&self, more: Vec<(&str, String)>) -> Result<(Program, Spec), FreezeError> {
        let directory = self.config.directory.as_deref().map(resolve_directory).transpose()?;
        let argv = match &self.config.command {
            Some(command) => command.clone(),
            None => vec![worker_program::find()?.display().to_string()],
        };
        let program = Program::find(&argv, directory.as_deref(), &self.environment).map_err(FreezeError::Command)?;
        let mut environment = self.environment.clone();
        if let Some(snapshot) = &self.snapshot {
            environment::set(&mut environment, inherit::GIN_CONFIG, snapshot.path().into());
        }
        more.into_iter().for_each(|(name, value)| environment::set(&mut environment, name, value.into()));
        let sandbox = self.sandbox(directory.as_deref());
        let spec = Spec { directory, sandbox, ..self.spec(&program, environment) };
        Ok((program, spec))
    }

    fn spec(&self, program: &Program, environment: Environment) -> Spec {
        let program = program.record();
        Spec {
            argv: program.argv.clone(),
            program: program.path.clone(),
            directory: self.directory.clone(),
            environment,
            passes_descriptors: false,
            watched: false,
            user: self.config.user.clone(),
            group: self.config.group.clone(),
            umask: self.config.umask,
            nice: self.config.nice,
            nproc: self.config.limits.nproc,
            core: self.config.limits.core,
            core_filter: core_filter::inherited(),
            cores: self.config.cores.clone(),
            oom_score_adjust: self.config.oom_score_adjust,
            capabilities: self.config.capabilities,
            sandbox: Sandbox::default(),
            nofile: self.config.limits.nofile.map_or((inherited_nofile(), false), |nofile| (nofile, true)),
            dies_with_master: self.config.on_master_death == OnMasterDeath::Exit,
            master: i32::try_from(std::process::id()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gin_shared::generation::{Generation, Slot};
    use gin_shared::trace_context::{SpanId, TraceId};

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_worker_is_told_the_span_of_its_start_if_there_is_one() {
        let runtime = tempfile::tempdir().unwrap();
        let text = "[supervisor]\ncommand = [\"/bin/sh\"]\n";
        let config = Config::from_text(Path::new("shop.toml"), text).unwrap();
        let frozen = Frozen::freeze(Generation(1), &config, Vec::new(), runtime.path()).unwrap();
        let worker = WorkerId { generation: Generation(1), slot: Slot(0), attempt: 0 };
        let environment = |trace| frozen.worker_spec(worker, Path::new("/run/notify"), false, trace).environment;
        let (trace, span) = (TraceId::new([7; 16]).unwrap(), SpanId::new([8; 8]).unwrap());
        let (without, mut with) =
            (environment(None), environment(Some(TraceContext { trace, span, is_sampled: true })));
        let told = with.iter().position(|(name, _)| name == inherit::TRACEPARENT).unwrap();
        assert_eq!(with.remove(told).1, *format!("00-{}-{}-01", "07".repeat(16), "08".repeat(8)));
        assert_eq!(with, without);
    }
}
