//! Failures are saved where that is asked for, and come again from what was saved.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::RecordBatch;
use support::{checked, function, native, numbers, scratch, values};
use transom::{Capsule, Code, Error, MapOptions, Pool, PoolBuilder};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(scratch("capsules"))
    }

    /// The capsules in it; anything else would be a mess left behind.
    fn capsules(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        let found: Vec<PathBuf> = entries.unwrap_or_default();
        assert!(found.iter().all(|path| path.join("capsule.json").is_file()), "{found:?}");
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn pool(folder: &Folder) -> PoolBuilder {
    native(WORKER, 1).capsules(&folder.0)
}

/// Calls a function that must fail, and gives its capsule.
fn failure(pool: &Pool, name: &str, batch: RecordBatch) -> (Error, PathBuf) {
    let error = pool.call_blocking(&function(name), batch).unwrap_err();
    let path = error.capsule().unwrap_or_else(|| panic!("no capsule: {error}")).to_path_buf();
    (error, path)
}

/// The text of an error without what differs from run to run.
fn lasting(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("  failing input saved") && !line.starts_with("  replay: "));
    let lines = lines.map(|line| line.split(", worker ").next().unwrap_or_default());
    // How long a worker lived is the last of what is said of its exit status.
    let lines = lines.map(|line| line.strip_suffix(" s after its start").and_then(|line| line.rsplit_once(' ')).map_or(line, |(lasting, _)| lasting));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_failure_is_saved_and_comes_again() {
    checked(|| {
        let folder = Folder::new();
        for (name, code) in [
            ("raise", Code::FunctionRaised),
            ("abort", Code::WorkerSignalled),
            ("exit", Code::WorkerExited),
            ("print", Code::WorkerSignalled),
            ("spin_with_deadline", Code::DeadlineExceeded),
            ("short", Code::WrongLength),
            ("declared_text", Code::WrongType),
            ("panic", Code::Internal),
        ] {
            let made = pool(&folder).build().unwrap();
            let batch = numbers(5, 100).slice(10, 20);
            let error = made.call_blocking(&function(name), batch.clone()).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            let path = error.capsule().unwrap();
            assert!(error.to_string().contains(&format!("\n  failing input saved: {0}\n  replay: transom replay {0}", path.display())), "{error}");
            let capsule = Capsule::open(path).unwrap();
            assert_eq!((capsule.code(), capsule.rows(), capsule.left_out()), (Some(code), 0..20, None));
            assert_eq!(capsule.arguments(), [batch]);
            assert_eq!(capsule.program(), Path::new(WORKER));
            let again = transom::replay(path).unwrap_err();
            assert_eq!(again.code(), code, "{again}");
            assert_eq!(lasting(&again.to_string()), lasting(&error.to_string()));
            assert_eq!(lasting(capsule.error_text()), lasting(&error.to_string()));
            assert_eq!(again.capsule(), None, "a replay saves nothing");
        }
        assert_eq!(folder.capsules().len(), 8);
    });
}

#[test]
fn a_limit_that_was_reached_is_reached_again() {
    checked(|| {
        let folder = Folder::new();
        let limited = pool(&folder).worker_memory(64 << 20).result_limit(1 << 16).build().unwrap();
        let (memory, path) = failure(&limited, "eat_100", numbers(0, 10));
        assert_eq!(memory.code(), Code::WorkerOutOfMemory);
        let again = transom::replay(&path).unwrap_err();
        assert_eq!(again.code(), Code::WorkerOutOfMemory);
        assert!(again.message().starts_with("out of memory: limit 64 MiB, used "), "{again}");
        let (large, path) = failure(&limited, "plus_one", numbers(0, 10_000));
        assert_eq!(large.code(), Code::ResultTooLarge);
        assert_eq!(lasting(&transom::replay(&path).unwrap_err().to_string()), lasting(&large.to_string()));
    });
}

#[test]
fn nothing_is_saved_unless_it_is_asked_for() {
    checked(|| {
        let pool = native(WORKER, 1).build().unwrap();
        let error = pool.call_blocking(&function("raise"), numbers(0, 10)).unwrap_err();
        assert_eq!(error.capsule(), None);
        assert!(!error.to_string().contains("saved"), "{error}");
    });
}

#[test]
fn what_is_no_failure_of_a_batch_is_not_saved() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).build().unwrap();
        let missing = made.call_blocking(&function("no_such_function"), numbers(0, 1)).unwrap_err();
        let columns = MapOptions { columns: Some(vec!["y".to_owned()]), ..MapOptions::default() };
        let column = made.map_blocking(&function("identity"), [Ok(numbers(0, 1))], columns).unwrap().next().unwrap().unwrap_err();
        made.close();
        let closed = made.call_blocking(&function("identity"), numbers(0, 1)).unwrap_err();
        for (error, code) in [(missing, Code::FunctionNotFound), (column, Code::ColumnNotFound), (closed, Code::PoolClosed)] {
            assert_eq!((error.code(), error.capsule()), (code, None));
        }
        assert!(folder.capsules().is_empty());
    });
}

