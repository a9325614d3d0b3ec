//! Workers by fork: the first worker of a pool, once its libraries are loaded, leaves a copy of itself behind from which the next ones are forked.
//!
//! The copy, the *zygote*, has loaded no function, has no threads, and does nothing but wait for orders. A worker that is forked from it is the
//! host's own child (`CLONE_PARENT`), so that everything which the host knows of a process by being its parent holds for it as well: its pidfd, how
//! it ended, and the signal at the host's end. `docs/decisions/0037-workers-by-fork.md` says why.
//!
//! | packet | direction | content |
//! | --- | --- | --- |
//! | born | first worker to host | the zygote's process |
//! | refused | first worker or zygote to host | why there is no zygote, or no fork |
//! | given | host to zygote | nothing, and a descriptor beside it: the link, the three pipes, the lifeline, the entrances of control groups, in this order |
//! | fork | host to zygote | nothing |
//! | forked | zygote to host | the worker's process |

mod fork;
mod nursery;

pub use fork::{Forking, Newborn, obstacle, split};
pub(crate) use nursery::{Nursery, nursery};

use rustix::process::Pid;

/// The variable that names the zygote's end of its socket.
pub(super) const VARIABLE: &str = "TRANSOM_ZYGOTE_FD";

/// What is said on the socket between a host and its zygote.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Born(Pid),
    Refused(String),
    Given,
    Fork,
    Forked(Pid),
}

impl Word {
    fn encode(&self) -> Vec<u8> {
        let (kind, rest) = match self {
            Self::Born(pid) => (1, pid.as_raw_nonzero().get().to_le_bytes().to_vec()),
            Self::Refused(reason) => (2, reason.clone().into_bytes()),
            Self::Given => (3, Vec::new()),
            Self::Fork => (4, Vec::new()),
            Self::Forked(pid) => (5, pid.as_raw_nonzero().get().to_le_bytes().to_vec()),
        };
        [vec![kind], rest].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let number = || Some(i32::from_le_bytes(rest.try_into().ok()?)).filter(|&number| number > 0);
        let pid = || Pid::from_raw(number()?);
        match kind {
            1 => pid().map(Self::Born),
            2 => Some(Self::Refused(String::from_utf8_lossy(rest).into_owned())),
            3 if rest.is_empty() => Some(Self::Given),
            4 if rest.is_empty() => Some(Self::Fork),
            5 => pid().map(Self::Forked),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_and_nothing_else_is() {
        let pid = Pid::from_raw(70_000).unwrap();
        for word in [Word::Born(pid), Word::Refused("no".to_owned()), Word::Given, Word::Fork, Word::Forked(pid)] {
            assert_eq!(Word::decode(&word.encode()), Some(word));
        }
        for bytes in [&[][..], &[0], &[1], &[1, 0, 0, 0, 0], &[1, 255, 255, 255, 255], &[3, 0], &[5, 1, 0, 0], &[6]] {
            assert_eq!(Word::decode(bytes), None, "{bytes:?}");
        }
    }
}
