//! What a function is: a language, a name, a source, a kind, a signature and policies. Knows nothing of workers.

mod on_error;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

pub use on_error::OnError;

use crate::failure::{Code, Error, Result};

/// What a function is written in, which decides what kind of worker runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Language {
    /// Python, in an interpreter.
    Python,
    /// A shared library with a C entry point, whatever it was compiled from.
    Native,
    /// Java, Scala, Kotlin or what else runs on a JVM.
    Java,
}

impl Language {
    /// Every language, in order.
    pub const ALL: &'static [Language] = &[Language::Python, Language::Native, Language::Java];

    /// The name by which bindings know it, such as `python`.
    pub fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Native => "native",
            Language::Java => "java",
        }
    }

    /// The language of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Language> {
        Language::ALL.iter().copied().find(|language| language.name() == name)
    }
}

/// How a function sees data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Arrays in, one array of the same length out.
    Scalar,
    /// The values of one row in, one value out.
    Row,
    /// An iterator of record batches in, an iterator of record batches out.
    Batches,
}

/// Where a worker finds a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A name in a file: a source file, or a shared library.
    File {
        /// The file.
        path: PathBuf,
        /// The name in it.
        name: String,
    },
    /// A name in an importable module. For Java the module is the class, and the name its last part.
    Module {
        /// The module, with dots.
        module: String,
        /// The name in it.
        name: String,
    },
    /// The function itself, as the language's own serialised form (cloudpickle for Python). Goes from host to worker only.
    Pickle {
        /// The name, for messages.
        name: String,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
}

/// A user-defined function: where it is, and how it is to be run.
///
/// ```
/// use std::time::Duration;
/// use transom::Function;
/// let function = Function::python("udfs.py:plus_one")?.with_deadline(Duration::from_secs(10));
/// assert_eq!(function.name(), "plus_one");
/// # Ok::<(), transom::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    // Shared, so that a pool knows a function again by its address, whatever the size of its source.
    parts: Arc<Parts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    language: Language,
    source: Source,
    import_path: Vec<String>,
    deadline: Option<Duration>,
    retries: u32,
    on_error: Option<OnError>,
}

impl Function {
    /// A Python function by reference: `path/file.py:name` or `package.module:name`.
    ///
    /// # Errors
    /// `BAD_OPTION` where the text has no such form.
    pub fn python(reference: &str) -> Result<Self> {
        let bad = || {
            Error::new(Code::BadOption, format!("`{reference}` does not name a function"))
                .with_hint("write `path/file.py:name` or `package.module:name`")
        };
        let (place, name) = reference.rsplit_once(':').ok_or_else(bad)?;
        if place.is_empty() || name.is_empty() {
            return Err(bad());
        }
        let name = name.to_owned();
        let source = if place.ends_with(".py") || place.contains('/') {
            Source::File { path: whole(place.as_ref())?, name }
        } else {
            Source::Module { module: place.to_owned(), name }
        };
        Ok(Self::new(Language::Python, source))
    }

    /// A function in a shared library, by the name under which the library's entry point describes it (`docs/abi.md`).
    ///
    /// ```
    /// use transom::{Function, Language};
    /// let function = Function::native("libprices.so", "discount")?;
    /// assert_eq!((function.name(), function.language()), ("discount", Language::Native));
    /// # Ok::<(), transom::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BAD_OPTION` where one of them is empty.
    pub fn native(library: impl AsRef<Path>, name: &str) -> Result<Self> {
        let library = library.as_ref();
        if library.as_os_str().is_empty() || name.is_empty() {
            return Err(Error::new(Code::BadOption, "a native function needs the path of a library and a name in it")
                .with_hint("give the library's file, such as `./libprices.so`, and the name by which it describes the function"));
        }
        Ok(Self::new(Language::Native, Source::File { path: whole(library)?, name: name.to_owned() }))
    }

    /// A function for JVM workers: the name of a class, such as `com.acme.Discount`, or of a service that a jar offers, such as `Discount`. The
    /// jars in which it lies are its import path.
    ///
    /// ```
    /// use transom::{Function, Language};
    /// let function = Function::java("com.acme.Discount")?.with_import_path(["acme.jar".to_owned()]);
    /// assert_eq!((function.name(), function.language()), ("Discount", Language::Java));
    /// # Ok::<(), transom::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BAD_OPTION` where the text is no name of a class.
    pub fn java(class: &str) -> Result<Self> {
        let name = class.rsplit(['.', '$']).next().unwrap_or_default();
        if name.is_empty() || class.contains([' ', '/', ':']) {
            return Err(Error::new(Code::BadOption, format!("`{class}` does not name a class")).with_hint("write `com.acme.ClassName`"));
        }
        Ok(Self::new(Language::Java, Source::Module { module: class.to_owned(), name: name.to_owned() }))
    }

    /// A Python function as cloudpickle's bytes.
    pub fn pickled(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new(Language::Python, Source::Pickle { name: name.into(), bytes: bytes.into() })
    }

    /// A function that was described before.
    pub(crate) fn from_source(language: Language, source: Source) -> Self {
        Self::new(language, source)
    }

