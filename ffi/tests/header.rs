//! `include/transom.h` is made of the source. This test makes it and compares; with `TRANSOM_WRITE_HEADER` set it writes it.

use std::fmt::Write;
use std::path::Path;

use transom::Code;

/// The files with what the header has, in its order.
const SOURCES: [&str; 13] =
    ["abi", "entry", "error", "options", "function", "pool", "future", "signature", "stats", "memory", "stream", "letters", "worker"];

fn made(root: &Path) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("the configuration is right");
    let structs = config.after_includes.take().unwrap_or_default();
    config.after_includes = Some(structs + &codes());
    let builder =
        SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| builder.with_src(root.join(format!("src/{source}.rs"))));
    let mut bytes = Vec::new();
    builder.generate().expect("the source can be read").write(&mut bytes);
    tidy(&String::from_utf8(bytes).expect("the source is UTF-8"))
}

/// The codes of the core, which cbindgen cannot see: a macro makes them.
fn codes() -> String {
    let mut text =
        "\n/** The codes of errors. Numbers keep their meaning for ever; codes may be added. */\nenum transom_code {\n    TRANSOM_OK = 0,\n"
            .to_owned();
    for code in Code::ALL {
        writeln!(text, "    TRANSOM_CODE_{} = {},", code.name(), code.number()).expect("text can grow");
    }
    // A comma behind the last is an error in C90 and a warning in C++98 only, but it looks unfinished.
    text.truncate(text.len() - 2);
    text + "\n};\n"
}

/// Comments of one line on one line, Rust's headings as sentences, and types by their short names.
fn tidy(text: &str) -> String {
    let text = text.replace(" * # Safety\n", " * The caller promises:\n");
    // Where the functions begin every type has its short name.
    let (types, functions) = text.split_once("extern \"C\" {").expect("the header is for C++, too");
    let text = format!("{types}extern \"C\" {{{}", functions.replace("struct transom_", "transom_"));
    let lines: Vec<&str> = text.lines().collect();
    let mut tidied = String::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        match lines.get(at + 1..at + 3) {
            Some([said, end]) if line.trim() == "/**" && end.trim() == "*/" => {
                let said = said.trim().trim_start_matches("* ");
                writeln!(tidied, "{line} {said} */").expect("text can grow");
                at += 3;
            }
            _ => {
                writeln!(tidied, "{line}").expect("text can grow");
                at += 1;
            }
        }
    }
    tidied
}

#[test]
fn the_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = root.join("include/transom.h");
    let made = made(root);
    if std::env::var_os("TRANSOM_WRITE_HEADER").is_some() {
        std::fs::write(&header, &made).expect("the header can be written");
    }
    let there = std::fs::read_to_string(&header).unwrap_or_default();
    let difference = there.lines().zip(made.lines()).find(|(there, made)| there != made);
    assert!(there == made, "include/transom.h is not what the source says, first in {difference:?}: `make header` writes it");
}
