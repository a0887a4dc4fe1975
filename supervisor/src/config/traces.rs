//! The receiver of the traces of restarts (`supervisor.traces`).

use gin_shared::trace_endpoint::{Endpoint, EndpointError};

/// A text that names no receiver to which the master can send.
#[derive(Debug, thiserror::Error)]
pub(super) enum TracesError {
    /// It is no URL of a receiver.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// This program sends no traces.
    #[error("this gin-supervisor was built without traces; build it with --features otel, or remove the key")]
    LeftOut,
    /// The master has no cryptography.
    #[error("the supervisor sends traces without TLS; write the http:// address of a receiver on this host")]
    Tls,
    /// The old endpoint speaks Thrift.
    #[error("it is Jaeger's old Thrift endpoint; write \"{0}\" (OTLP)")]
    OldJaeger(Endpoint),
}

/// Parses the URL of a receiver.
pub(super) fn parse(text: &str) -> Result<Endpoint, TracesError> {
    if cfg!(not(feature = "otel")) {
        return Err(TracesError::LeftOut);
    }
    let parsed = Endpoint::parse(text, None)?;
    match parsed.is_old_jaeger {
        true => Err(TracesError::OldJaeger(parsed.endpoint)),
        false if parsed.endpoint.is_tls => Err(TracesError::Tls),
        false => Ok(parsed.endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn error(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[cfg(feature = "otel")]
    #[test]
    fn a_receiver_is_reached_without_tls() {
        assert_eq!(parse("http://localhost:4317").unwrap().to_string(), "http://localhost:4317");
        assert!(error("https://localhost:4317").contains("http://"));
        assert!(error("http://localhost:14268/api/traces").contains("write \"http://localhost:4317\""));
        assert!(!error("localhost").is_empty());
    }

    #[cfg(not(feature = "otel"))]
    #[test]
    fn a_build_without_traces_says_so() {
        assert!(error("http://localhost:4317").contains("--features otel"));
    }
}
