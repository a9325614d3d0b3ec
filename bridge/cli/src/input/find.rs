//! From the words on the command line to the files: folders, patterns, standard input.

use std::fs;
use std::path::{Path, PathBuf};

use glob::MatchOptions;
use transom::{Code, Error, Result};

use super::{STANDARD_INPUT, unreadable};

/// Folders deeper than this are links that lead in a circle.
const DEEPEST: usize = 64;

/// The files that the words name, in the order of the words, sorted within each.
pub(super) fn find(words: &[String]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for word in words {
        let path = Path::new(word);
        if word == STANDARD_INPUT {
            if files.iter().any(|file| file == path) {
                return Err(Error::new(Code::BadOption, "`-` is given twice, and standard input can be read once"));
            }
            files.push(path.to_path_buf());
        } else if path.exists() || !word.contains(['*', '?', '[']) {
            named(path, &mut files)?;
        } else {
            matching(word, &mut files)?;
        }
    }
    Ok(files)
}

/// A path that is there, or should be.
fn named(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| missing(path, error))?;
    if !metadata.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let before = files.len();
    walk(path, files, 0)?;
    if files.len() == before {
        return Err(Error::new(Code::InputNotFound, format!("the folder {} holds no file to read", path.display()))
            .with_hint("hidden files and those whose names begin with `_` are left out"));
    }
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::new(
            Code::InputUnreadable,
            format!("{} is more than {DEEPEST} folders deep: do links lead in a circle?", folder.display()),
        ));
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>).map_err(|error| unreadable(folder, error))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(|path| !is_left_out(path)).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, files, depth + 1)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Hidden files and those that programs mark as not data: `.crc`, `_SUCCESS`, `_metadata`.
fn is_left_out(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(['.', '_']))
}

fn matching(pattern: &str, files: &mut Vec<PathBuf>) -> Result<()> {
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let paths = glob::glob_with(pattern, options)
        .map_err(|error| Error::new(Code::BadOption, format!("the pattern `{pattern}` is wrong at character {}: {}", error.pos, error.msg)))?;
    // Who writes `_*.csv` means those files.
    let wanted = |path: &Path| Path::new(pattern).file_name().is_some_and(|name| name.to_string_lossy().starts_with('_')) || !is_left_out(path);
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            let place = error.path().to_path_buf();
            unreadable(&place, error.into())
        })?;
        if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(Error::new(Code::InputNotFound, format!("nothing matches `{pattern}`")));
    }
    found.iter().try_for_each(|path| named(path, files))
}

/// A file that is not there, with the name of one that is and looks like it.
fn missing(path: &Path, error: std::io::Error) -> Error {
    let failure = unreadable(path, error);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside: Vec<String> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    match crate::columns::near(&name, beside.iter().map(String::as_str)).first() {
        Some(near) if failure.code() == Code::InputNotFound => {
            let near = folder.join(near);
            failure.with_hint(format!("did you mean {}?", near.strip_prefix(".").unwrap_or(&near).display()))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sub/empty")).unwrap();
        for name in ["b.csv", "a.csv", ".hidden.csv", "_SUCCESS", "sub/c.csv", "sub/_temporary"] {
            fs::write(root.path().join(name), "x\n1\n").unwrap();
        }
        root
    }

    fn names(root: &Path, word: &str) -> Result<Vec<String>> {
        let files = find(&[root.join(word).display().to_string()])?;
        Ok(files.iter().map(|file| file.strip_prefix(root).unwrap().display().to_string()).collect())
    }

    #[test]
    fn folders_and_patterns_are_sorted_and_leave_out_what_is_not_data() {
        let root = folder();
        assert_eq!(names(root.path(), "").unwrap(), ["a.csv", "b.csv", "sub/c.csv"]);
        assert_eq!(names(root.path(), "*.csv").unwrap(), ["a.csv", "b.csv"]);
        assert_eq!(names(root.path(), "**/*.csv").unwrap(), ["a.csv", "b.csv", "sub/c.csv"]);
        assert_eq!(names(root.path(), "_S*").unwrap(), ["_SUCCESS"]);
        assert_eq!(names(root.path(), ".hidden.csv").unwrap(), [".hidden.csv"]);
    }

    #[test]
    fn nothing_found_is_an_error_that_says_so() {
        let root = folder();
        for (word, part) in
            [("*.parquet", "nothing matches"), ("sub/empty", "holds no file"), ("zzz.txt", "no such file"), ("[", "is wrong at character")]
        {
            let error = names(root.path(), word).unwrap_err();
            assert!(error.message().contains(part), "{word}: {error}");
        }
        assert!(names(root.path(), "a.cvs").unwrap_err().hint().unwrap().contains("a.csv"));
        assert_eq!(find(&["-".into(), "-".into()]).unwrap_err().code(), Code::BadOption);
    }

    #[test]
    fn a_file_whose_name_looks_like_a_pattern_is_a_file() {
        let root = folder();
        fs::write(root.path().join("a[1].csv"), "").unwrap();
        assert_eq!(names(root.path(), "a[1].csv").unwrap(), ["a[1].csv"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let root = folder();
        std::os::unix::fs::symlink(root.path(), root.path().join("sub/again")).unwrap();
        assert_eq!(names(root.path(), "sub").unwrap_err().code(), Code::InputUnreadable);
    }
}