    fn new(language: Language, source: Source) -> Self {
        Self { parts: Arc::new(Parts { language, source, import_path: Vec::new(), deadline: None, retries: 0, on_error: None }) }
    }

    /// Where the worker looks for modules besides its interpreter's own: folders for Python, jars and folders of classes for Java.
    pub fn with_import_path(mut self, folders: impl IntoIterator<Item = String>) -> Self {
        Arc::make_mut(&mut self.parts).import_path = folders.into_iter().collect();
        self
    }

    /// The longest that one batch may take before its worker is ended; overrules the pool's.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        Arc::make_mut(&mut self.parts).deadline = Some(deadline);
        self
    }

    /// How often a batch is tried again after its worker died. Only for functions that may run twice on the same rows; 0 by default.
    pub fn with_retries(mut self, retries: u32) -> Self {
        Arc::make_mut(&mut self.parts).retries = retries;
        self
    }

    /// What becomes of rows for which it fails; overrules the definition.
    ///
    /// ```
    /// use transom::{Function, OnError};
    /// let function = Function::python("udfs.py:ratio")?.with_on_error(OnError::DeadLetter);
    /// # Ok::<(), transom::Error>(())
    /// ```
    pub fn with_on_error(mut self, on_error: OnError) -> Self {
        Arc::make_mut(&mut self.parts).on_error = Some(on_error);
        self
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        match &self.parts.source {
            Source::File { name, .. } | Source::Module { name, .. } | Source::Pickle { name, .. } => name,
        }
    }

    /// What it is written in.
    pub fn language(&self) -> Language {
        self.parts.language
    }

    pub(crate) fn source(&self) -> &Source {
        &self.parts.source
    }

    pub(crate) fn import_path(&self) -> &[String] {
        &self.parts.import_path
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.parts.deadline
    }

    pub(crate) fn retries(&self) -> u32 {
        self.parts.retries
    }

    pub(crate) fn on_error(&self) -> Option<OnError> {
        self.parts.on_error
    }

    /// Whether two handles are to the same function; the address is looked at first.
    pub(crate) fn same(&self, other: &Function) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts) || self.parts == other.parts
    }
}

/// Workers may run in another folder, so a path is made whole where it is meant.
fn whole(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::system(Code::FunctionNotFound, "cannot resolve the function's file", error))
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// The name; the result column of scalar and row functions bears it.
    pub name: String,
    /// How it sees data.
    pub kind: Kind,
    /// The parameters, in order; none for batches functions.
    pub parameters: Vec<Parameter>,
    /// Whether it takes any number of columns more.
    pub variadic: bool,
    /// The schema of the results: one field for scalar and row functions. `None` where only the first result tells.
    pub returns: Option<SchemaRef>,
    /// The longest that one batch may take, where the function's definition says so.
    pub deadline: Option<Duration>,
    /// How often a batch may be tried again after its worker died, by the function's definition.
    pub retries: u32,
    /// What becomes of rows for which it fails, by the function's definition.
    pub on_error: OnError,
    /// Whether the same rows give the same results, so that the host may run them again; by the function's definition.
    pub deterministic: bool,
}

/// One parameter of a scalar or row function.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The Arrow type that it is declared with. The worker adapts what can be adapted without loss and refuses the rest.
    pub data_type: Option<DataType>,
    /// Whether it may be left out.
    pub optional: bool,
}

impl Signature {
    /// The schema of results whose type is only known from the first: one nullable field named after the function.
    pub(crate) fn result_schema(&self, data_type: &DataType) -> SchemaRef {
        match &self.returns {
            Some(schema) => schema.clone(),
            None => Arc::new(Schema::new(vec![Field::new(&self.name, data_type.clone(), true)])),
        }
    }

    /// The signature in words, such as `price(a, b, *more)`.
    pub fn describe(&self) -> String {
        let mut names: Vec<String> = self.parameters.iter().map(|parameter| parameter.name.clone()).collect();
        if self.variadic {
            names.push("*columns".to_owned());
        }
        format!("{}({})", self.name, names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_files_or_modules() {
        assert!(matches!(Function::python("a/b.py:f").unwrap().source(), Source::File { path, name } if path.is_absolute() && name == "f"));
        assert!(matches!(Function::python("a.b:f").unwrap().source(), Source::Module { module, .. } if module == "a.b"));
        for bad in ["f", ":f", "a.py:", ""] {
            assert_eq!(Function::python(bad).unwrap_err().code(), Code::BadOption, "{bad}");
        }
    }

    #[test]
    fn libraries_and_classes_are_named_whole() {
        assert!(matches!(Function::native("a.so", "f").unwrap().source(), Source::File { path, name } if path.is_absolute() && name == "f"));
        assert!(matches!(Function::java("a.b.C$D").unwrap().source(), Source::Module { module, name } if module == "a.b.C$D" && name == "D"));
        for (library, name) in [("", "f"), ("a.so", "")] {
            assert_eq!(Function::native(library, name).unwrap_err().code(), Code::BadOption);
        }
        for bad in ["", "a.", "a/b.class", "a:b"] {
            assert_eq!(Function::java(bad).unwrap_err().code(), Code::BadOption, "{bad}");
        }
        assert!(Language::ALL.iter().all(|&language| Language::from_name(language.name()) == Some(language)));
    }
}
