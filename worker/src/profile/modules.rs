//! The program and its libraries: where they are mapped, and how their code is unwound.
//!
//! Each file is opened when a profile begins and stays open until its end, so the names of functions are of the code that ran, also
//! when a release's directory is replaced in between. A file that cannot be read leaves its addresses without names, and its code is
//! unwound by frame pointers.

use std::fs::File;
use std::path::{Path, PathBuf};

use framehop::{ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Unwinder, UnwinderNative};
use gin_shared::pprof::Mapping;
use object::{Object, ObjectSection, ObjectSegment, ReadCache, ReadRef};

/// Unwinds the stacks of this process.
pub(super) type Unwinding = UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>;

/// What the kernel adds to the path of a file that is no more there.
const DELETED: &str = " (deleted)";
/// The program, also when its path is gone.
const PROGRAM: &str = "/proc/self/exe";

/// Code of one file.
#[derive(Debug)]
pub(super) struct Module {
    /// The place of the code, and its file.
    pub(super) mapping: Mapping,
    /// An address in memory less the same address in the file.
    pub(super) bias: u64,
    /// The file. `None`: it cannot be read.
    pub(super) file: Option<File>,
}

/// All code of this process that is of files, in the order of addresses.
#[derive(Debug)]
pub(super) struct Modules(Vec<Module>);

impl Modules {
    /// Reads which files are mapped, and opens them.
    pub(super) fn read() -> Self {
        let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
        let maps = String::from_utf8_lossy(&maps);
        let program = std::fs::read_link(PROGRAM).unwrap_or_default();
        Self(maps.lines().filter_map(code).map(|mapping| Module::open(mapping, &program)).collect())
    }

    /// An unwinder that knows all of them.
    pub(super) fn unwinder(&self) -> Unwinding {
        let mut unwinder = Unwinding::new();
        for module in &self.0 {
            if let Some(module) = module.unwound() {
                unwinder.add_module(module);
            }
        }
        unwinder
    }

    /// The code at an address, with its number.
    pub(super) fn at(&self, address: u64) -> Option<(usize, &Module)> {
        let behind = self.0.partition_point(|module| module.mapping.start <= address);
        let index = behind.checked_sub(1)?;
        let module = self.0.get(index)?;
        (address < module.mapping.end).then_some((index, module))
    }

    /// The mappings, in the order of the numbers.
    pub(super) fn mappings(&self) -> Vec<Mapping> {
        self.0.iter().map(|module| module.mapping.clone()).collect()
    }
}

impl Module {
    fn open(mapping: Mapping, program: &Path) -> Self {
        let (path, mapping) = without_remark(mapping, program);
        let mut module = Self { bias: mapping.start.wrapping_sub(mapping.offset), mapping, file: None };
        let Some(file) = path.and_then(|path| File::open(path).ok()) else { return module };
        let data = ReadCache::new(&file);
        let Ok(parsed) = object::File::parse(&data) else { return module };
        if let Some(bias) = bias(&parsed, &module.mapping) {
            module.bias = bias;
        }
        if let Ok(Some(id)) = parsed.build_id() {
            module.mapping.build_id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        }
        drop(parsed);
        drop(data);
        module.file = Some(file);
        module
    }

    /// The same for the unwinder. `None`: the file says nothing about unwinding.
    fn unwound(&self) -> Option<framehop::Module<Vec<u8>>> {
        let data = ReadCache::new(self.file.as_ref()?);
        let file = object::File::parse(&data).ok()?;
        let range = |name| {
            let section = file.section_by_name(name)?;
            Some(section.address()..section.address().saturating_add(section.size()))
        };
        let bytes = |name| file.section_by_name(name)?.data().ok().map(<[u8]>::to_vec);
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: range(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: Some(bytes(".eh_frame")?),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: bytes(".eh_frame_hdr"),
            ..ExplicitModuleSectionInfo::default()
        };
        let Mapping { start, end, .. } = self.mapping;
        Some(framehop::Module::new(self.mapping.file.clone(), start..end, self.bias, sections))
    }
}

