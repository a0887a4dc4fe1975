//! An operation's steps as they come: ticks on a terminal, lines with a time elsewhere, JSON if asked for.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Instant, SystemTime};

use gin_shared::address_in_use;
use gin_shared::channel::{ByProtocol, Counts, Fates};
use gin_shared::control::{Outcome, Phase, Step};
use gin_shared::exit;

use super::{BAD, DIM, GOOD, PLAIN, WARN, took};

/// How steps are shown.
#[derive(Debug)]
pub struct Progress {
    instance: String,
    style: Style,
    next: &'static str,
    probe: Option<String>,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Terminal,
    Lines,
    Json,
}

impl Progress {
    /// Of an operation on `instance`.
    #[must_use]
    pub fn new(instance: &str, json: bool) -> Self {
        let style = match (json, std::io::stdout().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Terminal,
            (false, false) => Style::Lines,
        };
        Self { instance: instance.to_owned(), style, next: "waiting", probe: None, since: Instant::now() }
    }

    /// Whether what is awaited is to be shown in between.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.style == Style::Terminal
    }

    /// What is awaited, in a line that the next step overwrites.
    pub fn wait(&self) {
        let seconds = self.since.elapsed().as_secs_f64();
        crate::show!("\r\x1b[K  {DIM}… {:<9} {seconds:.1} s{PLAIN}", self.next);
        let _ = std::io::stdout().flush();
    }

    /// Takes the line away that tells what is awaited.
    pub fn clear(&self) {
        if self.is_live() {
            crate::show!("\r\x1b[K");
            // What follows may go to stderr, which waits for nobody.
            let _ = std::io::stdout().flush();
        }
    }

    /// A step.
    pub fn step(&mut self, step: &Step, line: &str) {
        self.clear();
        match (self.style, step) {
            (Style::Lines, Step::Output { lines }) => lines.iter().for_each(|line| crate::say!("{line}")),
            (Style::Json, _) => crate::say!("{line}"),
            (Style::Lines, _) => crate::say!("{} {}", now(), plain(step)),
            (Style::Terminal, _) => self.tick(step),
        }
        self.since = Instant::now();
    }

    fn tick(&mut self, step: &Step) {
        match step {
            Step::Waiting { text } => crate::say!("  {DIM}waits: {text}{PLAIN}"),
            Step::Generation { generation, directory, .. } => {
                let from = directory.as_ref().map(|directory| format!(" from {directory}")).unwrap_or_default();
                crate::say!("{}: generation {generation}{from}", self.instance);
                self.next = "started";
            }
            Step::Phase { phase, workers, took_ms } => {
                let word = phase.word();
                match phase {
                    Phase::Started | Phase::Ready | Phase::WarmedUp | Phase::Serving => {
                        crate::say!("  {GOOD}✓{PLAIN} {word:<9} {workers}/{workers}  {}", took(*took_ms));
                    }
                    // Less than that is no soak time at all.
                    Phase::Soaked if *took_ms >= 1.0 => {
                        crate::say!("  {GOOD}✓{PLAIN} {word:<9} {} without a crash", took(*took_ms));
                    }
                    Phase::Probed => {
                        let said = self.probe.take().unwrap_or_else(|| format!("{workers}/{workers}"));
                        crate::say!("  {GOOD}✓{PLAIN} {word:<9} {said}  {}", took(*took_ms));
                    }
                    Phase::Soaked | Phase::Current => {}
                }
                self.next = match phase {
                    Phase::Started => "ready",
                    Phase::Ready | Phase::WarmedUp | Phase::Probed => "serving",
                    Phase::Serving => "soaked",
                    Phase::Soaked | Phase::Current => "current",
                };
            }
            Step::Warning { text } => crate::say!("  {WARN}!{PLAIN} {text}"),
            Step::Checked { version } => {
                crate::say!("  {GOOD}✓{PLAIN} checked   gin-supervisor {version} can take over");
                self.next = "executed";
            }
            Step::Output { lines } => lines.iter().for_each(|line| crate::say!("{line}")),
            Step::Other => {}
            // All slots are asked the same: one answer stands for all.
            Step::Probe { text, .. } => self.probe = Some(text.clone()),
            Step::Replaced { slots, workers, took_ms } => {
                crate::say!("  {GOOD}✓{PLAIN} {:<9} {slots}/{workers}  {}", "replaced", took(*took_ms));
                self.next = "replaced";
            }
            Step::Hook { name, outcome, took_ms } if outcome == "done" => {
                crate::say!("  {GOOD}✓{PLAIN} {:<9} {name}  {}", "hook", took(*took_ms));
            }
            Step::Hook { name, outcome, .. } => crate::say!("  {BAD}✗{PLAIN} {:<9} {name}: {outcome}", "hook"),
            Step::Failed { phase, reason, said, pid } => {
                let said = if said.is_empty() { &super::journal::last_lines(*pid) } else { said };
                crate::say!("  {BAD}✗{PLAIN} {:<9} {reason}", phase.word());
                for (index, line) in said.iter().enumerate() {
                    crate::say!("    {:<7} {line}", if index == 0 { "said" } else { "" });
                }
                if address_in_use::is_told(said) && !reason.contains(address_in_use::HINT) {
                    crate::say!("    {:<7} {}", "hint", address_in_use::HINT);
                }
                if let Some(pid) = pid {
                    crate::say!("    {DIM}more    journalctl _PID={pid}, or the log of the supervisor{PLAIN}");
                }
            }
            Step::Drained { connections } => {
                let fates = connections.map(|fates| format!("   {fates}")).unwrap_or_default();
                crate::say!("  {GOOD}✓{PLAIN} drained{fates}");
            }
            Step::Ended(outcome) => self.end(outcome),
        }
    }

    fn end(&self, outcome: &Outcome) {
        if outcome.exit == exit::DONE {
            crate::say!("Done in {}: {}.", took(outcome.took_ms), outcome.text);
        } else {
            crate::complain!("{BAD}error:{PLAIN} {}", outcome.text);
        }
    }
}

