//! What the documents say of the code stays true: every error code is explained, and every file with unsafe code is listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use transom::Code;

const ERRORS: &str = include_str!("../../../docs/errors.md");
const ARCHITECTURE: &str = include_str!("../../../docs/architecture.md");

#[test]
fn every_code_is_explained_once_and_no_other_is() {
    let headings: Vec<&str> = ERRORS.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut codes = Code::ALL.to_vec();
    codes.sort_by_key(|code| code.number());
    let expected: Vec<String> = codes.iter().map(|code| format!("{} {}", code.id(), code.name())).collect();
    let missing: Vec<&String> = expected.iter().filter(|code| !headings.contains(&code.as_str())).collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
    assert_eq!(headings, expected, "docs/errors.md has headings that are no codes, twice the same, or in another order");
}

#[test]
fn every_explanation_says_what_and_why_and_what_to_do() {
    for entry in ERRORS.split("\n### ").skip(1) {
        for part in ["- **What:** ", "- **Why:** ", "- **Do:** "] {
            assert_eq!(entry.matches(part).count(), 1, "`{part}` in {entry}");
        }
    }
}

/// The list under the heading of unsafe code in docs/architecture.md.
fn listed() -> BTreeSet<String> {
    let (_, section) = ARCHITECTURE.split_once("\n## Where unsafe code lives\n").expect("docs/architecture.md lists unsafe code");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(path, _)| path.to_owned()).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_with_unsafe_code_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["bridge/core/src", "bridge/cli/src", "bridge/malloc/src", "ffi/src", "ffi/libtransom/src", "jvm/native/src", "py/src"] {
        sources(&root.join(folder), &mut files);
    }
    let is_unsafe = |path: &&PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .any(|line| ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| line.split("//").next().unwrap_or_default().contains(word)))
    };
    let unsafe_files: BTreeSet<String> =
        files.iter().filter(is_unsafe).map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(listed(), unsafe_files, "left: docs/architecture.md, right: the code");
}
