//! The registry of codes. A number, once given, keeps its meaning; codes are added, never reused.

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// A stable code for each kind of failure: `TRN-` and four digits, the first of which is the family.
        ///
        /// | family | what |
        /// | --- | --- |
        /// | 1 | setting up: memory, descriptors, interpreter, loading a function |
        /// | 2 | the end of a worker |
        /// | 3 | the function raised |
        /// | 4 | the function's result is wrong |
        /// | 5 | resources run out |
        /// | 6 | what the caller gave is wrong |
        /// | 9 | a defect of Transom |
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Code { $($(#[$doc])* $variant = $number,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The name in capitals, such as `WORKER_SIGNALLED`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The number, such as 2104: the form in which a code crosses between processes and languages.
            pub fn number(self) -> u16 {
                self as u16
            }

            /// The code with this number, if there is one.
            pub fn from_number(number: u16) -> Option<Code> {
                match number { $($number => Some(Code::$variant),)* _ => None }
            }
        }
    };
}

impl Code {
    /// The code as users see it, such as `TRN-2104`.
    pub fn id(self) -> String {
        format!("TRN-{}", self.number())
    }

    /// The family: the first digit.
    pub fn family(self) -> u16 {
        self.number() / 1000
    }
}

codes! {
    /// A shared memory segment could not be made: the system or the control group has no room.
    SharedMemoryFull = 1001 "SHARED_MEMORY_FULL",
    /// The process has no file descriptor left.
    DescriptorLimit = 1002 "DESCRIPTOR_LIMIT",
    /// A segment does not carry the seals that it must.
    SealsMissing = 1003 "SEALS_MISSING",
    /// Host and worker speak different versions.
    VersionMismatch = 1004 "VERSION_MISMATCH",
    /// The interpreter is not there, or is not a program.
    InterpreterMissing = 1005 "INTERPRETER_MISSING",
    /// The interpreter has no pyarrow.
    PyarrowMissing = 1006 "PYARROW_MISSING",
    /// The interpreter has no transom package, or one that does not load.
    TransomMissing = 1007 "TRANSOM_MISSING",
    /// A worker did not start, for another reason.
    StartFailed = 1008 "START_FAILED",
    /// A system call failed.
    System = 1009 "SYSTEM",
    /// The working directory given for workers is not there.
    WorkingDirectoryMissing = 1010 "WORKING_DIRECTORY_MISSING",
    /// The function's file or module is not there.
    FunctionNotFound = 1101 "FUNCTION_NOT_FOUND",
    /// The function's file or module fails on import.
    FunctionImportFailed = 1102 "FUNCTION_IMPORT_FAILED",
    /// What the name stands for cannot be called.
    FunctionNotCallable = 1103 "FUNCTION_NOT_CALLABLE",
    /// The function's hints or declaration do not make a signature.
    FunctionSignature = 1104 "FUNCTION_SIGNATURE",

    /// The worker ended by itself with an exit status.
    WorkerExited = 2101 "WORKER_EXITED",
    /// The worker was killed by a signal.
    WorkerSignalled = 2104 "WORKER_SIGNALLED",
    /// The worker was killed, most likely since memory ran out.
    WorkerOutOfMemory = 2105 "WORKER_OUT_OF_MEMORY",
    /// A call took longer than its deadline; its worker was ended.
    DeadlineExceeded = 2107 "DEADLINE_EXCEEDED",
    /// A worker did not become ready in time.
    StartTimeout = 2108 "START_TIMEOUT",
    /// The host is gone.
    HostGone = 2109 "HOST_GONE",
    /// A handle was used in a forked child of the process that made it.
    ForkedHandle = 2110 "FORKED_HANDLE",
    /// The pool is closed.
    PoolClosed = 2111 "POOL_CLOSED",
    /// The call was cancelled.
    Cancelled = 2112 "CANCELLED",
    /// The worker sent something that the protocol does not allow; it was ended.
    ProtocolViolation = 2113 "PROTOCOL_VIOLATION",

    /// The function raised an exception.
    FunctionRaised = 3001 "FUNCTION_RAISED",
    /// The function asked its process to exit (`sys.exit`).
    FunctionExit = 3002 "FUNCTION_EXIT",

    /// The result has another number of rows than the arguments.
    WrongLength = 4001 "WRONG_LENGTH",
    /// The result has another type than declared.
    WrongType = 4002 "WRONG_TYPE",
    /// The result is nothing that Arrow can hold.
    NotArrow = 4003 "NOT_ARROW",
    /// The result's content breaks the rules of its Arrow type.
    InvalidData = 4004 "INVALID_DATA",
    /// The result's descriptor does not hold together.
    BadDescriptor = 4005 "BAD_DESCRIPTOR",
    /// The schema cannot be used.
    BadSchema = 4006 "BAD_SCHEMA",

    /// The shared memory limit is reached, and what is held was not given back in time.
    MemoryLimit = 5001 "MEMORY_LIMIT",
    /// A batch is larger than can be sent.
    BatchTooLarge = 5002 "BATCH_TOO_LARGE",
    /// Every worker is held, and nothing will free one.
    PoolBusy = 5003 "POOL_BUSY",
    /// The shared memory limit is reached, and what holds it are arguments that functions kept.
    InputRetained = 5005 "INPUT_RETAINED",
    /// More rows failed than are suppressed.
    TooManyFailures = 5006 "TOO_MANY_FAILURES",

    /// A column is not there.
    ColumnNotFound = 6001 "COLUMN_NOT_FOUND",
    /// The function takes another number of arguments.
    WrongArguments = 6002 "WRONG_ARGUMENTS",
    /// An argument has another type than the function takes.
    ArgumentType = 6003 "ARGUMENT_TYPE",
    /// The arguments differ in length.
    ArgumentLength = 6004 "ARGUMENT_LENGTH",
    /// The source of batches failed.
    SourceFailed = 6005 "SOURCE_FAILED",
    /// An option has a value that it cannot have.
    BadOption = 6006 "BAD_OPTION",
    /// Batches of one source differ in schema.
    SchemaMismatch = 6007 "SCHEMA_MISMATCH",
    /// An argument of a C function is NULL, was released or freed, or has the wrong size.
    BadArgument = 6008 "BAD_ARGUMENT",
    /// A failure capsule is not whole, is of another format, or others may write to it.
    CapsuleUnreadable = 6009 "CAPSULE_UNREADABLE",
    /// An input file is not there, or a folder or pattern holds none.
    InputNotFound = 6101 "INPUT_NOT_FOUND",
    /// An input file is there and cannot be read.
    InputUnreadable = 6102 "INPUT_UNREADABLE",
    /// An input file is not of the format that it is said to be, or is damaged.
    InputFormat = 6103 "INPUT_FORMAT",
    /// An output file could not be written.
    OutputFailed = 6104 "OUTPUT_FAILED",

    /// A defect of Transom.
    Internal = 9001 "INTERNAL",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_and_names_are_unique_and_come_back() {
        let mut names = HashSet::new();
        for &code in Code::ALL {
            assert!(names.insert(code.name()));
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!(Code::from_number(1), None);
    }
}
