//! What a Python worker needs so that its results lie in shared memory from the start: a library that is loaded before all others (`ld.so(8)`,
//! `LD_PRELOAD`). Without it everything works, and results are copied once.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const LIBRARY: &str = "libtransom_malloc.so";
/// Tells the worker what to take out of `LD_PRELOAD` again, for the programs that its functions start.
const VARIABLE: &str = "TRANSOM_PRELOAD";

/// Environment variables for a worker, or in words why there are none.
pub type Preload = Result<Vec<(OsString, OsString)>, String>;

/// What to add to the environment of workers under this interpreter, which have these variables besides those of this process.
///
/// ```
/// match transom::worker::preload(".venv/bin/python".as_ref(), &Default::default()) {
///     Ok(variables) => assert_eq!(variables[0].0, "LD_PRELOAD"),
///     Err(reason) => println!("results are copied once, since {reason}"),
/// }
/// ```
///
/// # Errors
/// The reason for which results are copied, in words: no library, or an interpreter that cannot load it.
pub fn preload(interpreter: &Path, environment: &BTreeMap<OsString, OsString>) -> Preload {
    let variable = |name: &str| environment.get(OsStr::new(name)).cloned().or_else(|| env::var_os(name)).filter(|value| !value.is_empty());
    if variable("PYTHONMALLOC").is_some_and(|value| value.as_bytes().ends_with(b"debug")) || variable("PYTHONDEVMODE").is_some() {
        return Err("Python's debugging allocator writes to what it frees (PYTHONMALLOC, PYTHONDEVMODE)".to_owned());
    }
    let program = on_path(interpreter, variable("PATH"));
    suits(&program)?;
    let library = find(&program).ok_or_else(|| format!("{LIBRARY} is neither beside this program nor in the interpreter's package"))?;
    if library.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b' ' | b':')) {
        return Err(format!("LD_PRELOAD cannot name {}, which has a blank or a colon in it", library.display()));
    }
    let mut all = variable("LD_PRELOAD").map(|given| [given.as_bytes(), b":"].concat()).unwrap_or_default();
    all.extend(library.as_os_str().as_bytes());
    Ok(vec![("LD_PRELOAD".into(), OsStr::from_bytes(&all).to_owned()), (VARIABLE.into(), library.into())])
}

/// The file of a program, as a shell would find it.
fn on_path(program: &Path, path: Option<OsString>) -> PathBuf {
    let found = if program.components().count() > 1 { None } else { path };
    let found = found.iter().flat_map(env::split_paths).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| program.to_owned())
}

/// The library beside this code, where it was built or installed with it, or else in the package of the interpreter's environment.
fn find(interpreter: &Path) -> Option<PathBuf> {
    let here = this_file().and_then(|file| Some(file.parent()?.to_owned()));
    let beside = here.iter().flat_map(|folder| [folder.join(LIBRARY), folder.join("_bin").join(LIBRARY), folder.join("..").join(LIBRARY)]);
    let installed = here.iter().map(|folder| folder.join("../lib").join(LIBRARY));
    beside.chain(installed).chain(packages(interpreter)).find(|file| file.is_file())?.canonicalize().ok()
}

/// The file that this code was loaded from: the program, or a library in it.
fn this_file() -> Option<PathBuf> {
    let me = this_file as fn() -> Option<PathBuf> as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        range.is_some_and(|(first, end)| number(first).is_some_and(|first| first <= me) && number(end).is_some_and(|end| me < end))
    })?;
    Some(PathBuf::from(&line[line.find('/')?..]))
}

/// Where the package lies in the environment of an interpreter, `PREFIX/bin/python`.
fn packages(interpreter: &Path) -> Vec<PathBuf> {
    let folders = [Some(interpreter.to_owned()), interpreter.canonicalize().ok()];
    let libraries = folders.iter().flatten().filter_map(|file| Some(file.parent()?.parent()?.join("lib")));
    let versions = libraries.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path());
    let pythons = versions.filter(|folder| folder.file_name().is_some_and(|name| name.as_bytes().starts_with(b"python3")));
    pythons.flat_map(|folder| ["site-packages", "dist-packages"].map(|kind| folder.join(kind).join("transom/_bin").join(LIBRARY))).collect()
}

