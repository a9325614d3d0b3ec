//! Shared libraries of functions, for the program `transom-native-worker`.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use transom::function::Source;
use transom::worker::serve;
use transom::{Capsule, Code, Error, Result};

use crate::abi::{TRANSOM_ABI_VERSION, transom_library_t};
use crate::table::{Definition, Find, Functions, Table};

/// The one thing that a library of functions exports.
type EntryPoint = unsafe extern "C" fn(abi_version: u32) -> *const transom_library_t;

/// Serves the host at the other end of `descriptor` with the functions of whatever libraries it names.
///
/// # Errors
/// As [`serve`].
pub fn serve_libraries(descriptor: OwnedFd) -> Result<()> {
    serve(descriptor, &mut Functions::of(Libraries::default()))
}

/// Calls the function of a failure capsule in this process, over the rows `A..B`: what a debugger is started on.
///
/// # Errors
/// The failure, where it is one that a process outlives.
pub fn replay(capsule: &str, rows: &str) -> Result<()> {
    let bounds = rows.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    let rows = bounds.ok_or_else(|| Error::new(Code::BadOption, format!("`{rows}` are no rows: write A..B")))?;
    Capsule::open(capsule)?.call_here(&mut Functions::of(Libraries::default()), Some(rows)).map(drop)
}

/// The libraries that were loaded. None is unloaded: what it gave may lie in its memory.
#[derive(Default)]
struct Libraries(HashMap<PathBuf, Table>);

impl Find for Libraries {
    fn language(&self) -> String {
        format!("native {}", env!("CARGO_PKG_VERSION"))
    }

    fn find(&mut self, source: &Source) -> Result<Definition> {
        let Source::File { path, name } = source else {
            return Err(Error::new(Code::FunctionNotFound, "this worker has functions of shared libraries only")
                .with_hint("name the library and the function in it"));
        };
        let table = match self.0.get(path) {
            Some(table) => *table,
            None => *self.0.entry(path.clone()).or_insert(load(path)?),
        };
        table.find(name).map_err(|error| {
            let told = Error::new(error.code(), format!("{}: {}", path.display(), error.message()));
            error.hint().map_or(told.clone(), |hint| told.with_hint(hint))
        })
    }
}

fn load(path: &Path) -> Result<Table> {
    if !path.exists() {
        return Err(Error::new(Code::FunctionNotFound, format!("the library {} is not there", path.display())));
    }
    let failed = |error: libloading::Error| {
        // What dlerror says is the cause of what libloading says.
        let said = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(Code::FunctionImportFailed, format!("cannot load the library {}: {said}", path.display()))
    };
    // SAFETY: loading runs the library's initialisers: to run its code is what this process is for, and all that it has to lose.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(failed)?;
    // SAFETY: the header gives this symbol this type.
    let entry: Symbol<EntryPoint> = unsafe { library.get(c"transom_library") }.map_err(|error| {
        failed(error).with_hint("it must export `const transom_library_t *transom_library(uint32_t abi_version)`, as transom.h says")
    })?;
    // SAFETY: as above.
    let table = unsafe { entry(TRANSOM_ABI_VERSION) };
    // Its table and its functions are used from now on.
    std::mem::forget(library);
    if table.is_null() {
        let message = format!("the library {} does not work with version {TRANSOM_ABI_VERSION} of the ABI", path.display());
        return Err(Error::new(Code::VersionMismatch, message).with_hint("compile it with the transom.h of this version"));
    }
    // SAFETY: the header asks for a table that stays as it is for ever.
    unsafe { Table::read(table) }.map_err(|error| {
        let told = Error::new(error.code(), format!("the library {}: {}", path.display(), error.message()));
        error.hint().map_or(told.clone(), |hint| told.with_hint(hint))
    })
}
