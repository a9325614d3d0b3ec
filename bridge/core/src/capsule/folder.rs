//! The folder of a capsule: written under a hidden name and renamed when it is whole; read only where nobody else may have written.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::failure::{Code, Error, Result};

/// The longest part of a function's name that goes into a capsule's.
const LONGEST_LABEL: usize = 60;

/// A capsule that is being written; dropped before its end, nothing of it stays.
pub(super) struct Draft {
    hidden: PathBuf,
    named: PathBuf,
    whole: bool,
}

impl Draft {
    /// Makes the folder, private and under a name that nobody can have guessed.
    pub(super) fn begin(folder: &Path, label: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut random = [0_u8; 8];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let label: String = label.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' }).take(LONGEST_LABEL).collect();
        let name = format!("{label}-{:016x}", u64::from_le_bytes(random));
        let draft = Self { hidden: folder.join(format!(".{name}.part")), named: folder.join(name), whole: false };
        DirBuilder::new().mode(0o700).create(&draft.hidden)?;
        Ok(draft)
    }

    /// A new file in it, which only its owner may read.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.hidden.join(name))
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.create(name)?.write_all(content)
    }

    /// Where it will be.
    pub(super) fn path(&self) -> &Path {
        &self.named
    }

    /// Gives it its name.
    pub(super) fn finish(mut self) -> io::Result<PathBuf> {
        fs::rename(&self.hidden, &self.named)?;
        self.whole = true;
        Ok(self.named.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.whole {
            _ = fs::remove_dir_all(&self.hidden);
        }
    }
}

/// A capsule's folder, opened for reading. Files are opened by its descriptor: what was checked is what is read.
pub(crate) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

impl Folder {
    /// Opens a capsule's folder.
    ///
    /// # Errors
    /// `CAPSULE_UNREADABLE` where it is none, or where others may write to it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| unreadable(path, format!("it cannot be opened: {error}")))?;
        private(path, "it", &handle, FileType::Directory)?;
        Ok(Self { path: path.to_path_buf(), handle })
    }

    /// Opens a file in it.
    ///
    /// # Errors
    /// `CAPSULE_UNREADABLE`, as for the folder.
    pub(crate) fn file(&self, name: &str) -> Result<File> {
        // Without `NONBLOCK` a named pipe would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = if name.contains('/') { Err(rustix::io::Errno::INVAL) } else { rustix::fs::openat(&self.handle, name, flags, Mode::empty()) };
        let handle = opened.map_err(|error| unreadable(&self.path, format!("its file `{name}` cannot be opened: {error}")))?;
        private(&self.path, &format!("its file `{name}`"), &handle, FileType::RegularFile)?;
        Ok(File::from(handle))
    }

    /// Reads a file in it whole.
    ///
    /// # Errors
    /// `CAPSULE_UNREADABLE`, as for the folder.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let read = self.file(name)?.read_to_end(&mut content);
        read.map_err(|error| unreadable(&self.path, format!("its file `{name}` cannot be read: {error}")))?;
        Ok(content)
    }
}

/// A capsule is code. Whoever can write to it decides what a replay runs.
fn private(path: &Path, what: &str, handle: impl AsFd, kind: FileType) -> Result<()> {
    let found = rustix::fs::fstat(handle).map_err(|error| unreadable(path, format!("{what} cannot be looked at: {error}")))?;
    if FileType::from_raw_mode(found.st_mode) != kind {
        return Err(unreadable(path, format!("{what} is not a {}", if kind == FileType::Directory { "folder" } else { "file" })));
    }
    let me = rustix::process::geteuid().as_raw();
    if found.st_uid != me && found.st_uid != 0 {
        let hint = "a replay runs the function in the capsule; replay it as the user who made it, or copy it if you trust that user";
        return Err(unreadable(path, format!("{what} belongs to user {} and you are user {me}", found.st_uid)).with_hint(hint));
    }
    if found.st_mode & 0o022 != 0 {
        let hint = format!("a replay runs the function in the capsule; if you know that nobody changed it: chmod -R go-w {}", path.display());
        return Err(unreadable(path, format!("others may write to {what} (mode {:o})", found.st_mode & 0o777)).with_hint(hint));
    }
    Ok(())
}

/// The error for all that can be wrong with a capsule.
pub(crate) fn unreadable(path: &Path, what: impl Display) -> Error {
    Error::new(Code::CapsuleUnreadable, format!("the capsule {} cannot be used: {what}", path.display()))
}
