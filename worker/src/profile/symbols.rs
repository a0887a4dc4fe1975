//! Names of functions: addresses become frames by what the files say to debuggers, or by their tables of symbols.

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
    // True if the last frame's name is the linker's, which has the whole path of the function.
    let mut has_path = false;
    if let Ok(mut found) = loader.find_frames(address) {
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok()).unwrap_or_default();
            let path = demangled(&name);
            has_path = path.is_some();
            let (file, line) = frame.location.map_or((None, None), |location| (location.file, location.line));
            frames.push(Frame {
                function: path.unwrap_or_else(|| without_arguments(&name).to_owned()),
                file: file.unwrap_or_default().to_owned(),
                line: line.unwrap_or_default(),
            });
        }
    }
    if frames.is_empty() {
        frames.push(Frame { function: String::new(), file: String::new(), line: 0 });
    }
    // Line tables alone have no linker's name of a method that is not inlined. The table of symbols has it.
    if !has_path
        && let Some(outer) = frames.last_mut()
        && let Some(symbol) = loader.find_symbol(address)
    {
        match demangled(symbol) {
            Some(path) => outer.function = path,
            None if outer.function.is_empty() => symbol.clone_into(&mut outer.function),
            None => {}
        }
    }
    frames.retain(|frame| !frame.function.is_empty());
    frames
}

/// The path of a function, if this is the linker's name of one in Rust.
fn demangled(name: &str) -> Option<String> {
    rustc_demangle::try_demangle(name).ok().map(|path| format!("{path:#}"))
}

/// A name of rustc's that has no path, without its type arguments, which may be as long as a page: "poll" of "poll<Box<..>>".
fn without_arguments(name: &str) -> &str {
    match name.find('<') {
        Some(begin) if begin > 0 && name.ends_with('>') => &name[..begin],
        Some(_) | None => name,
    }
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

    struct Held<T>(T);

    impl<T: Copy> Held<T> {
        #[inline(never)]
        fn given(&self) -> T {
            self.0
        }
    }

    #[test]
    fn a_method_has_its_path() {
        assert_eq!(Held(7_u8).given(), 7);
        let given: fn(&Held<u8>) -> u8 = Held::given;
        let here = given as usize as u64;
        let frames = of(&Modules::read(), [here]).remove(&here).unwrap().frames;
        let function = &frames.last().unwrap().function;
        assert!(function.contains("symbols::tests::Held<") && function.ends_with("::given"), "{frames:?}");
    }

    #[test]
    fn a_name_without_a_path_has_no_type_arguments() {
        for (name, without) in [
            ("poll<alloc::boxed::Box<u8>, fn(u8) -> u8>", "poll"),
            ("{async_block#0}<fn(u8)>", "{async_block#0}"),
            ("<u8 as Trait>", "<u8 as Trait>"),
            ("operator<", "operator<"),
            ("main", "main"),
            ("", ""),
        ] {
            assert_eq!(without_arguments(name), without);
        }
        assert_eq!(demangled("_ZN5alloc3vec9from_elem17hc348493086814d84E").as_deref(), Some("alloc::vec::from_elem"));
        assert_eq!(demangled("memcpy"), None);
    }
}