fn plain(step: &Step) -> String {
    match step {
        Step::Waiting { text } => format!("step=waiting text={text:?}"),
        Step::Generation { generation, release, directory, replaces: _ } => {
            let optional =
                |key: &str, value: &Option<String>| value.as_ref().map(|v| format!(" {key}={v:?}")).unwrap_or_default();
            format!(
                "step=generation generation={generation}{}{}",
                optional("release", release),
                optional("directory", directory)
            )
        }
        Step::Phase { phase, workers, took_ms } => format!("step={} workers={workers} took_ms={took_ms}", phase.word()),
        Step::Probe { slot, text } => format!("step=probe slot={slot} text={text:?}"),
        Step::Replaced { slots, workers, took_ms } => {
            format!("step=replaced slots={slots} workers={workers} took_ms={took_ms}")
        }
        Step::Hook { name, outcome, took_ms } => format!("step=hook name={name} outcome={outcome:?} took_ms={took_ms}"),
        Step::Failed { phase, reason, said, pid } => {
            let said = if said.is_empty() { &super::journal::last_lines(*pid) } else { said };
            let pid = pid.map(|pid| format!(" pid={pid}")).unwrap_or_default();
            let said = if said.is_empty() { String::new() } else { format!(" said={:?}", said.join("\n")) };
            format!("step=failed missing={} reason={reason:?}{pid}{said}", phase.word())
        }
        Step::Drained { connections } => {
            format!("step=drained{}", connections.as_ref().map(counts).unwrap_or_default())
        }
        Step::Warning { text } => format!("step=warning text={text:?}"),
        Step::Checked { version } => format!("step=checked version={version:?}"),
        Step::Output { lines } => format!("step=output text={:?}", lines.join("\n")),
        Step::Other => "step=other".to_owned(),
        Step::Ended(outcome) => {
            format!("step=ended exit={} text={:?} took_ms={}", outcome.exit, outcome.text, outcome.took_ms)
        }
    }
}

/// Numbers of connections by their ends; behind them those of each protocol, where there are any.
fn counts(fates: &Fates) -> String {
    let Fates { handed_over, finished, closed, cut, by_protocol, .. } = *fates;
    let mut text = format!(" handed_over={handed_over} finished={finished} closed={closed} cut={cut}");
    let ByProtocol { http1, http2, websocket, tls } = by_protocol;
    for (protocol, Counts { handed_over, finished, closed, cut }) in
        [("http1", http1), ("http2", http2), ("websocket", websocket), ("tls", tls)]
    {
        let all = [("handed_over", handed_over), ("finished", finished), ("closed", closed), ("cut", cut)];
        for (end, count) in all.into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, " {protocol}_{end}={count}");
        }
    }
    text
}

fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_drain_are_told_by_protocol_behind_their_sums() {
        let of = |handed_over, cut| Counts { handed_over, cut, ..Counts::default() };
        let by_protocol = ByProtocol { http2: of(2, 0), websocket: of(0, 1), tls: of(2, 1), ..ByProtocol::default() };
        let fates = Fates { handed_over: 3, cut: 1, by_protocol, ..Fates::default() };
        let told = "step=drained handed_over=3 finished=0 closed=0 cut=1 http2_handed_over=2 websocket_cut=1 \
                    tls_handed_over=2 tls_cut=1";
        assert_eq!(plain(&Step::Drained { connections: Some(fates) }), told);
        assert_eq!(plain(&Step::Drained { connections: None }), "step=drained");
    }
}
