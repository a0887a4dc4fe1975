//! Headers of a trace are read, or refused. Those that were read are written alike.
#![no_main]

use gin_shared::trace_context::{Ratio, TraceContext, tracestate};
use gin_shared::trace_endpoint::{Endpoint, Protocol};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(context) = TraceContext::parse(data) {
        assert_eq!(TraceContext::parse(&context.text()), Some(context));
        assert_eq!(data[3..53], context.text()[3..53]);
        assert!(Ratio::new(1.0).takes(context.trace) && !Ratio::new(0.0).takes(context.trace));
    }
    if let Some(state) = tracestate(data.split(|byte| *byte == b'\n')) {
        assert!(state.len() <= 512 && state.split(',').count() <= 32);
        assert_eq!(tracestate([state.as_bytes()].into_iter()).as_deref(), Some(&*state));
    }
    // A longer text may be too long once its port and its path are written.
    let Some(text) = std::str::from_utf8(data).ok().filter(|text| text.len() < 2000) else { return };
    for protocol in [None, Some(Protocol::Grpc), Some(Protocol::Http)] {
        if let Ok(parsed) = Endpoint::parse(text, protocol) {
            let shown = parsed.endpoint.to_string();
            let again = Endpoint::parse(&shown, Some(parsed.endpoint.protocol)).expect("what is shown can be written");
            assert_eq!(again.endpoint, parsed.endpoint);
            assert!(!again.is_old_jaeger);
        }
    }
});
