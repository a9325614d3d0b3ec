//! What a worker prints: always drained, the last of it kept, the rest counted.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::watched::watched;

/// Bytes kept of each stream.
const KEPT: usize = 64 * 1024;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Cut in large steps: at every byte it would be a memmove for each line.
        if self.bytes.len() > 2 * KEPT {
            let cut = self.bytes.len() - KEPT;
            self.bytes.drain(..cut);
            self.dropped += cut as u64;
        }
    }

    /// The last `count` lines.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<&str> = text.lines().collect();
        let mut last: Vec<String> = lines[lines.len().saturating_sub(count)..].iter().map(|line| capped(line)).collect();
        if self.dropped > 0 && !last.is_empty() {
            last.insert(0, format!("({} bytes before were dropped)", self.dropped));
        }
        last
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn capped(line: &str) -> String {
    const LONGEST: usize = 400;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A pipe of a worker, read without waiting for its end: a grandchild may hold it open for ever.
pub(super) struct Drain {
    pipe: AsyncFd<OwnedFd>,
    pub(super) tail: Tail,
    open: bool,
}

impl Drain {
    fn new(pipe: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: watched(pipe, Interest::READABLE)?, tail: Tail::default(), open: true })
    }

    /// The drains of a process: its standard output, its standard error, and its stacks.
    pub(super) fn all(pipes: [OwnedFd; 3]) -> std::io::Result<[Drain; 3]> {
        let [stdout, stderr, faults] = pipes.map(Drain::new);
        Ok([stdout?, stderr?, faults?])
    }

    /// Waits for output, takes it in and gives it; never returns once the pipe is closed.
    pub(super) async fn take(&mut self) -> Vec<u8> {
        loop {
            if !self.open {
                return std::future::pending().await;
            }
            let Ok(mut ready) = self.pipe.readable().await else {
                self.open = false;
                continue;
            };
            // The guard only takes back the readiness that it saw: what comes after the last read is a new event.
            let (text, empty) = read(&self.pipe, &mut self.open);
            if empty {
                ready.clear_ready();
            }
            if !text.is_empty() {
                self.tail.push(&text);
                return text;
            }
        }
    }

    /// Takes in what is there now.
    pub(super) fn take_rest(&mut self) {
        let (text, _) = read(&self.pipe, &mut self.open);
        self.tail.push(&text);
    }
}

/// Reads a bounded amount, so that a worker that never stops printing cannot keep its supervisor from everything else. Says whether the pipe is empty.
fn read(pipe: &AsyncFd<OwnedFd>, open: &mut bool) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 16 * 1024];
    for _ in 0..16 {
        match rustix::io::read(pipe.get_ref(), &mut buffer) {
            Ok(0) => *open = false,
            Ok(count) => {
                text.extend_from_slice(&buffer[..count]);
                continue;
            }
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {}
            Err(_) => *open = false,
        }
        return (text, true);
    }
    (text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_rest_is_counted() {
        let mut tail = Tail::default();
        for i in 0..100_000 {
            tail.push(format!("line {i}\n").as_bytes());
        }
        assert!(tail.bytes.len() <= 2 * KEPT);
        let lines = tail.last_lines(2);
        assert!(lines[0].contains("bytes before were dropped"));
        assert_eq!(lines[1..], ["line 99998", "line 99999"]);
        assert_eq!(tail.dropped + tail.bytes.len() as u64, (0..100_000).map(|i| format!("line {i}\n").len() as u64).sum::<u64>());
    }
}