#[test]
fn only_the_owner_may_read_a_capsule() {
    checked(|| {
        let folder = Folder::new();
        let (_, path) = failure(&pool(&folder).build().unwrap(), "raise", numbers(0, 10));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.0), mode(&path)), (0o700, 0o700));
        let mut names: Vec<String> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["README.md", "batch.arrow", "capsule.json", "error.txt"]);
        assert!(names.iter().all(|name| mode(&path.join(name)) == 0o600));
        let text = fs::read_to_string(path.join("README.md")).unwrap();
        assert!(text.contains("TRN-3001") && text.contains(&format!("transom replay {}", path.display())), "{text}");
    });
}

#[test]
fn a_capsule_has_names_of_the_environment_and_no_values() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).env("TEST_PASSWORD", "hunter2-and-more").build().unwrap();
        let (_, path) = failure(&made, "raise", numbers(0, 10));
        let json = fs::read_to_string(path.join("capsule.json")).unwrap();
        assert!(json.contains("TEST_PASSWORD") && json.contains("\"PATH\""));
        for entry in fs::read_dir(&path).unwrap() {
            let content = fs::read(entry.unwrap().path()).unwrap();
            assert!(!content.windows(7).any(|window| window == b"hunter2"));
        }
        assert_eq!(Capsule::open(&path).unwrap().missing_environment(), ["TEST_PASSWORD"]);
    });
}

#[test]
fn some_rows_can_be_replayed_under_their_own_numbers() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).build().unwrap();
        // The function blames the third row that it is given.
        let source = [Ok(numbers(0, 50)), Ok(numbers(50, 50))];
        let results: Vec<_> = made.map_blocking(&function("raise"), source, MapOptions::default()).unwrap().collect();
        let second = results[1].as_ref().unwrap_err();
        assert_eq!((second.batch(), second.rows()), (Some(1), Some(52..53)));
        let capsule = Capsule::open(second.capsule().unwrap()).unwrap();
        assert_eq!(capsule.rows(), 50..100);
        let pool = capsule.pool(None).unwrap().build().unwrap();
        let again = capsule.call_blocking(&pool, Some(60..70)).unwrap_err();
        assert_eq!((again.batch(), again.rows()), (Some(1), Some(62..63)));
        for outside in [0..10, 49..60, 90..101, Range { start: 70, end: 60 }] {
            let error = capsule.call_blocking(&pool, Some(outside)).unwrap_err();
            assert_eq!(error.code(), Code::BadOption);
            assert!(error.message().contains("has rows 50..100"), "{error}");
        }
    });
}

#[test]
fn a_failure_that_does_not_come_again_gives_the_result() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).build().unwrap();
        let error = made.call_blocking(&function("abort"), numbers(3, 4)).unwrap_err();
        let path = error.capsule().unwrap().to_path_buf();
        // As if the function had been mended.
        let json = fs::read_to_string(path.join("capsule.json")).unwrap().replace("\"name\": \"abort\"", "\"name\": \"plus_one\"");
        fs::write(path.join("capsule.json"), json).unwrap();
        let results = transom::replay(&path).unwrap();
        assert_eq!(results.iter().map(values).collect::<Vec<_>>(), [[4, 5, 6, 7]]);
    });
}

#[test]
fn a_batch_that_is_too_large_is_cut_around_the_row() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).capsule_bytes(1 << 17).build().unwrap();
        let (error, path) = failure(&made, "raise", numbers(0, 1_000_000));
        assert_eq!(error.rows(), Some(2..3));
        let capsule = Capsule::open(&path).unwrap();
        let rows = capsule.rows();
        assert!(rows.contains(&2) && rows.end - rows.start > 8_000, "{rows:?}");
        assert!(capsule.left_out().unwrap().contains("of the 1000000 rows of the batch"), "{:?}", capsule.left_out());
        assert_eq!(capsule.arguments(), [numbers(0, (rows.end - rows.start) as usize)]);
        assert!(fs::metadata(path.join("batch.arrow")).unwrap().len() < (1 << 17) + 4096);
        assert!(fs::read_to_string(path.join("README.md")).unwrap().contains("**Not all of them:**"));
        assert_eq!(transom::replay(&path).unwrap_err().rows(), Some(2..3));
    });
}

