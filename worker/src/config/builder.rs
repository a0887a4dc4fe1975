//! A configuration that the program itself says.

use std::time::Duration;

use super::{Config, Level, Mode};

/// Makes a [`Config`] without a file and without the environment: see [`Config::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "it makes a configuration at `build`"]
pub struct Builder<A = ()>(Config<A>);

impl Config {
    /// Begins with the defaults. Nothing is read: not a file, not a variable, not the command line. For tests, and for programs
    /// that have a configuration of their own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use gin_worker::{Config, Server};
    ///
    /// let config = Config::builder()
    ///     .port(0)
    ///     .body_limit(10 << 20)
    ///     .request_timeout(Duration::from_secs(30))
    ///     .set(|config| config.cors.enable = true)
    ///     .build();
    /// assert_eq!((config.server.port, config.limits.body), (0, 10 << 20));
    /// let server: Server = Server::new(&config);
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<A> Builder<A> {
    /// `server.host`: an IP address.
    pub fn host(self, host: impl Into<String>) -> Self {
        let host = host.into();
        self.set(|config| config.server.host = host)
    }

    /// `server.port`; 0 chooses one.
    pub fn port(self, port: u16) -> Self {
        self.set(|config| config.server.port = port)
    }

    /// `server.mode`
    pub fn mode(self, mode: Mode) -> Self {
        self.set(|config| config.server.mode = mode)
    }

    /// `limits.body`: a request's body, in bytes.
    pub fn body_limit(self, bytes: u64) -> Self {
        self.set(|config| config.limits.body = bytes)
    }

    /// `timeouts.request`: time for an answer.
    pub fn request_timeout(self, limit: Duration) -> Self {
        self.set(|config| config.timeouts.request = Some(limit))
    }

    /// `timeouts.shutdown`: time for a drain.
    pub fn shutdown_timeout(self, limit: Duration) -> Self {
        self.set(|config| config.timeouts.shutdown = limit)
    }

    /// `logging.level`
    pub fn log_level(self, level: Level) -> Self {
        self.set(|config| config.logging.level = level)
    }

    /// Sets anything else.
    pub fn set(mut self, change: impl FnOnce(&mut Config<A>)) -> Self {
        change(&mut self.0);
        self
    }

    /// `[app]`: the application's own settings.
    pub fn app<B>(self, app: B) -> Builder<B> {
        Builder(self.0.with_app(app))
    }

    /// The configuration. Values are not checked as those of a file are.
    #[must_use]
    pub fn build(self) -> Config<A> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_set_and_the_rest_is_default() {
        let config = Config::builder().host("::1").port(81).mode(Mode::Debug).log_level(Level::Warn).app("own").build();
        assert_eq!((config.server.host.as_str(), config.server.port, config.app), ("::1", 81, "own"));
        let expected = Config::builder()
            .set(|config| {
                config.server.host = "::1".to_owned();
                (config.server.port, config.server.mode) = (81, Mode::Debug);
                config.logging.level = Level::Warn;
            })
            .build();
        assert_eq!(config.settings(), expected);
        assert_eq!(Config::builder().build(), Config::default());
    }
}
