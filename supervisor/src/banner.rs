//! The banner for a person at a terminal, when the first generation serves.

use std::io::Write;

use gin_shared::status::{Listener, Status};

use crate::reporter::Boot;

/// Prints the places of everything, and commands to try.
pub fn print(status: &Status, boot: Boot, demo: bool) {
    let text = render(status, boot, demo);
    // A closed stdout costs the banner, nothing else.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn render(status: &Status, boot: Boot, demo: bool) -> String {
    let mut text = format!("gin-supervisor {}   instance {}   pid {}\n", status.version, status.instance, status.pid);
    let mut row = |name: &str, value: &str| text.push_str(&format!("  {name:<9} {value}\n"));
    for listener in &status.listeners {
        let url = url(listener);
        row("serving", &if demo { format!("{url}   gin-server (demo: no configuration, no command)") } else { url });
    }
    let generation = status.generations.first().map_or(0, |generation| generation.generation.0);
    let came = match boot {
        Boot::Served { took_ms } => format!("{} ready in {took_ms:.0} ms", status.workers),
        Boot::Adopted { workers, from } => format!("{workers} adopted from the supervisor that was pid {from}"),
    };
    row("workers", &format!("{came}         generation {generation}"));
    row("pid file", &status.pid_file);
    row("control", &status.control);
    let ctl =
        std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("gin-ctl"))).filter(|ctl| ctl.exists());
    let ctl = ctl.map_or_else(|| "gin-ctl".to_owned(), |ctl| shorten(&ctl));
    text.push_str(&format!(
        "Try in another terminal:\n  kill -USR2 $(cat {})\n  {ctl} restart        the same, and waits for the outcome\n",
        status.pid_file
    ));
    if demo {
        text.push_str("Your program:  gin-supervisor --listen :8080 -- ./myapp      ");
    }
    text.push_str("Ctrl-C drains, twice stops at once\n");
    text
}

/// Address for a browser; for a Unix socket, its path.
fn url(listener: &Listener) -> String {
    if listener.address.starts_with("unix:") {
        return listener.address.clone();
    }
    let scheme = if listener.tls { "https" } else { "http" };
    format!("{scheme}://{}", listener.address)
}

/// Relative to where the person is, if that is shorter.
fn shorten(path: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map_or_else(|_| path.display().to_string(), |short| format!("./{}", short.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_scheme_that_its_listener_speaks() {
        let shown = |address: &str, tls| {
            url(&Listener { name: "web".into(), address: address.into(), queue: None, backlog: 128, tls })
        };
        assert_eq!(shown("127.0.0.1:8080", false), "http://127.0.0.1:8080");
        assert_eq!(shown("[::1]:8443", true), "https://[::1]:8443");
        assert_eq!(shown("unix:/run/shop.sock", false), "unix:/run/shop.sock");
    }
}