#[test]
fn a_pool_saves_no_more_than_it_may() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).capsule_count(2).build().unwrap();
        let source = (0..5).map(|i| Ok(numbers(i * 10, 10)));
        let errors: Vec<Error> = made.map_blocking(&function("raise"), source, MapOptions::default()).unwrap().map(Result::unwrap_err).collect();
        assert_eq!(errors.iter().filter(|error| error.capsule().is_some()).count(), 2);
        assert_eq!(folder.capsules().len(), 2);
        let unsaved = errors.iter().find(|error| error.capsule().is_none()).unwrap().to_string();
        assert!(unsaved.contains("failing input not saved: this pool has saved 2 capsules, the most that it may"), "{unsaved}");
    });
}

#[test]
fn an_error_is_told_where_its_input_cannot_be_saved() {
    checked(|| {
        let folder = Folder::new();
        fs::write(&folder.0, "a file where a folder is needed").unwrap();
        let made = pool(&folder).build().unwrap();
        let error = made.call_blocking(&function("raise"), numbers(0, 10)).unwrap_err();
        assert_eq!((error.code(), error.rows(), error.capsule()), (Code::FunctionRaised, Some(2..3), None));
        assert!(error.to_string().contains("\n  failing input not saved: "), "{error}");
        fs::remove_file(&folder.0).unwrap();
        let (_, path) = failure(&made, "raise", numbers(0, 10));
        assert!(path.exists(), "what could not be saved does not count");
    });
}

#[test]
fn streams_are_saved_with_all_that_was_given() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).build().unwrap();
        let source = (0..10).map(|i| Ok(numbers(i * 10, 10)));
        let error = made.map_blocking(&function("stream_die"), source, MapOptions::default()).unwrap().next().unwrap().unwrap_err();
        assert_eq!(error.code(), Code::WorkerSignalled);
        let capsule = Capsule::open(error.capsule().unwrap()).unwrap();
        let given = capsule.arguments();
        assert!(given.len() >= 2, "it dies of the second batch");
        assert_eq!(given, (0..given.len() as i64).map(|i| numbers(i * 10, 10)).collect::<Vec<_>>());
        assert_eq!((capsule.rows().start, capsule.left_out()), (0, None));
        let again = transom::replay(capsule.path()).unwrap_err();
        assert_eq!((again.code(), again.function()), (Code::WorkerSignalled, Some("stream_die")));
        // Cut across two batches, it still sees both.
        let pool = capsule.pool(None).unwrap().build().unwrap();
        assert_eq!(capsule.call_blocking(&pool, Some(5..15)).unwrap_err().code(), Code::WorkerSignalled);
        assert_eq!(capsule.call_blocking(&pool, Some(0..10)).unwrap(), [], "of one batch alone it does not die");
    });
}

#[test]
fn of_a_long_stream_the_last_inputs_are_saved() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).capsule_bytes(1 << 17).build().unwrap();
        let source = (0..100).map(|i| Ok(numbers(i * 4096, 4096)));
        let source = source.chain([Err(Error::new(Code::SourceFailed, "the source is at its end"))]);
        // Its source fails: that is no failure of a batch.
        let error = made.map_blocking(&function("stream_sum"), source, MapOptions::default()).unwrap().next().unwrap().unwrap_err();
        assert_eq!((error.code(), error.capsule()), (Code::SourceFailed, None));
        let held = made.map_blocking(&function("stream_raise_at_end"), (0..100).map(|i| Ok(numbers(i * 4096, 4096))), MapOptions::default());
        let error = held.unwrap().next().unwrap().unwrap_err();
        let capsule = Capsule::open(error.capsule().unwrap_or_else(|| panic!("{error}"))).unwrap();
        let first = 100 - capsule.arguments().len() as i64;
        assert!((96..=98).contains(&first), "{first}");
        assert_eq!(capsule.arguments(), (first..100).map(|i| numbers(i * 4096, 4096)).collect::<Vec<_>>());
        assert_eq!(capsule.rows(), first as u64 * 4096..409_600);
        let told = format!("the first {first} batches ({} rows) that the function was given are not here", first * 4096);
        assert!(capsule.left_out().unwrap().starts_with(&told), "{:?}", capsule.left_out());
        let again = transom::replay(capsule.path()).unwrap_err();
        assert_eq!((again.code(), again.batch()), (error.code(), Some(99)));
    });
}

