//! A configuration in any of the three formats is read or refused, each problem with a place.
#![no_main]

use gin_supervisor::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let name = ["shop.toml", "shop.yaml", "shop.json"][usize::from(*first) % 3];
    if let Err(problems) = Config::from_text(name.as_ref(), text) {
        assert!(!problems.is_empty() && problems.iter().all(|p| !p.place.is_empty() && !p.text.is_empty()));
    }
});
