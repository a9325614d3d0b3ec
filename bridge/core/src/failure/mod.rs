//! Typed errors: every failure has a stable code, a place and, where there is one, a next step.

mod cap;
mod code;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap::cap;
pub use cap::{TEXT_LIMIT, TRACEBACK_LIMIT};
pub use code::Code;

/// The result of everything in Transom that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do.
///
/// `Display` gives the whole story, several lines where there is a remote traceback. The parts can be read one by one.
/// An error is cheap to clone, so one cause can be given to each of the callers that it concerns.
///
/// ```
/// use transom::{Code, Error};
/// let error = Error::new(Code::WrongLength, "the result has 9 rows for 10").with_function("plus_one").with_batch(3).with_rows(196_608..262_144);
/// assert_eq!(error.code().id(), "TRN-4001");
/// assert!(error.to_string().contains("plus_one"));
/// ```
#[derive(Clone)]
pub struct Error {
    // Boxed behind an Arc: a Result<T> in hot paths should not carry two hundred bytes.
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    function: Option<String>,
    batch: Option<u64>,
    rows: Option<Range<u64>>,
    worker: Option<String>,
    remote: Option<Remote>,
    output: Vec<String>,
    stack: Option<String>,
    hint: Option<String>,
    capsule: Option<Saved>,
}

/// What became of the input that failed, where it was to be saved.
#[derive(Clone)]
enum Saved {
    At(PathBuf),
    Not(String),
}

/// An exception that a function raised in a worker, as text: nothing of the worker's is ever unpickled in the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The exception's type, such as `ValueError`.
    pub kind: String,
    /// Its message, capped.
    pub message: String,
    /// The traceback, cut to the user's frames and capped.
    pub traceback: String,
}

