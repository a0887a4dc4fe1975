//! Names of functions: addresses become frames by what the files say to debuggers, or by their tables of symbols.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use addr2line::Loader;
use gin_shared::fault;
use gin_shared::pprof::{Frame, Location};

use super::modules::{Module, Modules};

/// Names all of these addresses. One that has no name is there without frames. It reads large parts of files: not for a thread that
/// has requests.
pub(super) fn of(modules: &Modules, addresses: impl IntoIterator<Item = u64>) -> HashMap<u64, Location> {
    let mut located = HashMap::new();
    let mut by_module: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for address in addresses {
        match modules.at(address) {
            Some((index, _)) => _ = by_module.entry(index).or_default().insert(address),
            None => _ = located.insert(address, Location { address, ..Location::default() }),
        }
    }
    for addresses in by_module.into_values() {
        let Some((index, module)) = addresses.first().and_then(|first| modules.at(*first)) else { continue };
        // A file whose symbols are broken costs its own names, and not the profile.
        let mut frames = catch_unwind(AssertUnwindSafe(|| frames(module, &addresses))).unwrap_or_default();
        for address in addresses {
            let frames = frames.remove(&address).unwrap_or_default();
            located.insert(address, Location { address, mapping: index as u32 + 1, frames });
        }
    }
    located
}

/// Frames at addresses of one module. The loader lives for this call alone: its tables are as large as the file's.
fn frames(module: &Module, addresses: &BTreeSet<u64>) -> HashMap<u64, Vec<Frame>> {
    let _ = fault::at("profile.symbols");
    let Some(file) = &module.file else { return HashMap::new() };
    // By the descriptor: another file may be at the path by now.
    let Ok(loader) = Loader::new(format!("/proc/self/fd/{}", file.as_raw_fd())) else { return HashMap::new() };
    addresses.iter().map(|address| (*address, at(&loader, address.wrapping_sub(module.bias)))).collect()
}

/// Frames at an address of a file, the inlined one first.
fn at(loader: &Loader, address: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    if let Ok(mut found) = loader.find_frames(address) {
        while let Ok(Some(frame)) = found.next() {
            let function = frame.function.as_ref().and_then(|function| function.demangle().ok());
            let (file, line) = frame.location.map_or((None, None), |location| (location.file, location.line));
            frames.push(Frame {
                function: function.map(Cow::into_owned).unwrap_or_default(),
                file: file.unwrap_or_default().to_owned(),
                line: line.unwrap_or_default(),
            });
        }
    }
    if frames.is_empty() {
        frames.push(Frame { function: String::new(), file: String::new(), line: 0 });
    }
    if let Some(outer) = frames.last_mut()
        && outer.function.is_empty()
        && let Some(symbol) = loader.find_symbol(address)
    {
        outer.function = format!("{:#}", rustc_demangle::demangle(symbol));
    }
    frames.retain(|frame| !frame.function.is_empty());
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_file_has_its_name_and_an_address_of_nothing_has_none() {
        let here = a_function_of_this_file_has_its_name_and_an_address_of_nothing_has_none as fn() as usize as u64;
        let located = of(&Modules::read(), [here, 0]);
        let frames = &located[&here].frames;
        let function = &frames.last().unwrap().function;
        assert!(
            function.ends_with("a_function_of_this_file_has_its_name_and_an_address_of_nothing_has_none"),
            "{frames:?}"
        );
        assert!(located[&here].mapping > 0 && located[&0] == Location::default(), "{located:?}");
    }
}