/// Whether the loader of the program is the one that the library was made for. A script starts another program, of which nothing is known.
fn suits(program: &Path) -> Result<(), String> {
    let Some(loader) = File::open(program).ok().and_then(|file| Loader::of(&file)) else { return Ok(()) };
    match loader {
        Loader::None => Err(format!("{} is linked statically, so nothing can be loaded with it", program.display())),
        Loader::Named(name) if cfg!(target_env = "gnu") && name.contains("ld-linux") => Ok(()),
        Loader::Named(name) => Err(format!("{} is loaded by {name}, and the library is for the GNU C Library", program.display())),
    }
}

/// What an ELF file says about who loads it (`elf(5)`, `PT_INTERP`).
#[derive(Debug, PartialEq, Eq)]
enum Loader {
    None,
    Named(String),
}

impl Loader {
    /// `None` for what is not a 64-bit ELF file of this machine's byte order.
    fn of(file: &File) -> Option<Self> {
        const INTERP: u32 = 3;
        let mut header = [0; 64];
        (&mut &*file).read_exact(&mut header).ok()?;
        if !header.starts_with(b"\x7fELF\x02") {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
        let (table, entry, entries) = (number(&header[32..40]), number(&header[54..56]), number(&header[56..58]));
        for index in 0..entries {
            let mut part = [0; 56];
            file.read_exact_at(&mut part, table + index * entry).ok()?;
            if number(&part[..4]) == u64::from(INTERP) {
                let mut name = vec![0; number(&part[32..40]).min(4096) as usize];
                file.read_exact_at(&mut name, number(&part[8..16])).ok()?;
                return Some(Loader::Named(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()));
            }
        }
        Some(Loader::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_loaded_by_the_c_library_and_a_script_by_nobody() {
        let own = this_file().unwrap();
        assert_eq!(own, env::current_exe().unwrap());
        assert!(matches!(Loader::of(&File::open(own).unwrap()), Some(Loader::Named(_))));
        assert_eq!(Loader::of(&File::open("/proc/version").unwrap()), None);
    }

    /// An ELF file of nothing but its headers, for this loader.
    fn program(loader: Option<&str>) -> (PathBuf, impl Drop) {
        struct Gone(PathBuf);
        impl Drop for Gone {
            fn drop(&mut self) {
                _ = fs::remove_file(&self.0);
            }
        }
        let mut bytes = vec![0; 64 + 56];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::from(loader.is_some());
        let name = loader.unwrap_or("static");
        (bytes[64], bytes[64 + 8], bytes[64 + 32]) = (3, 120, name.len() as u8);
        bytes.extend(name.as_bytes());
        let path = env::temp_dir().join(format!("transom-{}-{}", std::process::id(), name.replace('/', "_")));
        fs::write(&path, bytes).unwrap();
        (path.clone(), Gone(path))
    }

    #[test]
    fn the_loader_of_a_program_says_whether_the_library_suits_it() {
        let (gnu, _gnu) = program(Some("/lib64/ld-linux-x86-64.so.2"));
        let (musl, _musl) = program(Some("/lib/ld-musl-x86_64.so.1"));
        let (fixed, _fixed) = program(None);
        assert_eq!(suits(&gnu).is_ok(), cfg!(target_env = "gnu"));
        assert!(suits(&musl).unwrap_err().contains("ld-musl"));
        assert!(suits(&fixed).unwrap_err().contains("statically"));
        assert!(suits("/proc/version".as_ref()).is_ok(), "a script starts something else");
    }

    #[test]
    fn a_debugging_allocator_is_a_reason() {
        let debug = BTreeMap::from([("PYTHONMALLOC".into(), "malloc_debug".into())]);
        assert!(preload("python3".as_ref(), &debug).unwrap_err().contains("PYTHONMALLOC"));
    }
}