/// Reads a line of `/proc/self/maps`, if it is of code in a file.
fn code(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut word = || {
        let (word, behind) = rest.trim_start().split_once(' ')?;
        rest = behind;
        Some(word)
    };
    let (range, permissions, offset, _device, _inode) = (word()?, word()?, word()?, word()?, word()?);
    let file = rest.trim_start();
    if !permissions.contains('x') || !file.starts_with('/') {
        return None;
    }
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = range.split_once('-')?;
    let (start, end, offset) = (hex(start)?, hex(end)?, hex(offset)?);
    Some(Mapping { start, end, offset, file: file.to_owned(), build_id: String::new() })
}

/// Takes the kernel's remark from a path, and says where the file can be opened: the program's own always.
fn without_remark(mut mapping: Mapping, program: &Path) -> (Option<PathBuf>, Mapping) {
    let is_program = Path::new(&mapping.file) == program;
    let kept = mapping.file.strip_suffix(DELETED).map(str::len);
    if let Some(kept) = kept {
        mapping.file.truncate(kept);
    }
    let path = match kept {
        _ if is_program => Some(PROGRAM.into()),
        Some(_) => None,
        None => Some(PathBuf::from(&mapping.file)),
    };
    (path, mapping)
}

/// An address in memory less the same address in the file, by the segment of code that the mapping has.
fn bias<'data, R: ReadRef<'data>>(file: &object::File<'data, R>, mapping: &Mapping) -> Option<u64> {
    let end = mapping.offset.saturating_add(mapping.end.saturating_sub(mapping.start));
    let segment = file.segments().find(|segment| {
        let (offset, size) = segment.file_range();
        segment.permissions().executable() && offset < end && mapping.offset < offset.saturating_add(size)
    })?;
    let (offset, _) = segment.file_range();
    let address = segment.address().wrapping_sub(offset).wrapping_add(mapping.offset);
    Some(mapping.start.wrapping_sub(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_code_are_told_from_others() {
        let line = "55d0c8a01000-55d0c8b02000 r-xp 00001000 08:01 4242                       /opt/my shop/bin/shop";
        let mapping = code(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x55d0_c8a0_1000, 0x55d0_c8b0_2000, 0x1000));
        assert_eq!(mapping.file, "/opt/my shop/bin/shop");
        for line in [
            "55d0c8a00000-55d0c8a01000 r--p 00000000 08:01 4242                       /opt/shop",
            "7ffd1f3f4000-7ffd1f3f6000 r-xp 00000000 00:00 0                          [vdso]",
            "7f0000000000-7f0000001000 rwxp 00000000 00:00 0 ",
            "nonsense",
            "",
        ] {
            assert!(code(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_deleted_file_has_its_path_and_only_the_program_can_be_opened() {
        let mapping =
            |file: &str| Mapping { start: 0, end: 1, offset: 0, file: file.to_owned(), build_id: String::new() };
        let program = Path::new("/opt/shop (deleted)");
        let (path, found) = without_remark(mapping("/opt/shop (deleted)"), program);
        assert_eq!((path.as_deref(), found.file.as_str()), (Some(Path::new(PROGRAM)), "/opt/shop"));
        let (path, found) = without_remark(mapping("/opt/lib.so (deleted)"), program);
        assert_eq!((path, found.file.as_str()), (None, "/opt/lib.so"));
        let (path, found) = without_remark(mapping("/opt/lib.so"), program);
        assert_eq!((path.as_deref(), found.file.as_str()), (Some(Path::new("/opt/lib.so")), "/opt/lib.so"));
    }

    #[test]
    fn this_function_is_in_a_module_of_the_program() {
        let modules = Modules::read();
        let here = this_function_is_in_a_module_of_the_program as fn() as usize as u64;
        let (index, module) = modules.at(here).unwrap();
        assert_eq!(Path::new(&module.mapping.file), std::env::current_exe().unwrap());
        assert!(module.file.is_some() && module.unwound().is_some());
        assert_eq!(modules.mappings()[index].start, module.mapping.start);
        assert!(modules.at(0).is_none() && modules.at(u64::MAX).is_none());
    }
}