impl Error {
    /// An error with its code and one sentence. Whatever texts an error is given, it keeps [`TEXT_LIMIT`] bytes of each, and of tracebacks and stacks
    /// [`TRACEBACK_LIMIT`]: they may have come from a user's data.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        const DEFECT: &str = "this is a defect of Transom: please report it, with the whole text of this error";
        Self {
            inner: Arc::new(Inner {
                code,
                message: cap(message.into(), TEXT_LIMIT),
                function: None,
                batch: None,
                rows: None,
                worker: None,
                remote: None,
                output: Vec::new(),
                stack: None,
                hint: (code == Code::Internal).then(|| DEFECT.to_owned()),
                capsule: None,
            }),
        }
    }

    /// An error of the operating system, with what was being done.
    pub fn system(code: Code, doing: &str, error: impl fmt::Display) -> Self {
        Self::new(code, format!("{doing}: {error}"))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Names the function, unless one is named already: the first that knew is right.
    pub fn with_function(self, name: impl Into<String>) -> Self {
        self.change(|inner| _ = inner.function.get_or_insert_with(|| cap(name.into(), TEXT_LIMIT)))
    }

    /// Says which batch of its stream it was, counted from 0.
    pub fn with_batch(self, batch: u64) -> Self {
        self.change(|inner| _ = inner.batch.get_or_insert(batch))
    }

    /// Says which rows of the stream were concerned, counted from 0.
    pub fn with_rows(self, rows: Range<u64>) -> Self {
        self.change(|inner| _ = inner.rows.get_or_insert(rows))
    }

    /// Replaces the rows, where a narrower answer is known.
    pub fn narrowed_to_rows(self, rows: Range<u64>) -> Self {
        self.change(|inner| inner.rows = Some(rows))
    }

    /// Describes the worker: language, number, process, age.
    pub fn with_worker(self, worker: impl Into<String>) -> Self {
        self.change(|inner| _ = inner.worker.get_or_insert_with(|| cap(worker.into(), TEXT_LIMIT)))
    }

    /// Adds the exception that the function raised.
    pub fn with_remote(self, remote: Remote) -> Self {
        let Remote { kind, message, traceback } = remote;
        let capped = Remote { kind: cap(kind, TEXT_LIMIT), message: cap(message, TEXT_LIMIT), traceback: cap(traceback, TRACEBACK_LIMIT) };
        self.change(|inner| inner.remote = Some(capped))
    }

    /// Adds the last lines that the worker printed.
    pub fn with_output(self, lines: Vec<String>) -> Self {
        self.change(|inner| inner.output = lines.into_iter().map(|line| cap(line, TEXT_LIMIT)).collect())
    }

    /// Adds the stack that the worker wrote when it died.
    pub fn with_stack(self, stack: impl Into<String>) -> Self {
        let stack = cap(stack.into(), TRACEBACK_LIMIT);
        self.change(|inner| inner.stack = (!stack.is_empty()).then_some(stack))
    }

    /// Says what to do next.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.change(|inner| inner.hint = Some(cap(hint.into(), TEXT_LIMIT)))
    }

    /// Says in which failure capsule the input that failed was saved.
    pub fn with_capsule(self, folder: impl Into<PathBuf>) -> Self {
        self.change(|inner| inner.capsule = Some(Saved::At(folder.into())))
    }

    /// Says why no failure capsule was saved where one was asked for.
    pub fn without_capsule(self, reason: impl Into<String>) -> Self {
        self.change(|inner| inner.capsule = Some(Saved::Not(reason.into())))
    }

    /// Replaces the sentence, where more is known than who failed could know; the place stays.
    pub(crate) fn with_message(self, message: impl Into<String>) -> Self {
        self.change(|inner| inner.message = cap(message.into(), TEXT_LIMIT))
    }

    /// Replaces the code, for the same reason.
    pub(crate) fn with_code(self, code: Code) -> Self {
        self.change(|inner| inner.code = code)
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// One sentence: what happened, without the place.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The function concerned.
    pub fn function(&self) -> Option<&str> {
        self.inner.function.as_deref()
    }

    /// The batch concerned, counted from 0 in its stream.
    pub fn batch(&self) -> Option<u64> {
        self.inner.batch
    }

    /// The rows concerned, counted from 0 in the stream.
    pub fn rows(&self) -> Option<Range<u64>> {
        self.inner.rows.clone()
    }

    /// The worker concerned, in words.
    pub fn worker(&self) -> Option<&str> {
        self.inner.worker.as_deref()
    }

    /// The exception that the function raised.
    pub fn remote(&self) -> Option<&Remote> {
        self.inner.remote.as_ref()
    }

    /// The last lines that the worker printed.
    pub fn output(&self) -> &[String] {
        &self.inner.output
    }

    /// The stack that the worker wrote when it died.
    pub fn stack(&self) -> Option<&str> {
        self.inner.stack.as_deref()
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// The failure capsule in which the input that failed was saved ([`crate::PoolBuilder::capsules`]).
    pub fn capsule(&self) -> Option<&Path> {
        match &self.inner.capsule {
            Some(Saved::At(folder)) => Some(folder),
            Some(Saved::Not(_)) | None => None,
        }
    }

    /// Whether a capsule was saved for it, or could not be.
    pub(crate) fn is_encapsulated(&self) -> bool {
        self.inner.capsule.is_some()
    }

    fn place(&self) -> String {
        let inner = &self.inner;
        let mut parts = Vec::new();
        if let Some(function) = &inner.function {
            parts.push(format!("function `{function}`"));
        }
        if let Some(batch) = inner.batch {
            parts.push(format!("batch {batch}"));
        }
        match &inner.rows {
            Some(rows) if rows.end == rows.start + 1 => parts.push(format!("row {}", rows.start)),
            Some(rows) => parts.push(format!("rows {}..{}", rows.start, rows.end)),
            None => {}
        }
        if let Some(worker) = &inner.worker {
            parts.push(worker.clone());
        }
        parts.join(", ")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        write!(f, "{} {}: {}", inner.code.id(), inner.code.name(), inner.message)?;
        let place = self.place();
        if !place.is_empty() {
            write!(f, "\n  in {place}")?;
        }
        if let Some(remote) = &inner.remote {
            indented(f, "", remote.traceback.lines())?;
        }
        if let Some(stack) = &inner.stack {
            indented(f, "stack:", stack.lines())?;
        }
        if !inner.output.is_empty() {
            indented(f, "last lines of its output:", inner.output.iter().map(String::as_str))?;
        }
        match &inner.capsule {
            Some(Saved::At(folder)) => {
                let folder = folder.display().to_string();
                write!(f, "\n  failing input saved: {folder}\n  replay: transom replay {}", quoted(&folder))?;
            }
            Some(Saved::Not(reason)) => write!(f, "\n  failing input not saved: {reason}")?,
            None => {}
        }
        if let Some(hint) = &inner.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// A word of a command line, as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_alphanumeric() || "/._-+=:@%".contains(c)) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn indented<'a>(f: &mut fmt::Formatter<'_>, title: &str, lines: impl Iterator<Item = &'a str>) -> fmt::Result {
    if !title.is_empty() {
        write!(f, "\n  {title}")?;
    }
    for line in lines {
        write!(f, "\n    {line}")?;
    }
    Ok(())
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