#[test]
fn a_capsule_that_others_may_write_to_is_refused() {
    checked(|| {
        let folder = Folder::new();
        let (_, path) = failure(&pool(&folder).build().unwrap(), "raise", numbers(0, 10));
        let set = |name: &str, mode: u32| fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
        for (name, safe) in [("", 0o700), ("capsule.json", 0o600), ("batch.arrow", 0o600)] {
            for mode in [safe | 0o020, safe | 0o002] {
                set(name, mode);
                let error = Capsule::open(&path).unwrap_err();
                assert_eq!(error.code(), Code::CapsuleUnreadable);
                assert!(error.message().contains("others may write") && error.hint().unwrap().contains("chmod"), "{error}");
            }
            set(name, safe | 0o044);
            Capsule::open(&path).unwrap();
            set(name, safe);
        }
        let (real, elsewhere) = (path.join("batch.arrow"), scratch("elsewhere"));
        fs::rename(&real, &elsewhere).unwrap();
        symlink(&elsewhere, &real).unwrap();
        assert_eq!(Capsule::open(&path).unwrap_err().code(), Code::CapsuleUnreadable, "a link leads out of the capsule");
        fs::remove_file(elsewhere).unwrap();
    });
}

#[test]
fn damage_is_told_by_name() {
    checked(|| {
        let folder = Folder::new();
        let (_, path) = failure(&pool(&folder).build().unwrap(), "raise", numbers(0, 10));
        let json = fs::read_to_string(path.join("capsule.json")).unwrap();
        let batch = fs::read(path.join("batch.arrow")).unwrap();
        let refused = |what: &str| {
            let error = Capsule::open(&path).unwrap_err();
            assert_eq!(error.code(), Code::CapsuleUnreadable);
            assert!(error.message().contains(what), "{error} does not say {what:?}");
        };
        for (text, what) in [
            ("{".to_owned(), "is not JSON"),
            ("{}".to_owned(), "is not a capsule's"),
            (json.replace("\"version\": 1", "\"version\": 2"), "has version 2 of the format"),
            (json.replace("\"language\": \"python\"", "\"language\": \"cobol\""), "names the language \"cobol\""),
            (json.replace("\"arguments\"", "\"argument\""), "missing field `arguments`"),
            (json.replace("\"batch.arrow\"", "\"../batch.arrow\""), "cannot be opened"),
            (json.replace("\"rows\": 10", "\"rows\": 11"), "where 1 of 11 were saved"),
            (json.replace("\"first_row\": 0", "\"first_row\": 18446744073709551615"), "impossible numbers"),
        ] {
            assert_ne!(text, json);
            fs::write(path.join("capsule.json"), text).unwrap();
            refused(what);
        }
        fs::write(path.join("capsule.json"), &json).unwrap();
        for len in [0, 1, batch.len() / 2, batch.len() - 1] {
            fs::write(path.join("batch.arrow"), &batch[..len]).unwrap();
            refused("`batch.arrow` is damaged");
        }
        fs::remove_file(path.join("batch.arrow")).unwrap();
        refused("`batch.arrow` cannot be opened");
        fs::remove_file(path.join("capsule.json")).unwrap();
        refused("`capsule.json` cannot be opened");
        assert_eq!(Capsule::open("/no/such/capsule").unwrap_err().code(), Code::CapsuleUnreadable);
    });
}

#[test]
fn what_ran_the_function_must_be_there() {
    checked(|| {
        let folder = Folder::new();
        let (_, path) = failure(&pool(&folder).build().unwrap(), "raise", numbers(0, 10));
        let json = fs::read_to_string(path.join("capsule.json")).unwrap();
        fs::write(path.join("capsule.json"), json.replace(WORKER, "/no/such/worker")).unwrap();
        let capsule = Capsule::open(&path).unwrap();
        let error = capsule.pool(None).unwrap_err();
        assert_eq!(error.code(), Code::InterpreterMissing);
        assert!(error.message().contains("/no/such/worker") && error.hint().is_some(), "{error}");
        let pool = capsule.pool(Some(Path::new(WORKER))).unwrap().build().unwrap();
        assert_eq!(capsule.call_blocking(&pool, None).unwrap_err().code(), Code::FunctionRaised);
        fs::write(path.join("capsule.json"), json.replace("\"working_directory\": \"", "\"working_directory\": \"/no/such/folder")).unwrap();
        assert_eq!(Capsule::open(&path).unwrap().pool(None).unwrap_err().code(), Code::WorkingDirectoryMissing);
    });
}

#[test]
fn a_replay_has_the_deadline_of_the_call_or_its_own() {
    checked(|| {
        let folder = Folder::new();
        let made = pool(&folder).deadline(Duration::from_millis(300)).build().unwrap();
        let (error, path) = failure(&made, "spin", numbers(0, 10));
        let again = transom::replay(&path).unwrap_err();
        assert_eq!((again.code(), again.message()), (Code::DeadlineExceeded, error.message()));
        let capsule = Capsule::open(&path).unwrap().with_deadline(Duration::from_millis(150));
        let pool = capsule.pool(None).unwrap().build().unwrap();
        let shorter = capsule.call_blocking(&pool, None).unwrap_err();
        assert!(shorter.message().contains("0.15 s"), "{shorter}");
    });
}
