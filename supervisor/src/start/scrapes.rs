//! The listener for scrapers (`supervisor.metrics`), at a start.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use super::StartError;
use crate::config::Config;
use crate::os::scrape_listener::ScrapeListener;

/// The listener, and a copy of it to accept from.
type Opened = (Option<ScrapeListener>, Option<TcpListener>);

/// Opens the listener, if the configuration has one. `kept` is that of the program before this one.
///
/// A master whose workers live goes on without it, if it cannot be had: they need a master more than a scraper needs an answer.
///
/// # Errors
/// See [`StartError::Metrics`].
pub(super) fn open(config: &Config, kept: Option<OwnedFd>, workers_live: bool) -> Result<Opened, StartError> {
    let Some(address) = config.fixed.metrics else { return Ok((None, None)) };
    let kept = kept.and_then(|fd| ScrapeListener::resume(fd, address));
    let is_new = kept.is_none();
    let listener = match kept.map_or_else(|| ScrapeListener::bind(address), Ok) {
        Ok(listener) => listener,
        Err(error) if workers_live => {
            tracing::error!(
                "supervisor.metrics: {error}; nobody is answered there: gin-ctl upgrade-supervisor tries again"
            );
            return Ok((None, None));
        }
        Err(error) => return Err(StartError::Metrics(error)),
    };
    let failed = |error| StartError::System { step: "supervisor.metrics", error };
    if is_new {
        let address = listener.address().map_err(failed)?;
        tracing::info!(%address, "metrics at http://{address}/metrics");
    }
    let copy = listener.copy().map_err(failed)?;
    Ok((Some(listener), Some(copy)))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::fd::AsFd;

    use gin_shared::exit;

    use super::*;

    fn config(address: SocketAddr) -> Config {
        let text = format!("[supervisor]\nmetrics = \"{address}\"\n");
        Config::from_text("shop.toml".as_ref(), &text).unwrap()
    }

    #[test]
    fn an_address_in_use_ends_a_start_and_no_takeover() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(taken.local_addr().unwrap());
        let error = open(&config, None, false).unwrap_err();
        assert_eq!(error.exit(), exit::FAILED);
        let text = error.to_string();
        assert!(text.starts_with("supervisor.metrics: cannot listen on 127.0.0.1:"), "{text}");
        assert!(open(&config, None, true).unwrap().0.is_none());
        let kept = taken.as_fd().try_clone_to_owned().unwrap();
        assert!(open(&config, Some(kept), true).unwrap().0.is_some(), "it is the one that was kept");
    }

    #[test]
    fn without_an_address_nothing_is_opened_and_nothing_is_kept() {
        let config = Config::from_text("shop.toml".as_ref(), "").unwrap();
        let kept = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = kept.local_addr().unwrap();
        assert!(open(&config, Some(kept.into()), true).unwrap().0.is_none());
        assert!(std::net::TcpStream::connect(address).is_err(), "it is closed");
    }
}
