//! A file that appears whole or not at all: written under another name in the same folder, made durable, then renamed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use transom::{Code, Error, Result};

use crate::{input, interrupt};

/// Where an output file goes.
pub(super) struct Destination {
    /// The path as given.
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A file to be: its temporary form, and its final path with links followed.
    Whole { temporary: NamedTempFile, target: PathBuf },
    /// What is no file and cannot be replaced: a device, a named pipe.
    Direct(File),
}

impl Destination {
    /// Makes sure that the file can be written.
    pub(super) fn open<'a>(path: &Path, mut inputs: impl Iterator<Item = &'a Path>) -> Result<Self> {
        let fail = |error| unwritable(&path.display().to_string(), &error);
        let existing = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(error)),
        };
        if let Some(metadata) = &existing {
            if metadata.is_dir() {
                return Err(Error::new(Code::OutputFailed, format!("{} is a folder", path.display())).with_hint("give the name of a file in it"));
            }
            if !metadata.is_file() {
                let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
                return Ok(Self { path: path.to_path_buf(), place: Place::Direct(file) });
            }
            if let Some(input) = inputs.find(|input| is_same(metadata, input)) {
                return Err(Error::new(Code::BadOption, format!("the output {} is also an input ({})", path.display(), input.display()))
                    .with_hint("give the output a name of its own"));
            }
        }
        // A link is followed: the file that it leads to is replaced, not the link.
        let target = if existing.is_some() { fs::canonicalize(path).map_err(fail)? } else { path.to_path_buf() };
        let temporary = beside(&target, existing.as_ref()).map_err(|error| missing_folder(path, &target, error))?;
        interrupt::guard(temporary.path().to_path_buf());
        Ok(Self { path: path.to_path_buf(), place: Place::Whole { temporary, target } })
    }

    /// The path as given.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file to write to.
    pub(super) fn writer(&self) -> Result<File> {
        let file = match &self.place {
            Place::Whole { temporary, .. } => temporary.as_file(),
            Place::Direct(file) => file,
        };
        file.try_clone().map_err(|error| self.fail(error))
    }

    /// Makes what was written durable, and gives it its name.
    pub(super) fn complete(self) -> Result<()> {
        let path = self.path.display().to_string();
        let Place::Whole { temporary, target } = self.place else { return Ok(()) };
        let fail = |error| unwritable(&path, &error);
        temporary.as_file().sync_all().map_err(fail)?;
        interrupt::finish(|| temporary.persist(&target)).map_err(|error| fail(error.error))?;
        // The name is durable once its folder is; a file system that cannot do that for folders has no better way.
        if let Ok(folder) = File::open(folder_of(&target)) {
            _ = folder.sync_all();
        }
        Ok(())
    }

    fn fail(&self, error: io::Error) -> Error {
        unwritable(&self.path.display().to_string(), &error)
    }
}

fn is_same(metadata: &fs::Metadata, input: &Path) -> bool {
    fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (metadata.dev(), metadata.ino()))
}

/// A temporary file in the same folder, so that renaming it moves no data; hidden, so that a run over the folder leaves it out.
fn beside(target: &Path, existing: Option<&fs::Metadata>) -> io::Result<NamedTempFile> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    // What a new file gets is cut down by the process's mask; a file that is replaced keeps its permissions.
    let temporary =
        tempfile::Builder::new().prefix(&prefix).suffix(".part").permissions(Permissions::from_mode(0o666)).tempfile_in(folder_of(target))?;
    if let Some(existing) = existing {
        temporary.as_file().set_permissions(existing.permissions())?;
    }
    Ok(temporary)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn missing_folder(path: &Path, target: &Path, error: io::Error) -> Error {
    let folder = folder_of(target);
    if error.kind() == io::ErrorKind::NotFound && !folder.exists() {
        return Error::new(Code::OutputFailed, format!("cannot write {}: the folder {} is not there", path.display(), folder.display()))
            .with_hint(format!("make it: mkdir -p {}", folder.display()));
    }
    unwritable(&path.display().to_string(), &error)
}

/// The system would not write.
pub(super) fn unwritable(place: &str, error: &io::Error) -> Error {
    let failure = Error::new(Code::OutputFailed, format!("cannot write {place}: {}", input::cause(error)));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.with_hint("make room or write elsewhere, and run again; a file that stood there before is unchanged")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(path: &Path) -> Result<Destination> {
        Destination::open(path, std::iter::empty())
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_appears_at_the_end_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out.csv");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let destination = open(&path).unwrap();
        destination.writer().unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        destination.complete().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(entries(root.path()), 1);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out.csv");
        drop(open(&path).unwrap());
        assert_eq!(entries(root.path()), 0);
    }

    #[test]
    fn a_link_stays_a_link() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real.csv"), root.path().join("link.csv"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        open(&link).unwrap().complete().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "");
    }

    #[test]
    fn places_that_cannot_be_written_say_why() {
        let root = tempfile::tempdir().unwrap();
        for (path, part) in [
            (root.path().to_path_buf(), "is a folder"),
            (root.path().join("no/out.csv"), "is not there"),
            ("/proc/x.csv".into(), "cannot write /proc/x.csv"),
        ] {
            let error = open(&path).map(|_| ()).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
        let path = root.path().join("in.csv");
        fs::write(&path, "x").unwrap();
        let other = root.path().join("./in.csv");
        assert_eq!(Destination::open(&path, [other.as_path()].into_iter()).map(|_| ()).unwrap_err().code(), Code::BadOption);
    }
}
